"""The forms of a model that the compression study compares: which tensors, which type, by which method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import UsageError

Method = Literal["magnitude", "wanda", "sparsegpt"]
Scope = Literal["all", "gate and up", "down", "attention"]
Family = Literal["shipped", "dense", "sparse", "mixed"]
Recover = Literal["none", "blocks", "distill"]

_LINEARS: dict[Scope, tuple[str, ...]] = {
    "gate and up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
    "attention": ("attn_q", "attn_k", "attn_v", "attn_output"),
}
_LINEARS["all"] = _LINEARS["attention"] + _LINEARS["gate and up"] + _LINEARS["down"]
_SPARSE = "s24_0"


@dataclass(frozen=True)
class Form:
    """One row of the table. `kind` is a type's name, "" for the shipped file; `head` that of the output head.

    For dense types `magnitude` is rounding to the nearest and `sparsegpt` is GPTQ.
    """

    name: str
    kind: str = ""
    method: Method = "sparsegpt"
    scope: Scope = "all"
    recover: Recover = "none"
    head: str = ""

    @property
    def family(self) -> Family:
        """Its colour in the figure."""
        if not self.kind:
            return "dense" if self.head else "shipped"
        if self.kind == _SPARSE and (self.scope != "all" or self.head):
            return "mixed"
        return "sparse" if self.kind == _SPARSE else "dense"

    def takes(self, tensor: str) -> bool:
        """Whether it changes the linear layer `blk.N.<part>.weight`."""
        parts = tensor.split(".")
        linear = len(parts) == 4 and parts[0] == "blk" and parts[3] == "weight"
        return bool(self.kind) and linear and parts[2] in _LINEARS[self.scope]


def _nearest(kind: str) -> Form:
    return Form(f"{kind} nearest", kind, "magnitude")


def _gptq(kind: str) -> Form:
    return Form(f"{kind} gptq", kind)


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("as shipped"),
        Form("head q5_0", head="q5_0"),
        _nearest("q4_0"),
        _gptq("q4_0"),
        _nearest("i3_0"),
        _gptq("i3_0"),
        Form("i3_0 gptq, distilled", "i3_0", recover="distill"),
        Form("s24_0 magnitude", "s24_0", "magnitude"),
        Form("s24_0 wanda", "s24_0", "wanda"),
        Form("s24_0 sparsegpt", "s24_0"),
        Form("s24_0 sparsegpt, blocks", "s24_0", recover="blocks"),
        Form("s24_0 sparsegpt, distilled", "s24_0", recover="distill"),
        Form("s24_0 gate and up", "s24_0", scope="gate and up"),
        Form("s24_0 down", "s24_0", scope="down"),
        Form("s24_0 attention", "s24_0", scope="attention"),
    )
}
BASELINE = "as shipped"


def chosen(text: str) -> list[Form]:
    """`all`, or names with semicolons between them; the shipped one always among them.

    `all` leaves out tuning by blocks, which takes an hour and is worth little. Raises UsageError.
    """
    usual = [form.name for form in FORMS.values() if form.recover != "blocks"]
    names = usual if text == "all" else [name.strip() for name in text.split(";") if name.strip()]
    if unknown := [name for name in names if name not in FORMS]:
        raise UsageError(f"no form is called {unknown[0]!r}", hint="; ".join(FORMS))
    return [FORMS[name] for name in dict.fromkeys([BASELINE, *names])]


def named(forms: Sequence[Form]) -> str:
    """As `chosen` takes them."""
    return "; ".join(form.name for form in forms)
