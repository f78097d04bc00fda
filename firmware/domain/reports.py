"""The one way in for what devices say about updates, whatever medium brought it.

`take` runs in the caller's scope and transaction, so that what was said takes effect exactly once
with whatever else the transaction does (a row of the inbox that is gone, an answer that is sent).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from devices.domain import downlink
from devices.domain.inbox import InboxRow
from devices.protocol import encode_message
from devices.protocol.firmware import Withdraw
from devices.telemetry import firmware_facts
from firmware.domain import rollout_rows
from firmware.models import Rollout, RolloutTarget
from firmware.rollout import reporting
from firmware.rollout.reporting import Heard, Word
from firmware.rollout.values import HELD, NO_LINK, Event, Goal, Phase, Target
from firmware.rollout.values import Rollout as RolloutValue
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope

logger = logging.getLogger(__name__)

_PREFIX: Final = "firmware."


@dataclass(frozen=True, slots=True)
class Report:
    """What a device said about one attempt. `kind` is one of `reporting.KINDS`, `code` one of
    `strategy.DEVICE_CODES`; `version` and `image` (SHA-256, hex) are what it says it runs, empty
    when it does not say; `offset` is how many bytes of the payload it has.
    """

    device_id: int
    update_uid: UUID
    kind: str
    at: datetime
    code: str = ""
    detail: str = ""
    version: str = ""
    image: str = ""
    offset: int = 0


def from_inbox(rows: Iterable[InboxRow]) -> list[Report]:
    """The reports in rows of the inbox's topic `firmware`. What is none is left out, and logged:
    it can only come from a device that does not keep to the protocol.
    """
    found = []
    for row in rows:
        report = _from_row(row)
        if report is None:
            logger.warning("firmware.report_unread device=%d kind=%r", row.device_id, row.kind)
        else:
            found.append(report)
    return found


def _from_row(row: InboxRow) -> Report | None:
    kind = row.kind.removeprefix(_PREFIX)
    uid = _uid(row.body.get("update"))
    if kind not in reporting.KINDS or uid is None:
        return None
    offset = row.body.get("offset")
    return Report(
        device_id=row.device_id,
        update_uid=uid,
        kind=kind,
        at=row.occurred_at,
        code=_text(row.body.get("code")),
        detail=_text(row.body.get("detail")),
        version=_text(row.body.get("version")),
        image=_text(row.body.get("image")).lower(),
        offset=offset if isinstance(offset, int) and 0 <= offset < 2**62 else 0,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _uid(value: Any) -> UUID | None:
    try:
        return UUID(hex=_text(value))
    except ValueError:
        return None


@transaction.atomic
def take(reports: Sequence[Report], *, now: datetime | None = None) -> int:
    """Take reports in their order; returns how many concerned an update of the scope.

    A report about the update of another device is left out like one about none.
    """
    now = now or datetime.now(UTC)
    found = _targets_of(reports)
    if not found:
        return 0
    for rollout_id in sorted({rollout_id for _pk, rollout_id in found.values()}):
        firmware_facts.hold_turn(connection, turn_of(rollout_id))
    batch = _Batch(now, {pk for pk, _rollout_id in found.values()})
    count = 0
    for report in reports:
        known = found.get(report.update_uid) or found.get(_unnamed(report.device_id))
        if known is not None and batch.take(report, known[0]):
            count += 1
    batch.save()
    return count


def turn_of(rollout_id: int) -> str:
    """The turn that whoever changes targets of a roll-out holds."""
    return f"firmware.rollout:{rollout_id}"


def _unnamed(device_id: int) -> UUID:
    """A name that no update has, for the update that has a device at present."""
    return UUID(int=device_id)


def _targets_of(reports: Sequence[Report]) -> dict[UUID, tuple[int, int]]:
    """The target and the roll-out of each attempt. A device that confirms an earlier attempt is
    found by itself.
    """
    uids = {report.update_uid for report in reports}
    rows = RolloutTarget.objects.filter(update_uid__in=uids)
    found = {row[0]: (row[1], row[2]) for row in rows.values_list("update_uid", "pk", "rollout_id")}
    unknown = {
        report.device_id
        for report in reports
        if report.kind == reporting.CONFIRMED and report.update_uid not in found
    }
    if unknown:
        held = RolloutTarget.objects.filter(device_id__in=unknown, state__in=HELD)
        for device_id, pk, rollout_id in held.values_list("device_id", "pk", "rollout_id"):
            found[_unnamed(device_id)] = (pk, rollout_id)
    return found


class _Batch:
    """Reports that are taken together: what was read for them, and what follows."""

    def __init__(self, now: datetime, target_ids: set[int]) -> None:
        self.now = now
        rows = RolloutTarget.objects.filter(pk__in=target_ids)
        self.places = {
            row[0]: (row[1], row[2]) for row in rows.values_list("pk", "rollout_id", "wave_id")
        }
        self.rollouts = _rollouts({rollout_id for rollout_id, _wave in self.places.values()})
        goals = _goals(rows, self.rollouts)
        self.targets = {
            target.target_id: target
            for target in rollout_rows.targets(
                rows.filter(release__isnull=False), lambda release_id: goals[release_id]
            )
        }
        self.links = rollout_rows.links([one.device_id for one in self.targets.values()])
        self.former = dict(self.targets)
        self.events: list[tuple[datetime, Event]] = []
        self.withdrawn: list[tuple[int, UUID]] = []

    def take(self, report: Report, target_id: int) -> bool:
        target = self.targets.get(target_id)
        if target is None or target.device_id != report.device_id:
            return False
        rollout = self.rollouts[self.places[target_id][0]]
        word = Word(
            kind=report.kind,
            at=report.at,
            current=target.uid == report.update_uid,
            code=report.code,
            detail=report.detail,
            version=report.version,
            image=report.image,
            offset=report.offset,
        )
        followed = reporting.heard(
            target,
            word,
            self.links.get(target.device_id, NO_LINK),
            rollout.strategy,
            self.now,
            final=rollout.phase is Phase.ABORTED,
        )
        self._note(target, report, followed)
        return True

    def _note(self, target: Target, report: Report, followed: Heard) -> None:
        if followed.target is not None:
            self.targets[target.target_id] = followed.target
        if followed.event is not None:
            self.events.append((report.at, followed.event))
        if followed.withdraw:
            self.withdrawn.append((report.device_id, report.update_uid))

    def save(self) -> None:
        changed = [one for pk, one in self.targets.items() if one is not self.former[pk]]
        if changed:
            rollout_rows.save_targets(lambda one: self.places[one.target_id], changed)
        if self.events:
            rollout_rows.save_events(self.events, self.targets)
        if self.withdrawn:
            downlink.send(withdrawals(self.withdrawn))


def withdrawals(of: Iterable[tuple[int, UUID]]) -> list[tuple[int, bytes]]:
    """Messages that take offers back, each to a device."""
    return [(device_id, encode_message(Withdraw(uid.bytes, "withdrawn"))) for device_id, uid in of]


def _rollouts(rollout_ids: set[int]) -> dict[int, RolloutValue]:
    """The roll-outs by id. They may be those of a tenant above, which the caller's scope does not
    hold: nothing of them leaves this module.
    """
    with open_scope(Scope(all_tenant_ids())):
        rows = Rollout.objects.filter(pk__in=rollout_ids)
        return {row.pk: rollout_rows.rollout_value(row) for row in rows}


def _goals(rows: Any, rollouts: dict[int, RolloutValue]) -> dict[int, Goal]:
    release_ids = set(rows.filter(release__isnull=False).values_list("release_id", flat=True))
    return rollout_rows.goals(release_ids, lower=False) if rollouts else {}
