"""The head study on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
COLUMNS = ("replaced", "by", "all tokens", "identifiers", "uses", "behind uses", "uses right", "recovered")
HEADS = ("head", "kind", "oracle", "mass", "renamed", "another name", "elsewhere", "sink", "constant")


def head_cells(head: Document) -> tuple[str, ...]:
    """A chosen head as text: what it looks at in windows it was not chosen on."""
    metric = head["oracle"]
    return (
        f"{head['layer']}.{head['head']}", head["kind"], metric,
        *(f"{_of(head[part], metric):.2f}" for part in ("judging", "renamed")),
        *(f"{_of(head['judging'], each):.2f}" for each in ("distant", "elsewhere", "sink")),
        f"{head['constant']:.2f}",
    )  # fmt: skip


def _of(screen: Mapping[str, float], metric: str) -> float:
    return screen.get(metric, 0.0)


def cells(row: Document) -> tuple[str, ...]:
    """An arm as text: changes of NLL in nats with their intervals, of accuracy in points."""
    right = row["right"]
    recovered = row.get("recovered")
    return (
        row["of"],
        row["how"],
        *(_change(row[name]) for name in ("all", "identifier", "use", "behind")),
        f"{100 * right[0]:+.1f} ({100 * right[1]:+.1f} to {100 * right[2]:+.1f})" if right else "",
        f"{recovered[0]:.2f} ({recovered[1]:.2f} to {recovered[2]:.2f})" if recovered else "",
    )


def _change(found: Sequence[float] | None) -> str:
    return f"{found[0]:+.4f} ({found[1]:+.4f} to {found[2]:+.4f})" if found else ""


def page(found: Document, *, of: Sequence[str] = ()) -> str:
    """The arms as a Markdown table; only those whose rows start with one of `of`, when given."""
    rows = [row for row in found["arms"] if not of or row["of"].startswith(tuple(of))]
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*lines, *(f"| {' | '.join(cells(row))} |" for row in rows)]) + "\n"


def show(found: Document) -> None:
    """Print it."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=260)
    console.print(_table(HEADS, [head_cells(head) for head in found["heads"]]))
    base = found["base"]
    console.print(
        f"\nAs it is: NLL {base['all']:.3f} on all tokens, {base['identifier']:.3f} on identifiers, "
        f"{base['use']:.3f} on uses with an edge, of which {base['right']:.1%} start right. Changes of it:\n"
    )
    console.print(_table(COLUMNS, [cells(row) for row in found["arms"]]))
    for line in words(found):
        console.print(line)


def words(found: Document) -> list[str]:
    """The verdict in sentences."""
    verdict, saved = found["verdict"], found["saving"]
    said = [
        f"{len(verdict['passing'])} of {verdict['groups']} whole KV groups pass; "
        f"{len(verdict['spare'])} are not missed at all"
    ]
    for of, beaten in verdict["exact_beats"].items():
        said.append(
            f"{of}: exact edges are better on identifiers than {', '.join(beaten) or 'none of the others'}"
        )
    every = [row for row in saved if row["kind"] == "all"]
    said += [
        f"all {row['heads']} heads replaced would save {row['flops_share']:.2%} of a token's operations and "
        f"{row['kv_share']:.2%} of its cache at {row['context']} tokens"
        for row in every
    ]
    return said


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(
            column, justify="left" if place < 2 else "right", no_wrap=place >= 2, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table
