"""Which targets of a roll-out a step looks at: what is under way, and of those that wait no more
than it can do something for, however many there are and however long they have been away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from django.db.models import Exists, F, OuterRef, QuerySet, Value
from django.db.models.functions import Coalesce

from devices.telemetry import status
from firmware.domain import rollout_rows
from firmware.models import HOLDING, OPEN, Medium, Rollout, RolloutTarget, TargetState
from firmware.rollout import engine
from firmware.rollout.values import Goal, Phase, State, Target, Wave, WavePhase
from firmware.rollout.values import Rollout as RolloutValue

# Targets that wait and are there, looked at in one step; and of those that ask by themselves and
# have not asked for long.
MOST_WAITING: Final = 1500
MOST_SILENT: Final = 500
_UNDER_WAY: Final = (TargetState.OFFERED, TargetState.DOWNLOADING, TargetState.INSTALLING)


@dataclass(frozen=True, slots=True)
class Found:
    """Targets; `partial`: there are more that something could be done for."""

    targets: tuple[Target, ...]
    partial: bool


def read(
    row: Rollout,
    value: RolloutValue,
    waves: Sequence[Wave],
    wave_ids: Mapping[int, int],
    *,
    now: datetime,
) -> Found:
    """The targets for a step; `wave_ids` are the rows of the waves by number."""
    reader = _Reader(row, value, waves, wave_ids, now)
    return Found(reader.targets(), reader.partial)


class _Reader:
    """Reads once."""

    def __init__(
        self,
        row: Rollout,
        value: RolloutValue,
        waves: Sequence[Wave],
        wave_ids: Mapping[int, int],
        now: datetime,
    ) -> None:
        self.row, self.value, self.waves, self.now = row, value, waves, now
        self.wave_ids = wave_ids
        self.numbers = {pk: number for number, pk in wave_ids.items()}
        self.goals = self._goals()
        self.partial = False

    def targets(self) -> tuple[Target, ...]:
        """All of them, but for those that wait and of whom no more is looked at in a step."""
        rows = RolloutTarget.objects.filter(rollout=self.row)
        under_way = rows.filter(state__in=_UNDER_WAY)
        if self.value.phase is Phase.ABORTED:
            return self._read(rows.filter(state__in=OPEN))
        if self.value.phase is not Phase.RUNNING:
            return self._read(under_way)
        return (*self._read(under_way), *self._waiting(rows), *self._pending(rows))

    def _waiting(self, rows: QuerySet[RolloutTarget]) -> tuple[Target, ...]:
        """Who waits and is there, no more than a step can do. Of the others those to be called off,
        and some that ask by themselves: whether they are there shows when they are offered it.
        """
        begun, over = self._begun(TargetState.WAITING), self._over()
        if not begun:
            return ()
        there = Coalesce(status.connected(F("device_id")), Value(value=False))
        waiting = rows.filter(state=TargetState.WAITING, wave__in=begun).annotate(there=there)
        silent = waiting.filter(medium=Medium.DDI, there=False).exclude(wave__in=over)
        return (
            *self._some(waiting.filter(there=True), MOST_WAITING),
            *self._any(silent, MOST_SILENT),
            *(self._some(waiting.filter(there=False, wave__in=over), MOST_WAITING) if over else ()),
        )

    def _pending(self, rows: QuerySet[RolloutTarget]) -> tuple[Target, ...]:
        """Whose turn it is and who can be had, no more than a step can do; and who is to be called
        off, because another roll-out has kept it for too long.
        """
        begun, over = self._begun(TargetState.PENDING), self._over()
        if not begun:
            return ()
        pending = rows.filter(state=TargetState.PENDING, wave__in=begun)
        others = RolloutTarget.objects.filter(device=OuterRef("device"), state__in=HOLDING).exclude(
            rollout=self.row
        )
        fresh = others.filter(
            state=TargetState.WAITING, sent_at=None, priority__lt=self.row.priority
        )
        kept = pending.filter(Exists(others), wave__in=over)
        return (
            *self._some(pending.filter(~Exists(others) | Exists(fresh)), engine.MOST_CLAIMS),
            *(self._some(kept, engine.MOST_CLAIMS) if over else ()),
        )

    def _begun(self, state: TargetState) -> list[int]:
        """The waves that have begun and have devices in a state."""
        return [
            self.wave_ids[wave.number]
            for wave in self.waves
            if wave.phase is not WavePhase.PENDING and wave.counts.get(State(state))
        ]

    def _over(self) -> list[int]:
        """The waves in which nobody who is away is waited for any longer."""
        join = timedelta(days=self.value.strategy.join_days)
        return [
            self.wave_ids[wave.number]
            for wave in self.waves
            if wave.started_at and self.now - wave.started_at > join
        ]

    def _some(self, rows: QuerySet[RolloutTarget], most: int) -> tuple[Target, ...]:
        """`_any`; the step knows when these may not be all."""
        found = self._any(rows, most)
        self.partial |= len(found) == most
        return found

    def _any(self, rows: QuerySet[RolloutTarget], most: int) -> tuple[Target, ...]:
        """At most so many, beginning anywhere, so that each has its turn."""
        start = uuid4()
        ordered = rows.order_by("update_uid")
        found = self._read(ordered.filter(update_uid__gte=start)[:most])
        if len(found) < most:
            found += self._read(ordered.filter(update_uid__lt=start)[: most - len(found)])
        return found

    def _read(self, rows: QuerySet[RolloutTarget]) -> tuple[Target, ...]:
        return rollout_rows.targets(rows, lambda release_id: self.goals[release_id], self.numbers)

    def _goals(self) -> dict[int, Goal]:
        """What its releases are to devices."""
        if self.row.release_id is not None:
            return rollout_rows.goals([self.row.release_id], lower=rollout_rows.lowers(self.row))
        release_ids = (
            RolloutTarget.objects.filter(rollout=self.row, release__isnull=False)
            .order_by()
            .values_list("release_id", flat=True)
            .distinct()
        )
        return rollout_rows.goals(list(release_ids), lower=rollout_rows.lowers(self.row))
