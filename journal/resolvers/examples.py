"""Runnable examples inside documentation: found, cleaned, and brought to the front.

A runnable example is what a small model copies from; measured, it matters more than how the page around it
is wrapped. Doctests, fenced blocks and indented literal blocks are understood.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

LONGEST_LINES = 40
_FENCE = re.compile(
    r"^(?P<indent> {0,12})(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n(?P<code>.*?)"
    r"^(?P=indent)(?P=fence)[ \t]*$\n?",
    re.M | re.S,
)
_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)(?:\.\. (?:code|code-block|sourcecode)::[ \t]*(?P<language>\S*)|.*::)[ \t]*$"
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
    found = sorted((*_fenced(text), *_doctests(text), *_indented(text)), key=lambda example: example.start)
    uses = re.compile(rf"\b{re.escape(mention)}\b") if mention else None
    return next((example for example in found if uses is None or uses.search(example.code)), None)


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


def _fenced(text: str) -> list[Example]:
    found = []
    for match in _FENCE.finditer(text):
        code = textwrap.dedent(match["code"]).strip("\n")
        language = match["language"].lower().strip("{}.")
        if language in _RUNNABLE and _fits(code):
            code = _without_prompts(code) if ">>>" in code else code
            found.append(Example(code, language, match.start(), match.end()))
    return found


def _doctests(text: str) -> list[Example]:
    found: list[Example] = []
    for match in re.finditer(r"(?:^[ \t]*>>>[^\n]*\n?(?:^[ \t]*\S[^\n]*\n?)*\s*?)+", text, re.M):
        if not _in_fence(text, match.start()):
            code = _without_prompts(textwrap.dedent(match[0]))
            if _fits(code):
                found.append(Example(code, "python", match.start(), match.end()))
    return found


def _in_fence(text: str, position: int) -> bool:
    return any(match.start() <= position < match.end() for match in _FENCE.finditer(text))


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


def _indented(text: str) -> list[Example]:
    """Literal blocks: after `::`, a code directive, or a heading `Example:`."""
    found: list[Example] = []
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.match(line)
        if directive is None and not _SECTION.match(line):
            continue
        language = (directive and directive["language"]) or ""
        if language and language.lower() not in _RUNNABLE:
            continue
        last = _block_end(lines, number)
        code = _block_code(lines[number + 1 : last])
        if code and ">>>" not in code and "```" not in code and _fits(code) and _CODE.search(code):
            end = min(offsets[last], len(text))
            found.append(Example(code, language.lower(), offsets[number], end))
    return found


def _block_end(lines: list[str], number: int) -> int:
    """One past the last line that is deeper than line `number`, without the blank lines after it."""
    margin = _margin(lines[number])
    last = number + 1
    for index in range(number + 1, len(lines)):
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
