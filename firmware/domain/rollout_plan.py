"""Which device would get what, in which wave, and why the others not: without changing anything.

A start stores exactly this. Needs an open scope: it sees the devices that the caller may see.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db.models import QuerySet

from devices.domain.catalogue import Page
from devices.domain.selection import Selection, devices_of
from devices.models import Device, DeviceState
from devices.protocol.codes import Capability
from firmware.domain import release_queries, rollout_rows
from firmware.domain.release_queries import Payload
from firmware.models import (
    HOLDING,
    Release,
    Rollout,
    RolloutKind,
    RolloutTarget,
    TargetState,
)
from firmware.rollout.eligibility import unfit
from firmware.rollout.strategy import Strategy, WaveSize
from firmware.rollout.values import DDI, NO_LINK, WIRE, Goal, Link
from firmware.rollout.waves import assign
from tenants.domain.queries import tenants_below

# The capabilities of device types that say how their firmware is updated.
OVER_DDI: Final = "ddi"
OVER_WIRE: Final = "firmware"
# Why a device of a roll-back gets nothing, beside the reasons of `eligibility`.
NO_RELEASE: Final = "no_release"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class Planned:
    """A device of the selection. `reason` is why it gets nothing, '' when it gets `release_id` in
    wave `wave` as `payload`. `version` and `image` are what it runs. `held_by` is the roll-out that
    has it now (0: none): it has to wait for that one, unless its own priority is higher.
    """

    device_id: int
    tenant_id: int
    serial: str
    name: str
    facility: str
    state: str
    medium: str
    version: str
    image: str
    reason: str = ""
    wave: int = 0
    release_id: int | None = None
    to_version: str = ""
    payload: Payload | None = None
    held_by: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a roll-out would do: devices by id. `waves` are the sizes of the waves; `reasons` how
    many devices get nothing, by the code of why; `bytes` are those of all payloads.
    """

    devices: tuple[Planned, ...]
    waves: tuple[int, ...]
    reasons: Mapping[str, int]
    deltas: int
    bytes: int
    held: int

    @property
    def getting(self) -> int:
        """How many devices get something."""
        return sum(self.waves)

    def page(self, *, limit: int, after: int = 0) -> Page[Planned]:
        """Some of the devices by id, behind one."""
        start = bisect_right(self.devices, after, key=lambda one: one.device_id)
        found = self.devices[start : start + limit]
        more = start + limit < len(self.devices)
        return Page(found, found[-1].device_id if more else None)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A device and the release that it is to get, if there is one."""

    planned: Planned
    link: Link
    device_type: str
    goal: Goal | None
    reason: str = ""


def seed_of(*, release_id: int | None, parent_id: int | None) -> int:
    """What decides the order of the devices: the same for a dry run before the roll-out is kept."""
    return release_id or parent_id or 0


def plan_of(rollout: Rollout) -> Plan:
    """What a draft would do if it were started now; at most 18 queries."""
    strategy = Strategy.from_json(rollout.strategy)
    if rollout.kind == RolloutKind.ROLLBACK:
        assert rollout.parent_id is not None
        return plan_back(parent_id=rollout.parent_id, strategy=strategy)
    assert rollout.release_id is not None
    return plan(
        release_id=rollout.release_id,
        selection=Selection.from_json(rollout.selection),
        strategy=strategy,
        tenant_id=rollout.tenant_id,
        rollout_id=rollout.pk,
    )


def plan(
    *,
    release_id: int,
    selection: Selection,
    strategy: Strategy,
    tenant_id: int,
    rollout_id: int | None = None,
) -> Plan:
    """What a roll-out of a tenant to a selection would do; at most 18 queries. It reaches the
    devices of the tenant and of those below it, also when somebody starts it who sees more; and no
    further than its release serves, which may be of one of those below.
    """
    goal = rollout_rows.goals([release_id], lower=False)[release_id]
    owner_id = Release.objects.values_list("tenant_id", flat=True).get(pk=release_id)
    served = _served([tenant_id, owner_id])
    below = served[tenant_id] & served[owner_id]
    found = [
        _Candidate(planned, link, device_type, goal)
        for planned, link, device_type in _devices(
            devices_of(selection).filter(tenant_id__in=below)
        )
    ]
    seed = seed_of(release_id=release_id, parent_id=None)
    return _planned(found, seed, strategy.waves, rollout_id)


def plan_back(*, parent_id: int, strategy: Strategy, only: Sequence[int] | None = None) -> Plan:
    """What taking a roll-out back would do: its updated devices get what they came from, as far as
    it is there as a release. With `only`, just these devices.
    """
    done = RolloutTarget.objects.filter(rollout_id=parent_id, state=TargetState.SUCCEEDED)
    if only is not None:
        done = done.filter(device_id__in=only)
    came = {
        row[0]: row[1:]
        for row in done.values_list("device_id", "from_version", "from_image", "to_version")
    }
    devices = list(_devices(Device.objects.filter(pk__in=done.values("device_id")).order_by("pk")))
    formers = _formers(
        {(device_type, came[planned.device_id][0]) for planned, _link, device_type in devices}
    )
    found = []
    for planned, link, device_type in devices:
        version, image, updated_to = came[planned.device_id]
        there = [
            one.goal
            for one in formers.get((device_type, version), ())
            if planned.tenant_id in one.serves
        ]
        goal = _former(there, image)
        reason = "" if goal else NO_RELEASE
        if link.version and link.version != updated_to:
            reason = CHANGED
        found.append(_Candidate(planned, link, device_type, goal, reason))
    seed = seed_of(release_id=None, parent_id=parent_id)
    return _planned(found, seed, strategy.waves, None)


def _served(tenant_ids: Iterable[int]) -> dict[int, frozenset[int]]:
    """Those whose devices get what is a tenant's: itself and all below it; one query."""
    below = tenants_below(tenant_ids=sorted(set(tenant_ids)))
    return {root: frozenset(one.tenant_id for one in found) for root, found in below.items()}


