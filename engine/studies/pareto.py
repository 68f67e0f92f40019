"""The figure of the compression study as SVG: what a token reads against what it costs in perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.studies.svg import FONT, GREY, GRID, text

_COLOURS = {"shipped": "#111827", "dense": "#2563eb", "sparse": "#d97706", "mixed": "#059669"}
_WIDTH, _HEIGHT = 900, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 30, 84, 56
_HIGHEST = 8.0
_LETTER, _LINE, _BESIDE, _STEPS = 6.2, 13, 10, 12  # of labels: width, height, distance, how far they may move


@dataclass(frozen=True)
class Point:
    """A form of the model: megabytes a token reads, worse perplexity ratio, its family of forms."""

    name: str
    megabytes: float
    ratio: float
    family: str


def draw(title: str, caption: str, points: Sequence[Point]) -> str:
    """The scatter plot; ratios on a logarithmic scale, the line joins forms that nothing beats in both.

    What is worse than _HIGHEST stands at the upper edge with its number.
    """
    low = min(point.megabytes for point in points) * 0.96
    high = max(point.megabytes for point in points) * 1.06
    most = min(max(max(point.ratio for point in points) * 1.15, 1.05), _HIGHEST)

    def x(megabytes: float) -> float:
        return _LEFT + (megabytes - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(ratio: float) -> float:
        share = math.log(min(max(ratio, 0.97), most) / 0.97) / math.log(most / 0.97)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [text(16, 28, title, size=16, weight=600), text(16, 48, caption, fill=GREY)]
    parts += _legend()
    for tick in _ticks(most):
        parts.append(_line(_LEFT, _WIDTH - _RIGHT, y(tick), y(tick)))
        parts.append(text(_LEFT - 8, y(tick) + 4, f"{tick:g}x", size=11, anchor="end", fill=GREY))
    step = _step((high - low) / 6)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = x(number * step)
        parts.append(_line(at, at, _TOP, _HEIGHT - _BOTTOM))
        parts.append(
            text(at, _HEIGHT - _BOTTOM + 18, f"{number * step:g}", size=11, anchor="middle", fill=GREY)
        )
    parts.append(text(_WIDTH / 2, _HEIGHT - 14, "MB of weights a token reads", anchor="middle"))
    parts.append(text(_LEFT, _TOP - 10, "perplexity, times the shipped file's (the worse of prose and code)"))
    best = _front(points)
    line = " ".join(f"{x(point.megabytes):.1f},{y(point.ratio):.1f}" for point in best)
    parts.append(f"<polyline points='{line}' fill='none' stroke='{GREY}' stroke-dasharray='5 4'/>")
    dots = {point: (x(point.megabytes), y(point.ratio)) for point in points}
    for point, (px, py) in dots.items():
        parts.append(f"<circle cx='{px:.1f}' cy='{py:.1f}' r='5' fill='{_COLOURS[point.family]}'/>")
    taken = [_Box(px - 6, py - 6, px + 6, py + 6) for px, py in dots.values()]
    for point, (px, py) in sorted(dots.items(), key=lambda each: each[1][1]):
        beyond = f" ({point.ratio:,.0f}x)" if point.ratio > most else ""
        parts += _label(point.name + beyond, px, py, taken)
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' "
        f"height='{_HEIGHT}' {FONT}>\n<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )


def _line(x1: float, x2: float, y1: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' x2='{x2:.1f}' y1='{y1:.1f}' y2='{y2:.1f}' stroke='{GRID}'/>"


def _front(points: Sequence[Point]) -> list[Point]:
    """Forms for which no other has both fewer bytes and a better ratio, by bytes."""
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each.megabytes, each.ratio)):
        if not found or point.ratio < found[-1].ratio:
            found.append(point)
    return found


class _Box(NamedTuple):
    """What is drawn already, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _label(name: str, x: float, y: float, taken: list[_Box]) -> list[str]:
    """Beside its dot, or as near as it covers nothing; a line leads there from where it is not beside it."""
    width = _LETTER * len(name)

    def box(step: int, right: bool) -> _Box:
        left = x + _BESIDE if right else x - _BESIDE - width
        return _Box(left, y + step * _LINE - 6, left + width, y + step * _LINE + 6)

    steps = sorted(range(-_STEPS, _STEPS + 1), key=abs)
    places = [(step, right) for step in steps for right in (True, False)]
    inside = [
        place for place in places
        if box(*place).right < _WIDTH - 4 and box(*place).left > _LEFT and box(*place).top > _TOP - 8
        and box(*place).bottom < _HEIGHT - _BOTTOM + 6
    ]  # fmt: skip
    free = [place for place in inside if not any(box(*place).meets(other) for other in taken)]
    step, right = (free or inside or places)[0]
    taken.append(box(step, right))
    at, side = y + step * _LINE, 1 if right else -1
    written = text(x + side * _BESIDE, at + 4, name, size=11, anchor="start" if right else "end")
    if not step:
        return [written]
    end = f"x2='{x + side * (_BESIDE - 2):.1f}' y2='{at:.1f}'"
    return [f"<line x1='{x:.1f}' y1='{y:.1f}' {end} stroke='{GREY}' stroke-width='0.6'/>", written]


def _legend() -> list[str]:
    parts, at = [], _WIDTH - 340.0
    for name, colour in _COLOURS.items():
        parts.append(f"<circle cx='{at:.0f}' cy='64' r='5' fill='{colour}'/>")
        parts.append(text(at + 9, 68, name, size=11))
        at += 85
    return parts


def _ticks(most: float) -> list[float]:
    steps = [1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5]
    found = [step for step in steps if step <= most]
    return found if most < 2 else [step for step in found if step not in (1.02, 1.05)]


def _step(rough: float) -> float:
    base = float(10.0 ** math.floor(math.log10(rough)))
    return next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough)
