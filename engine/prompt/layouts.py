"""Fill-in-the-middle formats: which marker tokens a family of models was trained with, in which order.

Sources: Qwen2.5-Coder report (arXiv:2409.12186, section 3.2), StarCoder and StarCoder2 (arXiv:2305.06161,
arXiv:2402.19173), Code Llama (arXiv:2308.12950, section 2.3), DeepSeek-Coder (arXiv:2401.14196, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DocumentLayout = Literal["repo", "comments", "docstring"]
Heal = Literal["words", "always", "never"]
Treatment = Literal["fim", "anchor", "newline", "prefix"]

# A marker "spelled" like this is a token id: `id:32007`.
BY_ID = "id:"

TREATMENTS: tuple[Treatment, ...] = ("fim", "anchor", "newline", "prefix")
DOCUMENT_LAYOUTS: tuple[DocumentLayout, ...] = ("repo", "comments", "docstring")


@dataclass(frozen=True)
class Family:
    """How one family of models reads a repository and a hole.

    `prefix`, `suffix`, `middle` are the spellings of the FIM markers (all empty: the model has none),
    `repository` and `separator` those before the repository's name and before each file, `stops` further
    tokens that end a completion. Each is inserted as a token id, never as text.

    `layout` is how documents are rendered; `empty_suffix` and `line_end` are how a hole is shown when nothing
    but white space follows the cursor, and when there are documents and nothing follows on the cursor's line
    (else: `fim`). All three are measured per model (`engine/prompt/layouts.toml`). Treatments: `fim`;
    `anchor`, FIM with the cursor's line after the middle marker; `newline`, FIM with an empty suffix as one
    newline; `prefix`, no FIM markers, the suffix only ends the suggestion.
    `heal`: before FIM markers the cursor is healed only inside a word (`words`), `always`, or `never`; with
    no marker behind the prefix, `words` heals everywhere. `dummy_space` tells of a tokenizer that puts a
    space before every text.
    """

    name: str
    prefix: str = ""
    suffix: str = ""
    middle: str = ""
    repository: str = ""
    separator: str = ""
    stops: tuple[str, ...] = ()
    layout: DocumentLayout = "repo"
    empty_suffix: Treatment = "prefix"
    line_end: Treatment = "fim"
    heal: Heal = "words"
    dummy_space: bool = False

    @property
    def fim(self) -> bool:
        """Whether the model can be shown what follows the hole."""
        return bool(self.prefix and self.suffix and self.middle)

    @property
    def markers(self) -> tuple[str, ...]:
        """Every spelling that has a meaning of its own to the model."""
        every = (self.prefix, self.suffix, self.middle, self.repository, self.separator, *self.stops)
        return tuple(dict.fromkeys(marker for marker in every if marker))


QWEN = Family(
    "qwen",
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    repository="<|repo_name|>",
    separator="<|file_sep|>",
    stops=("<|fim_pad|>", "<|endoftext|>", "<|im_end|>"),
)
STARCODER = Family(
    "starcoder",
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    repository="<repo_name>",
    separator="<file_sep>",
    stops=("<fim_pad>", "<|endoftext|>"),
)
STARCODER1 = Family(
    "starcoder",
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    repository="<reponame>",
    separator="<filename>",
    stops=("<fim_pad>", "<|endoftext|>"),
)
CODELLAMA = Family(
    "codellama",
    prefix="▁<PRE>",
    suffix="▁<SUF>",
    middle="▁<MID>",
    stops=("▁<EOT>", "</s>"),
    layout="comments",
    dummy_space=True,
)
# DeepSeek-Coder writes the suffix marker where the hole is: prefix, <｜fim▁hole｜>, suffix, <｜fim▁end｜>.
DEEPSEEK = Family(
    "deepseek",
    prefix="<｜fim▁begin｜>",
    suffix="<｜fim▁hole｜>",
    middle="<｜fim▁end｜>",
    stops=("<｜end▁of▁sentence｜>", "<|EOT|>"),
)
PLAIN = Family("plain")

# Tried against a vocabulary; of those whose FIM markers are all there, the one with most markers wins.
FAMILIES: tuple[Family, ...] = (QWEN, STARCODER, STARCODER1, CODELLAMA, DEEPSEEK)