@dataclass(frozen=True, slots=True)
class _Former:
    """A release that devices may have come from, and the tenants whose devices it is for."""

    goal: Goal
    serves: frozenset[int]


def _formers(wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[_Former]]:
    """Releases of types and versions that were approved once, the newest first."""
    pairs = {pair for pair in wanted if pair[1]}
    rows = Release.objects.filter(
        type_code__in={code for code, _version in pairs},
        version__in={version for _code, version in pairs},
        approved_at__isnull=False,
    ).order_by("-pk")
    owners = dict(rows.values_list("pk", "tenant_id"))
    goals = rollout_rows.goals(list(owners), lower=True)
    served = _served(owners.values())
    found: dict[tuple[str, str], list[_Former]] = {}
    for pk, tenant_id in owners.items():
        goal = goals[pk]
        former = _Former(goal, served[tenant_id])
        found.setdefault((goal.device_type, goal.version), []).append(former)
    return found


def _former(goals: Sequence[Goal], image: str) -> Goal | None:
    """That of some releases whose image the device ran, if it told which."""
    exact = [goal for goal in goals if image and goal.image == image]
    # Another image under the same version is not what it came from.
    rest = [] if image else list(goals)
    return next(iter(exact or rest), None)


def _devices(rows: QuerySet[Device]) -> Iterable[tuple[Planned, Link, str]]:
    """The devices of a query set with their links and the codes of their types; two queries."""
    listed = list(
        rows.values_list(
            "pk",
            "tenant_id",
            "serial",
            "name",
            "facility__name",
            "state",
            "device_type__code",
            "device_type__capabilities",
        )
    )
    links = rollout_rows.links([row[0] for row in listed])
    for row in listed:
        link = links.get(row[0], NO_LINK)
        medium = DDI if OVER_DDI in row[7] else WIRE
        reason = ""
        if medium == WIRE and link.capabilities is None and OVER_WIRE not in row[7]:
            reason = "medium"
        yield (
            Planned(*row[:6], medium, link.version, link.image, reason),
            link,
            row[6],
        )


def _planned(
    candidates: Sequence[_Candidate],
    seed: int,
    sizes: Sequence[WaveSize],
    rollout_id: int | None,
) -> Plan:
    reasons = {one.planned.device_id: _reason(one) for one in candidates}
    getting = [one for one in candidates if not reasons[one.planned.device_id]]
    waves = assign(seed, [one.planned.device_id for one in getting], sizes)
    payloads = _payloads(getting)
    held = _holders([one.planned.device_id for one in getting], rollout_id)
    devices = tuple(
        _filled(one, reasons, waves, payloads, held)
        for one in sorted(candidates, key=lambda one: one.planned.device_id)
    )
    counts = Counter(waves.values())
    chosen = [one.payload for one in devices if one.payload is not None]
    return Plan(
        devices=devices,
        waves=tuple(counts[number] for number in sorted(counts)),
        reasons=dict(Counter(reason for reason in reasons.values() if reason)),
        deltas=sum(payload.base_sha256 is not None for payload in chosen),
        bytes=sum(payload.size for payload in chosen),
        held=len(held),
    )


def _reason(one: _Candidate) -> str:
    if one.reason or one.goal is None:
        return one.reason or NO_RELEASE
    planned = one.planned
    found = unfit(
        one.goal,
        device_type=one.device_type,
        active=planned.state == DeviceState.ACTIVE,
        medium=planned.medium,
        link=one.link,
    )
    # That its type is another one says more than that it cannot be reached.
    return found if found in ("state", "type") else planned.reason or found


def _filled(
    one: _Candidate,
    reasons: Mapping[int, str],
    waves: Mapping[int, int],
    payloads: Mapping[int, Payload],
    held: Mapping[int, int],
) -> Planned:
    planned, reason = one.planned, reasons[one.planned.device_id]
    if reason:
        return replace(planned, reason=reason)
    assert one.goal is not None
    return replace(
        planned,
        reason="",
        wave=waves[planned.device_id],
        release_id=one.goal.release_id,
        to_version=one.goal.version,
        payload=payloads[planned.device_id],
        held_by=held.get(planned.device_id, 0),
    )


def _payloads(getting: Sequence[_Candidate]) -> dict[int, Payload]:
    """What each device would download if it were offered now; two queries and one a release."""
    releases = {
        row.pk: row
        for row in Release.objects.filter(
            pk__in={one.goal.release_id for one in getting if one.goal}
        ).select_related("artifact")
    }
    whole = {pk: release_queries.whole(row) for pk, row in releases.items()}
    patches = {pk: release_queries.payloads_of(row) for pk, row in releases.items()}
    found = {}
    for one in getting:
        assert one.goal is not None
        pk = one.goal.release_id
        takes = (
            one.planned.medium == WIRE and (one.link.capabilities or 0) & Capability.FIRMWARE_DELTA
        )
        patch = patches[pk].get(one.link.image) if takes else None
        found[one.planned.device_id] = patch or whole[pk]
    return found


def _holders(device_ids: Sequence[int], rollout_id: int | None) -> dict[int, int]:
    """The roll-outs that have some devices now."""
    rows = RolloutTarget.objects.filter(device_id__in=device_ids, state__in=HOLDING)
    if rollout_id is not None:
        rows = rows.exclude(rollout_id=rollout_id)
    return dict(rows.values_list("device_id", "rollout_id"))
