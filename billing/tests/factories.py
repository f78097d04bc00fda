"""Customers, agreements, tariffs and bills for tests. Call them inside an open scope that contains
the tenant.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from billing.accounts.tokens import Keys
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Allocation,
    Bill,
    BillDelivery,
    BillEvidence,
    BillFile,
    BillingSettings,
    BillLine,
    BillRun,
    BillRunItem,
    BillState,
    ChangesRead,
    Customer,
    DunningCase,
    DunningEvent,
    DunningKind,
    DunningPolicy,
    EntryKind,
    FileKind,
    InstalmentPlan,
    Mode,
    MovementKind,
    NumberSeries,
    PaygToken,
    PaygUnit,
    Payment,
    PaymentImport,
    PaymentProvider,
    PriceSeries,
    PriceValue,
    Provider,
    Restatement,
    StatementFormat,
    Tariff,
    TariffComparison,
    TariffVersion,
    TokenKind,
    TokenRequest,
    UnbilledAccount,
    UnbilledDay,
    VersionState,
    Wallet,
    WalletMovement,
)
from devices.models import Channel, Device, Facility
from devices.tests.factories import Park, number
from tenants.models import Tenant, User
from tenants.scope import open_scope

# Agreements begin here, and the first bill is for this month.
FIRST = date(2026, 3, 1)
END = date(2026, 4, 1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def tariff(of: Tenant, document: dict[str, Any] | None = None, *, currency: str = "EUR") -> Tariff:
    """A tariff with one published version, valid for ever; without a document, an empty one."""
    made = Tariff.objects.create(tenant=of, name=f"Tariff {number():06}", currency=currency)
    version(made, document or {})
    return made


def version(
    of: Tariff,
    document: dict[str, Any],
    *,
    valid_from: date = date(2020, 1, 1),
    revision: int = 1,
    published: bool = True,
) -> TariffVersion:
    """A version of a tariff."""
    state = VersionState.PUBLISHED if published else VersionState.DRAFT
    return TariffVersion.objects.create(
        tenant_id=of.tenant_id,
        tariff=of,
        valid_from=valid_from,
        revision=revision,
        state=state,
        document=document,
        sha256=hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest(),
        published_at=START if published else None,
    )


def customer(of: Tenant, **fields: Any) -> Customer:
    """A person in Germany."""
    n = number()
    values = {"number": f"C{n:06}", "name": f"Customer {n:06}", "country": "DE", **fields}
    return Customer.objects.create(tenant=of, **values)


def agreement(
    at: Facility,
    *,
    of: Customer | None = None,
    by: Tariff | None = None,
    channels: tuple[Channel, ...] = (),
    user: User | None = None,
    **fields: Any,
) -> Agreement:
    """An agreement at a facility from FIRST on, by a tariff, and billed by import channels."""
    tenant = at.tenant
    values = {"number": f"A{number():06}", "currency": "EUR", "starts_on": FIRST, **fields}
    made = Agreement.objects.create(
        tenant=tenant, customer=of or customer(tenant, user=user), facility=at, user=user, **values
    )
    AgreementTariff.objects.create(
        tenant=tenant,
        agreement=made,
        facility=at,
        tariff=by or tariff(tenant),
        starts_on=made.starts_on,
    )
    for channel in channels:
        AgreementMeter.objects.create(
            tenant=tenant, agreement=made, facility=at, channel=channel, starts_at=START
        )
    return made


def bill(of: Agreement, *, final: bool = True, total: Decimal = Decimal("119.00")) -> Bill:
    """A bill for the first month with one line and evidence of nothing; the rest is tax of 19 %."""
    net = (total / Decimal("1.19")).quantize(Decimal("0.01"))
    made = Bill.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        user_id=of.user_id,
        first_on=FIRST,
        end_on=END,
        zone="UTC",
        currency=of.currency,
        net=net,
        tax=total - net,
        total=total,
        sha256=hashlib.sha256(b"").hexdigest(),
    )
    BillLine.objects.create(
        tenant_id=of.tenant_id,
        bill=made,
        facility_id=of.facility_id,
        position=1,
        component="energy",
        kind="energy",
        label="Energy",
        first_on=FIRST,
        end_on=END,
        quantity=1,
        unit="kWh",
        price=net,
        amount=net,
    )
    BillEvidence.objects.create(
        tenant_id=of.tenant_id,
        bill=made,
        facility_id=of.facility_id,
        known_at=START,
        body=b"",
        sha256=made.sha256,
    )
    if final:
        made.state = BillState.FINAL
        made.series, made.number = "bill", f"{number():06}"
        made.issued_on, made.due_on, made.finalised_at = END, END, START
        made.save()
    return made


def restatement(of: Bill) -> Restatement:
    """A bill that is to be computed anew."""
    return Restatement.objects.create(
        tenant_id=of.tenant_id, bill=of, facility_id=of.facility_id, found_at=START
    )


def entry(of: Agreement, amount: Decimal, kind: EntryKind, **fields: Any) -> AccountEntry:
    """An entry of an agreement's account."""
    values = {"booked_on": END, "due_on": END, **fields}
    return AccountEntry.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        kind=kind,
        key=f"{kind}:{number()}",
        amount=amount,
        currency=of.currency,
        **values,
    )


