"""The tariffs of the demo, and the prices of a market that one of them follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.domain import prices_operations, tariffs_operations
from billing.domain.prices_queries import Price
from billing.models import PriceSeries, PriceValue, Tariff
from devices.simulator.model.chance import Chance
from devices.simulator.park import CHAIN, UTILITY
from tenants.models import Tenant

CURRENCY: Final = "EUR"
SERIES: Final = "spot"
_REASON: Final = "Der Tarif der letzten Jahre, aus dem früheren Programm übernommen"
_MARKET_SEED: Final = 2_026
# The day's course at the market, ct/kWh by the hour: cheap at noon, dear in the evening.
_COURSE: Final = (
    7.9, 7.4, 7.1, 7.0, 7.3, 8.4, 10.6, 12.1, 11.2, 8.3, 5.6, 3.4,
    2.1, 1.8, 2.9, 5.2, 9.1, 13.8, 16.2, 15.1, 12.4, 10.9, 9.6, 8.5,
)  # fmt: skip
# Prices of tomorrow are known today, and those of a demo that goes on for weeks are there already.
_AHEAD: Final = timedelta(days=45)


@dataclass(frozen=True, slots=True)
class DemoTariff:
    """A tariff of a tenant, in YAML. `offered`: customers may be told what they would pay by it."""

    tenant: str
    name: str
    description: str
    source: str
    offered: bool = True


SITES: Final = DemoTariff(
    CHAIN,
    "Filialen",
    "Arbeit nach Zeit und Menge, Leistung nach der höchsten Viertelstunde",
    """
tariff: 1
name: Filialen
currency: EUR
holidays: DE-BE
schedules:
  zeiten:
    - {period: HT, days: [mon, tue, wed, thu, fri], from: 06:00, to: 22:00}
    - {period: NT, days: [mon, tue, wed, thu, fri], to: 06:00}
    - {period: NT, days: [mon, tue, wed, thu, fri], from: 22:00}
    - {period: NT, days: [sat, sun, holiday]}
components:
  - {kind: standing, name: base, label: Grundpreis, amount: 38.00, per: month}
  - kind: energy
    name: energy
    label: Arbeitspreis
    schedule: zeiten
    prices:
      HT: [{up_to: 5000, price: 0.2180}, {price: 0.1990}]
      NT: [{up_to: 5000, price: 0.1740}, {price: 0.1620}]
  - {kind: energy, name: feed_in, label: Einspeisung, flow: export, prices: 0.0620}
  - {kind: demand, name: demand, label: Leistungspreis, window_min: 15, prices: 9.80}
  - {kind: levy, name: levies, label: Umlagen, per_kWh: 0.0205}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: all}
""",
)
WITHIN: Final = DemoTariff(
    CHAIN,
    "Untermieter",
    "Was hinter den Zählern der Filialen gemessen wird",
    """
tariff: 1
name: Untermieter
currency: EUR
components:
  - {kind: standing, name: base, label: Messpreis, amount: 6.50, per: month}
  - {kind: energy, name: energy, label: Arbeitspreis, prices: 0.2440}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: all}
""",
    offered=False,
)
HOUSEHOLD: Final = DemoTariff(
    UTILITY,
    "Haushalt Tag und Nacht",
    "Nachts, am Wochenende und an Feiertagen günstiger",
    """
tariff: 1
name: Haushalt Tag und Nacht
currency: EUR
holidays: DE-BW
schedules:
  zeiten:
    - {period: Tag, days: [mon, tue, wed, thu, fri], from: 06:00, to: 22:00}
    - {period: Nacht, days: [mon, tue, wed, thu, fri], to: 06:00}
    - {period: Nacht, days: [mon, tue, wed, thu, fri], from: 22:00}
    - {period: Nacht, days: [sat, sun, holiday]}
components:
  - {kind: standing, name: base, label: Grundpreis, amount: 9.90, per: month}
  - kind: energy
    name: energy
    label: Arbeitspreis
    schedule: zeiten
    prices: {Tag: 0.3190, Nacht: 0.2540}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: all}
