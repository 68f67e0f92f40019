"""Weight types in numpy: Steerway's own two (docs/weight-types.md) and the plain ones a compression writes.

The reference that the C code is held against byte for byte. Nothing here is fast, and nothing needs more than
numpy; `register` teaches the `gguf` package, where it is installed, the two types.
"""

from engine.formats.dense import Q4_0, Q5_0, Q8_0
from engine.formats.errors import FormatError
from engine.formats.gguf_types import register
from engine.formats.grid import Grid
from engine.formats.i3 import I3_0
from engine.formats.s24 import S24_0

FORMATS = {kind.name: kind for kind in (S24_0, I3_0, Q4_0, Q5_0, Q8_0)}

__all__ = ["FORMATS", "I3_0", "Q4_0", "Q5_0", "Q8_0", "S24_0", "FormatError", "Grid", "register"]