def payment(of: Tenant, amount: Decimal, **fields: Any) -> Payment:
    """Money that came in by hand."""
    return Payment.objects.create(
        tenant=of,
        provider=Provider.MANUAL,
        external_id=f"P{number():06}",
        amount=amount,
        currency="EUR",
        received_on=END,
        **fields,
    )


def wallet(of: Agreement, **fields: Any) -> Wallet:
    """The empty wallet of an agreement."""
    return Wallet.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        currency=of.currency,
        **fields,
    )


def comparison(of: Agreement, **fields: Any) -> TariffComparison:
    """A comparison of tariffs that waits to be computed, kept until 2100."""
    return TariffComparison.objects.create(
        tenant_id=of.tenant_id,
        facility_id=of.facility_id,
        title=of.number,
        currency=of.currency,
        first_on=FIRST,
        end_on=END,
        agreements=[of.pk],
        asked_at=START,
        advanced_at=START,
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
        **fields,
    )


def payg_unit(of: Agreement, device: Device, **fields: Any) -> PaygUnit:
    """A device that an agreement pays by the day, with the key that is all zeros but its number."""
    made = PaygUnit(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        device=device,
        currency=of.currency,
        **{"price_per_day": Decimal("0.50"), **fields},
    )
    made.seal_keys(Keys(f"{device.pk:032x}", 123456789))
    made.save()
    return made


def token_request(of: PaygUnit, **fields: Any) -> TokenRequest:
    """That somebody wants a token for a day, which waits for a second person."""
    return TokenRequest.objects.create(
        tenant_id=of.tenant_id,
        unit=of,
        facility_id=of.facility_id,
        **{
            "kind": TokenKind.ADD_TIME,
            "days": 1,
            "reason": "Goodwill",
            "asked_at": START,
            **fields,
        },
    )


def prepaid_of(of: Agreement, device: Device, credit: AccountEntry) -> None:
    """A row in each table of what is paid beforehand."""
    filled = wallet(of)
    WalletMovement.objects.create(
        tenant_id=of.tenant_id,
        wallet=filled,
        agreement=of,
        facility_id=of.facility_id,
        kind=MovementKind.ENTRY,
        key=f"entry:{credit.pk}",
        amount=-credit.amount,
        balance_after=-credit.amount,
        entry=credit,
        at=START,
    )
    by_the_day = agreement(of.facility, of=of.customer, by=of.tariffs.get().tariff, mode=Mode.PAYG)
    unit = payg_unit(by_the_day, device, count=2)
    token_request(unit)
    PaygToken.objects.create(
        tenant_id=of.tenant_id,
        unit=unit,
        facility_id=of.facility_id,
        kind=TokenKind.ADD_TIME,
        token="123456789",
        count=2,
        value=10,
        issued_at=START,
    )


def dunned(of: Agreement) -> DunningCase:
    """A case with one reminder, and a plan that is running."""
    case = DunningCase.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        opened_at=START,
        counts_from=END,
        taken=1,
        next_at=START,
    )
    DunningEvent.objects.create(
        tenant_id=of.tenant_id,
        case=case,
        agreement=of,
        facility_id=of.facility_id,
        kind=DunningKind.REMINDER,
        step=1,
        at=START,
        overdue=1,
        currency=of.currency,
    )
    plan(of)
    return case


