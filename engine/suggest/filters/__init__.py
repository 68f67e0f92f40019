"""Filters, one a file: `(text, request) -> str | None`, None to say nothing."""
