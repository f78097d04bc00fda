"""A small line without axes, as SVG: how a value went, in the line of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

WIDTH: Final = 120
HEIGHT: Final = 28
_PAD: Final = 2


def path(values: Sequence[float | None]) -> str:
    """The path of evenly spaced values in a box of WIDTH x HEIGHT; empty without any.

    It starts at zero, or below where values are negative. Where a value is missing the line breaks;
    a value with none beside it is a dot.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *known), max(0.0, *known)
    scale = (HEIGHT - 2 * _PAD) / (high - low) if high > low else 0.0
    step = WIDTH / max(1, len(values) - 1)
    return "".join(
        _stroke([(at * step, HEIGHT - _PAD - (value - low) * scale) for at, value in run])
        for run in _runs(values)
    )


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for at, value in enumerate(values):
        if value is not None:
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _stroke(points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    rest = "".join(f"L{x:.1f} {y:.1f}" for x, y in points[1:])
    return f"M{x:.1f} {y:.1f}{rest or 'h0.1'}"
