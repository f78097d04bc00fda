"""Tail probabilities of sums whose first three cumulants are known.

A sum of skewed amounts is not normal where the gate decides, far out in the tail. Pearson's type
III distribution, a shifted gamma, has the same mean, variance and skewness (K. Pearson, 1895;
for tests of sums: P. W. Mielke, K. J. Berry, Permutation Methods, 2007, chapter 2).
"""

from __future__ import annotations

import math
from typing import Final

# Beyond this shape the cube-root approximation (E. B. Wilson, M. M. Hilferty, 1931) is closer than
# what the sums below leave after rounding.
_LARGE_SHAPE: Final = 5_000.0
_PRECISION: Final = 1e-13
_MOST_TERMS: Final = 5_000
_TINY: Final = 1e-300


def upper_tail(excess: float, variance: float, third: float) -> float:
    """P(S ≥ excess) of a sum S with mean 0, this variance and this third cumulant."""
    if variance <= 0:
        return 1.0 if excess <= 0 else 0.0
    if third < 0:
        return 1.0 - upper_tail(-excess, variance, -third)
    distance = excess / math.sqrt(variance)
    skewness = third / variance**1.5
    if skewness < math.sqrt(4 / _LARGE_SHAPE) / 100:
        return 0.5 * math.erfc(distance / math.sqrt(2))
    shape = 4 / skewness**2
    return gamma_upper(shape, shape + distance * math.sqrt(shape))


def student(excess: float, variance: float, freedom: float) -> float:
    """What stands for an excess whose variance was estimated with some degrees of freedom: less.

    Student's t as a normal deviate (D. L. Wallace, Ann. Math. Statist. 30, 1959).
    """
    if variance <= 0:
        return excess
    square = freedom * math.log1p(excess**2 / variance / freedom)
    nearer = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(square * variance)
    return math.copysign(nearer, excess)


def gamma_upper(shape: float, x: float) -> float:
    """Q(a, x), the regularised upper incomplete gamma function (DLMF 8.2.4)."""
    if x <= 0:
        return 1.0
    if shape > _LARGE_SHAPE:
        ninth = 1 / (9 * shape)
        distance = ((x / shape) ** (1 / 3) - 1 + ninth) / math.sqrt(ninth)
        return 0.5 * math.erfc(distance / math.sqrt(2))
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        return max(0.0, 1.0 - front * _series(shape, x))
    return front * _fraction(shape, x)


def _series(shape: float, x: float) -> float:
    """DLMF 8.11.4, divided by x^a e^-x."""
    term = total = 1 / shape
    for number in range(1, _MOST_TERMS):
        term *= x / (shape + number)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(shape: float, x: float) -> float:
    """DLMF 8.9.2 by the modified method of Lentz (W. J. Lentz, 1976), divided by x^a e^-x."""
    bottom = x + 1 - shape
    c = 1 / _TINY
    d = 1 / bottom
    value = d
    for number in range(1, _MOST_TERMS):
        top = number * (shape - number)
        bottom += 2
        d = 1 / _away_from_zero(bottom + top * d)
        c = _away_from_zero(bottom + top / c)
        value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
