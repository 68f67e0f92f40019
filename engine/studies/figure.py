"""The figure of a study as SVG: KL of every arm with its interval, and milliseconds to load or compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.studies.svg import FONT, GREY, GRID, text

_COLOURS = {"separate": "#2563eb", "same": "#d97706", "edit": "#059669", "keystroke": "#9333ea"}
_LIMITS = {"separate": 0.015, "same": 0.03}
_NAMES = {
    "separate": "separate files",
    "same": "chunks of one file",
    "edit": "after an edit",
    "keystroke": "half-typed line",
}
_LINES = {"compute_ms": ("compute", "#dc2626"), "page_cache_ms": ("load: page cache", "#d97706"),
          "disk_ms": ("load: disk", "#059669"), "place_ms": ("load: memory", "#2563eb")}  # fmt: skip
_WIDTH, _ROW, _LEFT, _RIGHT = 900, 19, 280, 40


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high` on pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value; what lies outside is put on the edge."""
        share = (math.log(min(max(value, self.low), self.high)) - math.log(self.low)) / (
            math.log(self.high) - math.log(self.low)
        )
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten within; the powers alone when these are many."""
        tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if len(tens) <= 4 else (1,)
        found = (step * 10.0**ten for ten in tens for step in steps)
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def draw(document: dict[str, Any]) -> str:
    """The whole figure."""
    parts, top = _heading(document), 64.0
    axis = _common_axis(document["sets"])
    for name, rows in document["sets"].items():
        shown = sorted((row for row in rows if row["arm"] != "full"), key=lambda row: float(row["kl"][0]))
        if shown:
            panel, top = _panel(name, shown, top, axis)
            parts += panel
    if document["loading"]:
        panel, top = _loading(document["loading"], top)
        parts += panel
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {top:.0f}' width='{_WIDTH}' "
        f"height='{top:.0f}' {FONT}>\n<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )


def _heading(document: dict[str, Any]) -> list[str]:
    run, where = document["run"], document["machine"]
    counts = ", ".join(f"{count} {_NAMES[name]}" for name, count in document["targets"].items())
    return [
        text(
            16,
            26,
            f"Documents encoded one by one against full attention: {run['model']}",
            size=16,
            weight=600,
        ),
        text(
            16,
            46,
            f"targets: {counts}; seed {run['seed']}; {where['processor']}, {where['threads']} threads",
            fill=GREY,
        ),
    ]


def _common_axis(sets: dict[str, list[dict[str, Any]]]) -> Axis:
    """One axis for all panels, so that they can be compared."""
    found = [row["kl"] for rows in sets.values() for row in rows if row["arm"] != "full"] or [[0.01] * 4]
    low = max(min(low for _, low, _, _ in found), 1e-4)
    return Axis(_floor(low), _ceiling(max(high for _, _, high, _ in found)), _LEFT, _WIDTH - _RIGHT - 60)


def _panel(name: str, rows: Sequence[dict[str, Any]], top: float, axis: Axis) -> tuple[list[str], float]:
    """One set: a dot and its interval for each arm."""
    first, colour = top + 38, _COLOURS[name]
    end = first + len(rows) * _ROW
    parts = [
        text(
            16,
            top + 14,
            f"{_NAMES[name]}: mean KL to full attention, nats (95 % interval)",
            weight=600,
            fill=colour,
        )
    ]
    parts += _grid(axis, first - 8, end, "")
    if name in _LIMITS:
        x = axis.at(_LIMITS[name])
        parts.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{first - 8:.1f}' y2='{end:.1f}' stroke='#dc2626' "
            "stroke-dasharray='4 3'/>"
        )
        parts.append(
            text(x, first - 12, f"allowed: {_LIMITS[name]}", size=10, fill="#dc2626", anchor="middle")
        )
    for place, row in enumerate(rows):
        parts += _dot(axis, row, first + place * _ROW + 6, colour)
    return parts, end + 40


def _dot(axis: Axis, row: dict[str, Any], y: float, colour: str) -> list[str]:
    mean, low, high, _ = row["kl"]
    x = axis.at(mean)
    return [
        text(_LEFT - 12, y + 4, row["arm"], size=11, anchor="end"),
        f"<line x1='{axis.at(low):.1f}' x2='{axis.at(high):.1f}' y1='{y:.1f}' y2='{y:.1f}' stroke='{colour}' "
        "stroke-width='2' opacity='0.45'/>",
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>",
        text(_WIDTH - 16, y + 4, f"{mean:.4f}", size=11, anchor="end", fill=GREY),
    ]


def _loading(rows: Sequence[dict[str, Any]], top: float) -> tuple[list[str], float]:
    """Milliseconds by length, q8_0 rows where they were measured."""
    kinds = {row["kind"] for row in rows}
    kind = "q8_0" if "q8_0" in kinds else "f16"
    shown = [row for row in rows if row["kind"] == kind]
    times = [row[key] for row in shown for key in _LINES if row[key]]
    height = 240
    across = Axis(shown[0]["tokens"], max(shown[-1]["tokens"], shown[0]["tokens"] + 1), 80, _WIDTH - 190)
    up = Axis(_floor(min(times)), _ceiling(max(times)), top + height, top + 34)
    parts = [
        text(
            16,
            top + 14,
            f"time to have a document's keys and values in place, by its tokens ({kind} rows)",
            weight=600,
        )
    ]
    for tick in up.ticks():
        y = up.at(tick)
        parts.append(f"<line x1='80' x2='{_WIDTH - 190}' y1='{y:.1f}' y2='{y:.1f}' stroke='{GRID}'/>")
        parts.append(text(72, y + 4, _duration(tick), size=11, anchor="end", fill=GREY))
    for row in shown:
        parts.append(
            text(
                across.at(row["tokens"]),
                top + height + 18,
                str(row["tokens"]),
                size=11,
                anchor="middle",
                fill=GREY,
            )
        )
    ends = _apart([(up.at(shown[-1][key]), key) for key in _LINES if shown[-1][key]])
    for y, key in ends:
        label, colour = _LINES[key]
        points = [(across.at(row["tokens"]), up.at(row[key])) for row in shown if row[key]]
        path = " ".join(f"{x:.1f},{py:.1f}" for x, py in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{py:.1f}' r='3' fill='{colour}'/>" for x, py in points]
        parts.append(text(_WIDTH - 180, y + 4, label, size=11, fill=colour))
    return parts, top + height + 40


def _apart(ends: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Heights of labels, moved down until none covers another."""
    found: list[tuple[float, str]] = []
    for y, key in sorted(ends):
        found.append((max(y, found[-1][0] + 14) if found else y, key))
    return found


def _grid(axis: Axis, top: float, end: float, unit: str) -> list[str]:
    parts = []
    for tick in axis.ticks():
        x = axis.at(tick)
        parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top:.1f}' y2='{end:.1f}' stroke='{GRID}'/>")
        parts.append(text(x, end + 14, f"{tick:g}{unit}", size=11, anchor="middle", fill=GREY))
    return parts


def _duration(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _floor(value: float) -> float:
    return float(10.0 ** math.floor(math.log10(value)))


def _ceiling(value: float) -> float:
    return float(10.0 ** math.ceil(math.log10(max(value, 1e-9))))
