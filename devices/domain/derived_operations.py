"""Derived channels are made and changed; each change leaves an audit row in its transaction.

Every function needs an open scope that contains the tenant; `actor_id` is the user who acts, None
for the system. What is refused is a ValidationError with a sentence at its field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from devices.domain import derived_due
from devices.domain.derived_check import Accepted, accepted
from devices.domain.derived_definitions import definitions_of
from devices.domain.derived_names import names_for
from devices.domain.series_bounds import EARLIEST, LATEST
from devices.formulas.errors import FormulaError
from devices.models import Channel, Device, Facility, FormulaVersion
from devices.models.device_type import MAX_CHANNEL_NUMBER
from devices.quantities import QUANTITIES
from devices.telemetry import derived_store
from devices.telemetry.derived_store import Due
from devices.telemetry.rollup import QUARTER, QUARTER_MS
from devices.telemetry.segment_store import milliseconds
from tenants.domain import audit

# The smallest step of values in each unit, unless another is asked for.
STEPS: Final = MappingProxyType(
    {
        "W": Decimal("0.1"),
        "VA": Decimal("0.1"),
        "var": Decimal("0.1"),
        "Wh": Decimal("0.1"),
        "varh": Decimal("0.1"),
        "V": Decimal("0.01"),
        "A": Decimal("0.001"),
        "Hz": Decimal("0.001"),
        "%": Decimal("0.01"),
        "°C": Decimal("0.01"),
        "W/m²": Decimal("0.1"),
        "Ah": Decimal("0.001"),
        "1": Decimal("0.0001"),
    }
)
# As many steps as a double tells apart.
_MOST_STEPS: Final = 1 << 53
_FINEST: Final = Decimal("0.000001")
_COARSEST: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Derivation:
    """A new derived channel; `resolution` None: the usual one of its unit. `in_total`: it counts
    into the facility's total of its quantity.
    """

    key: str
    name: str
    quantity: str
    text: str
    resolution: Decimal | None = None
    in_total: bool = False


@transaction.atomic
def derive_channel(
    *,
    device_id: int,
    values: Derivation,
    actor_id: int | None,
    now: datetime,
    valid_from: datetime | None = None,
    reason: str = "",
) -> Channel:
    """A new channel of a device that is computed by a formula, for readings from `valid_from` on
    (None: all that there are).
    """
    device = _locked(device_id)
    if values.quantity not in QUANTITIES:
        raise ValidationError({"quantity": [_("Choose one of the quantities.")]})
    _check_key(device, values.key)
    unit = QUANTITIES[values.quantity].unit
    resolution = values.resolution if values.resolution is not None else STEPS[unit]
    if not _FINEST <= resolution <= _COARSEST:
        sentence = _("The resolution lies between 0.000001 and 1000000.")
        raise ValidationError({"resolution": [sentence]})
    checked = _accepted(device, values.text, unit)
    channel = Channel(
        tenant_id=device.tenant_id,
        device=device,
        number=_free_number(device),
        key=values.key,
        name=values.name,
        quantity=values.quantity,
        unit=unit,
        resolution=resolution,
        minimum=-resolution * _MOST_STEPS,
        maximum=resolution * _MOST_STEPS,
        in_total=values.in_total,
        derived=True,
    )
    channel.full_clean()
    audit.insert(channel, actor_id=actor_id, action="channel.derive")
    _add_version(channel, checked, valid_from, reason, actor_id, now)
    return channel


@transaction.atomic
def change_formula(
    *,
    channel_id: int,
    text: str,
    reason: str,
    actor_id: int | None,
    now: datetime,
    valid_from: datetime | None = None,
) -> FormulaVersion:
    """Compute a derived channel by another formula, for readings from `valid_from` on (None: all
    that there are) until the next formula holds; by none where `text` is empty.

    What was computed for readings before stays as it is. Raises Channel.DoesNotExist for a channel
    that is not derived.
    """
    channel = Channel.objects.select_related("device").get(pk=channel_id, derived=True)
    device = _locked(channel.device_id)
    if not reason.strip():
        raise ValidationError({"reason": [_("Say why the formula changes.")]})
    checked = _accepted(device, text, channel.unit, channel_id) if text.strip() else None
    return _add_version(channel, checked, valid_from, reason, actor_id, now)


def _locked(device_id: int) -> Device:
    """The device, while nobody else changes formulas in its facility: so circles are seen."""
    device = Device.objects.get(pk=device_id)
    Facility.objects.select_for_update(no_key=True).get(pk=device.facility_id)
    return device


def _accepted(device: Device, text: str, unit: str, channel_id: int | None = None) -> Accepted:
    try:
        return accepted(names_for(device), text, unit, channel_id=channel_id)
    except FormulaError as error:
        raise ValidationError({"text": [str(error)]}) from error


def _check_key(device: Device, key: str) -> None:
    """Raises ValidationError for a key that formulas could not read, or that is taken."""
    if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", key) is None:
        sentence = _("A key has small letters, digits and _, and begins with a letter.")
        raise ValidationError({"key": [sentence]})
    if device.channels.filter(key=key).exists():
        raise ValidationError({"key": [_("The device has a channel with this key already.")]})


def _free_number(device: Device) -> int:
    """From the top of the range, which types do not use."""
    taken = set(device.channels.values_list("number", flat=True))
    free = [number for number in range(MAX_CHANNEL_NUMBER, -1, -1) if number not in taken]
    if not free:
        raise ValidationError(_("The device has no number left for another channel."))
    return free[0]


def _add_version(
    channel: Channel,
    checked: Accepted | None,
    valid_from: datetime | None,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> FormulaVersion:
    begins = EARLIEST if valid_from is None else valid_from
    if not EARLIEST <= begins <= LATEST or milliseconds(begins) % QUARTER_MS:
        sentence = _("A formula begins to hold with a quarter of an hour, such as 14:15.")
        raise ValidationError({"valid_from": [sentence]})
    former = definitions_of([channel.pk])
    version = FormulaVersion(
        tenant_id=channel.tenant_id,
        device_id=channel.device_id,
        channel=channel,
        valid_from=begins,
        known_at=now,
        author_id=actor_id,
        reason=reason.strip(),
    )
    if checked is not None:
        version.text, version.names = checked.text, list(checked.names)
        version.inputs, version.devices = list(checked.inputs), list(checked.devices)
    version.full_clean()
    version.save(force_insert=True)
    audit.record(
        tenant_id=channel.tenant_id,
        actor_id=actor_id,
        action="channel.formula",
        subject=channel,
        before={"text": former.text_at(channel.pk, milliseconds(begins))},
        after={"text": version.text, "valid_from": begins.isoformat(), "reason": version.reason},
    )
    _ask_again(channel, version)
    return version


def _ask_again(channel: Channel, version: FormulaVersion) -> None:
    """Let what the version holds for be computed, and what uses it."""
    devices = {*version.devices, channel.device_id}
    known = derived_store.measured(connection, sorted(devices))
    if known is None:
        return
    later = FormulaVersion.objects.filter(channel=channel, valid_from__gt=version.valid_from)
    following = later.order_by("valid_from").values_list("valid_from", flat=True).first()
    start = max(version.valid_from, known[0].replace(microsecond=0))
    end = known[1] + QUARTER if following is None else min(following, known[1] + QUARTER)
    if start < end:
        period = (milliseconds(start), milliseconds(end.replace(microsecond=0)))
        derived_store.ask(connection, [Due(0, channel.pk, *period)])
        derived_due.derived_changed(channel.device_id, channel.pk, [period])
