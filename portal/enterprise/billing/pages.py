"""What the pages of bills, agreements and customers show, prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.domain.ledger_timeline import Subject, TimelineItem
from billing.domain.pages_queries import AgreementPage, BillPage, CustomerPage
from billing.domain.sentences import spoken
from billing.models import (
    AgreementMeter,
    Bill,
    BillDelivery,
    BillKind,
    BillLine,
    BillState,
    Customer,
    DeliveryState,
    FileKind,
)
from portal.enterprise.billing import words
from portal.frame import quantities

# Lines that are made of intervals; a levy for each kWh as well.
_OPEN: Final = frozenset({"energy", "dynamic", "export", "demand", "levy"})
_DELIVERY_TONES: Final = {
    DeliveryState.WAITING: "warn",
    DeliveryState.SENT: "good",
    DeliveryState.FAILED: "bad",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of what is known; `mono` for digests."""

    label: str
    value: str
    mono: bool = False


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of a bill: `url` leads to its intervals, where it has some."""

    label: str
    note: str
    quantity: str
    price: str
    amount: str
    estimated: str
    url: str
    tax: bool


def bill(found: BillPage) -> dict[str, Any]:
    """The page of a bill."""
    row = found.bill
    return {
        "bill": row,
        "title": bill_title(row),
        "days": words.days(row.first_on, row.end_on),
        "tone": words.BILL_TONES[row.state],
        "lines": [line_row(one, row) for one in found.lines],
        "facts": _facts(row, found.open),
        "evidence": [
            Fact("SHA-256", row.sha256 or "–", mono=True),
            Fact(_("Made by"), _run(row)),
        ],
        "notices": _notices(row),
        "files": []
        if row.state == BillState.DRAFT
        else [
            (reverse("bill-file", args=[row.pk, kind]), label) for kind, label in FileKind.choices
        ],
        "deliveries": [_delivery(one, row.zone) for one in found.deliveries],
        "related": [
            {
                "url": reverse("bill", args=[one.pk]),
                "title": bill_title(one),
                "state": words.BILL_STATES[one.state],
                "tone": words.BILL_TONES[one.state],
                "cause": one.cause,
            }
            for one in (*found.corrections, *found.siblings)
        ],
    }


def _delivery(one: BillDelivery, zone: str) -> dict[str, str]:
    """To whom the bill went, or why it did not."""
    at = one.sent_at or one.created_at
    return {
        "to": one.to,
        "tone": _DELIVERY_TONES[DeliveryState(one.state)],
        "state": str(DeliveryState(one.state).label),
        "note": spoken(one.problem) or quantities.local_time(at, zone, "SHORT_DATETIME_FORMAT"),
    }


def bill_title(row: Bill) -> str:
    """What a bill is called."""
    kind = words.BILL_KINDS[row.kind]
    return f"{kind} {row.number}" if row.number else _("Draft of a bill")


def line_row(one: BillLine, of: Bill) -> LineRow:
    """A line as the table shows it."""
    opens = one.kind in _OPEN
    return LineRow(
        label=one.label or str(words.LINE_KINDS.get(one.kind, one.kind)),
        note=_note(one, of),
        quantity=words.counted(quantities.exact(one.quantity), one.unit, one.quantity),
        price=words.by_unit(quantities.price(one.price, of.currency), one.unit),
        amount=line_amount(one.amount, of.currency),
        estimated=_("%(quantity)s estimated") % {"quantity": quantities.exact(one.estimated)}
        if one.estimated
        else "",
        url=reverse("bill-line", args=[of.pk, one.position]) if opens else "",
        tax=one.kind == "tax",
    )


def line_amount(amount: Decimal, currency: str) -> str:
    """An amount of a line, with more digits than a coin where it is not rounded yet."""
    coins = quantities.coin_digits(currency)
    places = max(coins, min(6, -int(amount.normalize().as_tuple().exponent or 0)))
    return f"{quantities.number(amount, places)}\N{NO-BREAK SPACE}{currency}"


def _note(one: BillLine, of: Bill) -> str:
    """Period, tier and days of a line, as far as they say something; the instant of a demand."""
    told = [str(words.LINE_KINDS.get(one.kind, one.kind))]
    if one.period:
        told.append(one.period)
    if one.tier:
        told.append(_("tier %(number)d") % {"number": one.tier})
    if (one.first_on, one.end_on) != (of.first_on, of.end_on):
        told.append(words.days(one.first_on, one.end_on))
    if one.at:
        told.append(
            _("highest at %(instant)s") % {"instant": quantities.local_time(one.at, of.zone)}
        )
    return " · ".join(told)


def _facts(row: Any, still_open: Decimal) -> list[Fact]:
    def day(value: date | None) -> str:
        return date_format(value, "SHORT_DATE_FORMAT") if value else "–"

    def money(value: Decimal) -> str:
        return quantities.money(value, row.currency)

    return [
        Fact(_("Customer"), row.customer_name or "–"),
        Fact(_("Issued"), day(row.issued_on)),
        Fact(_("Due"), day(row.due_on)),
        *([] if row.state == BillState.DRAFT else [Fact(_("Still open"), money(still_open))]),
        Fact(_("Net"), money(row.net)),
        Fact(_("Tax"), money(row.tax)),
        Fact(_("Drawn from the grid"), _kwh(row.imported_kwh)),
        *([Fact(_("Given to the grid"), _kwh(row.exported_kwh))] if row.exported_kwh else []),
    ]


def _run(row: Bill) -> str:
    """By which run it was made."""
    run = row.run
    if run is None:
        return "–"
    return _("Bill run for %(days)s") % {"days": words.days(run.first_on, run.end_on)}


def _kwh(value: Decimal) -> str:
    return quantities.quantity(value, "kWh", 1)


def _notices(row: Bill) -> list[tuple[str, str]]:
    """What a reader has to know of a bill first: (tone, sentence)."""
    told = []
    if row.state == BillState.DRAFT:
        told.append(("info", _("A draft: it is computed anew until its run is approved.")))
    if row.state == BillState.VOID:
        told.append(("warn", _("A credit note has taken this bill back.")))
    if row.cause:
        cause = _("Cause: %(cause)s") % {"cause": row.cause}
        told.append(("info", cause))
    if row.estimated_kwh:
        told.append(
            (
                "warn",
                _("%(energy)s of it are estimated, and settled once the readings are there.")
                % {"energy": _kwh(row.estimated_kwh)},
            )
        )
    if row.missing_intervals:
        told.append(
            (
                "warn",
                ngettext(
                    "%(count)d interval is missing and counts as nothing.",
                    "%(count)d intervals are missing and count as nothing.",
                    row.missing_intervals,
                )
                % {"count": row.missing_intervals},
            )
        )
    return told


# --- agreements --------------------------------------------------------------------------


def agreement(found: AgreementPage, *, now: datetime) -> dict[str, Any]:
    """The page of an agreement."""
    row: Any = found.agreement
    zone = row.facility.time_zone
    today = timezone.localtime(now, ZoneInfo(zone)).date()
    return {
        "agreement": row,
        "zone": zone,
        "state": _standing(row.starts_on, row.ends_on, today),
        "balance": words.owed(row.balance, row.currency),
        "owes": (row.balance or 0) > 0,
        "meters": [_meter(one, zone, now) for one in found.meters],
        "tariffs": [
            {
                "name": found.tariff_names.get(one.tariff_id, ""),
                "pk": one.tariff_id if one.tariff_id in found.tariff_names else None,
                "days": span(one.starts_on, one.ends_on),
                "contracted": quantities.quantity(one.contracted_kw, "kW", 1)
                if one.contracted_kw is not None
                else "",
                "state": _standing(one.starts_on, one.ends_on, today),
            }
            for one in found.tariffs
        ],
        "bills": [bill_line(one) for one in found.bills],
        "events": [_event(one, row.currency, zone) for one in found.events],
    }


def span(first: date, end: date | None) -> str:
    """From a day on, until another."""
    begin = date_format(first, "SHORT_DATE_FORMAT")
    if end is None:
        return _("since %(day)s") % {"day": begin}
    return words.days(first, end)


def _standing(first: date, end: date | None, today: date) -> tuple[str, str]:
    """Whether something holds today: (tone, word)."""
    if first > today:
        return "accent", _("Begins later")
    if end is not None and end <= today:
        return "", _("Ended")
    return "good", _("In force")


def _meter(one: AgreementMeter, zone: str, now: datetime) -> dict[str, Any]:
    channel = one.channel
    ended = one.ends_at is not None and one.ends_at <= now
    return {
        "pk": one.pk,
        "device": channel.device.name,
        "serial": channel.device.serial,
        "url": reverse("device", args=[channel.device_id]),
        "channel": quantities.channel_name(channel.name, channel.quantity),
        "flow": words.FLOWS[one.flow],
        "share": "" if one.share == 1 else quantities.percent(one.share, 2),
        "from": quantities.local_time(one.starts_at, zone, "SHORT_DATETIME_FORMAT"),
        "until": quantities.local_time(one.ends_at, zone, "SHORT_DATETIME_FORMAT"),
        "ended": ended,
    }


def bill_line(one: Bill) -> dict[str, Any]:
    """A bill in a list of few."""
    return {
        "url": reverse("bill", args=[one.pk]),
        "number": one.number or _("Draft"),
        "credit": one.kind == BillKind.CREDIT_NOTE,
        "days": words.days(one.first_on, one.end_on),
        "state": words.BILL_STATES[one.state],
        "tone": words.BILL_TONES[one.state],
        "total": quantities.money(one.total, one.currency),
    }


def _event(one: TimelineItem, currency: str, zone: str) -> dict[str, Any]:
    """Something that happened to the account."""
    label, text, tone = words.happened(one)
    # An entry counts from a day; of all else the minute says what came of what.
    precision = "SHORT_DATE_FORMAT" if one.subject is Subject.ENTRY else "SHORT_DATETIME_FORMAT"
    return {
        "label": label,
        "tone": "good" if one.amount is not None and one.amount < 0 else tone,
        "text": text,
        "url": _event_url(one),
        "at": quantities.local_time(one.at, zone, precision),
        "amount": "" if one.amount is None else quantities.money(one.amount, currency),
    }


def _event_url(one: TimelineItem) -> str:
    if one.bill_id is not None:
        return reverse("bill", args=[one.bill_id])
    if one.subject is Subject.COMMAND and one.device_id is not None:
        return reverse("device", args=[one.device_id])
    return ""


# --- customers ---------------------------------------------------------------------------


def customer(found: CustomerPage) -> dict[str, Any]:
    """The page of a customer."""
    row = found.customer
    return {
        "customer": row,
        "facts": [Fact(label, value or "–") for label, value in _of_customer(row)],
        "agreements": [
            {
                "url": reverse("agreement", args=[one.pk]),
                "number": one.number,
                "facility": one.facility.name,
                "days": span(one.starts_on, one.ends_on),
                "balance": words.owed(one.balance, one.currency),
            }
            for one in _rows(found.agreements)
        ],
    }


def _rows(rows: Sequence[Any]) -> Sequence[Any]:
    """Rows with what a query has added to them, which types do not know."""
    return rows


def _of_customer(row: Customer) -> list[tuple[str, str]]:
    town = " ".join(part for part in (row.postal_code, row.city) if part)
    return [
        (_("Number"), row.number),
        (_("Kind"), str(words.CUSTOMER_KINDS[row.kind])),
        (_("Address"), ", ".join(part for part in (row.street, town, row.country) if part)),
        (_("E-mail"), row.email),
        (_("Phone"), row.phone),
        (_("VAT identification number"), row.vat_id),
        (_("Buyer's reference"), row.buyer_reference),
        (_("Account in the consumer view"), str(row.user or "")),
    ]


def history_url(device_id: int, at: datetime, seconds: int) -> str:
    """The way to a device's history, at an instant with some time around it."""
    start, width = int(at.timestamp() * 1000), seconds * 1000
    query = urlencode({"from": start - 8 * width, "to": start + 9 * width, "at": start})
    return f"{reverse('device', args=[device_id])}?{query}"
