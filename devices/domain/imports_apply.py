"""What the rows of an import do, one at a time, by the operations that people use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from devices.domain import claims_operations, registry_operations
from devices.domain.imports_plan import Options
from devices.domain.operations import Address
from devices.domain.registry_operations import DeviceValues, FacilityValues
from devices.domain.registry_queries import PATH_SEPARATOR
from devices.domain.sealing import seal
from devices.models import (
    Device,
    DeviceState,
    Facility,
    FacilityKind,
    ImportKind,
    ImportRow,
    ImportRun,
    Outcome,
    Placement,
)

SECRET_PURPOSE: Final = "device secret"  # noqa: S105 - what it is for

_ADDRESS: Final = ("street", "postal_code", "city", "region", "country", "latitude", "longitude")


@dataclass(frozen=True, slots=True)
class Applied:
    """What a row has made or changed; `sealed` is a new device's secret."""

    subject_id: int | None
    sealed: bytes | None = None


class Applier:
    """Does rows of one run. Raises ValidationError or DoesNotExist for what is refused."""

    def __init__(self, run: ImportRun, options: Options, *, now: datetime) -> None:
        self._run = run
        self._options = options
        self._now = now

    def apply(self, row: ImportRow) -> Applied:
        """Do one row that creates or changes."""
        create = row.outcome == Outcome.CREATE
        if self._run.kind == ImportKind.FACILITIES:
            return self._create_facility(row.values) if create else self._change_facility(row)
        return self._create_device(row.values) if create else self._change_device(row)

    def _create_facility(self, values: dict[str, Any]) -> Applied:
        *above, name = values["path"]
        made = registry_operations.create_facility(
            tenant_id=self._run.tenant_id,
            values=FacilityValues(
                name=name,
                kind=FacilityKind(values["kind"]),
                time_zone=values["time_zone"],
                parent_id=self._place(above),
                address=_address(values, Address()),
            ),
            actor_id=self._run.started_by_id,
        )
        return Applied(made.pk)

    def _place(self, names: list[str]) -> int | None:
        """The facility at the end of a path, which an earlier row may have made."""
        found: int | None = None
        for name in names:
            at = Facility.objects.filter(
                tenant_id=self._run.tenant_id, parent_id=found, name=name
            ).first()
            if at is None:
                text = _("There is no facility “%(path)s”: its row was refused, or it was removed.")
                raise ValidationError({"parent": [text % {"path": PATH_SEPARATOR.join(names)}]})
            found = at.pk
        return found

    def _change_facility(self, row: ImportRow) -> Applied:
        facility = Facility.objects.get(pk=_subject(row))
        values = row.values
        registry_operations.update_facility(
            facility_id=facility.pk,
            values=FacilityValues(
                name=facility.name,
                kind=FacilityKind(values.get("kind", facility.kind)),
                time_zone=values.get("time_zone", facility.time_zone),
                parent_id=facility.parent_id,
                address=_address(values, _address_of(facility)),
            ),
            based_on=None,
            actor_id=self._run.started_by_id,
        )
        return Applied(facility.pk)

    def _create_device(self, values: dict[str, Any]) -> Applied:
        registered = registry_operations.register_device(
            values=DeviceValues(
                facility_id=values["facility"],
                device_type_id=values["device_type"],
                serial=values["serial"],
                name=values["name"],
                placement=Placement(values["placement"]),
                hardware_revision=values.get("hardware_revision", ""),
            ),
            state=DeviceState(self._options.state),
            secret_sha256=bytes.fromhex(values.get("secret_sha256", "")) or None,
            actor_id=self._run.started_by_id,
        )
        device = registered.device
        sealed = None
        if "secret_sha256" not in values:
            sealed = seal(registered.secret.text, purpose=SECRET_PURPOSE)
        if self._options.claim_codes and device.state == DeviceState.PLANNED:
            claims_operations.issue_codes(
                device_ids=[device.pk],
                lifetime=timedelta(days=self._options.lifetime_days),
                now=self._now,
                actor_id=self._run.started_by_id,
            )
        return Applied(device.pk, sealed)

    def _change_device(self, row: ImportRow) -> Applied:
        device = Device.objects.get(pk=_subject(row))
        values = row.values
        registry_operations.update_device(
            device_id=device.pk,
            values=DeviceValues(
                facility_id=values.get("facility", device.facility_id),
                device_type_id=device.device_type_id,
                serial=device.serial,
                name=values.get("name", device.name),
                placement=Placement(values.get("placement", device.placement)),
                hardware_revision=values.get("hardware_revision", device.hardware_revision),
            ),
            based_on=None,
            actor_id=self._run.started_by_id,
        )
        return Applied(device.pk)


def _subject(row: ImportRow) -> int:
    assert row.subject_id is not None  # the check found what the row changes
    return row.subject_id


def _address_of(facility: Facility) -> Address:
    return Address(**{name: getattr(facility, name) for name in _ADDRESS})


def _address(values: dict[str, Any], before: Address) -> Address:
    """The address with what the row says of it."""
    given = {name: values[name] for name in _ADDRESS if name in values}
    for name in ("latitude", "longitude"):
        if name in given:
            given[name] = Decimal(given[name])
    return replace(before, **given)
