"""The map of a model's heads as SVG: what each one's attention goes to, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.studies.svg import FONT, GREY, GRID, INK, text

_COLOURS = {"previous": "#2563eb", "definition": "#d97706", "sink": "#9aa5b1"}
_NAMES = {
    "previous": "the previous token (mean over all tokens)",
    "definition": "the definition (from uses with an edge)",
    "sink": "position 0 (mean over all tokens)",
}
_ROW, _LEFT, _TOP, _GAP = 17, 64, 108, 8
_LEAST_WIDTH = 780


def draw(document: Mapping[str, Any]) -> str:
    """The whole figure; each cell is a head, its bars shares of attention, framed where it was replaced."""
    screen, model = document["screen"], document["model"]
    layers, heads, group = len(screen["sink"]), len(screen["sink"][0]), model["heads"] // model["kv_heads"]
    column = max(42, (_LEAST_WIDTH - _LEFT - 24) // heads)
    width = _LEFT + heads * column + (heads // group - 1) * _GAP + 24
    height = _TOP + layers * _ROW + 34
    parts = [
        text(
            16, 28, f"What attention heads look at in Python: {document['run']['model']}", size=16, weight=600
        ),
        text(16, 48, _caption(document), fill=GREY),
        *_legend(),
    ]
    framed = {(head["layer"], head["head"]) for head in document["heads"]}
    for head in range(heads):
        x = _LEFT + head * column + head // group * _GAP
        parts.append(text(x + column / 2 - 2, _TOP - 6, str(head), size=10, anchor="middle", fill=GREY))
        for layer in range(layers):
            shares = {name: _share(screen, name, layer, head) for name in _COLOURS}
            parts += _cell(x, _TOP + layer * _ROW, column - 4, shares, (layer, head) in framed)
    for layer in range(layers):
        parts.append(text(_LEFT - 8, _TOP + layer * _ROW + 11, str(layer), size=10, anchor="end", fill=GREY))
    parts.append(
        text(16, height - 12, "rows: layers; columns: heads, a gap between groups that share keys", size=11)
    )
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"height='{height:.0f}' {FONT}>\n<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )


def _share(screen: Mapping[str, Sequence[Sequence[float]]], name: str, layer: int, head: int) -> float:
    if name != "definition":
        return float(screen[name][layer][head])
    return max(float(screen[oracle][layer][head]) for oracle in ("name", "after", "value"))


def _caption(document: Mapping[str, Any]) -> str:
    judging = document["corpus"]["judging"]
    return f"{judging['windows']} windows of Python, {judging['tokens']:,} tokens, {judging['edges']} edges"


def _legend() -> list[str]:
    parts, at = [], 16.0
    for name, colour in _COLOURS.items():
        parts.append(f"<rect x='{at:.0f}' y='62' width='12' height='12' fill='{colour}'/>")
        parts.append(text(at + 18, 72, _NAMES[name], size=11))
        at += 34 + 6.1 * len(_NAMES[name])
    return parts


def _cell(x: float, y: float, width: float, shares: Mapping[str, float], framed: bool) -> list[str]:
    """Three bars on one another: a share is a length."""
    parts = [
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{_ROW - 4}' fill='#f5f7fa' "
        f"stroke='{GRID}'/>"
    ]
    high = (_ROW - 4) / len(shares)
    for row, (name, share) in enumerate(shares.items()):
        if share >= 0.02:
            parts.append(
                f"<rect x='{x:.1f}' y='{y + row * high:.1f}' width='{width * min(share, 1):.1f}' "
                f"height='{high:.1f}' fill='{_COLOURS[name]}'/>"
            )
    if framed:
        parts.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{_ROW - 4}' fill='none' "
            f"stroke='{INK}' stroke-width='1.5'/>"
        )
    return parts
