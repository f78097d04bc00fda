"""Drives roll-outs: reads how things stand, asks the engine, stores what it answers, and sends.

A tick takes what devices have said, then brings each roll-out one step on, in a transaction of its
own that holds the roll-out's row. Ticks may overlap, be killed or be repeated: what was not stored
has not happened, and what was sent is sent again until the device answers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Sum

from devices.domain import downlink, inbox
from devices.telemetry import firmware_facts
from firmware.domain import (
    gate_operations,
    policy_queries,
    reports,
    rollout_offers,
    rollout_reading,
    rollout_rollback,
    rollout_rows,
)
from firmware.models import (
    HOLDING,
    GateReview,
    Medium,
    Rollout,
    RolloutTarget,
    RolloutWave,
    TargetState,
    WaveState,
)
from firmware.rollout import engine
from firmware.rollout.values import (
    Decision,
    Event,
    Holder,
    Limit,
    Phase,
    Review,
    State,
    Use,
    View,
    Wave,
)
from tenants.domain import audit
from tenants.domain.queries import all_tenant_ids, tenant_batches, tenants_below
from tenants.scope import Scope, long_scope, open_scope

logger = logging.getLogger(__name__)

TOPIC: Final = "firmware"
# Reports taken in one transaction, and transactions of a tick: what is left is for the next one.
REPORTS_AT_ONCE: Final = 1000
_MOST_ROUNDS: Final = 5
# Limits are shared by all roll-outs, and devices pass from one to another: one step at a time.
_TURN: Final = "firmware.step"
_LOADING: Final = (TargetState.OFFERED, TargetState.DOWNLOADING)


@dataclass(frozen=True, slots=True)
class Driven:
    """What a step of a roll-out did. `review_wave`: the gate is to be asked about this wave."""

    rollout_id: int
    tenant_ids: tuple[int, ...]
    offered: int
    review_wave: int | None = None


def take_reports(*, now: datetime) -> int:
    """Take what devices have said about updates; returns how many reports that were."""
    count = 0
    for tenant_ids in tenant_batches():
        for _round in range(_MOST_ROUNDS):
            with long_scope(Scope(tenant_ids)):
                rows = inbox.take(TOPIC, REPORTS_AT_ONCE)
                reports.take(reports.from_inbox(rows), now=now)
            count += len(rows)
            if len(rows) < REPORTS_AT_ONCE:
                break
    return count


def driven() -> tuple[tuple[int, int], ...]:
    """The roll-outs that are not over, as (tenant, roll-out), the most urgent first."""
    with open_scope(Scope(all_tenant_ids())):
        rows = Rollout.objects.filter(started_at__isnull=False, ended_at=None)
        return tuple(rows.order_by("-priority", "pk").values_list("tenant_id", "pk"))


def drive(*, tenant_id: int, rollout_id: int, now: datetime) -> Driven | None:
    """Bring a roll-out one step on; None when somebody else does, or it is over."""
    below = tenants_below(tenant_ids=[tenant_id])[tenant_id]
    tenant_ids = tuple(sorted(tenant.tenant_id for tenant in below))
    with long_scope(Scope(tenant_ids)):
        # Before the row, for which people wait who want to pause or abort it.
        firmware_facts.hold_turn(connection, _TURN)
        row = (
            Rollout.objects.select_for_update(skip_locked=True)
            .filter(pk=rollout_id, started_at__isnull=False, ended_at=None)
            .first()
        )
        if row is None:
            return None
        firmware_facts.hold_turn(connection, reports.turn_of(row.pk))
        return _Tick(row, tenant_ids, now).run()


class _Tick:
    """One step of a roll-out whose row and turn are held."""

    def __init__(self, row: Rollout, tenant_ids: tuple[int, ...], now: datetime) -> None:
        self.row, self.tenant_ids, self.now = row, tenant_ids, now
        # A roll-back goes on as long as devices are still being updated that it would take back.
        self.may_grow = rollout_rollback.join(row, now=now)
        self.value = rollout_rows.rollout_value(row)
        self.wave_rows, self.waves = rollout_rows.waves(row)
        self.wave_ids = {wave.number: wave.pk for wave in self.wave_rows}
        found = rollout_reading.read(row, self.value, self.waves, self.wave_ids, now=now)
        self.targets, self.partial = found.targets, found.partial
        self.links = rollout_rows.links([target.device_id for target in self.targets])

    def run(self) -> Driven:
        decision = engine.step(self._view())
        self._save(decision)
        self._send(decision)
        if decision.roll_back:
            # The roll-out is aborted in this very transaction: both or none.
            rollout_rollback.begin(self.row, now=self.now, actor_id=None)
        wave = decision.review_wave
        review_wave = None if wave is None else self.wave_ids[wave]
        return Driven(self.row.pk, self.tenant_ids, len(decision.offers), review_wave)

    def _view(self) -> View:
        return View(
            now=self.now,
            rollout=self.value,
            waves=self.waves,
            targets=self.targets,
            links=self.links,
            held=self._held(),
            limits=self._limits() if self.value.phase is Phase.RUNNING else (),
            review=self._review(),
            partial=self.partial,
            backlog=self.may_grow
            or firmware_facts.inbox_waits(
                connection, TOPIC, [target.device_id for target in self.targets]
            ),
        )

    def _review(self) -> Review | None:
        """What the gate said last of the wave that is being judged."""
        judged = [wave.pk for wave in self.wave_rows if wave.state == WaveState.JUDGED]
        last = GateReview.objects.filter(wave__in=judged).order_by("-look").first()
        if last is None:
            return None
        return Review(last.outcome, last.at, last.evidence_until, undecided=last.needs_person)

    def _held(self) -> dict[int, Holder]:
        """Who else has the devices whose turn it is."""
        pending = [one.device_id for one in self.targets if one.state is State.PENDING]
        if not pending or self.value.phase is not Phase.RUNNING:
            return {}
        rows = RolloutTarget.objects.filter(device_id__in=pending, state__in=HOLDING).exclude(
            rollout=self.row
        )
        return {
            device_id: Holder(pk, priority, state == TargetState.WAITING and sent_at is None)
            for device_id, pk, priority, state, sent_at in rows.values_list(
                "device_id", "pk", "priority", "state", "sent_at"
            )
        }

    def _limits(self) -> tuple[tuple[Limit, Use], ...]:
        """The limits beyond the roll-out's own, with what other roll-outs use of them: those of the
        tenant, which those above it may have narrowed, and those of the whole installation.
        """
        demanded = policy_queries.demands(tenant_id=self.row.tenant_id)
        own = Limit(demanded.max_downloads, demanded.bytes_per_s)
        whole = Limit(settings.FIRMWARE_MAX_DOWNLOADS, settings.FIRMWARE_BYTES_PER_S)
        used: dict[int, Use] = {}
        with open_scope(Scope(all_tenant_ids())):
            rows = (
                RolloutTarget.objects.filter(state__in=_LOADING)
                .exclude(rollout=self.row)
                .order_by()
                .values_list("rollout__tenant_id")
                .annotate(downloads=Count("pk"), granted=Sum("rate"))
            )
            for tenant_id, downloads, granted in rows:
                used[tenant_id] = Use(downloads, int(granted or 0))
        everybody = Use(
            sum(use.downloads for use in used.values()),
            sum(use.bytes_per_s for use in used.values()),
        )
        return (own, used.get(self.row.tenant_id, Use())), (whole, everybody)

    def _save(self, decision: Decision) -> None:
        known = {target.target_id: target for target in self.targets}
        if decision.taken:
            # First: a device has one holder at a time.
            RolloutTarget.objects.filter(
                pk__in=decision.taken, state=TargetState.WAITING, sent_at=None
            ).update(state=TargetState.PENDING, state_at=self.now)
            self._tell_taken(decision.taken)
        if decision.targets:
            rollout_rows.save_targets(
                lambda target: (self.row.pk, self.wave_ids[target.wave]), decision.targets
            )
        rollout_rows.save_events([(self.now, event) for event in decision.events], known)
        rows = {wave.number: wave for wave in self.wave_rows}
        for wave in (*self._moved_waves(), *decision.waves):
            _save_wave(rows[wave.number], wave)
        self._save_rollout(decision)

    def _tell_taken(self, target_ids: Sequence[int]) -> None:
        rows = RolloutTarget.objects.filter(pk__in=target_ids).exclude(release=None)
        goals = rollout_rows.goals(set(rows.values_list("release_id", flat=True)), lower=False)
        of = {
            target.target_id: target
            for target in rollout_rows.targets(rows, lambda release_id: goals[release_id])
        }
        data = {"rollout": self.row.pk}
        rollout_rows.save_events(((self.now, Event(pk, "released", data=data)) for pk in of), of)

    def _moved_waves(self) -> list[Wave]:
        """Waves of which a device has confirmed since the last step."""
        stored = {wave.number: wave.updated_at for wave in self.wave_rows}
        return [wave for wave in self.waves if wave.updated_at != stored[wave.number]]

    def _save_rollout(self, decision: Decision) -> None:
        values: dict[str, Any] = {}
        if decision.phase is not None and decision.phase.value != self.row.state:
            values["state"], values["state_reason"] = decision.phase.value, decision.reason
            values["state_data"] = dict(decision.data)
        if decision.ended:
            values["ended_at"] = self.now
        if values:
            action = f"rollout.{values.get('state', 'end')}"
            audit.update(self.row, values, actor_id=None, action=action, validate=False)
            logger.info(
                "rollout.moved rollout=%d state=%s reason=%s",
                self.row.pk,
                self.row.state,
                self.row.state_reason,
            )

    def _send(self, decision: Decision) -> None:
        fresh = [one for one in decision.offers if one.state_at == self.now]
        if fresh:
            rollout_offers.keep(rollout_offers.choose(fresh, self.links))
        # Devices that ask over DDI fetch from the store: what they get takes no room in Redis.
        digests = frozenset(
            RolloutTarget.objects.filter(rollout=self.row, state__in=_LOADING)
            .exclude(payload_sha256="")
            .exclude(medium=Medium.DDI)
            .order_by()
            .values_list("payload_sha256", flat=True)
            .distinct()
        )
        if digests:
            # Before the offers, so that the first device that asks finds it.
            transaction.on_commit(lambda: rollout_offers.stage(digests))
        if decision.offers:
            confirm_s = self.value.strategy.confirm_s
            downlink.send(
                rollout_offers.messages(decision.offers, self.links, confirm_within_s=confirm_s)
            )
        if decision.withdrawals:
            downlink.send(
                reports.withdrawals((one.device_id, one.uid) for one in decision.withdrawals)
            )


def _save_wave(row: RolloutWave, wave: Wave) -> None:
    row.state = wave.phase.value
    row.started_at, row.updated_at = wave.started_at, wave.updated_at
    row.soaking_at, row.judged_at = wave.soaking_at, wave.judged_at
    row.ended_at = wave.ended_at
    row.save(
        update_fields=["state", "started_at", "updated_at", "soaking_at", "judged_at", "ended_at"]
    )


def review(of: Driven, *, now: datetime) -> None:
    """Ask the gate about the wave that a step wants to be looked at; what it says counts with the
    next step. Outside the step, because it reads much and holds up nobody.
    """
    if of.review_wave is None:
        return
    with long_scope(Scope(of.tenant_ids)):
        gate_operations.review(wave_id=of.review_wave, now=now)
