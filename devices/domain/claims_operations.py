"""Claim codes: issued for planned devices, withdrawn, printed, and used once by whoever has one.

A device is delivered as planned, in its maker's or reseller's tenant or in the one that will use
it. Whoever holds the code on its label claims it: it moves to their facility and becomes active. It
keeps its secret, which is in the device, so that no credential passes through anybody's hands.
Between tenants it moves down the tree alone, and only before it has ever reported; the database
itself sees to that (`door_claim_device`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain import claims_doors as doors
from devices.domain.claims_code import BadCode, Code
from devices.domain.operations import Eviction
from devices.domain.registry_refusals import constraint_of
from devices.domain.sealing import seal
from devices.models import Allocation, ClaimCode, Device, DeviceState, Facility, Placement
from devices.telemetry import status
from tenants.domain.audit import record, snapshot
from tenants.scope import Scope, open_scope

# Labels can be printed again for so long; afterwards a code is issued anew.
SEALED_FOR: Final = timedelta(hours=24)
PURPOSE: Final = "claim code"
SHORTEST: Final = timedelta(days=1)
LONGEST: Final = timedelta(days=730)
# One request issues so many codes at most; an import asks in groups.
MAX_AT_ONCE: Final = 500


class ClaimRefused(Exception):  # noqa: N818 - it reads as what happened
    """The code opens nothing; `reason` is one of REASONS and `sentence` says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the claim is refused: {reason}")
        self.reason = reason

    @property
    def sentence(self) -> str:
        """For the person who claims."""
        return str(REASONS[self.reason])

    @property
    def guessed(self) -> bool:
        """Whether the code was well-formed and unknown, as a guess would be."""
        return self.reason == "unknown"


REASONS: Final[dict[str, Promise]] = {
    "mistyped": gettext_lazy(
        "This is not a claim code: it has 16 letters and digits, and one of them is mistyped or"
        " missing. Compare it with the label."
    ),
    "unknown": gettext_lazy(
        "There is no device for you with this code. Check that you are working in the organisation"
        " that the device was delivered to."
    ),
    "used": gettext_lazy(
        "The code has been used: the device is claimed already. If that was not you, ask whoever"
        " delivered it."
    ),
    "withdrawn": gettext_lazy(
        "The code was withdrawn or replaced by a newer one. Ask whoever delivered the device."
    ),
    "expired": gettext_lazy(
        "The code has expired. Ask whoever delivered the device to issue a new one."
    ),
    "taken": gettext_lazy(
        "The device is in use already, so it cannot be claimed. Ask whoever delivered it."
    ),
    "facility": gettext_lazy("Choose one of your facilities for the device."),
}


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of one device: its new code, or why it got none."""

    device_id: int
    serial: str
    name: str
    code: Code | None
    refusal: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a code opens: the device as its label describes it, and who delivers it."""

    serial: str
    device_type: str
    hardware_revision: str
    placement: str
    delivered_by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A device that has found its place; bridges must forget that it was refused."""

    device: Device
    eviction: Eviction


@transaction.atomic
def issue_codes(
    *, device_ids: Sequence[int], lifetime: timedelta, now: datetime, actor_id: int | None
) -> tuple[Issued, ...]:
    """New codes for devices that are planned and have never reported, in the order of their names.

    A former code of a device is withdrawn. A device that cannot be claimed is told with the reason.
    Raises ValidationError for a lifetime out of bounds or too many devices.
    """
    if not SHORTEST <= lifetime <= LONGEST:
        raise ValidationError(
            _("A code is valid for at least %(least)d and at most %(most)d days.")
            % {"least": SHORTEST.days, "most": LONGEST.days}
        )
    if len(device_ids) > MAX_AT_ONCE:
        raise ValidationError(
            _("Codes are issued for at most %(count)d devices at once.") % {"count": MAX_AT_ONCE}
        )
    devices = list(
        Device.objects.select_for_update().filter(pk__in=device_ids).order_by("name", "pk")
    )
    ids = [device.pk for device in devices]
    busy = status.reported(connection, ids)
    allocated = set(
        Allocation.objects.filter(channel__device__in=ids).values_list("channel__device", flat=True)
    )
    _withdraw(ClaimCode.objects.filter(device__in=ids), now=now, actor_id=actor_id)
    issued = []
    for device in devices:
        refusal = _why_not(device, busy, allocated)
        code = None if refusal else _issue(device, now + lifetime, actor_id)
        issued.append(Issued(device.pk, device.serial, device.name, code, refusal))
    return tuple(issued)


def _why_not(device: Device, reported: frozenset[int], allocated: set[int]) -> str:
    if device.state != DeviceState.PLANNED:
        return _("Only a planned device has a claim code; this one is %(state)s.") % {
            "state": DeviceState(device.state).label.lower()
        }
    if device.pk in reported:
        return _("The device has reported already, so it stays where it is.")
    if device.pk in allocated:
        return _("Its channels are allocated to loads: remove the allocations first.")
    return ""


def _issue(device: Device, expires_at: datetime, actor_id: int | None) -> Code:
    code = Code.draw()
    row = ClaimCode.objects.create(
        tenant_id=device.tenant_id,
        device=device,
        code_sha256=code.sha256,
        ending=code.ending,
        sealed=seal(code.text, purpose=PURPOSE),
        expires_at=expires_at,
    )
    record(
        tenant_id=device.tenant_id,
        actor_id=actor_id,
        action="claim_code.issue",
        subject=row,
        after=_told(row),
    )
    return code


@transaction.atomic
def withdraw_code(*, code_id: int, now: datetime, actor_id: int | None) -> bool:
    """Make an open code useless; False when it was used or withdrawn before.

    Raises ClaimCode.DoesNotExist outside the scope.
    """
    ClaimCode.objects.get(pk=code_id)
    return bool(_withdraw(ClaimCode.objects.filter(pk=code_id), now=now, actor_id=actor_id))


def _withdraw(rows: Any, *, now: datetime, actor_id: int | None) -> int:
    open_rows = list(
        rows.select_for_update().filter(used_at__isnull=True, withdrawn_at__isnull=True)
    )
    for row in open_rows:
        row.withdrawn_at, row.sealed = now, None
        row.save(update_fields=["withdrawn_at", "sealed"])
        record(
            tenant_id=row.tenant_id,
            actor_id=actor_id,
            action="claim_code.withdraw",
            subject=row,
            after=_told(row),
        )
    return len(open_rows)


def forget_sealed(*, now: datetime) -> int:
    """Remove the sealed text of codes whose time for printing is over; returns how many."""
    old = ClaimCode.objects.filter(sealed__isnull=False, created_at__lt=now - SEALED_FOR)
    return old.update(sealed=None)


def normal(*, code: str) -> str:
    """A code as it is printed; raises ClaimRefused for one that is mistyped. Asks nobody."""
    return _parse(code).text


def look_up(*, code: str) -> Offer:
    """What a code opens for the scope's tenants. Raises ClaimRefused."""
    found = doors.look_up(_parse(code).sha256)
    if found is None:
        raise ClaimRefused("unknown")
    if found.state != "open":
        raise ClaimRefused(found.state)
    return Offer(
        found.serial,
        found.device_type,
        found.hardware_revision,
        found.placement,
        found.tenant_name,
        found.expires_at,
    )


