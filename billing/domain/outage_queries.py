"""Why a unit has gone dark: what is known of it from all sides, explained on one screen. Needs an
open scope; what the scope does not hold (customers, for one that is narrowed) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import F, Func, Q, QuerySet, Value

from billing.accounts.outage import (
    DunningSide,
    Explanation,
    Facts,
    Health,
    Output,
    TimeSide,
    WalletSide,
    explain,
)
from billing.domain.ledger_queries import balances
from billing.models import Agreement, AgreementMeter, Customer, DunningCase, PaygUnit, Wallet
from devices.commands.kinds import Kind
from devices.commands.states import OPEN
from devices.domain.commands_queries import CommandEntry, command_page
from devices.domain.control_queries import OutputFacts, output_of
from devices.domain.latest import LatestValue, latest_of_device
from devices.domain.queries import DeviceNotFound
from devices.models import Command, Device, DeviceConfiguration
from devices.telemetry import device_health, status
from devices.telemetry.device_health import HealthSpan
from devices.telemetry.history import Event, newest_events

# What happened longer ago explains nothing of today.
LOOKS_BACK: Final = timedelta(days=90)
HEALTH_SPAN: Final = timedelta(days=1)
# A reading that is older says nothing about now.
FRESH: Final = timedelta(minutes=15)
RECENT_COMMANDS: Final = 8
MOST_FOUND: Final = 20
_LEAST_DIGITS: Final = 4
_RELAY: Final = ("relay.opened", "relay.closed")
_FIRMWARE: Final = (
    "firmware.installing",
    "firmware.confirmed",
    "firmware.reverted",
    "firmware.failed",
)
_KINDS: Final = (*_RELAY, *_FIRMWARE, "payg.changed", "disconnected")
_NO_DIGIT: Final = re.compile(r"[^0-9]")


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that a search has found, and whose it is as far as the reader sees that."""

    device_id: int
    serial: str
    name: str
    facility: str
    customer: str = ""
    customer_number: str = ""
    agreement: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """An agreement that a unit supplies."""

    agreement_id: int
    number: str
    mode: str
    customer_id: int | None
    customer: str
    customer_number: str
    phone: str
    protected: bool
    currency: str
    overdue: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Outage:
    """A unit and why it is as it is; `commands` are its newest."""

    device: Device
    facts: Facts
    explanation: Explanation
    accounts: tuple[Account, ...]
    commands: tuple[CommandEntry, ...]
    output: OutputFacts


def find_units(*, text: str, now: datetime) -> tuple[Found, ...]:
    """Units by serial number, name, facility, number or name of a customer, agreement, or telephone
    number, however it is written; at most MOST_FOUND, six queries.
    """
    text = text.strip()
    if not text:
        return ()
    devices = _devices_like(text)
    agreements = {row.pk: row for row in _agreements_like(text)}
    supplied = _supplied_by(list(agreements), now)
    own = Device.objects.filter(pk__in=supplied).select_related("facility")
    customers = _customers(agreements.values())
    found = [
        _found(row, agreements[supplied[row.pk]], customers) for row in own.order_by("name", "pk")
    ]
    found += [_found(row, None, customers) for row in devices if row.pk not in supplied]
    return tuple(found[:MOST_FOUND])


def _customers(agreements: Iterable[Agreement]) -> dict[int, Customer]:
    """By id, as far as the scope holds them."""
    return Customer.objects.in_bulk({row.customer_id for row in agreements})


def _devices_like(text: str) -> list[Device]:
    wanted = Q(serial__icontains=text) | Q(name__icontains=text) | Q(facility__name__icontains=text)
    rows = Device.objects.filter(wanted).select_related("facility")
    return list(rows.order_by("name", "pk")[:MOST_FOUND])


def _agreements_like(text: str) -> QuerySet[Agreement]:
    wanted = Q(number__icontains=text) | Q(customer__in=_customers_like(text))
    return Agreement.objects.filter(wanted).order_by("-starts_on", "pk")[:MOST_FOUND]


