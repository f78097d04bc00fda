"""Documents of bills are made once from what the bill has kept, stay, and go out by e-mail."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.db import DatabaseError, connection, transaction
from pypdf import PdfReader
from pytest_django import DjangoAssertNumQueries, Settings

from billing.documents.values import Address, Brand, DocumentError, UseOfDay
from billing.domain import (
    documents_mail_operations,
    documents_operations,
    documents_queries,
    documents_store,
    documents_sweep_operations,
    drafts,
    finalising,
)
from billing.domain.documents_mail_operations import LEASE, WAITS
from billing.domain.documents_queries import NoDocument
from billing.domain.documents_store import FileDamagedError, FileMissingError
from billing.domain.drafts import Known
from billing.domain.settings_operations import SettingsValues, change_settings
from billing.models import (
    Agreement,
    Bill,
    BillDelivery,
    BillFile,
    BillingSettings,
    DeliveryState,
    FileKind,
)
from billing.tests import factories
from billing.tests.readings import meter, power, quarters, tariff
from devices.models import Facility
from devices.tests.factories import facility
from tenants.domain.branding import Look, set_look
from tenants.models import AuditEntry, Tenant, User
from tenants.scope import Scope, open_scope
from tenants.tests import factories as people
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

FIRST, END = factories.FIRST, factories.END
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = datetime(2026, 4, 2, 9, tzinfo=UTC)
# March in Berlin has an hour less, on its 29th day.
QUARTERS = 743 * 4


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    agreement: Agreement
    user: User


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """An empty store of the test's own."""
    kept = {
        "BACKEND": "firmware.artifacts.storage.FolderStorage",
        "OPTIONS": {"location": tmp_path / "bills"},
    }
    settings.STORAGES = {**settings.STORAGES, "bills": kept}
    return tmp_path / "bills"


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    user = people.user()
    with open_scope(Scope((of.pk,))):
        BillingSettings.objects.create(
            tenant=of,
            legal_name="Stadtwerke",
            country="DE",
            vat_id="DE136695976",
            iban="DE89370400440532013000",
            email="service@stadtwerke.example",
        )
        at = facility(of)
        customer = factories.customer(
            of, name="Maria Beispiel", email="maria@example.org", language="de", user=user
        )
        agreement = factories.agreement(
            at, of=customer, by=tariff(at), user=user, starts_on=date(2025, 1, 1)
        )
        channel = power(at)
        meter(agreement, channel, BEGIN)
        quarters(channel, BEGIN, [250.0] * QUARTERS)
        yield Here(of, at, agreement, user)


def _bill(here: Here, first: date = FIRST, end: date = END, at: datetime = NOW) -> Bill:
    draft = drafts.compute(here.agreement.pk, first=first, end=end, known=Known(NOW, 0))
    made = drafts.store([draft], run_id=None)
    return finalising.finalise([made[0].pk], issued_on=date(2026, 4, 2), now=at)[0]


def _text(data: bytes) -> str:
    pages = PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_a_bill_gets_its_files_once(here: Here) -> None:
    bill = _bill(here)
    files = documents_operations.ensure(bill_id=bill.pk, now=NOW)
    assert [one.kind for one in files] == [FileKind.PDF, FileKind.CII, FileKind.UBL]
    assert documents_operations.ensure(bill_id=bill.pk, now=NOW + timedelta(days=1)) == files
    assert BillFile.objects.count() == 3
    content = documents_queries.content_of(files[0])
    assert (content.name, content.media_type) == (f"{bill.number}.pdf", "application/pdf")
    assert hashlib.sha256(content.data).hexdigest() == files[0].sha256
    assert len(content.data) == files[0].size
    text = _text(content.data)
    assert f"Rechnung {bill.number}" in text
    assert "Maria Beispiel" in text
    names = [documents_queries.content_of(one).name for one in files[1:]]
    assert names == [f"{bill.number}.cii.xml", f"{bill.number}.ubl.xml"]


