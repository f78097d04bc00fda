"""Colours: the tokens of the style sheet, contrast (WCAG 2.2), and what a tenant's accent becomes.

Contrast and relative luminance are those of WCAG 2.2, "Definitions": (L1 + 0.05) / (L2 + 0.05).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _

from portal.frame.quantities import number

THEMES: Final = ("light", "dark")
# WCAG 2.2: 1.4.3 for text, 1.4.11 for the parts of controls and charts.
TEXT_CONTRAST: Final = 4.5
MARK_CONTRAST: Final = 3.0
# How much of the accent the soft surface behind it has.
_SOFT: Final = {"light": 0.12, "dark": 0.22}
_ON_ACCENT: Final = ("#ffffff", "#0b1220")
_RULE: Final = re.compile(r'\[data-bs-theme="(light|dark)"\] \{(.*?)\}', re.DOTALL)
_COLOUR: Final = re.compile(r"--wl-([a-z0-9-]+): (#[0-9a-f]{6});")


@cache
def tokens() -> dict[str, dict[str, str]]:
    """The colours of `static/css/tokens.css` by theme: `tokens()["dark"]["surface"]`."""
    sheet = (settings.BASE_DIR / "static" / "css" / "tokens.css").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {theme: {} for theme in THEMES}
    for theme, body in _RULE.findall(sheet):
        for name, colour in _COLOUR.findall(body):
            found[theme][name] = colour
    return found


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb`, 0 for black to 1 for white."""

    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """`share` of `one` in `other`, in sRGB."""
    parts = (
        round(int(one[at : at + 2], 16) * share + int(other[at : at + 2], 16) * (1 - share))
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


@dataclass(frozen=True, slots=True)
class Accent:
    """The colours that follow from an accent in one theme."""

    accent: str
    soft: str
    on_accent: str


def accent_of(colour: str, theme: str) -> Accent:
    """What `colour` as the accent of `theme` brings with it."""
    soft = mix(colour, tokens()[theme]["surface"], _SOFT[theme])
    return Accent(colour, soft, max(_ON_ACCENT, key=lambda text: contrast(text, colour)))


def accent_problem(colour: str, theme: str) -> str | None:
    """Why `colour` cannot be the accent of `theme`: the sentence names the lowest contrast that it
    has as text or under text, and the contrast needed. None when it can.
    """
    own, accent = tokens()[theme], accent_of(colour, theme)
    sentences = {
        own["surface"]: _("On a card it has a contrast of %(ratio)s; %(needed)s is needed."),
        own["page"]: _("On the page it has a contrast of %(ratio)s; %(needed)s is needed."),
        own["surface-quiet"]: _(
            "On a quiet surface it has a contrast of %(ratio)s; %(needed)s is needed."
        ),
        accent.soft: _(
            "On its own soft surface it has a contrast of %(ratio)s; %(needed)s is needed."
        ),
    }
    surface = min(sentences, key=lambda surface: contrast(colour, surface))
    ratio = contrast(colour, surface)
    if ratio >= TEXT_CONTRAST:
        return None
    # Rounded down: 4.49 must not read as 4.5.
    shown = number(int(ratio * 100) / 100, 2)
    return sentences[surface] % {
        "ratio": f"{shown} : 1",
        "needed": f"{number(TEXT_CONTRAST, 1)} : 1",
    }