def _customers_like(text: str) -> QuerySet[Customer]:
    wanted = Q(number__icontains=text) | Q(name__icontains=text)
    rows = Customer.objects.all()
    digits = _NO_DIGIT.sub("", text)
    # The country's code is left out by some and written as 00 by others: the end tells.
    if len(digits) >= _LEAST_DIGITS and not re.search(r"[^0-9+()/\-.\s]", text):
        rows = rows.annotate(digits=_digits("phone"))
        wanted |= Q(digits__endswith=digits.lstrip("0"))
    return rows.filter(wanted)


def _digits(column: str) -> Func:
    return Func(F(column), Value("[^0-9]"), Value(""), Value("g"), function="regexp_replace")


def _supplied_by(agreement_ids: Sequence[int], now: datetime) -> dict[int, int]:
    """By device the agreement that it supplies now."""
    meters = _meters(now).filter(agreement__in=agreement_ids)
    found = dict(meters.values_list("channel__device", "agreement"))
    units = PaygUnit.objects.filter(agreement__in=agreement_ids)
    return found | dict(units.values_list("device", "agreement"))


def _meters(now: datetime) -> QuerySet[AgreementMeter]:
    rows = AgreementMeter.objects.filter(starts_at__lte=now)
    return rows.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))


def _found(device: Device, agreement: Agreement | None, customers: Mapping[int, Customer]) -> Found:
    customer = customers.get(agreement.customer_id) if agreement is not None else None
    return Found(
        device_id=device.pk,
        serial=device.serial,
        name=device.name,
        facility=device.facility.name,
        customer=customer.name if customer else "",
        customer_number=customer.number if customer else "",
        agreement=agreement.number if agreement else "",
    )


def explain_unit(*, device_id: int, now: datetime) -> Outage:
    """Whether a unit is on, since when, and why; some twenty queries. Raises DeviceNotFound."""
    device = Device.objects.select_related("facility").filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    output = output_of(device_id=device_id)
    agreements = _agreements_of(device_id, now)
    accounts = _accounts(agreements, now)
    facts = _facts(device, output, accounts, now)
    return Outage(
        device=device,
        facts=facts,
        explanation=explain(facts, now=now),
        accounts=accounts,
        commands=command_page(limit=RECENT_COMMANDS, device_id=device_id).items,
        output=output,
    )


def _agreements_of(device_id: int, now: datetime) -> list[Agreement]:
    metered = _meters(now).filter(channel__device=device_id).values("agreement")
    paying = PaygUnit.objects.filter(device=device_id).values("agreement")
    today = now.date()
    rows = Agreement.objects.filter(Q(pk__in=metered) | Q(pk__in=paying))
    rows = rows.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=today))
    return list(rows.order_by("-starts_on", "pk"))


def _accounts(agreements: Sequence[Agreement], now: datetime) -> tuple[Account, ...]:
    standing = balances(agreement_ids=[row.pk for row in agreements], on=now.date())
    customers = _customers(agreements)
    found = []
    for row in agreements:
        customer, balance = customers.get(row.customer_id), standing.get(row.pk)
        found.append(
            Account(
                agreement_id=row.pk,
                number=row.number,
                mode=row.mode,
                customer_id=customer.pk if customer else None,
                customer=customer.name if customer else "",
                customer_number=customer.number if customer else "",
                phone=customer.phone if customer else "",
                protected=bool(customer and customer.protected),
                currency=row.currency,
                overdue=balance.overdue if balance else Decimal(0),
                balance=balance.owed - balance.credit if balance else Decimal(0),
            )
        )
    return tuple(found)


def _facts(
    device: Device, output: OutputFacts, accounts: Sequence[Account], now: datetime
) -> Facts:
    link = status.links(connection, [device.pk]).get(device.pk)
    events = newest_events(connection, device.pk, _KINDS, since=now - LOOKS_BACK)
    readings = _readings(device.pk, now)
    gone = events.get("disconnected")
    return Facts(
        state=device.state,
        connected=link.connected if link else None,
        changed_at=link.changed_at if link else None,
        last_seen_at=link.last_seen_at if link else None,
        disconnect=str(gone.data.get("text") or gone.data.get("reason") or "") if gone else "",
        output=_output(output, events),
        wallet=_wallet([one.agreement_id for one in accounts]),
        dunning=_dunning({one.agreement_id: one for one in accounts}),
        time=_time(device.pk, events),
        health=_health(device.pk, now),
        charge_percent=readings.get("state_of_charge"),
        watts=readings.get("active_power"),
        limit_w=_limit(device.pk),
        installing_since=_installing(events),
        rebooting=Command.objects.filter(
            device=device.pk, kind=Kind.REBOOT, state__in=[state.value for state in OPEN]
        ).exists(),
    )


