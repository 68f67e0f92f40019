"""The figure of the compression study as SVG: what a token reads against what it costs in perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.studies.svg import FONT, GREY, GRID, text

_COLOURS = {"shipped": "#111827", "dense": "#2563eb", "sparse": "#d97706", "mixed": "#059669"}
_WIDTH, _HEIGHT = 900, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 30, 84, 56


@dataclass(frozen=True)
class Point:
    """A form of the model: megabytes a token reads, worse perplexity ratio, its family of forms."""

    name: str
    megabytes: float
    ratio: float
    family: str


def draw(title: str, caption: str, points: Sequence[Point]) -> str:
    """The scatter plot; ratios on a logarithmic scale, the line joins forms that nothing beats in both."""
    low = min(point.megabytes for point in points) * 0.96
    high = max(point.megabytes for point in points) * 1.06
    most = max(max(point.ratio for point in points) * 1.15, 1.05)

    def x(megabytes: float) -> float:
        return _LEFT + (megabytes - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(ratio: float) -> float:
        share = math.log(max(ratio, 0.97) / 0.97) / math.log(most / 0.97)
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
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda each: each.ratio):
        px, py = x(point.megabytes), y(point.ratio)
        parts.append(f"<circle cx='{px:.1f}' cy='{py:.1f}' r='5' fill='{_COLOURS[point.family]}'/>")
        parts.append(_label(point.name, px, py, taken))
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


def _label(name: str, x: float, y: float, taken: list[tuple[float, float]]) -> str:
    """Beside its dot, moved up until it covers no other."""
    width = 6.2 * len(name)
    left = x + width + 12 > _WIDTH - 4
    at = y + 4
    while any(abs(at - other) < 12 and abs(x - beside) < 150 for beside, other in taken):
        at -= 12
    taken.append((x, at))
    return text(x - 9 if left else x + 9, at, name, size=11, anchor="end" if left else "start")


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
    return found if len(found) <= 9 else [step for step in found if step not in (1.02, 1.05, 1.2)]


def _step(rough: float) -> float:
    base = float(10.0 ** math.floor(math.log10(rough)))
    return next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough)
