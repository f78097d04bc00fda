"""The conservation ledger: what a device has sent is stored, or it is said where it went.

For each device and hour of arrival, counted in the transaction that stores:

    sent = stored + quarantined + skipped + other + duplicate + under way
    committed = sum of (stored + quarantined + skipped + other) over all hours
    rows of telemetry_frame = sum of stored

What is under way is `produced - committed`. A duplicate is a message that the device sent again; an
arrival that merely came out of the queue twice, because a writer or Redis died between commit and
acknowledgement, is counted once. It is recognised by its time of arrival, which is then not after
the latest arrival committed of that device; a true duplicate is missed by that only if it comes
through another bridge whose clock is behind by more than the time between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.ingest.queue import Envelopes
from devices.ingest.writer_classify import Classified, Outcome

Int64 = NDArray[np.int64]

_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Increments:
    """What a batch adds to `ledger_hour`: k rows, distinct in (device, hour).

    `device` is the index of the cursor; `hour_us` the start of the hour of arrival (Unix µs).
    """

    device: Int64
    hour_us: Int64
    stored: Int64
    duplicate: Int64
    quarantined: Int64
    skipped: Int64
    other: Int64
    stored_values: Int64


def increments(envelopes: Envelopes, classified: Classified) -> Increments:
    """What the ledger gains by n classified messages."""
    outcome = classified.outcome
    counted = np.flatnonzero(outcome <= Outcome.DUPLICATE)
    outcome = outcome[counted]
    hour = envelopes["received_us"][counted] // _HOUR_US
    first_hour = int(hour.min()) if len(hour) else 0
    hours = int(hour.max()) - first_hour + 1 if len(hour) else 1
    key = classified.device[counted] * hours + (hour - first_hour)
    keys, row = np.unique(key, return_inverse=True)

    def count(wanted: Outcome) -> Int64:
        return np.bincount(row[outcome == wanted], minlength=len(keys))

    # A gap may cover any range of 63 bits: integers, where bincount's weights are doubles.
    skipped = np.zeros(len(keys), np.int64)
    gaps = outcome == Outcome.SKIPPED
    np.add.at(skipped, row[gaps], classified.consumed[counted][gaps])
    stored = outcome == Outcome.STORED
    values = np.bincount(row[stored], envelopes["values"][counted][stored], len(keys))
    return Increments(
        device=keys // hours,
        hour_us=(keys % hours + first_hour) * _HOUR_US,
        stored=count(Outcome.STORED),
        duplicate=count(Outcome.DUPLICATE),
        quarantined=count(Outcome.QUARANTINED),
        skipped=skipped,
        other=count(Outcome.OTHER),
        stored_values=values.astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class DeviceTotals:
    """One device: its cursor, the sums of its ledger, and its rows in `telemetry_frame`."""

    device_id: int
    committed: int
    produced: int
    stored: int
    duplicate: int
    quarantined: int
    skipped: int
    other: int
    frames: int
    # Frames whose sequence number another frame of the device has as well: a doubled frame and a
    # lost one would cancel out in the counts.
    doubled: int = 0

    @property
    def under_way(self) -> int:
        """Messages that the device has produced and that are not committed yet."""
        return self.produced - self.committed

    @property
    def sent(self) -> int:
        """Messages that the device has produced, and those that it sent more than once."""
        return self.produced + self.duplicate


@dataclass(frozen=True, slots=True)
class Imbalance:
    """A device whose numbers do not add up; `problem` is a sentence for the log."""

    device_id: int
    problem: str


def check(totals: Sequence[DeviceTotals]) -> list[Imbalance]:
    """Every violation of the conservation rules, in the order of `totals`; empty when balanced."""
    found = []
    for row in totals:
        accounted = row.stored + row.quarantined + row.skipped + row.other
        problems = []
        if row.committed != accounted:
            problems.append(f"{row.committed} committed, but {accounted} in the ledger")
        if row.stored != row.frames:
            problems.append(f"{row.stored} stored in the ledger, but {row.frames} frames")
        if row.doubled:
            problems.append(f"{row.doubled} frames with a sequence number that is stored already")
        if row.produced < row.committed:
            problems.append(f"{row.committed} committed of {row.produced} produced")
        found += [Imbalance(row.device_id, problem) for problem in problems]
    return found
