"""Pages of payments, of files of payments, of open items, and of the payment service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.models import AccountEntry, EntryKind, Payment, PaymentImport, PaymentProvider
from billing.tests import factories as billing
from billing.tests.test_statements import entry, statement, transaction
from devices.domain import operations
from portal.tests.test_billing_pages import Books, keep, signed_in
from tenants.permissions import Role
from tenants.scope import open_scope
from tenants.tests import factories

pytestmark = pytest.mark.django_db


def shown(client: Client, name: str, *keys: int) -> str:
    answer = client.get(reverse(name, args=keys))
    assert answer.status_code == 200
    return answer.content.decode()


def looked_at(client: Client, data: bytes) -> Any:
    file = SimpleUploadedFile("march.xml", data)
    return client.post(reverse("payment-import"), {"file": file})


def paid(*texts: str) -> bytes:
    return statement(*(entry("10.00", transaction("10.00", text=text)) for text in texts))


def test_a_statement_is_looked_at_then_taken_once() -> None:
    books = keep()
    client = books.browser()
    number = books.agreements[0].number
    answer = looked_at(client, paid(f"for {number}", "for power"))
    preview = answer.context["preview"]
    assert (preview["count"], preview["new"], preview["unmatched"]) == (2, 2, 1)
    assert [one["agreement"] for one in preview["lines"]] == [number, ""]
    with open_scope(books.scope):
        assert not PaymentImport.objects.exists()
    token = {"token": answer.context["token"]}
    # Who brought it alone takes it.
    assert "for an hour alone" in _followed(books.browser(), token)
    taken = client.post(reverse("payment-import-take"), token)
    assert taken["Location"] == f"{reverse('payment-list')}?whose=unknown"
    assert "for power" in client.get(taken["Location"]).content.decode()
    assert "0 payments were taken" not in _followed(client, token)
    with open_scope(books.scope):
        row = PaymentImport.objects.get()
        assert (row.taken, row.matched, Payment.objects.count()) == (2, 1, 2)
    assert "march.xml" in shown(client, "payment-import-list")
    assert looked_at(client, paid(f"for {number}", "for power")).context["preview"]["taken_before"]


def _followed(client: Client, token: dict[str, str]) -> str:
    answer = client.post(reverse("payment-import-take"), token, follow=True)
    return str(answer.content.decode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Die Datei ist leer."),
        (b"<a/>", "Die Datei ist kein Kontoauszug"),
        (b"date;amount\n2026-13-01;10,00", "Zeile 2: Ein Tag wird"),
        (b"date;what\n2026-01-01;10,00", "Keine Spalte"),
    ],
)
def test_a_file_that_is_none_is_refused_in_the_readers_language(data: bytes, says: str) -> None:
    client = keep().browser()
    client.post(reverse("language"), {"language": "de"})
    answer = looked_at(client, data)
    assert answer.status_code == 422
    assert says in answer.content.decode()


def test_a_payment_is_assigned_by_the_number_of_a_bill_and_given_back() -> None:
    books = keep()
    client = books.browser()
    with open_scope(books.scope):
        payment = billing.payment(books.tenant, Decimal(40))
    assign = reverse("payment-assign", args=[payment.pk])
    assert "Nobody's yet" in shown(client, "payment", payment.pk)
    assert client.post(assign, {"number": "none such"}).status_code == 422
    assert client.post(assign, {"number": books.bills[0].number}).status_code == 302
    assert client.post(assign, {"number": books.bills[0].number}).status_code == 422
    text = shown(client, "payment", payment.pk)
    assert books.bills[0].number in text
    refund = reverse("payment-refund", args=[payment.pk])
    today = datetime.now(UTC).date().isoformat()
    given = {"amount": "15", "on": today, "reason": "Paid twice", "key": "drawn"}
    assert 'type="hidden" name="key"' in client.get(refund).text
    # All that is left, with the places that the field takes.
    assert str(client.get(refund).context["form"]["amount"].value()) == "40.00"
    assert client.post(refund, {**given, "amount": "41"}).status_code == 422
    # Sent twice, it goes back once.
    made, again = client.post(refund, given), client.post(refund, given)
    assert (made.status_code, again["Location"]) == (302, made["Location"])
    assert "Paid twice" in shown(client, "payment", payment.pk)
    assert client.get(made["Location"]).status_code == 200
    with open_scope(books.scope):
        back = Payment.objects.get(refunds=payment)
        assert back.amount == -15
    assert client.get(reverse("payment-refund", args=[back.pk])).status_code == 404


def test_open_items_are_summed_by_age_and_written_off_with_a_reason() -> None:
    books = keep()
    agreement = books.agreements[0]
    client = books.browser()
    today = datetime.now(UTC).date()
    with open_scope(books.scope):
        for days, amount in ((0, 1), (1, 2), (30, 4), (31, 8), (90, 16), (91, 32)):
            due = today - timedelta(days=days)
            billing.entry(agreement, Decimal(amount), EntryKind.FEE, due_on=due)
        lost = AccountEntry.objects.get(amount=8)
    sums = client.get(reverse("open-item-list")).context["sums"]
    counts = [one["count"] for one in sums[0]["ages"]]
    # The bill of April 2026 is among the oldest.
    assert counts == [1, 2, 1, 1, 2]
    late = client.get(f"{reverse('open-item-list')}?age=1")
    assert len(late.context["table"].rows) == 2
    address = reverse("open-item-write-off", args=[lost.pk])
    assert "8.00" in shown(client, "open-item-write-off", lost.pk)
    given = {"on": today.isoformat(), "reason": "Insolvent"}
    assert client.post(address, {**given, "reason": ""}).status_code == 422
    assert client.post(address, given).status_code == 302
    assert client.get(address).status_code == 404
    with open_scope(books.scope):
        assert AccountEntry.objects.get(kind=EntryKind.WRITE_OFF).amount == -8


def test_the_secret_of_a_service_is_written_and_never_shown() -> None:
    books = keep()
    client = books.browser()
    address = reverse("payment-service")
    webhook = reverse("payments-webhook", args=["stripe", books.tenant.slug])
    text = shown(client, "payment-service")
    assert f"http://testserver{webhook}" in text
    assert client.post(address, {"secret": "short", "is_active": "on"}).status_code == 422
    secret = "whsec_" + "k" * 24
    assert client.post(address, {"secret": secret, "is_active": "on"}).status_code == 302
    # Without a secret the one that is kept stays.
    assert client.post(address, {"secret": ""}).status_code == 302
    assert secret not in shown(client, "payment-service")
    with open_scope(books.scope):
        row = PaymentProvider.objects.get()
        opened = PaymentProvider.open_secret(row.sealed_secret, tenant_id=books.tenant.pk)
        assert (opened, row.is_active) == (secret, False)


def test_who_is_granted_one_facility_sees_no_payments_and_its_own_open_items() -> None:
    books = keep(2)
    with open_scope(books.scope):
        payment = billing.payment(books.tenant, Decimal(40), payer="Somebody Else")
        member = factories.member(books.tenant, Role.MANAGER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=books.facilities[0].pk, actor_id=None
        )
    client = signed_in(member)
    assert "Somebody Else" not in shown(client, "payment-list")
    assert client.get(reverse("payment", args=[payment.pk])).status_code == 404
    text = shown(client, "open-item-list")
    assert [one.number in text for one in books.agreements] == [True, False]
    stranger = keep().browser()
    assert stranger.get(reverse("payment", args=[payment.pk])).status_code == 404
    number = {"number": books.agreements[0].number}
    assign = reverse("payment-assign", args=[payment.pk])
    assert stranger.post(assign, number).status_code == 404
    with open_scope(books.scope):
        assert Payment.objects.get(pk=payment.pk).agreement_id is None


@pytest.mark.parametrize("count", [1, 3])
def test_pages_take_the_same_queries_however_much_there_is(
    count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    books: Books = keep(count)
    client = books.browser()
    with open_scope(books.scope):
        rows = [
            billing.payment(books.tenant, Decimal(40), agreement=one) for one in books.agreements
        ]
        billing.taking_payments(books.tenant)
    client.get(reverse("payment-list"))
    for address, most in (
        (reverse("payment-list"), 13),
        (reverse("payment", args=[rows[0].pk]), 13),
        (reverse("payment-import-list"), 13),
        (reverse("open-item-list"), 14),
        (reverse("payment-service"), 13),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200
