"""Where references lead: one module a kind, each turning a target into text or a one-line problem."""
