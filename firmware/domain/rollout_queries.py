"""Reads of roll-outs: lists, how one stands, its devices, and what a device has been through.

Every function takes an open scope. A scope that holds a device but not the roll-out's tenant sees
the device's history alone: targets and events, no roll-out, no wave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import (
    BigIntegerField,
    Count,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.functions import Coalesce

from devices.domain.catalogue import Page
from firmware.domain import rollout_words
from firmware.domain.rollout_operations import RolloutNotFound
from firmware.models import (
    HOLDING,
    OPEN,
    GateReview,
    Rollout,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    TargetState,
    UpdateEvent,
)

# Speed and estimate are those of the last minutes.
RECENT: Final = timedelta(minutes=5)
_LOADING: Final = (TargetState.OFFERED, TargetState.DOWNLOADING)


@dataclass(frozen=True, slots=True)
class WaveSummary:
    """A wave: `counts` are devices by state. `review` is what the telemetry gate said last."""

    wave: RolloutWave
    counts: Mapping[str, int]
    review: GateReview | None

    @property
    def devices(self) -> int:
        """How many devices it has now."""
        return sum(self.counts.values())

    @property
    def succeeded(self) -> int:
        """How many of them are updated."""
        return self.counts.get(TargetState.SUCCEEDED, 0)

    @property
    def failed(self) -> int:
        """How many of them have failed."""
        return self.counts.get(TargetState.FAILED, 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """How a roll-out stands. `reason` is a sentence, '' without one. `counts` are devices by state;
    `failures`, `retrying` and `skipped` devices by code (`rollout_words`). `granted` are the bytes
    per second given to present downloads, `bytes_per_s` those of payloads that were completed in
    the last minutes; `ends_at` is when it will be over if it goes on like that, None when that
    cannot be told.
    """

    rollout: Rollout
    reason: str
    waves: tuple[WaveSummary, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    retrying: Mapping[str, int]
    skipped: Mapping[str, int]
    downloads: int
    granted: int
    bytes_per_s: float
    ends_at: datetime | None
    rollbacks: tuple[Rollout, ...]

    @property
    def devices(self) -> int:
        """How many devices get something."""
        return sum(self.counts.values()) - self.counts.get(TargetState.SKIPPED, 0)

    @property
    def open(self) -> int:
        """How many devices have not come to their end."""
        return sum(self.counts.get(state, 0) for state in OPEN)

    @property
    def is_driven(self) -> bool:
        """Whether it has begun and is not over."""
        return self.rollout.started_at is not None and self.rollout.ended_at is None


def rollouts() -> QuerySet[Rollout]:
    """Roll-outs, the newest first, with `devices`, `succeeded`, `failed` and `waiting` (open ones)
    as counts; one query.
    """
    counted: dict[str, Any] = {
        "devices": _count(~Q(state=TargetState.SKIPPED)),
        "succeeded": _count(Q(state=TargetState.SUCCEEDED)),
        "failed": _count(Q(state=TargetState.FAILED)),
        "waiting": _count(Q(state__in=OPEN)),
    }
    return (
        Rollout.objects.select_related(
            "release", "release__device_type", "created_by", "approved_by", "tenant", "parent"
        )
        .annotate(**counted)
        .order_by("-created_at", "-pk")
    )


def _count(condition: Q) -> Coalesce:
    """How many targets of a roll-out satisfy something: paid for by the rows of a page alone."""
    counted = (
        RolloutTarget.objects.filter(condition, rollout=OuterRef("pk"))
        .order_by()
        .values("rollout")
        .annotate(number=Count("pk"))
        .values("number")
    )
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def rollout(*, rollout_id: int) -> Rollout:
    """One roll-out with the counts of `rollouts`; one query. Raises RolloutNotFound."""
    row = rollouts().filter(pk=rollout_id).first()
    if row is None:
        raise RolloutNotFound(f"roll-out {rollout_id}")
    return row


def rollout_page(*, limit: int, after: int = 0, state: str | None = None) -> Page[Rollout]:
    """Roll-outs by id, perhaps of one state; one query."""
    rows = rollouts().order_by("pk").filter(pk__gt=after)
    if state is not None:
        rows = rows.filter(state=state)
    found = list(rows[: limit + 1])
    return Page(tuple(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def summary(*, rollout_id: int, now: datetime) -> Summary:
    """How a roll-out stands; seven queries, however many devices it has. Raises RolloutNotFound."""
    row = rollout(rollout_id=rollout_id)
    by_wave: dict[int | None, dict[str, int]] = {}
    counts: dict[str, int] = {}
    codes: dict[str, dict[str, int]] = {}
    for wave_id, state, code, number in (
        RolloutTarget.objects.filter(rollout=row)
        .order_by()
        .values_list("wave_id", "state", "failure_code")
        .annotate(number=Count("pk"))
    ):
        of_wave = by_wave.setdefault(wave_id, {})
        of_wave[state] = of_wave.get(state, 0) + number
        counts[state] = counts.get(state, 0) + number
        if code:
            of_state = codes.setdefault(state, {})
            of_state[code] = of_state.get(code, 0) + number
    speed = _speed(row, now)
    left = sum(counts.get(state, 0) for state in OPEN)
    return Summary(
        rollout=row,
        reason=rollout_words.reason(row.state_reason, row.state_data),
        waves=_waves(row, by_wave),
        counts=counts,
        failures=codes.get(TargetState.FAILED, {}),
        retrying=codes.get(TargetState.WAITING, {}),
        skipped=codes.get(TargetState.SKIPPED, {}),
        downloads=speed.downloads,
        granted=speed.granted,
        bytes_per_s=speed.bytes / RECENT.total_seconds(),
        ends_at=_ends_at(row, left, speed.succeeded, now),
        rollbacks=tuple(Rollout.objects.filter(parent=row).order_by("pk")),
    )


@dataclass(frozen=True, slots=True)
class _Speed:
    """What goes on now, and what was completed in the last minutes."""

    downloads: int
    granted: int
    succeeded: int
    bytes: int


def _speed(row: Rollout, now: datetime) -> _Speed:
    loading = Q(state__in=_LOADING)
    recent = Q(state__in=(TargetState.INSTALLING, TargetState.SUCCEEDED), state_at__gt=now - RECENT)
    found = RolloutTarget.objects.filter(rollout=row).aggregate(
        downloads=Count("pk", filter=loading),
        granted=Sum("rate", filter=loading, default=0, output_field=BigIntegerField()),
        succeeded=Count("pk", filter=recent & Q(state=TargetState.SUCCEEDED)),
        bytes=Sum("payload_size", filter=recent, default=0, output_field=BigIntegerField()),
    )
    return _Speed(**found)


def _ends_at(row: Rollout, left: int, succeeded: int, now: datetime) -> datetime | None:
    """At the pace of the last minutes; soaks and approvals are not foreseen."""
    if row.state != RolloutState.RUNNING or not succeeded or not left:
        return None
    return now + left / succeeded * RECENT


def _waves(
    row: Rollout, by_wave: Mapping[int | None, Mapping[str, int]]
) -> tuple[WaveSummary, ...]:
    waves = list(RolloutWave.objects.filter(rollout=row).select_related("approved_by"))
    reviews = {
        review.wave_id: review
        for review in GateReview.objects.filter(rollout=row)
        .order_by("wave_id", "-look")
        .distinct("wave_id")
    }
    return tuple(
        WaveSummary(wave, by_wave.get(wave.pk, {}), reviews.get(wave.pk))
        for wave in sorted(waves, key=lambda wave: wave.number)
    )


def targets(
    *,
    rollout_id: int,
    state: str | None = None,
    wave: int | None = None,
    code: str | None = None,
) -> QuerySet[RolloutTarget]:
    """The devices of a roll-out by id with all that a list shows, perhaps of one state, of the wave
    with a number, or with a failure code.
    """
    rows = RolloutTarget.objects.filter(rollout_id=rollout_id).select_related(
        "device", "device__facility", "wave", "release"
    )
    wanted: dict[str, Any] = {"state": state, "wave__number": wave, "failure_code": code}
    return rows.filter(
        **{name: value for name, value in wanted.items() if value is not None}
    ).order_by("pk")


def target_page(
    *,
    rollout_id: int,
    limit: int,
    after: int = 0,
    state: str | None = None,
    wave: int | None = None,
    code: str | None = None,
) -> Page[RolloutTarget]:
    """`targets` by id, behind one; one query."""
    rows = targets(rollout_id=rollout_id, state=state, wave=wave, code=code)
    found = list(rows.filter(pk__gt=after)[: limit + 1])
    return Page(tuple(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def events(*, target_id: int) -> QuerySet[UpdateEvent]:
    """What happened to a device in a roll-out, in order."""
    return UpdateEvent.objects.filter(target_id=target_id).order_by("at", "pk")


def device_history(*, device_id: int) -> QuerySet[RolloutTarget]:
    """The updates of a device, the newest first: `from_version`, `to_version`, `state`,
    `failure_code`, `state_at`. Those that it was left out of are not told.
    """
    rows = RolloutTarget.objects.filter(device_id=device_id)
    return rows.exclude(state=TargetState.SKIPPED).order_by("-pk")


def under_way(*, device_id: int) -> RolloutTarget | None:
    """The update that has a device now, or the next one that wants it; one query."""
    rows = RolloutTarget.objects.filter(device_id=device_id, state__in=OPEN)
    ordered = sorted(rows, key=lambda row: (row.state not in HOLDING, -row.priority, row.pk))
    return ordered[0] if ordered else None
