"""Bars along time that are stacked of parts, as SVG without script; parts below zero hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portal.charts.bars import HEIGHT, WIDTH, scale_end

_TOP: Final = 18.0
_FLOOR: Final = 160.0
_FILLED: Final = 0.8
# One month alone is no wall.
_WIDEST: Final = 120.0
_MOST_LABELS: Final = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stack: `series` is the number of its hue (1 to 8), `title` tells it in full."""

    value: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Stack:
    """What stands at a time, with its label."""

    label: str
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Block:
    """A part as it is drawn."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class StackChart:
    """Blocks, labels below them, and the upper end of the scale as a number."""

    blocks: tuple[Block, ...]
    labels: tuple[tuple[float, str], ...]
    top: float
    zero: float
    most: float
    width: float = WIDTH
    height: int = HEIGHT


def stack_chart(stacks: Sequence[Stack]) -> StackChart | None:
    """The chart of stacks in the order of time; None without any."""
    if not stacks:
        return None
    ups = [sum(max(one.value, 0.0) for one in stack.pieces) for stack in stacks]
    downs = [sum(max(-one.value, 0.0) for one in stack.pieces) for stack in stacks]
    most, least = scale_end(max(ups)), -scale_end(max(downs))
    if most == least:
        most = 1.0
    unit = (_FLOOR - _TOP) / (most - least)
    zero = _TOP + most * unit
    step = WIDTH / len(stacks)
    width = min(step * _FILLED, _WIDEST)
    every = -(-len(stacks) // _MOST_LABELS)
    return StackChart(
        blocks=tuple(
            block
            for n, stack in enumerate(stacks)
            for block in _blocks(stack, (n + 0.5) * step - width / 2, width, zero, unit)
        ),
        labels=tuple(
            (round((n + 0.5) * step, 2), stack.label)
            for n, stack in enumerate(stacks)
            if n % every == 0
        ),
        top=_TOP,
        zero=round(zero, 2),
        most=most,
    )


def _blocks(stack: Stack, x: float, width: float, zero: float, unit: float) -> list[Block]:
    found, above, below = [], zero, zero
    for one in stack.pieces:
        height = abs(one.value) * unit
        if one.value >= 0:
            above -= height
            y = above
        else:
            y = below
            below += height
        found.append(
            Block(
                round(x, 2), round(y, 2), round(width, 2), round(height, 2), one.series, one.title
            )
        )
    return found
