"""What actions do, by topic; the screen is all of them together."""
