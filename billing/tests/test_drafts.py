"""Drafts: what they rest on is kept, and gives the same bill again, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain import drafts, evidence
from billing.domain.drafts import DraftError, Known
from billing.domain.evidence import EvidenceError, EvidenceNotFound
from billing.domain.terms import terms_of
from billing.models import (
    Agreement,
    AgreementTariff,
    Bill,
    BillEvidence,
    BillLine,
    PriceSeries,
    PriceValue,
)
from billing.tariffs.values import Context, Kind, Line, Peak, Period, Prices, Rating, Usage
from billing.tests import factories
from billing.tests.readings import DOCUMENT, meter, power, quarters, tariff
from devices.models import Channel, Facility
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

FIRST, END = factories.FIRST, factories.END
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
LENGTH = 743 * 4
KNOWN = Known(datetime(2026, 4, 2, tzinfo=UTC), 0)
FLAT: dict[str, Any] = {
    "tariff": 1,
    "name": "Flat",
    "currency": "EUR",
    "components": [{"name": "energy", "kind": "energy", "prices": "0.30"}],
}


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    channel: Channel
    agreement: Agreement


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        agreement = factories.agreement(at, by=tariff(at))
        meter(agreement, channel, BEGIN)
        quarters(channel, BEGIN, np.random.default_rng(3).uniform(0, 400, LENGTH).tolist())
        yield Here(of, at, channel, agreement)


def _stored(here: Here) -> Bill:
    draft = drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN)
    return drafts.store([draft], run_id=None)[0]


def _exact(rating: Rating) -> Any:
    """All of it, so that 1.0 and 1.00 differ."""
    return [
        *(
            (str(one.quantity), str(one.price), str(one.amount), str(one.estimated), one)
            for one in rating.lines
        ),
        (str(rating.net), str(rating.tax), str(rating.total), str(rating.credit)),
        [(one, str(one.kw)) for one in rating.peaks],
        dict(rating.credit_milliwh),
    ]


@pytest.mark.django_db
def test_a_bill_comes_out_of_its_evidence_bit_for_bit(here: Here) -> None:
    draft = drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN)
    bill = drafts.store([draft], run_id=None)[0]
    # Whatever becomes of readings and tariffs later.
    quarters(here.channel, BEGIN, [1.0] * LENGTH)
    factories.version(
        AgreementTariff.objects.get(agreement=here.agreement).tariff, FLAT, revision=2
    )
    again = evidence.reproduce(bill_id=bill.pk)
    assert _exact(again) == _exact(draft.rating)
    assert again.total == bill.total > 0
    assert drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN).rating != again


@pytest.mark.django_db
def test_a_bill_has_the_lines_and_the_energy_of_its_rating(here: Here) -> None:
    draft = drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN)
    bill = Bill.objects.get(pk=drafts.store([draft], run_id=None)[0].pk)
    rows = list(BillLine.objects.filter(bill=bill).order_by("position"))
    assert [(row.component, row.period, row.tier) for row in rows] == [
        ("base", "", 0),
        ("energy", "day", 1),
        ("energy", "day", 2),
        ("energy", "night", 0),
        ("demand", "", 0),
        ("vat", "", 0),
    ]
    assert [row.amount for row in rows] == [line.amount for line in draft.rating.lines]
    energy = sum(row.quantity for row in rows if row.component == "energy")
    assert bill.imported_kwh == energy == Decimal(int(draft.usage.imported.sum())) / 1_000_000
    assert bill.net + bill.tax == bill.total == draft.rating.total
    assert (bill.zone, bill.first_on, bill.end_on) == ("Europe/Berlin", FIRST, END)
    assert evidence.peaks_of(bill.carried) == draft.rating.peaks != ()


@pytest.mark.django_db
def test_a_draft_takes_the_place_of_the_one_before(here: Here) -> None:
    first = _stored(here)
    second = _stored(here)
    assert list(Bill.objects.values_list("pk", flat=True)) == [second.pk]
    assert (first.revision, second.revision) == (1, 1)
    assert first.sha256 == second.sha256


@pytest.mark.django_db
def test_evidence_that_was_changed_is_refused(here: Here) -> None:
    bill = _stored(here)
    body = bytes(BillEvidence.objects.get(bill=bill).body)
    BillEvidence.objects.filter(bill=bill).update(body=body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(EvidenceError, match="does not have the hash it names"):
        evidence.reproduce(bill_id=bill.pk)
    with pytest.raises(EvidenceNotFound):
        evidence.reproduce(bill_id=bill.pk + 1)


@pytest.mark.django_db
@pytest.mark.parametrize("damage", [b"", b"nothing", b"WLB1", b"WLB1\xff\xff\xff\xff"])
def test_bytes_that_are_no_evidence_are_refused(damage: bytes) -> None:
    with pytest.raises(EvidenceError):
        evidence.unpack(damage)


@pytest.mark.django_db
def test_terms_change_with_tariff_version_and_contract(here: Here) -> None:
    row = AgreementTariff.objects.get(agreement=here.agreement)
    row.ends_on = date(2026, 3, 20)
    row.save()
    AgreementTariff.objects.create(
        tenant=here.tenant,
        agreement=here.agreement,
        facility=here.facility,
        tariff=row.tariff,
        contracted_kw=Decimal(30),
        starts_on=date(2026, 3, 20),
    )
    factories.version(row.tariff, FLAT, valid_from=date(2026, 3, 10))
    # The same again, and one that nobody has published.
    factories.version(row.tariff, FLAT, valid_from=date(2026, 3, 15))
    factories.version(row.tariff, DOCUMENT, valid_from=date(2026, 3, 12), published=False)
    found = terms_of([here.agreement.pk], first=FIRST, end=END, known_at=KNOWN.at)
    assert [
        (one.first.day, one.end.day, one.tariff.name, one.contracted_kw)
        for one in found[here.agreement.pk]
    ] == [
        (1, 10, "Shops", None),
        (10, 20, "Flat", None),
        (20, 1, "Flat", Decimal(30)),
    ]


@pytest.mark.django_db
def test_a_version_counts_from_when_it_was_published(here: Here) -> None:
    row = AgreementTariff.objects.get(agreement=here.agreement)
    newer = factories.version(row.tariff, FLAT, revision=2, published=False)
    newer.state, newer.published_at = "published", KNOWN.at
    newer.save()
    names = [
        [one.tariff.name for one in found[here.agreement.pk]]
        for found in (
            terms_of([here.agreement.pk], first=FIRST, end=END, known_at=at)
            for at in (KNOWN.at - timedelta(seconds=1), KNOWN.at)
        )
    ]
    assert names == [["Shops"], ["Flat"]]


@pytest.mark.django_db
def test_days_without_a_tariff_are_named(here: Here) -> None:
    AgreementTariff.objects.filter(agreement=here.agreement).update(starts_on=date(2026, 3, 5))
    with pytest.raises(DraftError, match="From 2026-03-01 until 2026-03-05 no published tariff"):
        drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN)


@pytest.mark.django_db
def test_a_tariff_in_another_currency_is_refused(here: Here) -> None:
    Agreement.objects.filter(pk=here.agreement.pk).update(currency="CHF")
    with pytest.raises(DraftError, match="The tariff is in EUR and the agreement in CHF"):
        drafts.compute(here.agreement.pk, first=FIRST, end=END, known=KNOWN)


@pytest.mark.django_db
def test_prices_of_a_series_are_those_that_were_known(here: Here) -> None:
    document = {
        **FLAT,
        "components": [{"name": "spot", "kind": "dynamic", "series": "day-ahead"}],
    }
    agreement = factories.agreement(here.facility, by=tariff(here.facility, document))
    meter(agreement, here.channel, BEGIN)
    series = PriceSeries.objects.create(tenant=here.tenant, name="day-ahead", currency="EUR")
    early, late = KNOWN.at - timedelta(days=2), KNOWN.at + timedelta(days=1)
    hours = [BEGIN + timedelta(hours=hour) for hour in range(743)]
    for price, entered in (("0.10", early), ("0.20", KNOWN.at), ("0.40", late)):
        PriceValue.objects.bulk_create(
            PriceValue(
                tenant=here.tenant,
                series=series,
                starts_at=at,
                price=Decimal(price),
                entered_at=entered,
            )
            for at in hours
        )
    draft = drafts.compute(agreement.pk, first=FIRST, end=END, known=KNOWN)
    kwh = Decimal(int(draft.usage.imported.sum())) / 1_000_000
    assert abs(draft.rating.total - kwh * Decimal("0.2")) <= Decimal("0.005")
    bill = drafts.store([draft], run_id=None)[0]
    assert _exact(evidence.reproduce(bill_id=bill.pk)) == _exact(draft.rating)


@pytest.mark.django_db
def test_a_price_that_is_missing_is_told(here: Here) -> None:
    document = {
        **FLAT,
        "components": [{"name": "spot", "kind": "dynamic", "series": "day-ahead"}],
    }
    agreement = factories.agreement(here.facility, by=tariff(here.facility, document))
    meter(agreement, here.channel, BEGIN)
    with pytest.raises(DraftError, match="day-ahead"):
        drafts.compute(agreement.pk, first=FIRST, end=END, known=KNOWN)


def _columns(low: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, 2**62), min_size=24, max_size=24)


@given(_columns(-(2**62)), _columns(0), st.lists(st.integers(0, 2), min_size=24, max_size=24))
def test_evidence_is_read_as_it_was_packed(
    imported: list[int], exported: list[int], quality: list[int]
) -> None:
    starts = int(BEGIN.timestamp()) + 900 * np.arange(24)
    usage = Usage(
        900,
        starts,
        np.array(imported),
        np.array(exported),
        np.array(quality, np.uint8),
        np.array(exported[::-1]),
    )
    packed = evidence.Evidence(
        agreement_id=7,
        number="A7",
        currency="EUR",
        period=Period(FIRST, END, "Europe/Berlin"),
        known_at=KNOWN.at,
        change=12,
        dated=(),
        usage=usage,
        context=Context(
            prices={"spot": Prices(3600, starts[::4], tuple(map(Decimal, ["0.10", "-1E-7"] * 3)))},
            peaks=(Peak("demand", "", FIRST, Decimal("12.50")),),
            credit=Decimal("3.10"),
            credit_milliwh={"day": 5},
        ),
    )
    body = evidence.pack(packed)
    found = evidence.unpack(body)
    assert evidence.pack(found) == body
    assert (found.period, found.known_at, found.change) == (packed.period, packed.known_at, 12)
    for name in ("starts", "imported", "exported", "quality", "reactive"):
        assert getattr(found.usage, name).tolist() == getattr(usage, name).tolist()
    assert str(found.context.prices["spot"].prices) == str(packed.context.prices["spot"].prices)
    assert (found.context.peaks, str(found.context.credit)) == (packed.context.peaks, "3.10")


def test_what_takes_a_bill_back_is_its_opposite() -> None:
    line = Line(
        "energy", Kind.ENERGY, "Energy", FIRST, END, Decimal(3), "kWh", Decimal(2), Decimal(6)
    )
    rating = Rating((line,), Decimal(6), Decimal(1), Decimal(7))
    back = evidence.negated(rating)
    assert (back.net, back.tax, back.total) == (Decimal(-6), Decimal(-1), Decimal(-7))
    assert back.lines == (replace(line, quantity=Decimal(-3), amount=Decimal(-6)),)
    assert evidence.negated(back) == rating
