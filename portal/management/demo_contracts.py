"""Who is billed in the demo, for what: sellers, customers and agreements of both tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from billing.domain import (
    agreements_operations,
    customers_operations,
    payments_operations,
    settings_operations,
)
from billing.domain.agreements_values import AgreementValues, MeterValues, TariffValues
from billing.domain.customers_operations import CustomerValues
from billing.domain.settings_operations import SettingsValues
from billing.models import (
    Agreement,
    BillingSettings,
    Customer,
    CustomerKind,
    Flow,
    Mode,
    Tariff,
)
from billing.payments.values import Received
from devices.models import Channel, Device
from devices.simulator.park import CHAIN, UTILITY
from portal.management.demo_history import Counter
from portal.management.demo_people import APPROVER, user_id
from portal.management.demo_tariffs import (
    CURRENCY,
    DYNAMIC,
    HOUSEHOLD,
    SITES,
    SOLAR,
    WITHIN,
    DemoTariff,
)
from tenants.models import Tenant, User

_IMPORT: Final = "energy_import"
_EXPORT: Final = "energy_export"
_WHOLE: Final = Decimal(1)

SELLERS: Final[Mapping[str, SettingsValues]] = MappingProxyType(
    {
        CHAIN: SettingsValues(
            legal_name="Fennel & Rye Markets GmbH",
            street="Barmbeker Straße 188",
            postal_code="22303",
            city="Hamburg",
            country="DE",
            vat_id="DE136695976",
            email="energie@fennel-rye.example",
            phone="+49 40 5550188",
            iban="DE89370400440532013000",
            bic="COBADEFFXXX",
            bank_name="Beispielbank",
            footer="Sitz der Gesellschaft: Hamburg",
            mail_bills=False,
        ),
        UTILITY: SettingsValues(
            legal_name="Auental Energie eG",
            street="Dorfplatz 2",
            postal_code="79312",
            city="Emmendingen",
            country="DE",
            vat_id="DE136695976",
            email="rechnung@auental-energie.example",
            phone="+49 7641 555010",
            iban="DE89370400440532013000",
            bic="COBADEFFXXX",
            bank_name="Beispielbank",
            footer="Eingetragene Genossenschaft",
            mail_bills=False,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Metered:
    """What an agreement is billed by; a negative share is taken off."""

    counter: Counter
    flow: Flow = Flow.IMPORT
    share: Decimal = _WHOLE


@dataclass(frozen=True, slots=True)
class Contract:
    """An agreement of the demo and its customer. `user`: the e-mail of the account that sees it."""

    number: str
    tariff: DemoTariff
    customer: CustomerValues
    meters: tuple[Metered, ...]
    mode: Mode = Mode.POSTPAID
    user: str = ""

    @property
    def tenant(self) -> str:
        """Whose customer it is."""
        return self.tariff.tenant

    @property
    def serial(self) -> str:
        """The device whose facility is supplied."""
        return self.meters[0].counter.serial


def _firm(number: str, name: str, street: str, postal_code: str, city: str) -> CustomerValues:
    return CustomerValues(
        name=name, number=number, kind=CustomerKind.COMPANY, language="de",
        email="rechnung@example.org", street=street, postal_code=postal_code, city=city,
        country="DE",
    )  # fmt: skip


def _home(number: str, name: str, street: str) -> CustomerValues:
    return CustomerValues(
        name=name, number=number, language="de", email=f"{number.lower()}@auental.example",
        street=street, postal_code="79312", city="Emmendingen", country="DE",
    )  # fmt: skip


def _drawn(serial: str, share: str = "1") -> Metered:
    return Metered(Counter(serial, _IMPORT), share=Decimal(share))


def _given(serial: str) -> Metered:
    return Metered(Counter(serial, _EXPORT), Flow.EXPORT)


WALLET: Final = Contract(
    "AE-V-007", HOUSEHOLD, _home("AE-K-007", "Mirjam Vogt", "Im Grün 22"),
    (_drawn("AE007-METER"),), Mode.PREPAID, "prepaid@auental-energie.example",
)  # fmt: skip
PAYG: Final = Contract(
    "AE-V-010", HOUSEHOLD, _home("AE-K-010", "Elias Roth", "Rebstockweg 17"),
    (_drawn("AE010-METER"),), Mode.PAYG,
)  # fmt: skip
DISPUTED: Final = Contract(
    "AE-V-002", HOUSEHOLD, _home("AE-K-002", "Hanna Brenner", "Ahornweg 5"),
    (_drawn("AE002-METER"),),
)  # fmt: skip
# Whose unit is switched off, because a bill of the years before was not paid.
BEHIND: Final = Contract(
    "AE-V-012", HOUSEHOLD, _home("AE-K-012", "Jonas Weber", "Sonnhalde 2"),
    (_drawn("AE012-METER"),),
)  # fmt: skip
CONTRACTS: Final = (
    # The car wash is let: its sub-meter is billed to who runs it, and taken off the station's bill.
    Contract(
        "FR-V-001", SITES,
        _firm("FR-K-001", "Fennel & Rye Tankstellen GmbH", "Hafenweg 4", "20457", "Hamburg"),
        (_drawn("FR04-MAINS"), _drawn("FR04-CARWASH", "-1")),
    ),
    Contract(
        "FR-V-002", WITHIN,
        _firm("FR-K-002", "Glanzwerk Autowäsche GmbH", "Am Kai 11", "20457", "Hamburg"),
        (_drawn("FR04-CARWASH"),),
    ),
    Contract(
        "FR-V-003", SITES,
        _firm("FR-K-003", "Fennel & Rye Iberia GmbH", "Hafenweg 4", "20457", "Hamburg"),
        (_drawn("FR05-MAINS"), _given("FR05-MAINS")),
    ),
    # One air conditioning for a shop and a café beside it.
    Contract(
        "FR-V-004", WITHIN,
        _firm("FR-K-004", "Fennel & Rye Nordic GmbH", "Hafenweg 4", "20457", "Hamburg"),
        (_drawn("FR03-HVAC", "0.7"),),
    ),
    Contract(
        "FR-V-005", WITHIN,
        _firm("FR-K-005", "Café Kallio Betriebs GmbH", "Nordstraße 9", "20457", "Hamburg"),
        (_drawn("FR03-HVAC", "0.3"),),
    ),
    Contract(
        "AE-V-001", SOLAR, _home("AE-K-001", "Jonas Keller", "Ahornweg 3"),
        (_drawn("AE001-METER"), _given("AE001-METER")),
        user="consumer@auental-energie.example",
    ),
    DISPUTED,
    Contract(
        "AE-V-003", DYNAMIC, _home("AE-K-003", "Petra Lang", "Birkenallee 12"),
        (_drawn("AE003-METER"),),
    ),
    Contract(
        "AE-V-005", HOUSEHOLD, _home("AE-K-005", "Familie Sommer", "Dorfplatz 1"),
        (_drawn("AE005-METER"),),
    ),
    BEHIND,
    WALLET,
    PAYG,
)  # fmt: skip


def contracts_of(slug: str, mode: Mode = Mode.POSTPAID) -> tuple[Contract, ...]:
    """Those of a tenant that pay in a way."""
    return tuple(one for one in CONTRACTS if one.tenant == slug and one.mode == mode)


def counters_of(slug: str) -> tuple[Counter, ...]:
    """The registers that a tenant's bills are made of, each once."""
    found = [metered.counter for one in contracts_of(slug) for metered in one.meters]
    return tuple(dict.fromkeys(found))


