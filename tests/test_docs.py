"""The documentation covers the program: every command, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from journal.commands.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_command_reference_is_what_the_program_says() -> None:
    """Made by `python -m journal.commands.reference > docs/commands.md`."""
    assert (ROOT / "docs/commands.md").read_text() == reference()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(`{3,4}).*?^\1", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", text)):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
