"""How much sound devices vary, told from the control group.

What a device shows has mean μ and variance φμ + τ²μ²: φ is how far events come in bursts, τ how far
devices depart from what was expected of them (a negative binomial over bursts; P. McCullagh,
J. A. Nelder, Generalized Linear Models, 1989, chapters 6 and 9). Devices of a facility share
outages: the covariance of two is ρμμ'. All three are estimated by moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from firmware.gate.comparison import Floats, Int64s

# Fewer pairs of devices that share a facility tell too little of what they share.
_LEAST_PAIRS: Final = 20
# What they are then taken to share, of how far a device departs.
_ASSUMED_SHARE: Final = 0.3
# So many events are needed to tell bursts from single ones; until then pairs are assumed.
_TELLING_EVENTS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Dispersion:
    """`bursts` is φ, in the unit of the metric; `spread` τ²; `shared` ρ.

    `freedom`: how many normally distributed values would tell as much of the variance.
    """

    bursts: float
    spread: float
    shared: float
    freedom: float


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Which devices stand or fall together: a number for each, from 0."""

    number: Int64s
    count: int

    @classmethod
    def of(cls, names: Int64s) -> Units:
        """Number whatever tells units apart."""
        found, number = np.unique(names, return_inverse=True)
        return cls(number, len(found))

    def sums(self, values: Floats) -> Floats:
        """The sum of each unit."""
        return np.bincount(self.number, values, minlength=self.count).astype(np.float64)


def fit(residual: Floats, mean: Floats, units: Units, grain: float) -> Dispersion:
    """The dispersion of some devices with what they showed beyond their means; φ ≥ `grain`."""
    events = float(mean.sum()) / grain
    least = grain * (1 + _TELLING_EVENTS / (_TELLING_EVENTS + events))
    if events <= 0:
        return Dispersion(bursts=least, spread=0.0, shared=0.0, freedom=float(len(mean)))
    square = residual**2
    bursts, spread = _bursts_and_spread(square[mean > 0], mean[mean > 0], least)
    members = np.bincount(units.number)
    shared = _ASSUMED_SHARE * spread
    if int((members * (members - 1) // 2).sum()) >= _LEAST_PAIRS:
        products = (units.sums(residual) ** 2).sum() - square.sum()
        means = (units.sums(mean) ** 2).sum() - (mean**2).sum()
        shared = max(0.0, float(products / means)) if means > 0 else 0.0
    return Dispersion(bursts, spread, shared, _freedom(units.sums(residual) ** 2))


def _bursts_and_spread(square: Floats, mean: Floats, least: float) -> tuple[float, float]:
    """Solve Σr²/μ = φn + τ²Σμ and Σr² = φΣμ + τ²Σμ² for φ ≥ `least` and τ² ≥ 0."""
    n, total, squares = len(mean), float(mean.sum()), float((mean**2).sum())
    relative, absolute = float((square / mean).sum()), float(square.sum())
    determinant = n * squares - total**2
    # Means that are all alike cannot tell the two apart, and need not.
    if determinant <= 1e-9 * n * squares:
        return max(least, absolute / total), 0.0
    bursts = (relative * squares - absolute * total) / determinant
    spread = (n * absolute - total * relative) / determinant
    if spread < 0:
        return max(least, absolute / total), 0.0
    if bursts < least:
        return least, max(0.0, (absolute - least * total) / squares)
    return bursts, spread


def _freedom(square: Floats) -> float:
    """Of the sum of some squares, by their own variance (F. E. Satterthwaite, 1946)."""
    beyond = float(((square - square.mean()) ** 2).sum())
    return 2 * float(square.sum()) ** 2 / beyond if beyond > 0 else float(len(square))


def cumulants_of(
    dispersion: Dispersion, mean: Floats, weight: Floats, units: Units
) -> tuple[float, float]:
    """Variance and third cumulant of the weighted sum of what devices with these means show.

    With V the variance of a unit and W what is beyond φμ, its third cumulant is V²/μ + W²/μ + φW,
    exact for Poisson, bursts of one size, gamma and negative binomial.
    """
    means = units.sums(weight * mean)
    squares = units.sums((weight * mean) ** 2)
    plain = dispersion.bursts * units.sums(weight**2 * mean)
    beyond = dispersion.spread * squares + dispersion.shared * (means**2 - squares)
    variance = plain + beyond
    seen = means > 0
    variance, beyond, means = variance[seen], beyond[seen], means[seen]
    largest = float(weight.max()) if len(weight) else 0.0
    third = (variance**2 + beyond**2) / means + dispersion.bursts * largest * beyond
    return float(variance.sum()), float(third.sum())
