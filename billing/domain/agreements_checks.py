"""What must hold of an agreement's meters and tariffs, and the sentences where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from billing.domain.agreements_shares import Slice, excess, uncovered
from billing.domain.agreements_values import MeterValues, TariffValues
from billing.domain.calendars import midnight
from billing.models import (
    Agreement,
    AgreementMeter,
    Bill,
    BillKind,
    BillState,
    Flow,
    Tariff,
    TariffVersion,
    VersionState,
)
from devices.models import Channel
from devices.telemetry.rollup import QUARTER_MS

# The quantities whose quarters of an hour tell energy in a direction.
QUANTITIES: Final[Mapping[Flow, frozenset[str]]] = MappingProxyType(
    {
        Flow.IMPORT: frozenset({"energy_import", "active_power"}),
        Flow.EXPORT: frozenset({"energy_export", "active_power"}),
        Flow.REACTIVE: frozenset({"reactive_energy", "reactive_power"}),
    }
)


def lock_channels(channel_ids: Sequence[int]) -> dict[int, Channel]:
    """The channels by id, held until the transaction ends, so that nobody else shares them out
    meanwhile; ValidationError at `channel` for one that the scope does not hold.
    """
    rows = Channel.objects.filter(pk__in=channel_ids).select_related("device").order_by("pk")
    found = {row.pk: row for row in rows.select_for_update(of=("self",), no_key=True)}
    if len(found) < len(set(channel_ids)):
        raise ValidationError({"channel": [_("There is no such channel. Choose one of the list.")]})
    return found


def new_meter(
    agreement: Agreement, values: MeterValues, channel: Channel, zone: str
) -> AgreementMeter:
    """A row that is not saved yet; ValidationError where the channel or the period do not fit."""
    _require_channel(channel, values.flow, agreement.facility_id)
    begin = midnight(agreement.starts_on, zone)
    end = None if agreement.ends_on is None else midnight(agreement.ends_on, zone)
    starts_at = begin if values.starts_at is None else values.starts_at.astimezone(UTC)
    ends_at = end if values.ends_at is None else values.ends_at.astimezone(UTC)
    require_quarter(starts_at, "starts_at")
    if ends_at is not None:
        require_quarter(ends_at, "ends_at")
        if ends_at <= starts_at:
            raise ValidationError({"ends_at": [_("The end must lie after the beginning.")]})
    if starts_at < begin or (end is not None and (ends_at is None or ends_at > end)):
        raise ValidationError(
            {"starts_at": [_("A meter counts within the days of its agreement.")]}
        )
    if not -1 <= values.share <= 1 or values.share == 0:
        raise ValidationError(
            {"share": [_("A share is at most 1; a sub-meter is taken off with at least -1.")]}
        )
    return AgreementMeter(
        tenant_id=agreement.tenant_id,
        agreement=agreement,
        facility_id=agreement.facility_id,
        channel=channel,
        flow=values.flow,
        share=values.share,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _require_channel(channel: Channel, flow: Flow, facility_id: int) -> None:
    """The channel measures energy in that direction at that facility; else ValidationError."""
    if channel.device.facility_id != facility_id:
        raise ValidationError(
            {
                "channel": [
                    _("The channel “%(name)s” measures at another facility than the agreement’s.")
                    % {"name": channel.name}
                ]
            }
        )
    if channel.quantity not in QUANTITIES[flow]:
        raise ValidationError(
            {
                "channel": [
                    _(
                        "The channel “%(name)s” does not tell the energy that is to be billed."
                        " Choose one that measures it: a counter or a power of that direction."
                    )
                    % {"name": channel.name}
                ]
            }
        )


def require_quarter(at: datetime, field: str) -> None:
    """A full quarter of an hour; else ValidationError."""
    milliseconds, rest = divmod(int(at.timestamp() * 1_000_000), 1000)
    if rest or milliseconds % QUARTER_MS:
        raise ValidationError(
            {field: [_("Meters change at full quarters of an hour, for example 14:15.")]}
        )


def require_shares(channel_ids: Sequence[int], zone: str) -> None:
    """After a change: nothing is billed twice. Call it with the channels locked."""
    rows = AgreementMeter.objects.filter(channel_id__in=channel_ids).select_related("channel")
    groups: dict[tuple[int, str], list[AgreementMeter]] = {}
    for row in rows:
        groups.setdefault((row.channel_id, row.flow), []).append(row)
    for group in groups.values():
        if (found := excess(_slice(row) for row in group)) is not None:
            raise ValidationError(
                {
                    "share": [
                        _(
                            "From %(at)s on, the shares of the channel “%(name)s” would add up to"
                            " %(total)s. They may not be more than 1: make them smaller, or end"
                            " another agreement’s before."
                        )
                        % {
                            "at": told(found.at, zone),
                            "name": group[0].channel.name,
                            "total": number_format(found.total.normalize()),
                        }
                    ]
                }
            )


def require_counted(agreement: Agreement, zone: str) -> None:
    """After a change: a sub-meter is taken off only where something is counted."""
    rows = list(AgreementMeter.objects.filter(agreement=agreement))
    for flow in Flow:
        mine = [_slice(row) for row in rows if row.flow == flow]
        taken_off = [one for one in mine if one.share < 0]
        at = uncovered(taken_off, [one for one in mine if one.share > 0])
        if at is not None:
            raise ValidationError(
                {
                    "share": [
                        _(
                            "At %(at)s a sub-meter would be taken off, but nothing is counted that"
                            " it could be taken off from. Add the meter above it first."
                        )
                        % {"at": told(at, zone)}
                    ]
                }
            )


def require_tariff(values: TariffValues, on: date, currency: str) -> Tariff:
    """A tariff that an agreement may choose from a day on; ValidationError at its fields."""
    tariff = Tariff.objects.filter(pk=values.tariff_id).first()
    if tariff is None:
        raise ValidationError({"tariff": [_("There is no such tariff. Choose one of the list.")]})
    if tariff.archived_at is not None:
        raise ValidationError(
            {"tariff": [_("The tariff is archived. Choose another one, or bring it back first.")]}
        )
    if currency and tariff.currency != currency:
        message = _("The tariff is in %(tariff)s, the agreement in %(agreement)s.")
        told_ = {"tariff": tariff.currency, "agreement": currency}
        raise ValidationError({"tariff": [message % told_]})
    published = TariffVersion.objects.filter(tariff=tariff, state=VersionState.PUBLISHED)
    documents = published.order_by("valid_from", "revision")
    first = documents.first()
    if first is None or first.valid_from > on:
        message = (
            _("The tariff has no published version yet: publish one first.")
            if first is None
            else _("The tariff has no prices before %(date)s.")
            % {"date": date_format(first.valid_from)}
        )
        raise ValidationError({"tariff": [message]})
    require_power(values, [version.document for version in documents])
    return tariff


def require_power(values: TariffValues, documents: Sequence[Mapping[str, Any]]) -> None:
    """Tariffs that charge for contracted power need to know it; ValidationError."""
    if values.contracted_kw is not None:
        if values.contracted_kw <= 0:
            raise ValidationError(
                {"contracted_kw": [_("The contracted power is more than nothing.")]}
            )
        return
    if any(asks_for_power(document) for document in documents):
        raise ValidationError(
            {"contracted_kw": [_("The tariff charges for the contracted power: say how many kW.")]}
        )


def asks_for_power(document: Mapping[str, Any]) -> bool:
    """Whether a tariff's document has a component that depends on the contracted power."""
    components = document.get("components", ())
    return any(
        one.get("per") == "kW_month"
        or (
            isinstance(one.get("tiers"), Mapping)
            and one["tiers"].get("unit") == "kWh/kW_contracted"
        )
        for one in components
        if isinstance(one, Mapping)
    )


def require_reason(agreement: Agreement, since: date, reason: str) -> None:
    """Whoever changes what final bills were made from says why; ValidationError at `reason`."""
    if reason.strip():
        return
    bill = (
        Bill.objects.filter(
            agreement=agreement, state=BillState.FINAL, kind=BillKind.INVOICE, end_on__gt=since
        )
        .order_by("-end_on")
        .first()
    )
    if bill is not None:
        raise ValidationError(
            {
                "reason": [
                    _(
                        "The bill %(number)s is for days until %(end)s and would have to be"
                        " restated: give a reason."
                    )
                    % {"number": bill.number, "end": date_format(bill.end_on)}
                ]
            }
        )


def told(at: datetime, zone: str) -> str:
    """An instant in the calendar of a facility, with its offset where clocks change."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{date_format(local, 'DATETIME_FORMAT')} ({local.tzname()})"


def _slice(row: AgreementMeter) -> Slice:
    return Slice(row.share, row.starts_at, row.ends_at)
