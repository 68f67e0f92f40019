"""Runnable examples inside documentation: found, cleaned, and brought to the front.

A runnable example is what a small model copies from; measured, it matters more than how the page around it
is wrapped. Doctests, fenced blocks and indented literal blocks are understood.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_LINES = 40
_FENCE = re.compile(r"^(?P<indent> {0,12})(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.{}-]*)[^`]*$")
_DIRECTIVE = re.compile(
    r"^[ \t]*(?:\.\. (?:code|code-block|sourcecode)::[ \t]*(?P<language>\S*)|.*::)[ \t]*$"
)
_SECTION = re.compile(r"^[ \t]*(?:examples?|usage)(?: usage)?\s*:?:?\s*$", re.I)
_RUNNABLE = {
    "python", "py", "python3", "pycon", "javascript", "js", "jsx", "typescript", "ts", "tsx", "rust", "rs",
    "go", "c", "cpp", "c++", "java", "bash", "ruby", "kotlin", "swift", "csharp",
}  # fmt: skip
_CODE = re.compile(r"[\w)\]]\(|^\s*(?:import|from|with|for|def|class|@\w)|\w\s*=\s*\S", re.M)


@dataclass(frozen=True)
class Example:
    """Code that can be run, its language when the page says it, and where it stood in the page."""

    code: str
    language: str = ""
    start: int = 0
    end: int = 0


def first(text: str, *, mention: str = "") -> Example | None:
    """The first runnable example of a page or docstring; with `mention`, the first that uses that name."""
    uses = re.compile(rf"\b{re.escape(mention)}\b") if mention else None
    return next((example for example in _all(text) if uses is None or uses.search(example.code)), None)


def lead(text: str) -> tuple[str, bool]:
    """`text` with its first runnable example moved to the front, and whether it has one."""
    example = first(text)
    if example is None:
        return text, False
    if not text[: example.start].strip():
        return text, True
    block = text[example.start : example.end].strip("\n")
    rest = text[: example.start].rstrip("\n") + "\n\n" + text[example.end :].lstrip("\n")
    return f"{textwrap.dedent(block)}\n\n{rest.strip(chr(10))}\n", True


def _all(text: str) -> Iterator[Example]:
    """Every example in order; one pass over the lines, whatever they are."""
    lines = text.split("\n")
    offsets = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
    number = 0
    while number < len(lines):
        last, code, language = _block(lines, number)
        if code and _fits(code):
            yield Example(code, language, offsets[number], min(offsets[last], len(text)))
            number = last
        else:  # a block that is code of no use is passed over; one that is prose is looked into
            number = last if code is not None else number + 1


def _block(lines: list[str], number: int) -> tuple[int, str | None, str]:
    """The block at a line: the line after it, its code ("": none to run, None: no block), its language."""
    line = lines[number]
    fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
    if fence is not None:
        last, language = _fence_end(lines, number, fence), fence["language"].lower().strip("{}.")
        code = textwrap.dedent("\n".join(lines[number + 1 : last - 1])).strip("\n")
        closed = last <= len(lines) and lines[last - 1].strip().startswith(fence["fence"])
        runnable = closed and language in _RUNNABLE
        return last, (_without_prompts(code) if ">>>" in code else code) if runnable else "", language
    if line.lstrip().startswith(">>>"):
        last = _session_end(lines, number)
        return last, _without_prompts(textwrap.dedent("\n".join(lines[number:last]))), "python"
    if "::" in line or _SECTION.match(line):
        return _literal(lines, number)
    return number + 1, None, ""


def _fence_end(lines: list[str], number: int, fence: re.Match[str]) -> int:
    """One past the closing fence, or past the last line when there is none."""
    for index in range(number + 1, len(lines)):
        bare = lines[index].strip()
        if bare.startswith(fence["fence"]) and not bare.strip(fence["fence"][0]):
            return index + 1
    return len(lines)


def _session_end(lines: list[str], number: int) -> int:
    """One past the doctest that starts at a line; blank lines inside it are gone over."""
    last = number
    for index in range(number + 1, len(lines)):
        bare = lines[index].strip()
        if bare and index > last + 1 and not bare.startswith(">>>"):
            break
        last = index if bare else last
    return last + 1


def _literal(lines: list[str], number: int) -> tuple[int, str | None, str]:
    """The indented block after `::`, a code directive, or a heading `Example:`."""
    directive = _DIRECTIVE.match(lines[number])
    language = ((directive and directive["language"]) or "").lower()
    if (directive is None and not _SECTION.match(lines[number])) or (language and language not in _RUNNABLE):
        return number + 1, None, ""
    last = _block_end(lines, number)
    code = _block_code(lines[number + 1 : last])
    usable = ">>>" not in code and "```" not in code and _CODE.search(code)
    return (last, code, language) if usable else (number + 1, None, "")


def _without_prompts(code: str) -> str:
    """Doctest lines as a script; what was printed becomes a comment."""
    lines = []
    for line in code.strip("\n").split("\n"):
        bare = line.strip()
        if bare.startswith((">>>", "...")):
            lines.append(line.lstrip()[4:])
        elif bare:
            lines.append(f"# {bare}")
    return "\n".join(lines)


def _block_end(lines: list[str], number: int) -> int:
    """One past the last line that is deeper than line `number`, without the blank lines after it."""
    margin = _margin(lines[number])
    last = number + 1
    for index in range(number + 1, min(len(lines), number + 2 * LONGEST_LINES)):  # longer ones do not fit
        if lines[index].strip() and _margin(lines[index]) <= margin:
            break
        if lines[index].strip():
            last = index + 1
    return last


def _block_code(block: list[str]) -> str:
    while block and (not block[0].strip() or re.match(r"\s*:\w[\w-]*:", block[0])):
        block = block[1:]
    return textwrap.dedent("\n".join(block)).strip("\n")


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _fits(code: str) -> bool:
    return bool(code.strip()) and code.count("\n") < LONGEST_LINES
