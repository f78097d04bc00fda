"""Arithmetic of values of which some are unknown: NaN in, NaN out, and never infinite.

A value is an array (n,) or a single float64. Truth is 1, falsehood 0, and what cannot be told NaN;
`and`, `or` and `if` are unknown only where the answer depends on something that is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Value = NDArray[np.float64] | np.float64

_NAN: Final = np.float64(np.nan)


def finite(value: Value) -> Value:
    """What became infinite is unknown."""
    known = np.isfinite(value)
    return value if known.all() else np.where(known, value, _NAN)[()]


def _watched(work: Callable[..., Value]) -> Callable[..., Value]:
    """Operations that give infinity by overflow alone: the processor tells for nothing."""

    def watched(*values: Value) -> Value:
        try:
            with np.errstate(over="raise", invalid="ignore", under="ignore"):
                return work(*values)
        except FloatingPointError:
            with np.errstate(all="ignore"):
                return finite(work(*values))

    return watched


def divide(a: Value, b: Value) -> Value:
    """A quotient; unknown where it is divided by zero."""
    with np.errstate(all="ignore"):
        return finite(np.divide(a, b))


def power(a: Value, b: Value) -> Value:
    """A power; unknown where it is none (0 ^ -1, the root of a negative number) or too large.

    What is known of 1 and 0 whatever the other side is (1 ^ x) is unknown all the same.
    """
    with np.errstate(all="ignore"):
        raised = finite(a**b)
        if np.ndim(b) == 0 and b != 0 and b == b:
            # NumPy squares and takes roots quickly for such an exponent; all else follows from it.
            return raised
        return np.where(np.isnan(a) | np.isnan(b), _NAN, raised)[()]


def square_root(a: Value) -> Value:
    """A root; unknown for what is below zero."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(a)


def rounded(a: Value, digits: int) -> Value:
    """To decimal places, halves to the even neighbour; negative places round to tens, hundreds."""
    with np.errstate(all="ignore"):
        places = np.round(a, digits)
        return np.where(np.isfinite(places), places, a)[()]


def clamp(a: Value, low: Value, high: Value) -> Value:
    """Within two bounds; unknown where they are the wrong way round."""
    within = np.minimum(np.maximum(a, low), high)
    return np.where(low <= high, within, _NAN)[()]


def choose(condition: Value, then: Value, otherwise: Value) -> Value:
    """What the condition chooses."""
    chosen = np.where(condition != 0, then, otherwise)
    return np.where(np.isnan(condition), _NAN, chosen)[()]


def both(a: Value, b: Value) -> Value:
    """Kleene's and: false if either is, whatever the other may be."""
    return np.where((a == 0) | (b == 0), 0.0, a * b)[()]


def either(a: Value, b: Value) -> Value:
    """Kleene's or: true if either is, whatever the other may be."""
    return np.where((a == 1) | (b == 1), 1.0, np.maximum(a, b))[()]


def negation(a: Value) -> Value:
    """What is unknown stays so."""
    return 1.0 - a


def _comparison(work: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    def compare(a: Value, b: Value) -> Value:
        return np.where(np.isnan(a) | np.isnan(b), _NAN, work(a, b))[()]

    return compare


def _folded(work: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *values: reduce(work, values)


add: Final = _watched(np.add)
subtract: Final = _watched(np.subtract)
multiply: Final = _watched(np.multiply)
negative: Final[Callable[..., Value]] = np.negative
absolute: Final[Callable[..., Value]] = np.abs
total: Final = _folded(add)
least: Final = _folded(np.minimum)
greatest: Final = _folded(np.maximum)
COMPARISONS: Final = MappingProxyType(
    {
        "<": _comparison(np.less),
        "<=": _comparison(np.less_equal),
        ">": _comparison(np.greater),
        ">=": _comparison(np.greater_equal),
        "==": _comparison(np.equal),
        "!=": _comparison(np.not_equal),
    }
)


def mean(*values: Value) -> Value:
    """The mean of several values at one time."""
    return divide(total(*values), np.float64(len(values)))