def plan(of: Agreement) -> InstalmentPlan:
    """A promise to pay that is running."""
    return InstalmentPlan.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        currency=of.currency,
        instalments=[{"due_on": "2026-05-01", "amount": "1"}],
        paid_before=0,
    )


def taking_payments(of: Tenant) -> None:
    """A payment service, a file that was taken in, and a policy of dunning."""
    provider = PaymentProvider(tenant=of, provider=Provider.STRIPE)
    provider.seal_secret(f"whsec_{number():06}")
    provider.save()
    DunningPolicy.objects.create(tenant=of, steps=[{"kind": "reminder", "after_days": 3}])
    PaymentImport.objects.create(
        tenant=of,
        sha256=hashlib.sha256(str(number()).encode()).hexdigest(),
        file_name="statement.xml",
        format=StatementFormat.CAMT053,
        content=b"",
        size=0,
        lines=0,
        taken=0,
        matched=0,
    )


def unbilled(of: Agreement, **fields: Any) -> UnbilledAccount:
    """That an agreement has used 100 kWh for 30.00 in the month after its first bill."""
    values = {
        "first_on": END,
        "valued_from": END,
        "end_on": date(2026, 5, 1),
        "imported_kwh": 100,
        "net": Decimal("30.00"),
        "computed_at": datetime(2026, 5, 1, 1, tzinfo=UTC),
        **fields,
    }
    return UnbilledAccount.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        currency=of.currency,
        **values,
    )


def billing_of(park: Park) -> None:
    """A row in every table of the app, for a park that is committed."""
    with open_scope(park.scope):
        tenant = park.tenant
        BillingSettings.objects.get_or_create(tenant=tenant, defaults={"legal_name": tenant.name})
        NumberSeries.objects.get_or_create(tenant=tenant, code="bill")
        series = PriceSeries.objects.create(tenant=tenant, name="day-ahead", currency="EUR")
        PriceValue.objects.create(
            tenant=tenant, series=series, starts_at=START, price=1, entered_at=START
        )
        ChangesRead.objects.create(tenant=tenant)
        run = BillRun.objects.create(tenant=tenant, first_on=FIRST, end_on=END, known_at=START)
        taking_payments(tenant)
        UnbilledDay.objects.get_or_create(
            tenant=tenant,
            currency="EUR",
            on=END,
            defaults=dict.fromkeys(
                (
                    "accounts", "problems", "imported_kwh", "exported_kwh", "estimated_kwh", "net",
                ),
                1,
            ),
        )  # fmt: skip
        for number_of, branch in enumerate(park.branches):
            channel = Channel.objects.filter(device=branch.device)[0]
            made = agreement(branch.facility, channels=(channel,), user=park.consumer(number_of))
            BillRunItem.objects.create(
                tenant=tenant, run=run, agreement=made, facility=branch.facility
            )
            billed = bill(made)
            BillFile.objects.create(
                tenant=tenant,
                bill=billed,
                facility=branch.facility,
                kind=FileKind.PDF,
                sha256=hashlib.sha256(billed.number.encode()).hexdigest(),
                size=1,
                created_at=START,
            )
            BillDelivery.objects.create(
                tenant=tenant,
                bill=billed,
                facility=branch.facility,
                key=f"final:{billed.pk}",
                to="customer@example.org",
                language="en",
                due_at=START,
                created_at=START,
            )
            restatement(billed)
            unbilled(made)
            money = payment(tenant, billed.total, agreement=made)
            debit = entry(made, billed.total, EntryKind.BILL, bill=billed)
            credit = entry(made, -billed.total, EntryKind.PAYMENT, payment=money)
            Allocation.objects.create(
                tenant=tenant,
                agreement=made,
                facility=branch.facility,
                debit=debit,
                credit=credit,
                amount=billed.total,
            )
            comparison(made, user=made.user)
            prepaid_of(made, branch.device, credit)
            dunned(made)
