"""Two themes of our own, calm in the dark and in the light, and the palette that cells are drawn with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.terminal_theme import TerminalTheme
from textual.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

DARK = Theme(
    name="steerway-dark",
    primary="#7fa8d1",
    secondary="#5b7ea3",
    accent="#e0b274",
    warning="#e0b274",
    error="#e08585",
    success="#93bd7d",
    foreground="#d6d9e0",
    background="#15171c",
    surface="#1d2027",
    panel="#262a33",
    dark=True,
    variables={"footer-key-foreground": "#e0b274", "input-selection-background": "#7fa8d1 35%"},
)
LIGHT = Theme(
    name="steerway-light",
    primary="#2f6496",
    secondary="#5c86ad",
    accent="#9a5b00",
    warning="#9a5b00",
    error="#b23a3a",
    success="#3c7a2c",
    foreground="#2a2c31",
    background="#fbfaf7",
    surface="#f2f0ea",
    panel="#e6e3da",
    dark=False,
    variables={"footer-key-foreground": "#9a5b00", "input-selection-background": "#2f6496 25%"},
)


# What the sixteen colours of a cell's output become: readable on our own grounds.
ANSI_DARK = TerminalTheme(
    (0x15, 0x17, 0x1C),
    (0xD6, 0xD9, 0xE0),
    [(60, 64, 74), (224, 133, 133), (147, 189, 125), (224, 178, 116), (127, 168, 209), (201, 160, 220),
     (122, 190, 190), (214, 217, 224)],
    [(120, 125, 138), (240, 160, 160), (170, 210, 150), (240, 200, 145), (155, 190, 225), (216, 180, 232),
     (150, 210, 210), (240, 242, 246)],
)  # fmt: skip
ANSI_LIGHT = TerminalTheme(
    (0xFB, 0xFA, 0xF7),
    (0x2A, 0x2C, 0x31),
    [(42, 44, 49), (178, 58, 58), (60, 122, 44), (154, 91, 0), (47, 100, 150), (125, 60, 152),
     (20, 120, 120), (110, 112, 118)],
    [(90, 93, 100), (200, 80, 80), (80, 145, 62), (176, 110, 15), (70, 125, 178), (150, 85, 176),
     (40, 145, 145), (70, 72, 78)],
)  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """Colours by what they are for, as `#rrggbb`."""

    background: str
    surface: str
    panel: str
    text: str
    muted: str
    faint: str
    primary: str
    accent: str
    success: str
    warning: str
    error: str
    keyword: str
    string: str
    number: str
    function: str
    type: str
    ours: str
    theirs: str


def palette(variables: Mapping[str, str], *, dark: bool) -> Palette:
    """The palette of a theme, from its CSS variables."""
    from textual.color import Color

    def colour(name: str) -> Color:
        return Color.parse(variables[name])

    background, text = colour("background"), colour("foreground")
    primary, accent, success = colour("primary"), colour("accent"), colour("success")
    towards = Color.parse("#c9a0dc" if dark else "#7d3c98")
    return Palette(
        background=background.hex6,
        surface=colour("surface").hex6,
        panel=colour("panel").hex6,
        text=text.hex6,
        muted=background.blend(text, 0.62).hex6,
        faint=background.blend(text, 0.30).hex6,
        primary=primary.hex6,
        accent=accent.hex6,
        success=success.hex6,
        warning=colour("warning").hex6,
        error=colour("error").hex6,
        keyword=towards.hex6,
        string=success.hex6,
        number=accent.hex6,
        function=primary.hex6,
        type=primary.blend(success, 0.5).hex6,
        ours=background.blend(success, 0.16).hex6,
        theirs=background.blend(primary, 0.18).hex6,
    )
