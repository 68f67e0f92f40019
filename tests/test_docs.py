"""The documentation covers the program: every command, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from engine.request import DocumentUse, StopReason, Suggestion
from journal.commands.complete import as_dict
from journal.commands.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_command_reference_is_what_the_program_says() -> None:
    """Made by `python -m journal.commands.reference > docs/commands.md`."""
    assert (ROOT / "docs/commands.md").read_text() == reference()


def test_the_reference_names_every_key_of_a_completion() -> None:
    use = DocumentUse("a.md", "doc", 1, "computed", cut_tokens=1, cut_line=1)
    answer = as_dict(Suggestion("x", "statement", (use,)))
    text = reference().partition("## `steerway complete")[2].partition("\n## ")[0]
    assert [key for key in (*answer, *answer["documents"][0]) if f"`{key}`" not in text] == []
    assert [reason for reason in get_args(StopReason) if reason not in text] == []


def test_examples_in_help_stand_on_lines_of_their_own() -> None:
    r"""A raw docstring hands click a backslash and a letter where it looks for the character \b."""
    assert "\\b" not in reference()
    assert "\n    steerway model rm smollm2-135m --yes\n" in reference()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(`{3,4}).*?^\1", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", text)):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
