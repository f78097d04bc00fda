"""Who comes in which wave: decided once by a hash, and the same whoever joins later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from firmware.rollout.strategy import WaveSize


def place(seed: int, device_id: int) -> float:
    """Where a device stands in the order of a roll-out: in [0, 1), the same whenever it is asked.

    `seed` is the roll-out's number, so that it is not always the same devices that come first.
    """
    digest = hashlib.blake2b(f"{seed}:{device_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def wave_ends(sizes: Sequence[WaveSize], total: int) -> tuple[int, ...]:
    """How many devices have been reached after each wave, rising, the last time all of them.

    Sizes that add nobody (2 % of 20 devices are one, as 1 % is) are left out. None without devices.
    """
    ends: list[int] = []
    for size in sizes:
        reached = size.reached(total)
        if reached > (ends[-1] if ends else 0):
            ends.append(reached)
    if total and (not ends or ends[-1] < total):
        ends.append(total)
    return tuple(ends)


def assign(seed: int, device_ids: Iterable[int], sizes: Sequence[WaveSize]) -> dict[int, int]:
    """The wave (from 1) of each device. Depends on the devices alone, not on their order."""
    ordered = sorted(device_ids, key=lambda device_id: (place(seed, device_id), device_id))
    waves: dict[int, int] = {}
    start = 0
    for number, end in enumerate(wave_ends(sizes, len(ordered)), 1):
        waves.update(dict.fromkeys(ordered[start:end], number))
        start = end
    return waves


def wave_of_newcomer(
    seed: int, device_id: int, last_places: Mapping[int, float], first_open: int
) -> int:
    """The wave of a device that joins later: that in whose part of the order it stands, so that
    nobody else moves; the first that still runs when that one is over.

    `last_places` is, for each wave, the greatest place of its devices.
    """
    mine = place(seed, device_id)
    fitting = [number for number, last in sorted(last_places.items()) if mine <= last]
    return max(fitting[0] if fitting else max(last_places), first_open)
