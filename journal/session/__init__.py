"""An open journal, without any front end: edits with undo, safe saving, merging, running.

```
session.py    the document, its current step, what is on disk
history.py    undo and redo
autosave.py   what is typed reaches the disk within a second
outside.py    changes other programs made
execution.py  the queue of cells to run, on its own thread
output.py     a cell's output as lines
standing.py   which results still stand
meter.py      what a model would read at a step, and how many tokens that is
```
"""

from journal.session.session import Saved, Session

__all__ = ["Saved", "Session"]
