"""Whom an updated device is compared with: strata, from the nearest devices to any."""

from __future__ import annotations

from typing import Final

import numpy as np

from firmware.gate.comparison import Bools, Int64s, Park

# So many that were not updated make a stratum: next to an updated device in its own facility a few
# do, because what happens to the place happens to both.
_IN_FACILITY: Final = 5
_AT_LARGE: Final = 20
# And this many for each updated one: fewer would leave less known than what is gained by nearness.
_FOR_EACH: Final = 2


def strata(park: Park, usable: Bools) -> tuple[Int64s, Bools]:
    """The stratum of each device, -1 for none, and whether it is a single facility.

    In turn: the same facility, the same tenant and kind of facility, the same kind, all that are
    left. Each takes the devices of the places that have enough of both; a device is in one stratum
    alone, so that none counts twice.
    """
    n = len(park.device)
    found = np.full(n, -1, np.int64)
    local = np.zeros(n, np.bool_)
    everywhere = np.zeros(n, np.int64)
    levels = (
        ((park.facility,), _IN_FACILITY, _FOR_EACH),
        ((park.tenant, park.kind), _AT_LARGE, 0),
        ((park.kind,), _AT_LARGE, 0),
        ((everywhere,), 1, 0),
    )
    following = 0
    for number, (keys, least, for_each) in enumerate(levels):
        open_ = np.flatnonzero(usable & (found < 0))
        if not len(open_):
            break
        place = _places([key[open_] for key in keys])
        updated = np.bincount(place[park.updated[open_]], minlength=place.max() + 1)
        others = np.bincount(place[~park.updated[open_]], minlength=place.max() + 1)
        enough = (others >= least) & (others >= for_each * updated)
        taken = ((updated > 0) & enough)[place]
        found[open_[taken]] = following + place[taken]
        local[open_[taken]] = number == 0
        following += int(place.max()) + 1
    return found, local


def _places(keys: list[Int64s]) -> Int64s:
    """Numbers from 0 that tell combinations of keys apart."""
    combined = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        number = np.unique(key, return_inverse=True)[1]
        combined = combined * (int(number.max()) + 1) + number
    return np.unique(combined, return_inverse=True)[1]
