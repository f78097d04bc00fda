"""What happens in the demo: commands that its devices are given, and roll-outs to them.

Nothing of it is written down as if it had happened: people of the demo ask, and the simulated
devices do it, or fail, over their connections. Each act is recognised by its name, so that it
happens once, however often the demo is started or ended in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist, ValidationError

from devices.commands.states import State
from devices.domain import commands_decisions, commands_operations
from devices.domain.commands_policy import Actor, NotAllowedError
from devices.domain.imports_check import WrongState
from devices.domain.selection import (
    Condition,
    Rule,
    Selection,
    SelectionRefused,
    devices_of,
)
from devices.models import Command, CommandBatch, Device, DeviceGroup
from devices.simulator.keyring import KeyringError
from devices.simulator.park import CHAIN, LOST, UTILITY
from firmware.domain import release_queries, rollout_operations, rollout_plan
from firmware.domain.rollout_operations import RolloutRefused
from firmware.models import Rollout, RolloutState, RolloutTarget, TargetState
from firmware.rollout.strategy import Strategy
from portal.management.demo_billing import BillingAct
from portal.management.demo_dunning import Overdue
from portal.management.demo_groups import METERS, REFRIGERATION, SUBMETERS
from portal.management.demo_people import PEOPLE
from tenants.domain.queries import all_tenant_ids
from tenants.models import Tenant, User
from tenants.permissions import PERMISSIONS, Role
from tenants.scope import Scope, open_scope

_MANAGER: Final = "manager@fennel-rye.example"
_TECHNICIAN: Final = "technician@fennel-rye.example"
_UTILITY: Final = "manager@auental-energie.example"
_CONNECTED: Final = Selection(rule=Rule((Condition("connected", (True,)),)))
METERS_ROLLOUT: Final = "Smart meters to 1.1.0"
SUBMETERS_ROLLOUT: Final = "Sub-meters to 1.1.0"
GATEWAYS_ROLLOUT: Final = "Edge gateways to 1.1.0"


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody asks devices (by serial, or those of a group) to do something, once they are there.

    `after`: a roll-out that has to have failed on the devices before, wherever they are then.
    `approved_by`: who agrees, where a second person has to; nobody, unless given.
    """

    name: str
    tenant: str
    by: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    serials: tuple[str, ...] = ()
    group: str = ""
    reason: str = ""
    expires_in_s: int | None = None
    after: str = ""
    approved_by: str = ""

    def act(self, tenant: Tenant, _now: datetime) -> bool:
        """Whether it has been done, now or earlier. Raises as the operations do."""
        key = f"demo:{self.name}"
        mine = {"tenant": tenant, "request_key": key}
        if CommandBatch.objects.filter(**mine).exists():
            return True
        if not Command.objects.filter(**mine).exists() and not self._asked(tenant, key):
            return False
        if self.approved_by:
            self._approve(Command.objects.filter(**mine, state=State.AWAITING_APPROVAL).first())
        return True

    def _approve(self, command: Command | None) -> None:
        if command is not None:
            commands_decisions.approve(_actor(self.approved_by), command_id=command.pk)

    def _asked(self, tenant: Tenant, key: str) -> bool:
        """Whether the devices were asked, or there are none."""
        found = (
            devices_of(_members(tenant, self.group))
            if self.group
            else Device.objects.filter(tenant=tenant, serial__in=self.serials)
        )
        ids = sorted(found.values_list("pk", flat=True))
        if not ids:
            return True
        failed = RolloutTarget.objects.filter(
            rollout__name=self.after, device__in=ids, state=TargetState.FAILED
        )
        if not (failed.exists() if self.after else _connected(ids)):
            return False
        commands_operations.ask(
            _actor(self.by),
            kind=self.kind,
            arguments=self.arguments,
            device_ids=ids,
            reason=self.reason,
            expires_in_s=self.expires_in_s,
            request_key=key,
        )
        return True


