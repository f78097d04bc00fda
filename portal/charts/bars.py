"""Bars along time as SVG without script, each a way further where it has an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 960.0
HEIGHT: Final = 190
_TOP: Final = 18.0
_FLOOR: Final = 160.0
_FILLED: Final = 0.8
_MOST_LABELS: Final = 16
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Value:
    """What a bar stands for: `title` in full, `short` below it. `state` is a code of its look:
    "", estimated, missing or chosen.
    """

    value: float
    short: str
    title: str
    url: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar; `hit_x` and `hit_width` are where it can be pressed."""

    x: float
    y: float
    width: float
    height: float
    hit_x: float
    hit_width: float
    title: str
    url: str
    state: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars, labels below them, the upper and lower end of the scale in numbers."""

    bars: tuple[Bar, ...]
    labels: tuple[tuple[float, str], ...]
    top: float
    zero: float
    most: float
    least: float
    width: float = WIDTH
    height: int = HEIGHT
    floor: float = _FLOOR


def bar_chart(values: Sequence[Value]) -> BarChart | None:
    """The chart of values that may be below zero; None without any."""
    if not values:
        return None
    most = scale_end(max(max(one.value for one in values), 0.0))
    least = -scale_end(-min(min(one.value for one in values), 0.0))
    if most == least:
        most = 1.0
    unit = (_FLOOR - _TOP) / (most - least)
    zero = _TOP + most * unit
    step = WIDTH / len(values)
    every = -(-len(values) // _MOST_LABELS)
    return BarChart(
        bars=tuple(
            Bar(
                x=round((n + (1 - _FILLED) / 2) * step, 2),
                y=round(zero - max(one.value, 0.0) * unit, 2),
                width=round(step * _FILLED, 2),
                height=round(abs(one.value) * unit, 2),
                hit_x=round(n * step, 2),
                hit_width=round(step, 2),
                title=one.title,
                url=one.url,
                state=one.state,
            )
            for n, one in enumerate(values)
        ),
        labels=tuple(
            (round((n + 0.5) * step, 2), one.short)
            for n, one in enumerate(values)
            if n % every == 0
        ),
        top=_TOP,
        zero=round(zero, 2),
        most=most,
        least=least,
    )


def scale_end(largest: float) -> float:
    """The end of the scale: the next of 1, 2, 5 times a power of ten."""
    if largest <= 0:
        return 0.0
    decade = 1e-6
    while decade * 10 < largest:
        decade *= 10
    return next(decade * step for step in _STEPS if decade * step >= largest * (1 - 1e-9))
