"""Payment services post to us; customers are told by mail what dunning did."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.test import Client

from billing.domain import dunning_settings
from billing.domain.ledger_queries import open_items
from billing.models import AccountEntry, Agreement, BillingSettings, DunningEvent, Payment, Provider
from billing.tests import factories
from billing.tests.dunning_world import Behind, set_policy
from devices.tests.factories import facility
from portal import tasks
from tenants import sealing
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

SECRET = "whsec_" + "s" * 32


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        dunning_settings.set_provider(
            tenant_id=made.pk,
            provider=Provider.STRIPE,
            secret=SECRET,
            is_active=True,
            actor_id=None,
        )
        yield made


@pytest.fixture
def agreement(here: Tenant) -> Agreement:
    return factories.agreement(facility(here))


def body_of(kind: str, **made: Any) -> bytes:
    return json.dumps(
        {"type": kind, "created": int(time.time()), "data": {"object": made}}
    ).encode()


def intent(reference: str, amount: int = 11_900) -> bytes:
    return body_of(
        "payment_intent.succeeded",
        id="pi_1",
        amount_received=amount,
        currency="eur",
        metadata={"reference": reference},
    )


def refunded(amount: int) -> bytes:
    return body_of(
        "charge.refunded", id="ch_1", payment_intent="pi_1", amount_refunded=amount, currency="eur"
    )


def post(client: Client, to: str, body: bytes, *, secret: str = SECRET, late: int = 0) -> int:
    now = int(time.time()) - late
    signed = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    answer = client.post(
        f"/webhooks/payments/{to}/",
        body,
        content_type="application/json",
        headers={"Stripe-Signature": f"t={now},v1={signed}"},
    )
    return answer.status_code


def test_a_payment_is_taken_once(client: Client, here: Tenant, agreement: Agreement) -> None:
    for _ in range(2):
        assert post(client, f"stripe/{here.slug}", intent(agreement.number)) == 204
    payment = Payment.objects.get()
    assert (payment.provider, payment.agreement_id) == (Provider.STRIPE, agreement.pk)
    assert AuditEntry.objects.filter(action="payment.take").count() == 1


def test_a_refund_waits_for_its_payment_and_is_taken_once(
    client: Client, here: Tenant, agreement: Agreement
) -> None:
    to = f"stripe/{here.slug}"
    assert post(client, to, refunded(1_900)) == 409
    assert post(client, to, intent(agreement.number)) == 204
    for amount in (1_900, 1_900, 4_000):
        assert post(client, to, refunded(amount)) == 204
    amounts = [int(payment.amount) for payment in Payment.objects.order_by("pk")]
    assert amounts == [119, -19, -21]


def disputed(amount: int, *, won: bool = False) -> bytes:
    told = "reinstated" if won else "withdrawn"
    made = {"id": "dp_1", "payment_intent": "pi_1", "amount": amount, "currency": "eur"}
    return body_of(f"charge.dispute.funds_{told}", **made)


def balance(of: Agreement) -> Decimal:
    """What is owed less what is there."""
    items = open_items(agreement_ids=[of.pk])[of.pk]
    return sum((item.open for item in items), Decimal(0))


def test_a_dispute_takes_back_once_and_what_is_won_comes_back_once(
    client: Client, here: Tenant, agreement: Agreement
) -> None:
    to = f"stripe/{here.slug}"
    assert post(client, to, disputed(11_900)) == 409
    assert post(client, to, intent(agreement.number)) == 204
    # Out of order: first it has to be known what was taken.
    assert post(client, to, disputed(11_900, won=True)) == 409
    for _ in range(2):
        assert post(client, to, disputed(11_900)) == 204
    assert balance(agreement) == 0
    for _ in range(2):
        assert post(client, to, disputed(11_900, won=True)) == 204
    assert balance(agreement) == -119
    # What is given back after all comes from what was won.
    for amount in (1_900, 1_900, 11_900):
        assert post(client, to, refunded(amount)) == 204
    assert balance(agreement) == 0
    amounts = [int(payment.amount) for payment in Payment.objects.order_by("pk")]
    assert amounts == [119, -119, 119, -19, -100]
    kinds = AccountEntry.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["payment", "refund", "payment", "refund", "refund"]


def test_who_does_not_hold_the_secret_is_not_heard(
    client: Client, here: Tenant, agreement: Agreement
) -> None:
    body, other = intent(agreement.number), tenant()
    to = f"stripe/{here.slug}"
    assert post(client, to, body, secret=SECRET + "x") == 401
    assert post(client, to, body, late=301) == 401
    unsigned = client.post(f"/webhooks/payments/{to}/", body, content_type="text/plain")
    assert unsigned.status_code == 401
    assert post(client, f"stripe/{other.slug}", body) == 401
    assert post(client, "stripe/nobody", body) == 401
    assert post(client, f"manual/{here.slug}", body) == 401
    assert client.get(f"/webhooks/payments/{to}/").status_code == 405
    assert Payment.objects.count() == 0


def test_what_is_signed_and_makes_no_sense_is_refused(client: Client, here: Tenant) -> None:
    assert post(client, f"stripe/{here.slug}", b"{}") == 400
    assert post(client, f"stripe/{here.slug}", body_of("customer.created", id="cus_1")) == 204


def test_a_service_that_is_switched_off_is_not_heard(
    client: Client, here: Tenant, agreement: Agreement
) -> None:
    dunning_settings.set_provider(
        tenant_id=here.pk, provider=Provider.STRIPE, secret="", is_active=False, actor_id=None
    )
    assert post(client, f"stripe/{here.slug}", intent(agreement.number)) == 401


def test_a_payment_by_a_service_gives_the_supply_back(client: Client, here: Tenant) -> None:
    set_policy(here)
    behind = Behind.make(here)
    behind.until(40)
    assert behind.case().disabled
    body = intent(behind.agreement.number, 10_500)
    assert post(client, f"stripe/{here.slug}", body) == 204
    assert behind.case().outcome == "paid"
    assert [arguments for _kind, arguments, _state in behind.commands()][-2:] == [
        {"output": 1},
        {"power_limit_w": -1},
    ]


def test_the_secret_is_sealed_anew_with_another_key(here: Tenant) -> None:
    sealing.rotate()
    assert dunning_settings.seal_anew(tenant_id=here.pk) == 1
    assert dunning_settings.seal_anew(tenant_id=here.pk) == 0


@pytest.mark.parametrize(
    ("language", "subject"), [("en", "Reminder"), ("de", "Zahlungserinnerung")]
)
def test_a_notice_is_mailed_once_in_the_customers_language(
    here: Tenant, settings: Any, language: str, subject: str
) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    set_policy(here)
    BillingSettings.objects.create(tenant=here, legal_name="Power & Light", iban="DE021203")
    behind = Behind.make(here, language=language, name="Anna O'Neil")
    behind.until(6)
    for _ in range(2):
        tasks.mail_notices()
    (message,) = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    assert message.to == ["anna@example.org"]
    assert message.subject == f"{subject} {_for(language)} {behind.agreement.number}"
    assert "Anna O'Neil" in message.body
    assert "Power & Light" in message.body
    assert "DE021203" in message.body
    assert "&" not in message.body.replace("Power & Light", "")
    html = str(message.alternatives[0][0])
    assert "Power &amp; Light" in html
    assert DunningEvent.objects.get().mailed_at is not None


def _for(language: str) -> str:
    return {"en": "for agreement", "de": "zum Vertrag"}[language]


def test_a_mail_server_that_is_away_is_asked_again(here: Tenant, settings: Any) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    set_policy(here)
    Behind.make(here).until(6)
    away = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    tasks.mail_notices()
    assert DunningEvent.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = away
    tasks.mail_notices()
    assert len(mail.outbox) == 1
