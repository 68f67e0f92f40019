"""The research questions as commands: each measures a model on this machine and prints a table."""
