"""Units that are paid by the day: tokens for payments, which the unit itself takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from pytest_django import DjangoAssertNumQueries, Settings

from billing.accounts.tokens import Keys, Kind
from billing.domain import (
    payg_operations,
    payg_queries,
    payg_requests_operations,
    payments_operations,
    payments_refunds_operations,
    wallet_notices,
)
from billing.domain.payg_operations import UnitNotFound, UnitTerms
from billing.domain.payg_requests_operations import RequestNotFound
from billing.models import (
    AccountEntry,
    Agreement,
    Delivery,
    EntryKind,
    Mode,
    PaygToken,
    PaygUnit,
    TokenRequestState,
)
from billing.payments.values import Received
from billing.tests import factories
from devices.domain.commands_policy import SYSTEM
from devices.models import Command, Device, DeviceState, Facility
from devices.simulator import payg
from devices.simulator.payg import DAY_MS, PaygKeys, PaygState, Refusal
from devices.tests.factories import device, facility
from tenants import sealing
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

KEYS = Keys("a29ab82edc5fbbc41ec9530f6dac86b1", 123456789)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@dataclass(frozen=True)
class Lamp:
    tenant: Tenant
    facility: Facility
    device: Device
    agreement: Agreement
    unit: PaygUnit

    def pay(self, amount: str, key: str = "P1", now: datetime = NOW) -> int:
        payment = payments_operations.enter(
            agreement_id=self.agreement.pk,
            received=Received(
                external_id=key, amount=Decimal(amount), currency="EUR", received_on=now.date()
            ),
            now=now,
            actor_id=None,
        )
        return payment.pk

    @property
    def tokens(self) -> list[PaygToken]:
        return list(PaygToken.objects.filter(unit=self.unit).order_by("pk"))

    def typed_in(self, *tokens: PaygToken) -> PaygState:
        """What the unit says after the tokens were entered."""
        keys = PaygKeys(KEYS.secret, KEYS.starting_code, self.unit.divider)
        state = PaygState()
        for token in tokens:
            after = payg.enter(keys, state, token.token, now_ms=NOW_MS)
            assert isinstance(after, PaygState), after
            state = after
        return state


@pytest.fixture
def lamp(settings: Settings, tmp_path: Path) -> Iterator[Lamp]:
    settings.SEALING_KEYS_DIR = tmp_path / "sealing"
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        unit_device = device(at).device
        unit_device.state = DeviceState.ACTIVE
        unit_device.save()
        customer = factories.customer(of, email="lamp@example.com", phone="+49 761 12345")
        agreement = factories.agreement(at, of=customer, mode=Mode.PAYG)
        unit = payg_operations.register(
            agreement_id=agreement.pk,
            device_id=unit_device.pk,
            keys=KEYS,
            terms=UnitTerms(price_per_day=Decimal("0.50")),
            actor_id=None,
        )
        yield Lamp(of, at, unit_device, agreement, unit)


def test_a_payment_buys_a_token_that_the_unit_takes(lamp: Lamp) -> None:
    payment_id = lamp.pay("10")
    (token,) = lamp.tokens
    assert (token.value, token.amount, token.payment_id) == (20, Decimal(10), payment_id)
    state = lamp.typed_in(token)
    assert state.paid_until_ms == NOW_MS + 20 * DAY_MS
    unit = PaygUnit.objects.get()
    assert (unit.paid_until, unit.count) == (NOW + timedelta(days=20), state.count)
    # What was bought is what was paid: the account is even.
    assert AccountEntry.objects.aggregate(s=Sum("amount"))["s"] == 0


def test_a_payment_buys_once_however_often_it_is_told_of(lamp: Lamp) -> None:
    lamp.pay("10")
    lamp.pay("10")
    assert payg_operations.due_units() == []
    assert payg_operations.issue_for_credit(unit_id=lamp.unit.pk, now=NOW, actor_id=None) is None
    assert len(lamp.tokens) == 1
    assert AuditEntry.objects.filter(action="payg.issue_token").count() == 1


def test_what_is_too_little_is_kept_for_the_next_time(lamp: Lamp) -> None:
    lamp.pay("0.30", "P1")
    assert not PaygToken.objects.exists()
    assert PaygUnit.objects.get().carried == Decimal("0.30")
    lamp.pay("0.30", "P2")
    (token,) = lamp.tokens
    assert (token.value, token.amount) == (1, Decimal("0.50"))
    assert PaygUnit.objects.get().carried == Decimal("0.10")


def test_a_payment_that_was_given_back_buys_nothing_more(lamp: Lamp) -> None:
    payment_id = lamp.pay("10")
    payments_refunds_operations.refund(
        payment_id=payment_id, amount=Decimal(4), reason="By mistake", on=NOW.date(), now=NOW,
        actor_id=None,
    )  # fmt: skip
    lamp.pay("4", "P2")
    assert len(lamp.tokens) == 1  # the account is only even again
    lamp.pay("1", "P3")
    assert [token.value for token in lamp.tokens] == [20, 2]


def test_keys_that_cannot_be_opened_hold_up_no_payment(
    lamp: Lamp, caplog: pytest.LogCaptureFixture
) -> None:
    sealed = lamp.unit.sealed_keys
    PaygUnit.objects.update(sealed_keys="lost")
    lamp.pay("10")
    assert AccountEntry.objects.get().amount == -10
    assert PaygUnit.objects.get().count == 0
    assert not lamp.tokens
    assert f"payg.no_token unit={lamp.unit.pk}" in caplog.text
    PaygUnit.objects.update(sealed_keys=sealed)
    payg_operations.issue_for_credit(unit_id=lamp.unit.pk, now=NOW, actor_id=None)
    assert [token.value for token in lamp.tokens] == [20]


def test_credit_that_nobody_told_of_is_found(lamp: Lamp) -> None:
    factories.entry(lamp.agreement, Decimal(-2), kind=EntryKind.PAYMENT)
    assert payg_operations.due_units() == [(lamp.unit.tenant_id, lamp.unit.pk)]
    payg_operations.issue_for_credit(unit_id=lamp.unit.pk, now=NOW, actor_id=None)
    assert [token.value for token in lamp.tokens] == [4]
    assert payg_operations.due_units() == []


def test_tokens_add_up_on_the_unit_in_any_order_and_no_other_takes_them(lamp: Lamp) -> None:
    lamp.pay("1", "P1")
    lamp.pay("2", "P2")
    first, second = lamp.tokens
    assert lamp.typed_in(second, first).paid_until_ms == NOW_MS + 6 * DAY_MS
    state = lamp.typed_in(first)
    keys = PaygKeys(KEYS.secret, KEYS.starting_code)
    assert payg.enter(keys, state, first.token, now_ms=NOW_MS) is Refusal.USED
    other = PaygKeys("b29ab82edc5fbbc41ec9530f6dac86b1", 987654321)
    assert payg.enter(other, PaygState(), first.token, now_ms=NOW_MS) is Refusal.FOREIGN


def test_support_issues_tokens_with_a_reason(lamp: Lamp) -> None:
    def issue(kind: Kind, days: str = "0", reason: str = "Goodwill") -> PaygToken:
        return payg_operations.issue(
            unit_id=lamp.unit.pk, kind=kind, days=Decimal(days), reason=reason, now=NOW,
            actor_id=None,
        )  # fmt: skip

    with pytest.raises(ValidationError, match="Say why"):
        issue(Kind.ADD_TIME, "1", reason=" ")
    with pytest.raises(ValidationError, match="steps of 1/1 day"):
        issue(Kind.ADD_TIME, "0.5")
    with pytest.raises(ValidationError, match="cannot carry"):
        issue(Kind.ADD_TIME, "996")
    added = issue(Kind.ADD_TIME, "3")
    set_to = issue(Kind.SET_TIME, "1")
    assert lamp.typed_in(added, set_to).paid_until_ms == NOW_MS + DAY_MS
    assert PaygUnit.objects.get().paid_until == NOW + timedelta(days=1)
    end = issue(Kind.DISABLE_PAYG, reason="Paid off")
    assert lamp.typed_in(added, set_to, end).released
    assert PaygUnit.objects.get().released_at == NOW
    lamp.pay("10")
    assert len(lamp.tokens) == 3  # a unit that is paid off needs none


def test_a_token_is_mailed_once(lamp: Lamp) -> None:
    lamp.pay("10")
    (told,) = wallet_notices.tokens_to_mail()
    (token,) = lamp.tokens
    assert told == (token.tenant_id, token.pk)
    letter = wallet_notices.claim_token(token_id=token.pk)
    assert letter is not None
    assert (letter.to, letter.context["days"]) == ("lamp@example.com", "20")
    assert letter.context["token"].replace(" ", "") == token.token
    payg_operations.note_mailed(token_ids=[token.pk], now=NOW)
    token.refresh_from_db()
    assert (token.delivery, token.delivered_at) == (Delivery.MAIL, NOW)
    assert wallet_notices.tokens_to_mail() == []
    assert wallet_notices.claim_token(token_id=token.pk) is None


def test_a_token_is_sent_to_the_unit_once(lamp: Lamp) -> None:
    lamp.pay("10")
    (token,) = lamp.tokens
    sent = [payg_operations.send_to_unit(SYSTEM, token_id=token.pk, now=NOW) for _again in range(2)]
    command = Command.objects.get()
    assert sent == [command.pk, command.pk]
    assert (command.kind, command.arguments) == ("enter_token", {"token": token.token})
    token.refresh_from_db()
    assert token.delivery == Delivery.WIRE


def test_a_token_that_somebody_reads_out_is_told(
    lamp: Lamp, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    lamp.pay("10")
    (token,) = lamp.tokens
    with django_assert_num_queries(1):
        ((found, serial),) = payg_queries.tokens_like(digits=f"{token.token[:3]} {token.token[3:]}")
    assert (found.days, serial) == (Decimal(20), lamp.device.serial)
    assert payg_queries.tokens_like(digits="abc") == ()
    with django_assert_num_queries(2):
        unit = payg_queries.unit_of_device(device_id=lamp.device.pk)
    assert unit is not None
    assert [one.token_id for one in unit.tokens] == [token.pk]


def test_keys_are_sealed_and_tokens_stay_as_they_are(lamp: Lamp) -> None:
    assert KEYS.secret not in lamp.unit.sealed_keys
    assert PaygUnit.objects.get().open_keys() == KEYS
    lamp.pay("10")
    for verb in ("UPDATE {} SET value = 900", "DELETE FROM {}"):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(verb.format("billing_paygtoken"))


def test_keys_are_sealed_anew_when_the_key_that_seals_them_changes(lamp: Lamp) -> None:
    assert payg_operations.seal_anew(tenant_id=lamp.tenant.pk) == 0
    before = lamp.unit.sealed_keys
    sealing.rotate()
    assert payg_operations.seal_anew(tenant_id=lamp.tenant.pk) == 1
    unit = PaygUnit.objects.get()
    assert unit.sealed_keys != before
    assert sealing.is_current(unit.sealed_keys)
    assert unit.open_keys() == KEYS


def test_others_see_and_change_nothing(lamp: Lamp) -> None:
    lamp.pay("10")
    other, elsewhere = tenant(), facility(lamp.tenant)
    (token,) = lamp.tokens
    for scope in (Scope((other.pk,)), Scope((lamp.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert payg_queries.unit_of_device(device_id=lamp.device.pk) is None
            assert payg_queries.tokens_like(digits=token.token) == ()
            with pytest.raises(UnitNotFound):
                payg_operations.issue(
                    unit_id=lamp.unit.pk, kind=Kind.ADD_TIME, days=Decimal(1), reason="x",
                    now=NOW, actor_id=None,
                )  # fmt: skip
            with pytest.raises(UnitNotFound):
                payg_operations.send_to_unit(SYSTEM, token_id=token.pk, now=NOW)
    assert len(lamp.tokens) == 1


def test_only_a_device_of_the_place_and_an_agreement_of_that_kind_fit(lamp: Lamp) -> None:
    postpaid = factories.agreement(lamp.facility)
    elsewhere = device(facility(lamp.tenant)).device
    by_day = factories.agreement(lamp.facility, mode=Mode.PAYG)
    terms = UnitTerms(price_per_day=Decimal(1))
    for agreement, unit_device, sentence in (
        (postpaid, lamp.device, "not pay as you go"),
        (by_day, elsewhere, "another facility"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            payg_operations.register(
                agreement_id=agreement.pk, device_id=unit_device.pk, keys=KEYS, terms=terms,
                actor_id=None,
            )  # fmt: skip


def test_a_request_for_a_token_is_nobody_elses(lamp: Lamp) -> None:
    asked = payg_requests_operations.ask(
        unit_id=lamp.unit.pk, kind=Kind.ADD_TIME, days=Decimal(2), reason="Storm", now=NOW,
        actor_id=None,
    )  # fmt: skip
    assert asked.state == TokenRequestState.WAITING
    other, elsewhere = tenant(), facility(lamp.tenant)
    for scope in (Scope((other.pk,)), Scope((lamp.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert payg_queries.request_page(limit=10).items == ()
            with pytest.raises(RequestNotFound):
                payg_requests_operations.agree(request_id=asked.pk, now=NOW, actor_id=None)
            with pytest.raises(RequestNotFound):
                payg_requests_operations.refuse(
                    request_id=asked.pk, reason="No", now=NOW, actor_id=None
                )
            with pytest.raises(UnitNotFound):
                payg_requests_operations.ask(
                    unit_id=lamp.unit.pk, kind=Kind.ADD_TIME, days=Decimal(2), reason="Storm",
                    now=NOW, actor_id=None,
                )  # fmt: skip
    # Nobody stands behind the system: it is no second person.
    with pytest.raises(ValidationError, match="service account"):
        payg_requests_operations.agree(request_id=asked.pk, now=NOW, actor_id=None)
    assert not PaygToken.objects.exists()