def ensure_seller(tenant: Tenant, *, actor_id: int) -> None:
    """Who the tenant is on its bills, unless it has said so. Needs the tenant's open scope."""
    if not BillingSettings.objects.filter(tenant=tenant).exists():
        settings_operations.change_settings(
            tenant_id=tenant.pk, values=SELLERS[tenant.slug], actor_id=actor_id
        )


def ensure_agreement(
    tenant: Tenant, wanted: Contract, *, starts_on: date, actor_id: int
) -> Agreement | None:
    """The agreement with its customer; None where its device is not there. Needs the tenant's open
    scope, and its tariffs. Raises ValidationError.
    """
    found = Agreement.objects.filter(tenant=tenant, number=wanted.number).first()
    if found is not None:
        return found
    device = Device.objects.filter(tenant=tenant, serial=wanted.serial).first()
    tariff = Tariff.objects.filter(tenant=tenant, name=wanted.tariff.name).first()
    if device is None or tariff is None:
        return None
    values = AgreementValues(
        customer_id=_customer(tenant, wanted, actor_id).pk,
        facility_id=device.facility_id,
        starts_on=starts_on,
        number=wanted.number,
        mode=wanted.mode,
    )
    return agreements_operations.create_agreement(
        tenant_id=tenant.pk,
        values=values,
        tariff=TariffValues(tariff.pk),
        meters=[
            MeterValues(_channel(tenant, one.counter).pk, one.flow, one.share)
            for one in wanted.meters
        ],
        actor_id=actor_id,
    )


def pay(agreement: Agreement, amount: Decimal, key: str, text: str, now: datetime) -> None:
    """Enter what a customer paid; the same key once more changes nothing. Needs an open scope."""
    received = Received(
        key,
        amount,
        CURRENCY,
        now.date(),
        payer=agreement.customer.name,
        text=f"{text} {agreement.number}".strip(),
    )
    payments_operations.enter(
        agreement_id=agreement.pk, received=received, now=now, actor_id=user_id(APPROVER)
    )


def _customer(tenant: Tenant, wanted: Contract, actor_id: int) -> Customer:
    found = Customer.objects.filter(tenant=tenant, number=wanted.customer.number).first()
    if found is not None:
        return found
    values = wanted.customer
    if wanted.user:
        values = replace(values, user_id=User.objects.get(email=wanted.user).pk)
    return customers_operations.create_customer(
        tenant_id=tenant.pk, values=values, actor_id=actor_id
    )


def _channel(tenant: Tenant, counter: Counter) -> Channel:
    return Channel.objects.get(tenant=tenant, device__serial=counter.serial, key=counter.key)
