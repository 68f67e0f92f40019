"""The line-mode front end over the same core as the full-screen one."""
