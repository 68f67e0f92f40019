"""Symbols by name: `Up.send` in a file, whatever line it is on today.

A symbol path survives edits that a line range does not. `locate` finds it with tree-sitter, in damaged
files as well, and takes decorators, attributes and the comment above along. Headings are the symbols of
Markdown.
"""

from journal.symbols.locate import Located, locate
from journal.symbols.outline import Symbol, outline
from journal.symbols.uses import Uses, uses

__all__ = ["Located", "Symbol", "Uses", "locate", "outline", "uses"]