""",
)
SOLAR: Final = DemoTariff(
    UTILITY,
    "Haushalt mit Photovoltaik",
    "Bezug nach Zeit, Einspeisung wird vergütet",
    """
tariff: 1
name: Haushalt mit Photovoltaik
currency: EUR
holidays: DE-BW
schedules:
  zeiten:
    - {period: Tag, from: 06:00, to: 22:00}
    - {period: Nacht, to: 06:00}
    - {period: Nacht, from: 22:00}
components:
  - {kind: standing, name: base, label: Grundpreis, amount: 11.40, per: month}
  - kind: energy
    name: energy
    label: Arbeitspreis
    schedule: zeiten
    prices: {Tag: 0.3240, Nacht: 0.2610}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: [base, energy]}
  - {kind: energy, name: feed_in, label: Einspeisevergütung, flow: export, prices: 0.0786}
""",
)
DYNAMIC: Final = DemoTariff(
    UTILITY,
    "Haushalt dynamisch",
    "Jede Stunde zum Preis der Börse",
    """
tariff: 1
name: Haushalt dynamisch
currency: EUR
components:
  - {kind: standing, name: base, label: Grundpreis, amount: 12.90, per: month}
  - {kind: dynamic, name: market, label: Börsenpreis, series: spot, factor: 1.03, adder: 0.0150}
  - {kind: levy, name: grid, label: Netz und Umlagen, per_kWh: 0.1370}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: all}
""",
)
TARIFFS: Final = (SITES, WITHIN, HOUSEHOLD, SOLAR, DYNAMIC)


def ensure_tariffs(tenant: Tenant, *, first: date, now: datetime, actor_id: int) -> None:
    """The published tariffs of a tenant that are missing, from the year before `first` on, and the
    prices of the market from the month of `first` on. Needs the tenant's open scope.
    """
    if tenant.slug == UTILITY:
        _ensure_prices(tenant, first, now, actor_id)
    known = set(Tariff.objects.filter(tenant=tenant).values_list("name", flat=True))
    for wanted in TARIFFS:
        if wanted.tenant != tenant.slug or wanted.name in known:
            continue
        row = tariffs_operations.create_tariff(
            tenant_id=tenant.pk,
            name=wanted.name,
            currency=CURRENCY,
            description=wanted.description,
            actor_id=actor_id,
        )
        version = tariffs_operations.draft_version(
            tariff_id=row.pk,
            valid_from=date(first.year - 1, 1, 1),
            source=wanted.source.lstrip(),
            reason=_REASON,
            actor_id=actor_id,
        )
        tariffs_operations.publish_version(version_id=version.pk, now=now, actor_id=actor_id)
        tariffs_operations.change_tariff(
            tariff_id=row.pk,
            name=row.name,
            description=row.description,
            offered=wanted.offered,
            actor_id=actor_id,
        )


def _ensure_prices(tenant: Tenant, first: date, now: datetime, actor_id: int) -> None:
    series = PriceSeries.objects.filter(tenant=tenant, name=SERIES).first()
    if series is None:
        series = prices_operations.create_series(
            tenant_id=tenant.pk, name=SERIES, currency=CURRENCY, actor_id=actor_id
        )
    if not PriceValue.objects.filter(series=series).exists():
        begin = datetime.combine(first, datetime.min.time(), UTC) - timedelta(days=1)
        prices = market(begin, now + _AHEAD)
        prices_operations.append_prices(
            series_id=series.pk, prices=prices, now=now, actor_id=actor_id
        )


def market(begin: datetime, end: datetime) -> list[Price]:
    """Invented prices per kWh of each hour from a full one on: the same whenever they are asked
    for, some of them below zero.
    """
    hours = int((end - begin) / timedelta(hours=1))
    found = []
    for number in range(hours):
        at = begin + timedelta(hours=number)
        day = Chance(_MARKET_SEED, "market", at.date().isoformat()).between(-3.5, 4.5)
        weekend = -1.5 if at.weekday() >= 5 else 0.0
        cents = _COURSE[at.hour] + day + weekend
        found.append(Price(at, Decimal(round(cents * 100)).scaleb(-4)))
    return found
