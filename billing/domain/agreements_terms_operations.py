"""Changes of an agreement's meters and tariffs; each leaves an audit row.

As in `agreements_operations`. A `reason` is needed where final bills rest on what is changed: they
are restated.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from billing.domain import agreements_checks as checks
from billing.domain import refusals, restatement_finding
from billing.domain.agreements_operations import locked
from billing.domain.agreements_values import MeterChange, MeterValues, TariffValues
from billing.models import Agreement, AgreementMeter, AgreementTariff, Flow
from tenants.domain import audit


class MeterNotFound(Exception):  # noqa: N818 - it reads as what happened
    """The agreement has no such meter."""


@transaction.atomic
def add_meter(
    *, agreement_id: int, values: MeterValues, reason: str = "", actor_id: int | None
) -> AgreementMeter:
    """Bill by another channel as well."""
    row = locked(agreement_id)
    zone = row.facility.time_zone
    channel = checks.lock_channels([values.channel_id])[values.channel_id]
    made = checks.new_meter(row, values, channel, zone)
    checks.require_reason(row, _day(made.starts_at, zone), reason)
    restatement_finding.agreement_changed(agreement_id=row.pk, first=_day(made.starts_at, zone))
    refusals.insert(made, actor_id=actor_id, action="agreement.add_meter")
    _require_sound(row, [channel.pk])
    return made


@transaction.atomic
def alter_meter(
    *, agreement_id: int, meter_id: int, wanted: MeterChange, actor_id: int | None
) -> Agreement:
    """From an instant on another channel in the same direction and with the same share, where a
    meter was exchanged; another share of the same channel; or nothing more of it, which from its
    beginning on means: as if it had never been.
    """
    row = locked(agreement_id)
    former = _meter(row, meter_id)
    at = _within(former, wanted.at, row)
    since = _day(at, row.facility.time_zone)
    checks.require_reason(row, since, wanted.reason)
    restatement_finding.agreement_changed(agreement_id=row.pk, first=since)
    ends = wanted.channel is None and wanted.share is None
    channel_id = wanted.channel or former.channel_id
    channels = checks.lock_channels([former.channel_id, channel_id])
    until = former.ends_at
    _end(former, at, actor_id)
    if not ends:
        share = former.share if wanted.share is None else wanted.share
        values = MeterValues(channel_id, Flow(former.flow), share, at, until)
        made = checks.new_meter(row, values, channels[channel_id], row.facility.time_zone)
        refusals.insert(made, actor_id=actor_id, action="agreement.change_meter")
    _require_sound(row, list(channels))
    return row


@transaction.atomic
def change_tariff(
    *,
    agreement_id: int,
    values: TariffValues,
    on: date,
    reason: str = "",
    actor_id: int | None,
) -> AgreementTariff:
    """Another tariff, or another contracted power, from the local midnight of a day on, until the
    next change that is planned already.
    """
    row = locked(agreement_id)
    if on < row.starts_on or (row.ends_on is not None and on >= row.ends_on):
        raise ValidationError({"starts_on": [_("On this day the agreement does not hold.")]})
    checks.require_tariff(values, on, row.currency)
    checks.require_reason(row, on, reason)
    restatement_finding.agreement_changed(agreement_id=row.pk, first=on)
    held = (
        AgreementTariff.objects.filter(agreement=row, starts_on__lte=on)
        .filter(Q(ends_on__isnull=True) | Q(ends_on__gt=on))
        .first()
    )
    made = AgreementTariff(
        tenant_id=row.tenant_id,
        agreement=row,
        facility_id=row.facility_id,
        tariff_id=values.tariff_id,
        contracted_kw=values.contracted_kw,
        starts_on=on,
        ends_on=row.ends_on if held is None else held.ends_on,
    )
    if held is not None:
        if (held.tariff_id, held.contracted_kw) == (values.tariff_id, values.contracted_kw):
            message = _("This tariff holds since %(date)s.") % {"date": date_format(held.starts_on)}
            raise ValidationError({"tariff": [message]})
        if held.starts_on == on:
            audit.delete(held, actor_id=actor_id, action="agreement.remove_tariff")
        else:
            refusals.update(held, {"ends_on": on}, actor_id=actor_id, action="agreement.end_tariff")
    refusals.insert(made, actor_id=actor_id, action="agreement.change_tariff")
    return made


def _meter(row: Agreement, meter_id: int) -> AgreementMeter:
    found = AgreementMeter.objects.filter(agreement=row, pk=meter_id).first()
    if found is None:
        raise MeterNotFound(f"meter {meter_id} of agreement {row.pk}")
    return found


def _within(former: AgreementMeter, at: datetime, row: Agreement) -> datetime:
    """The instant in UTC; ValidationError unless it lies in the meter's period."""
    at = at.astimezone(UTC)
    checks.require_quarter(at, "at")
    if at < former.starts_at or (former.ends_at is not None and at >= former.ends_at):
        message = _("The meter counts from %(start)s on: choose an instant of its time.")
        raise ValidationError(
            {"at": [message % {"start": checks.told(former.starts_at, row.facility.time_zone)}]}
        )
    return at


def _end(former: AgreementMeter, at: datetime, actor_id: int | None) -> None:
    if at == former.starts_at:
        audit.delete(former, actor_id=actor_id, action="agreement.remove_meter")
    else:
        refusals.update(former, {"ends_at": at}, actor_id=actor_id, action="agreement.end_meter")


def _require_sound(row: Agreement, channel_ids: list[int]) -> None:
    checks.require_shares(channel_ids, row.facility.time_zone)
    checks.require_counted(row, row.facility.time_zone)


def _day(at: datetime, zone: str) -> date:
    return at.astimezone(ZoneInfo(zone)).date()
