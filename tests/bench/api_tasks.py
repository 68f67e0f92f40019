"""Small in-house API tasks: a page of documentation, a file with a hole, and the line that belongs there.

Module, class, method and parameter names are drawn by seed from lists of ordinary words, so that no model can
have read the APIs: the right line follows from the page only. Python and JavaScript.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.documents import Document
from engine.request import Request

_VERBS = ("lodge", "stamp", "admit", "tally", "berth", "muster", "collate", "enrol", "affix", "redeem")
_VERBS += ("vouch", "remit", "earmark", "docket")
_OLD = ("add", "create", "save", "record", "post", "store", "insert", "register")


@dataclass(frozen=True)
class Task:
    """A hole after `variable.` with `answer` as the rest of its line; `after` is the file below the hole."""

    name: str
    path: str
    before: str
    answer: str
    after: str
    document: Document

    def request(
        self, *, typed: int, suffix: bool, documents: bool = True, layout: str | None = None
    ) -> Request:
        """The hole with the first `typed` characters of the answer in place, with or without what follows."""
        return Request(
            prefix=self.before + self.answer[:typed],
            suffix=self.after if suffix else "",
            path=self.path,
            repository="shop",
            documents=(self.document,) if documents else (),
            max_tokens=24,
            stop_at="line",
            layout=layout,
        )


@dataclass(frozen=True)
class _Shape:
    """One kind of API: its nouns, its two parameters with an example value each, and the caller's names."""

    module: str
    holder: str
    variable: str
    about: str
    first: tuple[str, str, str]
    second: tuple[str, str, str]
    caller: str
    kind: str = "python"


_SHAPES = (
    _Shape(
        "ledgerkit",
        "Book",
        "book",
        "money",
        ("amount_cents", "1200", "cents"),
        ("memo", '"rent"', "reason"),
        "refund",
    ),
    _Shape(
        "mailroom",
        "Dispatch",
        "dispatch",
        "letters",
        ("recipient", '"desk-4"', "address"),
        ("weight_grams", "80", "grams"),
        "send_parcel",
    ),
    _Shape(
        "gaugeboard",
        "Panel",
        "panel",
        "readings",
        ("sensor_id", '"t-9"', "sensor"),
        ("celsius", "21.5", "temperature"),
        "report",
    ),
    _Shape(
        "shelfmark",
        "Catalogue",
        "catalogue",
        "books",
        ("isbn", '"978-0"', "code"),
        ("copies_held", "3", "count"),
        "restock",
    ),
    _Shape(
        "tracklane",
        "Schedule",
        "schedule",
        "trains",
        ("platform_no", "4", "platform"),
        ("departs_at", '"08:15"', "departure"),
        "announce",
    ),
    _Shape(
        "seedbank",
        "Vault",
        "vault",
        "seeds",
        ("species_tag", '"oat"', "species"),
        ("lot_size", "250", "quantity"),
        "deposit",
    ),
    _Shape(
        "boothjs",
        "Roster",
        "roster",
        "shifts",
        ("staffId", '"s-1"', "staff"),
        ("hoursDue", "6", "hours"),
        "assignShift",
        "javascript",
    ),
    _Shape(
        "cellarjs",
        "Stock",
        "stock",
        "crates",
        ("binLabel", '"B7"', "label"),
        ("crateCount", "12", "crates"),
        "receive",
        "javascript",
    ),
)


def tasks(count: int = 20, *, seed: int = 7) -> list[Task]:
    """`count` tasks, the shapes in turn, each with a method name and an old name of its own."""
    draw = random.Random(seed)
    return [_task(_SHAPES[i % len(_SHAPES)], i, draw) for i in range(count)]


def _task(shape: _Shape, index: int, draw: random.Random) -> Task:
    verb, old = draw.choice(_VERBS), draw.choice(_OLD)
    build = _python if shape.kind == "python" else _javascript
    before, answer, after, example, path = build(shape, verb)
    fence = "python" if shape.kind == "python" else "js"
    page = (
        f"# {shape.module} 2.{index}\n\n"
        f"`{shape.holder}` keeps {shape.about}. Since 2.0 `{verb}` takes the place "
        f"of `{old}`, which is gone. "
        f"Both parameters are required: `{shape.first[0]}` and `{shape.second[0]}`.\n\n"
        f"```{fence}\n{example}\n```\n"
    )
    document = Document(f"docs/{shape.module}.md", page, "api", version=f"2.{index}")
    return Task(f"{shape.module}.{verb}", path, before, answer, after, document)


def _python(shape: _Shape, verb: str) -> tuple[str, str, str, str, str]:
    (key, value, name), (other, other_value, other_name) = shape.first, shape.second
    variable, holder = shape.variable, shape.holder
    before = (
        f"from {shape.module} import {holder}\n\n\n"
        f"def {shape.caller}({name}, {other_name}):\n"
        f'    """Uses the {variable} of the main office."""\n'
        f'    {variable} = {holder}("main")\n'
        f"    {variable}."
    )
    after = f'\n    return {variable}\n\n\ndef close({variable}):\n    return {variable}.name == "main"\n'
    example = f'{variable} = {holder}("side")\n{variable}.{verb}({key}={value}, {other}={other_value})'
    return before, f"{verb}({key}={name}, {other}={other_name})", after, example, f"shop/{shape.caller}.py"


def _javascript(shape: _Shape, verb: str) -> tuple[str, str, str, str, str]:
    (key, value, name), (other, other_value, other_name) = shape.first, shape.second
    variable, holder = shape.variable, shape.holder
    before = (
        f'import {{ {holder} }} from "{shape.module}";\n\n'
        f"// Uses the {variable} of the main office.\n"
        f"export function {shape.caller}({name}, {other_name}) {{\n"
        f'  const {variable} = new {holder}("main");\n'
        f"  {variable}."
    )
    after = (
        f"\n  return {variable};\n}}\n\nexport function close({variable}) {{\n  return {variable}.name;\n}}\n"
    )
    example = (
        f'const {variable} = new {holder}("side");\n'
        f"{variable}.{verb}({{ {key}: {value}, {other}: {other_value} }});"
    )
    answer = f"{verb}({{ {key}: {name}, {other}: {other_name} }});"
    return before, answer, after, example, f"shop/{shape.caller}.js"
