"""What was measured of updated devices and of those that were not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from firmware.gate.metrics import Metric

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Park:
    """Who is compared, (n,) each: whether updated, and where the device stands.

    `facility`, `tenant` and `kind` (of the facility) are any numbers that tell them apart.
    """

    device: Int64s
    updated: Bools
    facility: Int64s
    tenant: Int64s
    kind: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """One metric of every device of the park, (n,) each.

    `amount` over `exposure` device-days since the wave; `past_amount` over `past_exposure` at the
    same clock times before the roll-out. An exposure of 0: not measured.
    """

    amount: Floats
    exposure: Floats
    past_amount: Floats
    past_exposure: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All that a judgement rests on.

    Measured in [begins_at, evidence_until), by what had arrived. It is look number `look` (from 1)
    of a wave, in a roll-out whose gate is asked after `waves` waves.
    """

    park: Park
    measures: Mapping[Metric, Measure]
    begins_at: datetime
    evidence_until: datetime
    waves: int = 1
    look: int = 1
