"""The channels that agreements are billed by, with their shares; and shares of whole numbers.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
from django.db.models import QuerySet

from billing.models import AgreementMeter, Flow
from billing.tariffs.values import Int64s
from devices.telemetry.segment_store import milliseconds

# Shares have eight decimals: as integers of this they are exact.
WHOLE: Final = 10**8
_FOR_EVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Metered:
    """A channel that an agreement is billed by in [start_ms, end_ms), ms since the Unix epoch.

    `share` is in units of 1 / WHOLE, negative where it is taken off. `derived`: a formula computes
    the channel.
    """

    id: int
    agreement_id: int
    channel_id: int
    device_id: int
    number: int
    quantity: str
    derived: bool
    flow: Flow
    share: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time [start_ms, end_ms) in which a meter has the part (`low`, `high`] of its channel."""

    start_ms: int
    end_ms: int
    low: int
    high: int
    negative: bool


def meters_of(
    agreement_ids: Sequence[int], *, start: datetime, end: datetime
) -> dict[int, list[Metered]]:
    """The meters of agreements in [start, end), by agreement; one query."""
    rows = AgreementMeter.objects.filter(agreement_id__in=list(agreement_ids), starts_at__lt=end)
    found: dict[int, list[Metered]] = defaultdict(list)
    for one in _metered(rows.exclude(ends_at__lte=start)):
        found[one.agreement_id].append(one)
    return found


def stretches_of(meters: Sequence[Metered]) -> dict[int, list[Stretch]]:
    """By meter, which part of its channel it has and when; one query where channels are shared.

    Those that share a channel stand in the order of their entries, each with the part that begins
    where the one before ends, what is taken off by itself: so parts that make 1 make the whole.
    """
    shared = [one for one in meters if abs(one.share) != WHOLE]
    beside: dict[tuple[int, Flow, bool], list[Metered]] = defaultdict(list)
    if shared:
        rows = AgreementMeter.objects.filter(channel_id__in={one.channel_id for one in shared})
        for one in _metered(rows):
            beside[one.channel_id, one.flow, one.share < 0].append(one)
    whole = {one.id for one in meters} - {one.id for one in shared}
    return {
        one.id: [Stretch(one.start_ms, one.end_ms, 0, WHOLE, one.share < 0)]
        if one.id in whole
        else _stretches(one, beside[one.channel_id, one.flow, one.share < 0])
        for one in meters
    }


def part_of(milliwh: Int64s, stretch: Stretch) -> Int64s:
    """The part of each whole number (n,): what is rounded at its upper end less what is rounded at
    its lower one, half up.
    """
    part = _up_to(milliwh, stretch.high) - _up_to(milliwh, stretch.low)
    return -part if stretch.negative else part


def _up_to(milliwh: Int64s, share: int) -> Int64s:
    if share == WHOLE:
        return milliwh
    # In two steps, since the product of both may be beyond 2⁶³.
    whole, rest = np.divmod(milliwh, WHOLE)
    rounded: Int64s = whole * share + (2 * rest * share + WHOLE) // (2 * WHOLE)
    return rounded


def _stretches(own: Metered, beside: Sequence[Metered]) -> list[Stretch]:
    """The times in which the same entries share a channel with this one."""
    before = [
        one
        for one in beside
        if one.id < own.id and one.start_ms < own.end_ms and one.end_ms > own.start_ms
    ]
    edges = {own.start_ms, own.end_ms}
    for one in before:
        edges |= {at for at in (one.start_ms, one.end_ms) if own.start_ms < at < own.end_ms}
    ordered = sorted(edges)
    found = []
    for start, end in pairwise(ordered):
        low = sum(abs(one.share) for one in before if one.start_ms <= start < one.end_ms)
        found.append(Stretch(start, end, low, low + abs(own.share), own.share < 0))
    return found


def _metered(rows: QuerySet[AgreementMeter]) -> list[Metered]:
    return [
        Metered(
            id=pk,
            agreement_id=agreement_id,
            channel_id=channel_id,
            device_id=device_id,
            number=number,
            quantity=quantity,
            derived=derived,
            flow=Flow(flow),
            share=int(share * WHOLE),
            start_ms=milliseconds(starts_at),
            end_ms=_FOR_EVER if ends_at is None else milliseconds(ends_at),
        )
        for (
            pk, agreement_id, channel_id, device_id, number, quantity, derived, flow, share,
            starts_at, ends_at,
        ) in rows.order_by("pk").values_list(
            "pk", "agreement_id", "channel_id", "channel__device_id", "channel__number",
            "channel__quantity", "channel__derived", "flow", "share", "starts_at", "ends_at",
        )
    ]  # fmt: skip