def test_the_document_says_what_the_bill_has_kept(
    here: Here, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    bill = _bill(here)
    here.agreement.customer.name = "Somebody else"
    here.agreement.customer.save()
    with django_assert_max_num_queries(7):
        document = documents_queries.document_of(bill_id=bill.pk)
    assert (document.number, document.total, document.language) == (bill.number, bill.total, "de")
    assert document.parties.buyer.name == "Maria Beispiel"
    assert document.parties.seller.address == Address(country="DE")
    assert len(document.lines) == bill.lines.count()
    assert sum(one.amount for one in document.lines) == bill.total
    # 250 Wh a quarter; the clocks went forward on the 29th.
    assert len(document.use) == 31
    assert document.use[0] == UseOfDay(FIRST, Decimal(24))
    assert document.use[28] == UseOfDay(date(2026, 3, 29), Decimal(23))
    assert sum(one.imported_kwh for one in document.use) == bill.imported_kwh


def test_a_bill_is_compared_with_those_before(here: Here) -> None:
    before = _bill(here, date(2026, 2, 1), FIRST)
    year_ago = _bill(here, date(2025, 3, 1), date(2025, 4, 1))
    _bill(here, date(2025, 4, 1), date(2025, 5, 1))
    comparison = documents_queries.document_of(bill_id=_bill(here).pk).comparison
    assert (comparison.before_kwh, comparison.before_days) == (before.imported_kwh, 28)
    assert (comparison.year_ago_kwh, comparison.year_ago_days) == (year_ago.imported_kwh, 31)
    assert documents_queries.document_of(bill_id=before.pk).comparison.before_kwh is None


def test_a_file_is_sent_whether_it_was_made_or_not(here: Here) -> None:
    bill = _bill(here)
    for _again in range(2):
        sent = documents_operations.download(
            bill_id=bill.pk, kind=FileKind.UBL, now=NOW, user_id=here.user.pk
        )
        assert (sent.name, sent.media_type) == (f"{bill.number}.ubl.xml", "application/xml")
        assert b"<cbc:ID>" + bill.number.encode() in sent.data
    BillingSettings.objects.update(country="")
    plain = _bill(here, date(2026, 2, 1), FIRST)
    with pytest.raises(DocumentError, match=r"names the seller's country: enter it"):
        documents_operations.download(bill_id=plain.pk, kind=FileKind.UBL, now=NOW)


def test_a_credit_note_names_the_bill_that_it_takes_back(here: Here) -> None:
    bill = _bill(here)
    note = finalising.take_back(
        [bill.pk], cause="Late readings", issued_on=date(2026, 4, 9), now=NOW, actor_id=None
    )[0]
    document = documents_queries.document_of(bill_id=note.pk)
    assert document.credit_note
    assert (document.corrects, document.corrected_on) == (bill.number, date(2026, 4, 2))
    assert (document.total, document.use) == (-bill.total, ())
    text = _text(
        documents_queries.content_of(documents_operations.ensure(bill_id=note.pk, now=NOW)[0]).data
    )
    assert f"nimmt die Rechnung {bill.number} vom 02.04.2026 zurück" in text


def test_a_document_looks_like_its_tenant(here: Here) -> None:
    look = Look("Unser Strom", "#7a1f5c", "#e79ac9")
    set_look(tenant_id=here.tenant.pk, look=look, actor_id=None)
    document = documents_queries.document_of(bill_id=_bill(here).pk)
    assert document.brand == Brand("Unser Strom", "#7a1f5c", None)


def test_a_draft_has_no_document(here: Here) -> None:
    draft = factories.bill(here.agreement, final=False)
    with pytest.raises(NoDocument):
        documents_operations.ensure(bill_id=draft.pk, now=NOW)


def test_a_seller_of_whom_too_little_is_known_gets_a_plain_pdf(here: Here) -> None:
    BillingSettings.objects.update(country="")
    (file,) = documents_operations.ensure(bill_id=_bill(here).pk, now=NOW)
    assert file.kind == FileKind.PDF
    assert file.problem == (
        "An e-invoice names the seller's country: enter it in the billing settings."
    )


@pytest.mark.parametrize(
    "verb", ["UPDATE billing_billfile SET size = 1", "DELETE FROM billing_billfile"]
)
def test_files_are_never_changed(here: Here, verb: str) -> None:
    documents_operations.ensure(bill_id=_bill(here).pk, now=NOW)
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        connection.cursor().execute(verb)


def test_a_file_that_was_changed_or_lost_is_not_given_out(here: Here, folder: Path) -> None:
    file, *_others = documents_operations.ensure(bill_id=_bill(here).pk, now=NOW)
    path = folder / file.sha256[:2] / file.sha256
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileDamagedError):
        documents_queries.content_of(file)
    path.unlink()
    with pytest.raises(FileMissingError):
        documents_store.read(file.sha256)


