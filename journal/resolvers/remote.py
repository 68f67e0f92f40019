"""References to what is not on this machine: recognised, never fetched behind anybody's back."""

from __future__ import annotations

import re

_WHAT = {
    "gh": ("a GitHub issue", r"[\w.-]+/[\w.-]+#\d+", "gh:owner/repo#12"),
    "gl": ("a GitLab issue", r"[\w.-]+(?:/[\w.-]+)+#\d+", "gl:group/project#12"),
    "jira": ("a Jira issue", r"[A-Z][A-Z0-9_]*-\d+", "jira:KEY-12"),
    "https": ("a web page", r"//\S+", "https://host/page"),
    "http": ("a web page", r"//\S+", "https://host/page"),
    "man": ("a manual page", r"[\w.+:-]+(?:\(\w+\))?", "man:printf(3)"),
}
SCHEMES = frozenset(_WHAT)


def problem(scheme: str, target: str) -> str:
    """The one line that says what to do instead."""
    what, pattern, written = _WHAT[scheme]
    reference = f"{scheme}:{target}"
    if not re.fullmatch(pattern, target):
        return f"{reference} is not how {what} is written, as in {written}"
    kind, ending = ("tickets", "or JSON ") if what.endswith("issue") else ("docs", "")
    stem = re.sub(r"[^\w.-]+", "-", target.removeprefix("//")).strip("-")[:60]
    where = f"file:tickets/{stem}.md" if kind == "tickets" else f"docs/{stem}.md"
    return (
        f"{reference} is {what} and is not read from here, save it as Markdown {ending}and set src to {where}"
    )
