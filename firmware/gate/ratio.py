"""How many times as much the updated devices show, and how sure that is.

The ratio is that of Mantel and Haenszel (1959; for rates K. J. Rothman, J. D. Boice, 1979): in each
stratum what the updated showed against what the others showed, both relative to what was expected
of them. Whether a ratio of θ could have given what was seen is asked by a score test: the excess
N - θD of the updated, against its distribution if they were θ times the control group. Mean,
variance and skewness of that distribution come from the control group (`dispersion.py`), because
few updated devices cannot tell how much a sound device varies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from firmware.gate.comparison import Bools, Floats, Int64s
from firmware.gate.dispersion import Dispersion, Units, cumulants_of, fit
from firmware.gate.gamma import student, upper_tail
from firmware.gate.metrics import MetricInfo

# Ratios are looked for between these; beyond them they are told as none and endless.
_LEAST: Final = 1e-3
_MOST: Final = 1e3
_HALVINGS: Final = 40
# How many times what was expected of it a device counts at most.
_MOST_COUNTED: Final = 5.0
# A rate that rests on fewer events than this is drawn towards that of all strata.
_PRIOR_EVENTS: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """One metric of the devices that are compared, (n,) each; every stratum has both.

    `unit`: what stands or falls together, a facility or, in a stratum that is one, a device.
    """

    updated: Bools
    stratum: Int64s
    unit: Int64s
    amount: Floats
    expected: Floats
    exposure: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """The ratio of updated to control and the probabilities of what was seen."""

    info: MetricInfo
    numerator: float
    denominator: float
    # Of each stratum, weighted: what all showed, and what was expected of updated and control.
    shown: Floats
    expected_updated: Floats
    expected_control: Floats
    common: float
    updated: _Side
    control: _Side
    dispersion: Dispersion
    # Of the denominator, as the control group itself shows it.
    least_variance: float

    @property
    def value(self) -> float:
        """The estimate."""
        return self.numerator / self.denominator

    def p_worse(self, ratio: float) -> float:
        """How likely this much or more would be if the true ratio were `ratio`."""
        excess = self.numerator - ratio * self.denominator - self._half_step()
        variance, third = self._moments(ratio)
        return upper_tail(student(excess, variance, self.dispersion.freedom), variance, third)

    def p_better(self, ratio: float) -> float:
        """How likely this much or less would be if the true ratio were `ratio`."""
        lack = ratio * self.denominator - self.numerator - self._half_step()
        variance, third = self._moments(ratio)
        return upper_tail(student(lack, variance, self.dispersion.freedom), variance, -third)

    def at_least(self, probability: float) -> float:
        """The lower bound: a smaller ratio would give this much with less than `probability`."""
        return _crossing(lambda ratio: self.p_worse(ratio) > probability)

    def at_most(self, probability: float) -> float:
        """The upper bound: a larger ratio would give this little with less than `probability`."""
        return _crossing(lambda ratio: self.p_better(ratio) <= probability)

    def _half_step(self) -> float:
        """Counts come in steps: half of the least one, as a correction for continuity."""
        return 0.5 * self.info.step * float(self.updated.weight.min())

    def _moments(self, ratio: float) -> tuple[float, float]:
        """Variance and third cumulant of the excess if the true ratio were `ratio`."""
        prior = _PRIOR_EVENTS * self.info.grain
        rate = (self.shown + prior * self.common) / (
            ratio * self.expected_updated + self.expected_control + prior
        )
        mean = rate[self.updated.stratum] * self.updated.expected
        lacking = self.denominator - float((self.updated.weight * mean).sum())
        if lacking > 0:
            whole = float((self.updated.weight * self.updated.expected).sum())
            mean = mean + self.updated.expected * (lacking / whole)
        of_control = rate[self.control.stratum] * self.control.expected
        variance, third = self.updated.cumulants(self.dispersion, ratio * mean)
        control_variance, control_third = self.control.cumulants(self.dispersion, of_control)
        return (
            variance + ratio**2 * max(control_variance, self.least_variance),
            third - ratio**3 * control_third,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The updated, or the control group: the weight of each device in the excess."""

    stratum: Int64s
    units: Units
    expected: Floats
    weight: Floats

    def cumulants(self, dispersion: Dispersion, mean: Floats) -> tuple[float, float]:
        return cumulants_of(dispersion, mean, self.weight, self.units)