def test_documents_stay_behind_the_wall(here: Here) -> None:
    bill = _bill(here)
    documents_operations.ensure(bill_id=bill.pk, now=NOW)
    later = people.user()
    assert documents_queries.files_of(bill_id=bill.pk, user_id=later.pk) == ()
    assert len(documents_queries.files_of(bill_id=bill.pk, user_id=here.user.pk)) == 3
    elsewhere = facility(here.tenant)
    other = tenant()
    for scope in (Scope((here.tenant.pk,), (elsewhere.pk,)), Scope((other.pk,))):
        with open_scope(scope):
            assert documents_queries.files_of(bill_id=bill.pk) == ()
            with pytest.raises(NoDocument):
                documents_operations.ensure(bill_id=bill.pk, now=NOW)
            with pytest.raises(NoDocument):
                documents_mail_operations.ask(
                    bill_id=bill.pk, to="a@example.org", actor_id=later.pk, now=NOW
                )
    with open_scope(Scope((here.tenant.pk,), (here.facility.pk,))):
        assert len(documents_queries.files_of(bill_id=bill.pk)) == 3


def _make(here: Here, parts: int = 1) -> list[int]:
    return [
        documents_operations.make_waiting(
            tenant_id=here.tenant.pk,
            part=part,
            parts=parts,
            go_on=lambda: True,
            clock=lambda: NOW,
        )
        for part in range(parts)
    ]


def test_documents_of_new_bills_are_made_by_workers_together(here: Here) -> None:
    bills = [_bill(here, date(2025, month, 1), date(2025, month + 1, 1)) for month in range(1, 6)]
    old = _bill(here, at=NOW - documents_operations.LOOKS_BACK - timedelta(days=1))
    assert sum(_make(here, parts=2)) == 5
    assert sum(_make(here, parts=2)) == 0
    made = BillFile.objects.filter(kind=FileKind.PDF).values_list("bill", flat=True)
    assert set(made) == {bill.pk for bill in bills}
    assert documents_queries.files_of(bill_id=old.pk) == ()
    assert here.tenant.pk in documents_operations.tenants_lately_billed(now=NOW)


