"""How far devices have come, as a bar that needs neither script nor style attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from firmware.models import TargetState
from portal.frame.quantities import number

WIDTH: Final = 1000
_PARTS: Final = (
    ("good", (TargetState.SUCCEEDED,)),
    ("bad", (TargetState.FAILED,)),
    (
        "accent",
        (
            TargetState.WAITING,
            TargetState.OFFERED,
            TargetState.DOWNLOADING,
            TargetState.INSTALLING,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the bar in thousandths of its width."""

    tone: str
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar; `text` says the same."""

    parts: tuple[Part, ...]
    text: str
    width: int = WIDTH


def bar(counts: Mapping[str, int]) -> Bar:
    """The bar of devices by state, without those that were left out."""
    total = sum(count for state, count in counts.items() if state != TargetState.SKIPPED)
    parts, x = [], 0
    for tone, states in _PARTS:
        count = sum(counts.get(state, 0) for state in states)
        # One of ten thousand is seen too.
        width = max(4, round(count / total * WIDTH)) if count else 0
        width = min(width, WIDTH - x)
        if width:
            parts.append(Part(tone, x, width))
            x += width
    text = _("%(updated)s of %(devices)s updated, %(failed)s failed") % {
        "updated": number(counts.get(TargetState.SUCCEEDED, 0)),
        "devices": number(total),
        "failed": number(counts.get(TargetState.FAILED, 0)),
    }
    return Bar(tuple(parts), text)
