"""Final bills reach their customers by e-mail, and are noted as sent once the server has them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core import mail as outbox
from pytest_django import Settings

from billing.domain.finalising import finalise
from billing.models import BillDelivery, BillFile, BillingSettings, DeliveryState, FileKind
from billing.tasks import tend_documents
from billing.tests import factories
from devices.tests.factories import facility
from portal.tasks import send_bills
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> Tenant:
    kept = {
        "BACKEND": "firmware.artifacts.storage.FolderStorage",
        "OPTIONS": {"location": tmp_path / "bills"},
    }
    settings.STORAGES = {**settings.STORAGES, "bills": kept}
    settings.CELERY_TASK_ALWAYS_EAGER = True
    of = tenant()
    with open_scope(Scope((of.pk,))):
        BillingSettings.objects.create(tenant=of, legal_name="Stadtwerke", email="info@example.org")
        customer = factories.customer(of, email="maria@example.org", language="de")
        draft = factories.bill(factories.agreement(facility(of), of=customer), final=False)
        finalise([draft.pk], issued_on=factories.END, now=datetime.now(UTC))
    return of


def test_a_final_bill_goes_out_once(here: Tenant) -> None:
    for _again in range(2):
        tend_documents()
        send_bills()
    (message,) = outbox.outbox
    with open_scope(Scope((here.pk,))):
        delivery = BillDelivery.objects.select_related("bill").get()
        file = BillFile.objects.get(kind=FileKind.PDF)
    assert (delivery.state, delivery.attempts) == (DeliveryState.SENT, 1)
    assert message.subject == f"Rechnung {delivery.bill.number} von Stadtwerke"
    assert message.to == ["maria@example.org"]
    assert message.reply_to == ["info@example.org"]
    assert "119,00\u00a0€" in message.body
    ((name, data, kind),) = message.attachments
    assert (name, kind) == (f"{delivery.bill.number}.pdf", "application/pdf")
    assert len(data) == file.size


def test_a_mail_server_that_is_down_is_tried_again(here: Tenant, settings: Settings) -> None:
    tend_documents()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    send_bills()
    with open_scope(Scope((here.pk,))):
        delivery = BillDelivery.objects.get()
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 1)
    assert delivery.problem.startswith("The mail server did not take it: ")
    assert delivery.due_at > delivery.created_at
