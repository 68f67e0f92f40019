"""The fastest form of a model on this machine that answers as the shipped one does."""
