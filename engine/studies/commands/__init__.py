"""One module for each `steerway study` command; nothing heavy is imported before a command runs."""
