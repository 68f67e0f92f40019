"""A small line chart as SVG: y from zero, x in even steps, a line with its spread for each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 360, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 34, 44
_COLOURS = ("#2563eb", "#c2410c")


@dataclass(frozen=True)
class Series:
    """Per x: the median, the least and the largest."""

    name: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Panel:
    """One chart; `ticks` are the x values as text, evenly spaced."""

    title: str
    x_label: str
    y_label: str
    ticks: Sequence[str]
    series: Sequence[Series]


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side as an SVG document that reads on light and dark pages."""
    width = _WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        parts += [f'<g transform="translate({index * _WIDTH} 0)">', *_panel(panel), "</g>"]
    return "\n".join((*parts, "</svg>", ""))


def _panel(panel: Panel) -> list[str]:
    top = _nice(max(largest for series in panel.series for _, _, largest in series.points))
    parts = [f'<text x="{_LEFT}" y="18" font-size="12">{escape(panel.title)}</text>']
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#d4d4d4" fill="none"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for place, tick in enumerate(panel.ticks):
        x = _x(place, len(panel.ticks))
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{escape(tick)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(panel.x_label)}</text>')
    parts.append(f'<text transform="translate(12 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">')
    parts.append(f"{escape(panel.y_label)}</text>")
    for colour, series in zip(_COLOURS, panel.series, strict=False):
        parts += _line(series, top, colour)
    for number, (colour, series) in enumerate(zip(_COLOURS, panel.series, strict=False)):
        y = _TOP + 8 + 14 * number
        parts.append(f'<text x="{_LEFT + 8}" y="{y}" fill="{colour}">{escape(series.name)}</text>')
    return parts


def _line(series: Series, top: float, colour: str) -> list[str]:
    count = len(series.points)
    places = [(_x(i, count), point) for i, point in enumerate(series.points)]
    path = " ".join(f"{x:.1f},{_y(median, top):.1f}" for x, (median, _, _) in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for x, (median, least, largest) in places:
        parts.append(f'<path d="M{x:.1f} {_y(least, top):.1f}V{_y(largest, top):.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{_y(median, top):.1f}" r="3" fill="{colour}"/>')
    return parts


def _x(place: int, count: int) -> float:
    return _LEFT + 20 + (_WIDTH - _LEFT - _RIGHT - 40) * (place / max(1, count - 1))


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _nice(value: float) -> float:
    """The next number of 1, 2, 4 or 8 times a power of ten."""
    step = 1e-6
    while True:
        for factor in (1, 2, 4, 8):
            if step * factor >= value:
                return step * factor
        step *= 10
