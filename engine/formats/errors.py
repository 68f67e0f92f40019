"""What is wrong with weights or bytes that are none of a type."""

from __future__ import annotations


class FormatError(ValueError):
    """Weights that a type cannot store, or bytes that are not of it; the message says which and where."""
