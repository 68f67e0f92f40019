"""Attention heads taken apart: what each one looks at, and what happens when an exact pattern replaces it."""
