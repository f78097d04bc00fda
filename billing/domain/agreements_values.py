"""What agreements shall be, as those who make and change them say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.models import Cycle, Flow, Mode


@dataclass(frozen=True, slots=True)
class AgreementValues:
    """An agreement to be made: see `Agreement`. Without a `number` the next one is drawn; without a
    `currency` it is that of the tariff.
    """

    customer_id: int
    facility_id: int
    starts_on: date
    ends_on: date | None = None
    number: str = ""
    mode: Mode = Mode.POSTPAID
    cycle: Cycle = Cycle.MONTH
    currency: str = ""
    payment_days: int = 14
    cost_centre: str = ""


@dataclass(frozen=True, slots=True)
class MeterValues:
    """A channel to be billed by: see `AgreementMeter`. Without instants, as long as the agreement.

    A negative `share` takes the sub-meter of somebody else off.
    """

    channel_id: int
    flow: Flow = Flow.IMPORT
    share: Decimal = Decimal(1)
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MeterChange:
    """What becomes of a meter from an instant on: another channel, another share, or with neither
    its end.
    """

    at: datetime
    channel: int | None = None
    share: Decimal | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TariffValues:
    """A tariff to be billed by, with the contracted power where it asks for one."""

    tariff_id: int
    contracted_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be different of an agreement; None leaves it."""

    number: str | None = None
    cycle: Cycle | None = None
    payment_days: int | None = None
    cost_centre: str | None = None


@dataclass(frozen=True, slots=True)
class Successor:
    """Who moves in where somebody moves out: by the same meters, and the same tariff or another."""

    customer_id: int
    number: str = ""
    tariff: TariffValues | None = None
