"""What is to be expected of a device, from its own past.

The past of a device foretells it only so far: a rate that rests on two events in a week is mostly
chance. Its own rate and that of all devices are weighted as in credibility theory (H. Bühlmann,
E. Straub, 1970): own exposure against a constant. The constant is the one that would have foretold
the control group best, so what is learned about the past never looks at the updated devices.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from firmware.gate.comparison import Bools, Floats, Measure
from firmware.gate.metrics import MetricInfo

_NOTHING: Final = 1e-9
# Weights of the common rate that are tried, as multiples of the usual exposure; without any of
# them the past is left out.
_WEIGHTS: Final = (20.0, 7.0, 2.5, 1.0, 0.4, 0.15, 0.05, 0.02)
# The common rate weighs at least as much as a past in which so many events are usual: whether a
# device has had one event or none in a week is chance.
_LEAST_EVENTS: Final = 0.5


def expected(measure: Measure, control: Bools, info: MetricInfo) -> Floats:
    """What each device is expected to show, up to a factor that is common to all.

    `control`: those of the devices that the weight is learned from.
    """
    exposure = measure.past_exposure
    common = max(float(measure.past_amount.sum() / exposure.sum()), info.floor)
    usual = float(np.median(exposure))
    best = measure.exposure * common
    least_error = _deviance(measure.amount[control], best[control])
    # A nearer fit has to be worth a parameter.
    worth = 2 * least_error / max(1, int(control.sum()))
    for weight in _WEIGHTS:
        prior = max(weight * usual, _LEAST_EVENTS * info.grain / common)
        rate = (measure.past_amount + prior * common) / (exposure + prior)
        foretold = measure.exposure * rate
        error = _deviance(measure.amount[control], foretold[control])
        if error < least_error - worth:
            best, least_error, worth = foretold, error, 0.0
    return best


def _deviance(amount: Floats, foretold: Floats) -> float:
    """Of Poisson's distribution, after the common factor (P. McCullagh, J. A. Nelder, 1989)."""
    total = float(amount.sum())
    if total <= 0:
        return 0.0
    scaled = foretold * (total / float(foretold.sum()))
    seen = amount > _NOTHING
    return 2 * float((amount[seen] * np.log(amount[seen] / scaled[seen])).sum())
