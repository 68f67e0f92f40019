"""What the studies' figures are drawn with: colours, a font, a line of text."""

from __future__ import annotations

from html import escape

INK, GREY, GRID = "#1f2933", "#7b8794", "#e4e7eb"
FONT = "font-family='system-ui, -apple-system, Segoe UI, sans-serif'"


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: int = 12,
    anchor: str = "start",
    fill: str = INK,
    weight: int = 400,
) -> str:
    """One line at a point; `anchor` as in SVG."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{fill}' "
        f"font-weight='{weight}'>{escape(content)}</text>"
    )