def test_a_bill_that_cannot_be_set_holds_up_no_other(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    bad = _bill(here, date(2025, 1, 1), date(2025, 2, 1))
    good = _bill(here)
    # A logo that is no picture cannot come in by the portal.
    set_look(tenant_id=here.tenant.pk, look=Look("L"), logo=b"no picture", actor_id=None)
    assert sum(_make(here)) == 0
    told = [one.getMessage() for one in caplog.records if "document_failed" in one.getMessage()]
    assert told == [f"bill.document_failed bill={one.pk}" for one in (bad, good)]
    set_look(tenant_id=here.tenant.pk, look=Look("L"), remove_logo=True, actor_id=None)
    assert sum(_make(here)) == 2


def _queue(here: Here) -> int:
    return documents_mail_operations.queue_final(tenant_id=here.tenant.pk, now=NOW)


def test_a_final_bill_is_queued_once_for_its_customer(here: Here) -> None:
    bill = _bill(here)
    assert _queue(here) == 0  # it has no document yet
    _make(here)
    assert _queue(here) == 1
    assert _queue(here) == 0
    delivery = BillDelivery.objects.get()
    assert (delivery.to, delivery.language) == ("maria@example.org", "de")
    assert (delivery.key, delivery.state) == (f"final:{bill.pk}", DeliveryState.WAITING)
    assert documents_queries.deliveries_of(bill_id=bill.pk) == (delivery,)


@pytest.fixture
def own_store(settings: Settings, tmp_path: Path) -> None:
    """A store for this test alone."""
    kept = settings.STORAGES["bills"]
    own = {**kept, "OPTIONS": {**kept["OPTIONS"], "location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "bills": own}


def _aged(sha256: str) -> str:
    """As if a file had been written two days ago; returns its name in the store."""
    name = f"{sha256[:2]}/{sha256}"
    path = storages["bills"].path(name)
    then = datetime.now(UTC) - timedelta(days=2)
    os.utime(path, (then.timestamp(), then.timestamp()))
    return name


@pytest.mark.usefixtures("own_store")
def test_what_no_bill_names_is_removed_after_a_day(here: Here) -> None:
    bill = _bill(here)
    _make(here)
    named = [_aged(file.sha256) for file in BillFile.objects.filter(bill=bill)]
    lost, young = (documents_store.write(secrets.token_bytes(64)) for _ in range(2))
    gone = _aged(lost)
    unfinished = Path(storages["bills"].path(f"{lost[:2]}/.{lost}.killed"))
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))
    assert documents_sweep_operations.sweep(now=datetime.now(UTC)) == 1
    assert not storages["bills"].exists(gone)
    assert not unfinished.exists()
    assert documents_store.read(young)
    assert named
    assert all(storages["bills"].exists(name) for name in named)
    assert documents_sweep_operations.sweep(now=datetime.now(UTC)) == 0


@pytest.mark.usefixtures("own_store", "here")
def test_a_file_that_was_swept_before_it_was_named_is_written_again() -> None:
    content = secrets.token_bytes(64)
    sha256 = documents_store.write(content)
    _aged(sha256)
    assert documents_sweep_operations.sweep(now=datetime.now(UTC)) == 1
    documents_sweep_operations.hold_kept(content, sha256=sha256)
    assert documents_store.read(sha256) == content


@pytest.mark.parametrize("change", ["no_mail", "no_address"])
def test_bills_are_queued_for_nobody_who_does_not_want_them(here: Here, change: str) -> None:
    if change == "no_mail":
        values = SettingsValues("Stadtwerke", mail_bills=False)
        change_settings(tenant_id=here.tenant.pk, values=values, actor_id=None)
    else:
        here.agreement.customer.email = ""
        here.agreement.customer.save()
    _bill(here)
    _make(here)
    assert _queue(here) == 0


def test_a_bill_is_sent_again_when_somebody_asks(here: Here) -> None:
    bill = _bill(here)
    for to in ("a@example.org", "b@example.org"):
        documents_mail_operations.ask(bill_id=bill.pk, to=to, actor_id=here.user.pk, now=NOW)
    found = BillDelivery.objects.order_by("pk").values_list("key", "to")
    assert list(found) == [
        (f"asked:{bill.pk}:1", "a@example.org"),
        (f"asked:{bill.pk}:2", "b@example.org"),
    ]
    assert AuditEntry.objects.filter(action="bill.mail", actor=here.user).count() == 2
    with pytest.raises(ValidationError, match="Enter an e-mail address"):
        documents_mail_operations.ask(bill_id=bill.pk, to="a@", actor_id=here.user.pk, now=NOW)


def test_a_delivery_is_taken_by_one_and_tried_until_it_is_given_up(here: Here) -> None:
    bill = _bill(here)
    made = documents_mail_operations.ask(
        bill_id=bill.pk, to="a@example.org", actor_id=here.user.pk, now=NOW
    )

    def take(at: datetime) -> int | None:
        return documents_mail_operations.take(tenant_id=here.tenant.pk, now=at)

    at = NOW
    for wait in WAITS:
        assert take(at) == made.pk
        assert take(at) is None
        assert take(at + LEASE - timedelta(seconds=1)) is None
        documents_mail_operations.note_failed(delivery_id=made.pk, problem="busy", now=at)
        assert take(at + wait - timedelta(seconds=1)) is None
        at += wait
    assert take(at) == made.pk
    documents_mail_operations.note_failed(delivery_id=made.pk, problem="busy", now=at)
    made.refresh_from_db()
    assert (made.state, made.problem, made.attempts) == (DeliveryState.FAILED, "busy", 6)
    assert take(at + timedelta(days=9)) is None


def test_who_is_killed_leaves_a_delivery_to_others(here: Here) -> None:
    made = documents_mail_operations.ask(
        bill_id=_bill(here).pk, to="a@example.org", actor_id=here.user.pk, now=NOW
    )
    for at in (NOW, NOW + LEASE):
        assert documents_mail_operations.tenants_due(now=at) == [here.tenant.pk]
        taken = documents_mail_operations.take(tenant_id=here.tenant.pk, now=at)
        assert taken == made.pk
    documents_mail_operations.note_sent(delivery_id=made.pk, now=NOW + LEASE)
    assert documents_mail_operations.tenants_due(now=NOW + timedelta(days=1)) == []


def test_a_letter_says_what_is_attached(here: Here) -> None:
    bill = _bill(here)
    made = documents_mail_operations.ask(
        bill_id=bill.pk, to="a@example.org", actor_id=here.user.pk, now=NOW
    )
    letter = documents_mail_operations.write_letter(delivery_id=made.pk, now=NOW)
    values: dict[str, Any] = letter.context
    assert (letter.language, letter.reply_to) == ("de", "service@stadtwerke.example")
    assert (values["number"], values["period"]) == (bill.number, "März 2026")
    assert (values["credit_note"], values["to_pay"]) == (False, True)
    assert values["due"] == "16.04.2026"
    assert letter.attachment.name == f"{bill.number}.pdf"
