"""Which definition a name's use has: scopes, definitions and uses in seven languages, also in damaged code.

analyse(source, "python").edges            # every use with its definitions
analyse(source, "python", hole=120)        # a text with a cursor in it
Document(source, "python").edit(5, 5, "x") # the same after a keystroke, re-using what did not change
"""

from engine.usedef.analysis import LANGUAGES, Analysis, analyse
from engine.usedef.document import Document
from engine.usedef.names import Edge, InScope, Name
from engine.usedef.order import in_token_order, token_edges

__all__ = [
    "LANGUAGES",
    "Analysis",
    "Document",
    "Edge",
    "InScope",
    "Name",
    "analyse",
    "in_token_order",
    "token_edges",
]
