"""Changes to agreements: made, begun, ended, handed over; each leaves an audit row.

Meters and tariffs of an agreement are changed in `agreements_terms_operations`. Needs an open scope
that holds the tenant. What is refused is a ValidationError with a sentence at its field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from billing.domain import agreements_checks as checks
from billing.domain import identifiers, refusals, restatement_finding
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.agreements_values import (
    AgreementValues,
    Change,
    MeterValues,
    Successor,
    TariffValues,
)
from billing.domain.calendars import midnight
from billing.domain.references import next_reference
from billing.models import (
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Customer,
    Cycle,
    DunningCase,
    Flow,
    Mode,
    Wallet,
)
from devices.models import Facility
from tenants.domain import audit

# Longer than anybody waits for money; what is longer is a typing error.
MOST_PAYMENT_DAYS = 180


@dataclass(frozen=True, slots=True)
class Moved:
    """An agreement that has ended, and that of who moved in."""

    ended: Agreement
    successor: Agreement | None


@transaction.atomic
def create_agreement(
    *,
    tenant_id: int,
    values: AgreementValues,
    tariff: TariffValues,
    meters: Sequence[MeterValues] = (),
    actor_id: int | None,
) -> Agreement:
    """A new agreement with the meters and the tariff that it begins with: somebody moves in."""
    customer = Customer.objects.filter(pk=values.customer_id, tenant_id=tenant_id).first()
    if customer is None:
        raise ValidationError({"customer": [_("There is no such customer.")]})
    facility = Facility.objects.filter(pk=values.facility_id, tenant_id=tenant_id).first()
    if facility is None:
        raise ValidationError({"facility": [_("There is no such facility.")]})
    currency = values.currency and identifiers.checked_currency(values.currency)
    chosen = checks.require_tariff(tariff, values.starts_on, currency)
    row = Agreement(
        tenant_id=tenant_id,
        customer=customer,
        facility=facility,
        user_id=customer.user_id,
        number=values.number.strip() or _next_number(tenant_id),
        mode=values.mode,
        cycle=values.cycle,
        currency=chosen.currency,
        payment_days=_payment_days(values.payment_days),
        cost_centre=values.cost_centre.strip(),
        starts_on=values.starts_on,
        ends_on=values.ends_on,
    )
    refusals.insert(row, actor_id=actor_id, action="agreement.create")
    _begin_tariff(row, tariff, actor_id)
    _begin_meters(row, facility, meters, actor_id)
    return row


@transaction.atomic
def change_agreement(*, agreement_id: int, change: Change, actor_id: int | None) -> Agreement:
    """Another number, cycle, term of payment or cost centre, for the bills to come."""
    row = locked(agreement_id)
    wanted: dict[str, object] = {}
    if change.number is not None:
        if not change.number.strip():
            raise ValidationError({"number": [_("Give the agreement a number.")]})
        wanted["number"] = change.number.strip()
    if change.cycle is not None:
        wanted["cycle"] = change.cycle
    if change.payment_days is not None:
        wanted["payment_days"] = _payment_days(change.payment_days)
    if change.cost_centre is not None:
        wanted["cost_centre"] = change.cost_centre.strip()
    refusals.update(row, wanted, actor_id=actor_id, action="agreement.change")
    return row


@transaction.atomic
def move_out(
    *,
    agreement_id: int,
    ends_on: date,
    successor: Successor | None = None,
    reason: str = "",
    actor_id: int | None,
) -> Moved:
    """End an agreement at the local midnight of a day, with its meters and tariffs; and begin that
    of the one who moves in then, if any: at the same facility, by the same meters.

    A `reason` is needed where final bills are for later days: they are restated.
    """
    row = locked(agreement_id)
    if ends_on <= row.starts_on:
        raise ValidationError(
            {
                "ends_on": [
                    _("The agreement begins on %(start)s: it ends on a later day.")
                    % {"start": date_format(row.starts_on)}
                ]
            }
        )
    _set_end(row, ends_on, reason, actor_id, "agreement.move_out")
    if successor is None:
        return Moved(row, None)
    return Moved(row, _hand_over(row, ends_on, successor, actor_id))


@transaction.atomic
def reopen(*, agreement_id: int, reason: str = "", actor_id: int | None) -> Agreement:
    """Take an end back: meters and tariff go on that went until then."""
    row = locked(agreement_id)
    if row.ends_on is None:
        raise ValidationError(_("The agreement has no end."))
    _set_end(row, None, reason, actor_id, "agreement.reopen")
    return row


def locked(agreement_id: int) -> Agreement:
    """An agreement, held until the transaction ends. Raises AgreementNotFound."""
    rows = Agreement.objects.select_related("facility").select_for_update(of=("self",), no_key=True)
    row = rows.filter(pk=agreement_id).first()
    if row is None:
        raise AgreementNotFound(f"agreement {agreement_id}")
    return row


def _next_number(tenant_id: int) -> str:
    return next_reference(
        tenant_id=tenant_id,
        code="agreement",
        prefix="A",
        taken=lambda text: Agreement.objects.filter(tenant_id=tenant_id, number=text).exists(),
    )


def _payment_days(days: int) -> int:
    if not 0 <= days <= MOST_PAYMENT_DAYS:
        raise ValidationError(
            {
                "payment_days": [
                    _("Bills are due after at most %(most)d days.") % {"most": MOST_PAYMENT_DAYS}
                ]
            }
        )
    return days


def _begin_tariff(row: Agreement, values: TariffValues, actor_id: int | None) -> None:
    made = AgreementTariff(
        tenant_id=row.tenant_id,
        agreement=row,
        facility_id=row.facility_id,
        tariff_id=values.tariff_id,
        contracted_kw=values.contracted_kw,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
    )
    refusals.insert(made, actor_id=actor_id, action="agreement.add_tariff")


def _begin_meters(
    row: Agreement, facility: Facility, meters: Sequence[MeterValues], actor_id: int | None
) -> None:
    channels = checks.lock_channels([values.channel_id for values in meters])
    for values in meters:
        made = checks.new_meter(row, values, channels[values.channel_id], facility.time_zone)
        refusals.insert(made, actor_id=actor_id, action="agreement.add_meter")
    checks.require_shares(list(channels), facility.time_zone)
    checks.require_counted(row, facility.time_zone)


def _set_end(
    row: Agreement, ends_on: date | None, reason: str, actor_id: int | None, action: str
) -> None:
    """Give an agreement another end; what goes until its end goes until the new one."""
    former = row.ends_on
    zone = row.facility.time_zone
    later = [day for day in (former, ends_on) if day is not None]
    checks.require_reason(row, min(later), reason)
    restatement_finding.agreement_changed(agreement_id=row.pk, first=min(later))
    meters = AgreementMeter.objects.filter(agreement=row)
    channels = checks.lock_channels(sorted(set(meters.values_list("channel_id", flat=True))))
    before = audit.snapshot(row)
    row.ends_on = ends_on
    with refusals.told_at_fields():
        row.save(update_fields=["ends_on"])
    _cut_meters(row, former, zone)
    _cut_tariffs(row, former)
    _look_at_end(row)
    checks.require_shares(list(channels), zone)
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action=action,
        subject=row,
        before=before,
        after=audit.snapshot(row) | {"reason": reason.strip()},
    )


def _look_at_end(row: Agreement) -> None:
    """Have what is cut for want of money given back when the agreement ends, to who lives there
    then.
    """
    if row.ends_on is None:
        return
    at = midnight(row.ends_on, row.facility.time_zone)
    waiting = DunningCase.objects.filter(agreement=row, closed_at__isnull=True, next_at__gt=at)
    waiting.update(next_at=at)
    Wallet.objects.filter(agreement=row).update(look_at=at)


def _cut_meters(row: Agreement, former: date | None, zone: str) -> None:
    meters = AgreementMeter.objects.filter(agreement=row)
    until = None if row.ends_on is None else midnight(row.ends_on, zone)
    if former is not None:
        meters.filter(ends_at=midnight(former, zone)).update(ends_at=until)
    if until is not None:
        meters.filter(starts_at__gte=until).delete()
        meters.exclude(ends_at__lt=until).update(ends_at=until)


def _cut_tariffs(row: Agreement, former: date | None) -> None:
    tariffs = AgreementTariff.objects.filter(agreement=row)
    if former is not None:
        tariffs.filter(ends_on=former).update(ends_on=row.ends_on)
    if row.ends_on is not None:
        tariffs.filter(starts_on__gte=row.ends_on).delete()
        tariffs.exclude(ends_on__lt=row.ends_on).update(ends_on=row.ends_on)


def _hand_over(row: Agreement, on: date, successor: Successor, actor_id: int | None) -> Agreement:
    """The agreement of who moves in at the end of another one."""
    at = midnight(on, row.facility.time_zone)
    last = AgreementTariff.objects.filter(agreement=row, ends_on=on).first()
    tariff = successor.tariff
    if tariff is None:
        if last is None:
            raise ValidationError({"tariff": [_("Choose the tariff of who moves in.")]})
        tariff = TariffValues(last.tariff_id, last.contracted_kw)
    meters = [
        MeterValues(meter.channel_id, Flow(meter.flow), meter.share)
        for meter in AgreementMeter.objects.filter(agreement=row, ends_at=at)
    ]
    values = AgreementValues(
        customer_id=successor.customer_id,
        facility_id=row.facility_id,
        starts_on=on,
        number=successor.number,
        mode=Mode(row.mode),
        cycle=Cycle(row.cycle),
        payment_days=row.payment_days,
        cost_centre=row.cost_centre,
    )
    return create_agreement(
        tenant_id=row.tenant_id,
        values=values,
        tariff=tariff,
        meters=meters,
        actor_id=actor_id,
    )
