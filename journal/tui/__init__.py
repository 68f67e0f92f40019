"""The terminal front end. Nothing outside this package knows Textual.

```
app.py       the application: themes, start and end
actions.py   the table of actions: id -> target, action, keys, description
theme.py     themes, and the palette that blocks are drawn with
blocks/      a cell -> rows of text; pure functions, one file a kind
widgets/     one widget a file; they post messages and do no I/O
screens/     the journal, and the dialogs over it
handlers/    what actions do, by topic
workers.py   everything that blocks, on named threads
styles/      one file a screen
```
"""