@dataclass(frozen=True, slots=True)
class RollOut:
    """Somebody rolls a release out to all devices of its type, or to those of a group, once they
    are there. What would reach nobody is left out.
    """

    name: str
    tenant: str
    by: str
    type_code: str
    strategy: Mapping[str, Any]
    group: str = ""
    version: str = "1.1.0"

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether it has been started, now or earlier. Raises as the operations do."""
        actor_id = User.objects.get(email=self.by).pk
        row = Rollout.objects.filter(tenant=tenant, name=self.name).first()
        if row is None:
            selection = self._selection(tenant)
            ids = sorted(devices_of(selection).values_list("pk", flat=True))
            if not _connected(ids):
                return not ids
            row = self._draft(tenant, selection, actor_id)
        if row is not None and row.state == RolloutState.DRAFT:
            rollout_operations.start(rollout_id=row.pk, now=now, actor_id=actor_id)
        return True

    def _draft(self, tenant: Tenant, selection: Selection, actor_id: int) -> Rollout | None:
        """The draft; None where it would reach nobody."""
        release = release_queries.rollable().get(type_code=self.type_code, version=self.version)
        plan = rollout_plan.plan(
            release_id=release.pk,
            selection=selection,
            strategy=Strategy.from_json(dict(self.strategy)),
            tenant_id=tenant.pk,
        )
        if not plan.getting:
            return None
        draft = rollout_operations.Draft(
            self.name, release.pk, selection.to_json(), dict(self.strategy)
        )
        return rollout_operations.create(tenant_id=tenant.pk, draft=draft, actor_id=actor_id)

    def _selection(self, tenant: Tenant) -> Selection:
        if self.group:
            return _members(tenant, self.group)
        kinds = Device.objects.filter(tenant=tenant, device_type__code=self.type_code)
        ids = sorted(set(kinds.values_list("device_type_id", flat=True)))
        return Selection(rule=Rule((Condition("device_type", tuple(ids)),)))


Act = Ask | RollOut

STORY: Final[tuple[Act, ...]] = (
    Ask(
        "car-wash-off", CHAIN, _TECHNICIAN, "set_output", {"output": 0}, ("FR04-CARWASH",),
        reason="The brush motor draws current while it stands: off until the electrician was here",
        approved_by=_MANAGER,
    ),
    Ask(
        "bakery-off", CHAIN, _TECHNICIAN, "set_output", {"output": 0}, ("FR02-BAKERY",),
        reason="Oven 2 trips its breaker: off overnight, so that it can be looked at cold",
    ),
    Ask(
        "refrigeration-reports", CHAIN, _MANAGER, "set_reporting", {"samples": 15},
        group=REFRIGERATION, reason="A warm shelf is to be seen within half a minute",
    ),
    Ask("lighting-logs", CHAIN, _TECHNICIAN, "send_logs", {"lines": 50}, ("FR01-LIGHTING",)),
    Ask("tills-reboot", CHAIN, _TECHNICIAN, "reboot", {}, ("FR05-GENERAL",)),
    Ask(
        "price", UTILITY, _UTILITY, "set_display",
        {"display.price": "0.31", "display.currency": "EUR"}, group=METERS,
        reason="The tariff of the new year",
    ),
    Ask(
        "roof-limit", UTILITY, _UTILITY, "set_power_limit", {"power_limit_w": 7_000},
        ("AE008-PV",), reason="The transformer in Im Grün is loaded to its limit until spring",
    ),
    # A recording cannot be limited, and says so.
    Ask(
        "recorded-limit", UTILITY, _UTILITY, "set_power_limit", {"power_limit_w": 4_000},
        ("AE900-CIRCUITS",), reason="To see whether the old house can be limited",
    ),
    RollOut(
        METERS_ROLLOUT, UTILITY, _UTILITY, "M3-63", group=METERS,
        strategy={
            "waves": [{"percent": 50}, {"percent": 100}], "soak_s": 20, "retries": {},
            # Two of twelve devices have a fault, and may both be in the first half.
            "error_percent": 35, "success_percent": 60, "install_s": 60, "confirm_s": 60,
        },
    ),
    RollOut(
        SUBMETERS_ROLLOUT, CHAIN, _MANAGER, "S3-CT", group=SUBMETERS,
        strategy={
            "waves": [{"count": 6}, {"percent": 50}, {"percent": 100}],
            "soak_s": 900, "approval_between": True, "gate": {"look_every_s": 1800},
        },
    ),
    RollOut(
        GATEWAYS_ROLLOUT, CHAIN, _MANAGER, "EG-1",
        strategy={"waves": [{"count": 1}, {"percent": 100}], "soak_s": 10},
    ),
    # It has not come back from its update: nobody is there to answer.
    Ask(
        "where-are-you", UTILITY, _UTILITY, "send_logs", {"lines": 50}, (LOST,),
        reason="Silent since its update: what did it log last?", expires_in_s=60,
        after=METERS_ROLLOUT,
    ),
)  # fmt: skip


# What people who use the demo may have made impossible, with a sentence.
REFUSALS: Final = (
    ValidationError, NotAllowedError, RolloutRefused, SelectionRefused, ObjectDoesNotExist,
    WrongState, KeyringError,
)  # fmt: skip


def perform(act: Act | Overdue | BillingAct, now: datetime) -> bool:
    """Do one act as far as it is possible now; whether it has been done, now or earlier.

    Raises one of REFUSALS where the demo was changed so that it is not possible.
    """
    with open_scope(Scope(all_tenant_ids())):
        tenant = Tenant.objects.get(slug=act.tenant)
    with open_scope(Scope((tenant.pk,))):
        return act.act(tenant, now)


def _members(tenant: Tenant, name: str) -> Selection:
    """The group; none of its name, no devices."""
    found = DeviceGroup.objects.filter(tenant=tenant, name=name).values_list("pk", flat=True)
    return Selection(groups=tuple(found))


def _connected(ids: list[int]) -> bool:
    """Whether all of them are connected."""
    return devices_of(_CONNECTED).filter(pk__in=ids).count() == len(ids) > 0


def _actor(email: str) -> Actor:
    role = next(person.role for person in PEOPLE if person.email == email)
    assert isinstance(role, Role)
    return Actor(User.objects.get(email=email).pk, PERMISSIONS[role])
