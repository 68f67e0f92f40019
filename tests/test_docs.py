"""The documentation covers the program: every command, every variable, and links that lead somewhere."""

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


def test_every_environment_variable_is_documented() -> None:
    sources = [p for folder in ("engine", "journal", "lsp", "native") for p in (ROOT / folder).rglob("*.py")]
    named = {v for p in sources for v in re.findall(r"\bSTEERWAY_[A-Z][A-Z_]*[A-Z]\b", p.read_text())}
    documented = " ".join(page.read_text() for page in PAGES)
    assert not {name for name in named if name not in documented}
