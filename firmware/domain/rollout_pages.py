"""What the pages of roll-outs show at once, each by one call. Needs an open scope."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import QuerySet

from devices.domain import groups_queries
from devices.domain.catalogue import Page
from devices.domain.groups_queries import MOST_CHOICES
from devices.domain.queries import DeviceNotFound
from devices.domain.registry_queries import device_rows
from devices.domain.selection import MAX_NAMED, Selection, SelectionRefused
from devices.models import Device, DeviceGroup
from firmware.domain import (
    gate_queries,
    policy_queries,
    release_queries,
    rollout_operations,
    rollout_plan,
    rollout_queries,
    rollout_rows,
)
from firmware.domain.gate_queries import Look
from firmware.domain.rollout_operations import RolloutRefused
from firmware.domain.rollout_plan import Plan
from firmware.domain.rollout_queries import Summary
from firmware.domain.rollout_rollback import strategy_of
from firmware.models import Rollout, RolloutKind, RolloutState, RolloutTarget, TargetState
from firmware.rollout.strategy import Strategy
from firmware.rollout.values import NO_LINK, Link

# Updates of a device that its page tells.
HISTORY: Final = 50


@dataclass(frozen=True, slots=True)
class Shown:
    """A roll-out: how it stands, for a draft what it would do, and the gate's last looks by wave.

    `second_person`: the tenant demands that somebody else approves.
    """

    summary: Summary
    plan: Plan | None
    looks: Mapping[int, Look]
    second_person: bool

    @property
    def rollout(self) -> Rollout:
        """The row."""
        return self.summary.rollout


@dataclass(frozen=True, slots=True)
class Choices:
    """What the form of a roll-out offers: ids with names. `rule` is that of rules."""

    releases: Sequence[tuple[int, str]]
    groups: Sequence[tuple[int, str]]
    rule: groups_queries.Choices


@dataclass(frozen=True, slots=True)
class DeviceFirmware:
    """What a device runs, and what it has been through. `since` is when it was updated to what it
    runs, None where that was no roll-out. `under_way` has it now, or is the next to want it.
    """

    device: Device
    link: Link
    since: datetime | None
    under_way: RolloutTarget | None
    history: Sequence[RolloutTarget]


def shown(*, rollout_id: int, now: datetime) -> Shown:
    """All of the page of a roll-out; at most 28 queries for a draft and 9 later, however many
    devices. Raises RolloutNotFound.
    """
    summary = rollout_queries.summary(rollout_id=rollout_id, now=now)
    row = summary.rollout
    draft = row.state == RolloutState.DRAFT
    return Shown(
        summary=summary,
        plan=rollout_plan.plan_of(row) if draft else None,
        looks={} if draft else gate_queries.last_looks(rollout_id=rollout_id),
        second_person=policy_queries.second_person(tenant_id=row.tenant_id),
    )


@dataclass(frozen=True, slots=True)
class Before:
    """A roll-out before somebody starts it or takes it back, with what that would do."""

    summary: Summary
    plan: Plan | None


def before(*, rollout_id: int, code: str, now: datetime) -> Before:
    """How a roll-out stands before a step: "start" and "rollback" with their plan.

    Raises RolloutNotFound.
    """
    summary = rollout_queries.summary(rollout_id=rollout_id, now=now)
    row = summary.rollout
    plan = None
    if code == "start" and row.state == RolloutState.DRAFT:
        plan = rollout_plan.plan_of(row)
    elif code == "rollback" and may_go_back(row):
        strategy = strategy_of(Strategy.from_json(row.strategy))
        plan = rollout_plan.plan_back(parent_id=row.pk, strategy=strategy)
    return Before(summary, plan)


def preview(*, tenant_id: int, release_id: int, selection: object, strategy: object) -> Plan:
    """The dry run of a roll-out of the tenant that is not kept. Raises RolloutRefused."""
    if not release_queries.rollable().filter(pk=release_id).exists():
        raise RolloutRefused("release", rollout_operations.unapproved())
    try:
        wanted = Selection.from_json(selection)
    except SelectionRefused as error:
        raise RolloutRefused("selection", str(error)) from error
    return rollout_plan.plan(
        release_id=release_id,
        selection=wanted,
        strategy=rollout_operations.checked_strategy(strategy),
        tenant_id=tenant_id,
    )


def choices(*, tenant_id: int) -> Choices:
    """What a roll-out can be made of; five queries."""
    releases = release_queries.rollable().order_by("type_code", "-version_key", "-pk")
    groups = DeviceGroup.objects.order_by("name", "pk").values_list("pk", "name")
    return Choices(
        releases=[(one.pk, f"{one.type_code} {one.version}") for one in releases[:MOST_CHOICES]],
        groups=list(groups[:MOST_CHOICES]),
        rule=groups_queries.choices(tenant_id=tenant_id),
    )


def serials(*, device_ids: Collection[int]) -> list[str]:
    """The serials of some devices, in order; one query."""
    rows = Device.objects.filter(pk__in=list(device_ids)[:MAX_NAMED])
    return list(rows.order_by("serial").values_list("serial", flat=True))


def named(*, texts: Sequence[str]) -> tuple[list[int], list[str]]:
    """The devices with these serials, and the serials that no device has; one query."""
    found = Device.objects.filter(serial__in=texts).order_by("pk").values_list("pk", "serial")
    known = {serial for _pk, serial in found}
    return [pk for pk, _serial in found], [text for text in texts if text not in known]


def device_firmware(*, device_id: int) -> DeviceFirmware:
    """The firmware of a device; five queries. Raises DeviceNotFound."""
    device = device_rows().filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    link = rollout_rows.links([device_id]).get(device_id, NO_LINK)
    history = list(device_updates(device_id=device_id)[:HISTORY])
    done = (one for one in history if one.state == TargetState.SUCCEEDED)
    last = next(done, None)
    return DeviceFirmware(
        device=device,
        link=link,
        since=last.state_at if last and last.to_version == link.version else None,
        under_way=rollout_queries.under_way(device_id=device_id),
        history=history,
    )


def device_updates(*, device_id: int) -> QuerySet[RolloutTarget]:
    """The updates of a device that have begun or are over, the newest first."""
    rows = rollout_queries.device_history(device_id=device_id)
    return rows.exclude(state=TargetState.PENDING)


def target_page(
    *,
    rollout_id: int,
    limit: int,
    after: int = 0,
    state: str | None = None,
    wave: int | None = None,
    code: str | None = None,
) -> Page[RolloutTarget]:
    """`rollout_queries.target_page`; two queries. Raises RolloutNotFound."""
    rollout_queries.rollout(rollout_id=rollout_id)
    return rollout_queries.target_page(
        rollout_id=rollout_id, limit=limit, after=after, state=state, wave=wave, code=code
    )


def update_page(*, device_id: int, limit: int, after: int = 0) -> Page[RolloutTarget]:
    """The updates of a device by id; two queries. Raises DeviceNotFound."""
    if not Device.objects.filter(pk=device_id).exists():
        raise DeviceNotFound(f"device {device_id}")
    rows = device_updates(device_id=device_id).order_by("pk")
    found = list(rows.filter(pk__gt=after)[: limit + 1])
    return Page(tuple(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def target(*, rollout_id: int, target_id: int) -> RolloutTarget | None:
    """A device of a roll-out with all that its page shows; one query."""
    return rollout_queries.targets(rollout_id=rollout_id).filter(pk=target_id).first()


def may_go_back(row: Rollout) -> bool:
    """Whether a roll-out can be taken back."""
    return row.kind == RolloutKind.UPDATE and row.state != RolloutState.DRAFT