@transaction.atomic
def claim(
    *, code: str, facility_id: int, name: str, placement: Placement, actor_id: int | None
) -> Claimed:
    """Take a device over into a facility of the scope; of two who try at once, one succeeds.

    The audit trails of both tenants tell of it. Raises ClaimRefused, ValidationError for the name.
    """
    parsed = _parse(code)
    named = Device(name=name, placement=placement)
    named.clean_fields(exclude=[f.name for f in Device._meta.fields if f.name != "name"])  # noqa: SLF001
    try:
        with transaction.atomic():
            moved = doors.claim(parsed.sha256, facility_id, name, placement)
    except IntegrityError as error:
        reason = constraint_of(error).removeprefix("devices_claimcode_")
        if reason not in REASONS:
            raise
        raise ClaimRefused(reason) from error
    device = Device.objects.get(pk=moved.device_id)
    facility = Facility.objects.get(pk=facility_id)
    record(
        tenant_id=moved.tenant_id,
        actor_id=actor_id,
        action="device.claim",
        subject=device,
        after={**snapshot(device), "code": parsed.ending},
    )
    if moved.former_tenant_id != moved.tenant_id:
        with open_scope(Scope((moved.former_tenant_id,))):
            record(
                tenant_id=moved.former_tenant_id,
                actor_id=actor_id,
                action="device.hand_over",
                subject=device,
                after={
                    "serial": device.serial,
                    "code": parsed.ending,
                    "tenant": moved.tenant_id,
                    "facility": facility.pk,
                },
            )
    return Claimed(device, Eviction(device.pk))


def _parse(code: str) -> Code:
    try:
        return Code.parse(code)
    except BadCode as error:
        raise ClaimRefused("mistyped") from error


def _told(row: ClaimCode) -> dict[str, Any]:
    """What the audit trail tells of a code: never the code itself, nor its digest."""
    return {
        "device": row.device_id,
        "ending": row.ending,
        "expires_at": row.expires_at,
        "withdrawn_at": row.withdrawn_at,
    }