def _output(found: OutputFacts, events: Mapping[str, Event]) -> Output:
    relays = [events[kind] for kind in _RELAY if kind in events]
    relay = max(relays, key=lambda event: event.occurred_at, default=None)
    # One that says something else than the device does now is not the last.
    if relay is not None and found.reported is not None:
        relay = relay if (relay.kind == "relay.closed") == found.reported else None
    command = found.command
    return Output(
        wanted=found.wanted,
        reported=found.reported,
        reported_at=found.reported_at,
        switched_by=str(relay.data.get("by", "")) if relay else "",
        switched_at=relay.occurred_at if relay else None,
        origin=command.origin if command else "",
        asked_by=command.asked_by if command else "",
        asked_at=command.asked_at if command else None,
        reason=command.reason if command else "",
        command_state=command.state if command else "",
        command_key=_key(command),
    )


def _key(command: CommandEntry | None) -> str:
    if command is None:
        return ""
    keys = Command.objects.filter(pk=command.command_id).values_list("request_key", flat=True)
    return keys.first() or ""


def _wallet(agreement_ids: Sequence[int]) -> WalletSide | None:
    """Of several the emptiest, which is the one that switches off."""
    row = Wallet.objects.filter(agreement__in=agreement_ids).order_by("balance").first()
    if row is None:
        return None
    return WalletSide(row.balance, row.currency, row.state, row.switched_off_at)


def _dunning(accounts: Mapping[int, Account]) -> DunningSide | None:
    rows = DunningCase.objects.filter(agreement__in=accounts, closed_at__isnull=True)
    case = rows.order_by("-disabled", "-limited", "pk").first()
    if case is None:
        return None
    account = accounts[case.agreement_id]
    return DunningSide(
        overdue=account.overdue,
        currency=account.currency,
        disabled=case.disabled,
        limited=case.limited,
        since=case.opened_at,
    )


def _time(device_id: int, events: Mapping[str, Event]) -> TimeSide | None:
    unit = PaygUnit.objects.filter(device=device_id).first()
    told = events.get("payg.changed")
    if unit is None and told is None:
        return None
    told_ms = told.data.get("paid_until_ms") if told else None
    return TimeSide(
        paid_until=unit.paid_until if unit else None,
        told_until=_time_told(told_ms),
        released=bool(unit and unit.released_at) or bool(told and told.data.get("released")),
    )


def _time_told(value: Any) -> datetime | None:
    """What a device has told, if it can be a time."""
    if not isinstance(value, int) or not 0 < value < 1 << 47:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)


def _health(device_id: int, now: datetime) -> Health:
    span = [HealthSpan(now - HEALTH_SPAN, now, past=True)]
    connections, resets = device_health.connections_and_resets(connection, [device_id], span)
    errors = device_health.error_minutes(connection, [device_id], span)
    return Health(
        resets=sum(one.count for one in resets),
        error_minutes=sum(one.count for one in errors),
        connections=sum(one.count for one in connections),
    )


def _readings(device_id: int, now: datetime) -> dict[str, float]:
    """The newest charge (%) and power (W), if they are of now."""
    found: dict[str, float] = {}
    for one in latest_of_device(device_id=device_id):
        if now - one.time <= FRESH and one.quantity not in found:
            found[one.quantity] = _plain(one)
    return found


def _plain(one: LatestValue) -> float:
    return one.value * 1000 if one.unit == "kW" else one.value


def _limit(device_id: int) -> int | None:
    row = DeviceConfiguration.objects.filter(device=device_id).first()
    told = (row.reported or {}).get("power_limit_w") if row else None
    return told if isinstance(told, int) and told >= 0 else None


def _installing(events: Mapping[str, Event]) -> datetime | None:
    """Since when it installs firmware, if that is the last it has told of it."""
    steps = [events[kind] for kind in _FIRMWARE if kind in events]
    last = max(steps, key=lambda event: event.occurred_at, default=None)
    return last.occurred_at if last and last.kind == "firmware.installing" else None
