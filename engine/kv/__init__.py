"""Keys and values of documents, kept: rows, the keys they are found by, and the tiers that hold them."""

import logging

# Who wants to hear of a damaged file or a full disk attaches a handler; terminals are not written on.
logging.getLogger(__name__).addHandler(logging.NullHandler())
