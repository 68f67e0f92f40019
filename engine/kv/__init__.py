"""Keys and values of documents, kept: rows, the keys they are found by, and the tiers that hold them."""
