"""Tickets in files: Markdown as it stands, JSON as GitHub, GitLab and Jira export it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.documents import DocumentKind
from engine.privacy.strings import without_secrets
from journal.resolvers import files, guard
from journal.resolvers.content import Content, ReferenceProblem, Scope

_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.S)


def resolve(target: str, scope: Scope, *, kind: DocumentKind) -> Content:
    """The ticket as Markdown: title, body, comments. Raises ReferenceProblem."""
    path, name = guard.find(target, scope)
    whole = guard.read(path, target)
    clean, secrets = without_secrets(_markdown(whole, path, name))
    note = f"{secrets} secret-looking value{'s' * (secrets > 1)} left out of {name}" if secrets else ""
    shown = name.removesuffix(path.suffix) + ".md" if path.suffix.lower() == ".json" else name

    def earlier(prefix: str) -> str | None:
        found = files.history(path, scope, prefix, lambda old: old)
        return None if found is None else without_secrets(_markdown(found, path, name))[0]

    return Content(shown, clean, whole, kind, "markdown", note=note, earlier=earlier)


def _markdown(whole: str, path: Path, name: str) -> str:
    return from_json(whole, name) if path.suffix.lower() == ".json" else _from_markdown(whole)


def from_json(whole: str, name: str) -> str:
    """A ticket's JSON as Markdown. Raises ReferenceProblem, naming the line, when it is no ticket."""
    try:
        ticket = json.loads(whole)
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ReferenceProblem(f"{name} is not JSON{place}") from error
    if isinstance(ticket, list) and len(ticket) == 1:
        ticket = ticket[0]
    if not isinstance(ticket, Mapping):
        raise ReferenceProblem(f"{name} holds no ticket: an object with a title and a body is expected")
    fields = {**ticket, **(ticket["fields"] if isinstance(ticket.get("fields"), Mapping) else {})}
    title = _text(fields, "title", "summary", "name", "subject")
    body = _text(fields, "body", "description", "text")
    if not title and not body:
        raise ReferenceProblem(f"{name} holds no ticket: neither a title nor a body is in it")
    number = _text(fields, "number", "iid", "key", "id")
    heading = ": ".join(part for part in (number, title) if part)
    parts = [f"# {heading}" if heading else "", _labels(fields), body, *_comments(fields)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _from_markdown(whole: str) -> str:
    front = _FRONT.match(whole)
    if front is None:
        return whole
    title = re.search(r"^title:[ \t]*(.+)$", front[1], re.M)
    rest = whole[front.end() :].lstrip("\n")
    named = re.match(r"#\s", rest) is not None
    return rest if named or title is None else f"# {title[1].strip(chr(34) + chr(39) + ' ')}\n\n{rest}"


def _labels(fields: Mapping[str, Any]) -> str:
    raw = fields.get("labels")
    names = (
        [_text(label, "name") if isinstance(label, Mapping) else str(label) for label in raw or ()]
        if isinstance(raw, list)
        else []
    )
    status = fields.get("status", fields.get("state"))
    state = _text(status, "name") if isinstance(status, Mapping) else str(status or "")
    facts = [f"State: {state}" if state else "", f"Labels: {', '.join(names)}" if names else ""]
    return "\n".join(fact for fact in facts if fact)


def _comments(fields: Mapping[str, Any]) -> list[str]:
    raw = next((fields[key] for key in ("comments", "comment", "notes") if key in fields), None)
    if isinstance(raw, Mapping):
        raw = raw.get("comments") or raw.get("nodes")
    if not isinstance(raw, list):
        return []
    shown = [_comment(comment) for comment in raw if isinstance(comment, (Mapping, str))]
    return ["## Comments", *shown] if shown else []


def _comment(comment: Mapping[str, Any] | str) -> str:
    if isinstance(comment, str):
        return comment
    author = next((comment[key] for key in ("author", "user") if comment.get(key)), "")
    if isinstance(author, Mapping):
        author = _text(author, "login", "displayName", "username", "name")
    body = _text(comment, "body", "text", "note")
    return f"{author}: {body}" if author else body


def _text(fields: Mapping[str, Any], *names: str) -> str:
    """The first of `names` that holds text, a number, or Jira's document format."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, Mapping):
            value = _flatten(value)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return str(value).replace("\r\n", "\n")
    return ""


def _flatten(node: Any, depth: int = 0) -> str:
    """The text of an Atlassian Document Format tree, a paragraph a line."""
    if not isinstance(node, Mapping) or depth > 50:
        return ""
    content = node.get("content")
    inner = "".join(_flatten(child, depth + 1) for child in content) if isinstance(content, list) else ""
    text = str(node.get("text", "")) + inner
    return text + "\n" if node.get("type") in {"paragraph", "heading", "codeBlock", "listItem"} else text