def compare(matched: Matched, info: MetricInfo) -> Ratio:
    """Compare the updated with the control group.

    What a device shows counts up to five times what was expected of it (`info.cap` at least), so
    that one device in trouble does not speak for all. Devices of which much is expected count less
    than in proportion, by as much as they vary more: the weights of quasi-likelihood.
    """
    control, updated = ~matched.updated, matched.updated
    amount = _capped(matched, info)
    count = int(matched.stratum.max()) + 1
    units = Units.of(matched.unit[control])
    residual, mean = _residuals(matched, amount, np.ones(len(amount)), count)
    dispersion = fit(residual, mean, units, info.grain)
    common = float(amount[control].sum() / matched.expected[control].sum())
    trust = dispersion.bursts / (dispersion.bursts + dispersion.spread * common * matched.expected)

    def by_stratum(values: Floats, who: Bools) -> Floats:
        sums = np.bincount(matched.stratum[who], (trust * values)[who], minlength=count)
        return sums.astype(np.float64)

    shown = by_stratum(amount, control)
    expected_c = by_stratum(matched.expected, control)
    expected_u = by_stratum(matched.expected, updated)
    together = expected_c + expected_u
    weight = trust * np.where(updated, expected_c[matched.stratum], expected_u[matched.stratum])
    weight = weight / together[matched.stratum]

    floor = info.floor * float((weight * matched.exposure)[updated].sum())
    residual, _ = _residuals(matched, amount, trust, count)
    return Ratio(
        info=info,
        numerator=float((weight * amount)[updated].sum()),
        denominator=max(float((weight * amount)[control].sum()), floor),
        shown=shown + by_stratum(amount, updated),
        expected_updated=expected_u,
        expected_control=expected_c,
        common=common,
        updated=_side(matched, updated, weight),
        control=_side(matched, control, weight),
        dispersion=dispersion,
        least_variance=float((units.sums(weight[control] * residual) ** 2).sum()),
    )


def _side(matched: Matched, who: Bools, weight: Floats) -> _Side:
    return _Side(
        stratum=matched.stratum[who],
        units=Units.of(matched.unit[who]),
        expected=matched.expected[who],
        weight=weight[who],
    )


def _residuals(
    matched: Matched, amount: Floats, trust: Floats, count: int
) -> tuple[Floats, Floats]:
    """Of the control group: what it showed beyond its stratum's rate, and that rate's amount."""
    control = ~matched.updated
    stratum, expected = matched.stratum[control], matched.expected[control]
    trust, amount = trust[control], amount[control]
    whole = np.bincount(stratum, trust * expected, minlength=count)
    shown = np.bincount(stratum, trust * amount, minlength=count)
    rate = np.divide(shown, whole, out=np.zeros(count), where=whole > 0)
    mean = rate[stratum] * expected
    # A stratum's own rate takes one degree of freedom from its residuals.
    members = np.bincount(stratum, minlength=count).astype(np.float64)
    freedom = np.sqrt(members / np.maximum(members - 1, 1))[stratum]
    return (amount - mean) * freedom, mean


def _capped(matched: Matched, info: MetricInfo) -> Floats:
    """Amounts up to five times what was expected, told by what became of the control group."""
    control = ~matched.updated
    common = float(matched.amount[control].sum() / matched.expected[control].sum())
    return np.minimum(
        matched.amount, np.maximum(_MOST_COUNTED * common * matched.expected, info.cap)
    )


def _crossing(is_beyond: Callable[[float], bool]) -> float:
    """Where a condition that holds for all larger ratios begins to hold; 0 or infinity outside."""
    low, high = math.log(_LEAST), math.log(_MOST)
    if is_beyond(_LEAST):
        return 0.0
    if not is_beyond(_MOST):
        return math.inf
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if is_beyond(math.exp(middle)):
            high = middle
        else:
            low = middle
    return math.exp((low + high) / 2)
