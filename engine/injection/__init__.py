"""Attention heads that are given instead of computed: which (profile), when (choice), and what they look up.

profile.py   what is known of a model's heads, shipped or of the person's own study
choice.py    the setting `heads` and a profile -> what is given, and why
lookups.py   names in force -> which token looks up which
prompt.py    a prompt's look-ups, from the edited file's scopes
growing.py   the look-ups of what is generated

Nothing here knows llama.cpp or PyTorch. docs/heads.md
"""
