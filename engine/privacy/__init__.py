"""What never reaches a model: files by name, files that are ignored, secrets inside text."""
