"""The journal's screen, and dialogs over it."""
