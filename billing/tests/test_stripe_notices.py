"""Stripe's notices: signed by whom, and saying what."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.payments.stripe import NoticeError, SignatureRefused, read, verify
from billing.payments.values import Disputed, Received, Refunded

SECRET = "whsec_test_secret_of_a_tenant"
# Made by `stripe.WebhookSignature.generate_signature_header` of the package stripe 16.1.0.
BODY = b'{"id": "evt_1", "object": "event", "type": "ping"}'
AT = 1_790_000_000
HEADER = "t=1790000000,v1=92790032c9b4cee9509482e7773e012f7f072a691f4e21f2cfe8eb10969f27a5"


def signed(body: bytes, at: int = AT, secret: str = SECRET) -> str:
    mac = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def event(kind: str, made: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "created": AT, "data": {"object": made}}).encode()


def test_a_header_made_by_the_package_is_taken() -> None:
    verify(BODY, HEADER, secret=SECRET, now_s=AT)
    assert signed(BODY) == HEADER


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_signature_is_good_for_five_minutes(late: int) -> None:
    verify(BODY, HEADER, secret=SECRET, now_s=AT + late)


def test_one_of_several_signatures_is_enough() -> None:
    t, v1 = HEADER.split(",")
    verify(BODY, f"{t},v0=abc,v1={'0' * 64},{v1}", secret=SECRET, now_s=AT)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1790000000",
        HEADER.replace("v1", "v0"),
        HEADER.replace("1790000000", "1790000001"),
        HEADER.partition(",")[2],
        f"t=1790000000,{HEADER}",
        HEADER.replace("t=1790000000", "t=١٧٩"),
        HEADER[:-1] + "ü",
        ",".join(["t=1790000000", *["v1=" + "0" * 64] * 20, HEADER.partition(",")[2]]),
    ],
)
def test_what_is_not_signed_is_refused(header: str) -> None:
    with pytest.raises(SignatureRefused):
        verify(BODY, header, secret=SECRET, now_s=AT)


def test_another_body_secret_or_time_is_refused() -> None:
    for body, secret, now in (
        (BODY + b" ", SECRET, AT),
        (BODY, SECRET + "x", AT),
        (BODY, SECRET, AT + 301),
        (BODY, SECRET, AT - 301),
    ):
        with pytest.raises(SignatureRefused):
            verify(body, HEADER, secret=secret, now_s=now)


DAY = date(2026, 9, 21)


def test_a_checkout_and_its_intent_are_one_payment() -> None:
    session = event(
        "checkout.session.completed",
        {
            "id": "cs_1",
            "payment_status": "paid",
            "payment_intent": "pi_1",
            "amount_total": 11_900,
            "currency": "eur",
            "client_reference_id": "RE-2026-0001",
            "customer_details": {"name": "Anna Berg", "email": "anna@example.org"},
        },
    )
    intent = event(
        "payment_intent.succeeded",
        {"id": "pi_1", "amount_received": 11_900, "currency": "eur", "metadata": {}},
    )
    one, other = read(session), read(intent)
    assert one == Received(
        "pi_1", Decimal("119.00"), "EUR", DAY, payer="Anna Berg", reference="RE-2026-0001"
    )
    assert other == Received("pi_1", Decimal("119.00"), "EUR", DAY)


def test_a_refund_tells_what_was_given_back_in_all() -> None:
    made = {"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 500, "currency": "jpy"}
    assert read(event("charge.refunded", made)) == Refunded("pi_1", Decimal(500), "JPY", DAY)
    made["currency"] = "kwd"
    assert read(event("charge.refunded", made)) == Refunded("pi_1", Decimal("0.500"), "KWD", DAY)


def test_a_dispute_tells_what_was_taken_and_whether_it_was_won() -> None:
    made = {"id": "dp_1", "payment_intent": "pi_1", "amount": 11_900, "currency": "eur"}
    lost, won = (
        read(event(f"charge.dispute.funds_{told}", made)) for told in ("withdrawn", "reinstated")
    )
    assert lost == Disputed("pi_1", "dp_1", Decimal(119), "EUR", DAY, won=False)
    assert won == Disputed("pi_1", "dp_1", Decimal(119), "EUR", DAY, won=True)


def test_a_text_has_nothing_that_no_column_takes() -> None:
    made = {"id": "pi_1", "amount_received": 100, "currency": "eur", "description": "A\0B"}
    assert read(event("payment_intent.succeeded", made)) == Received(
        "pi_1", Decimal(1), "EUR", DAY, text="A B"
    )


def test_what_is_about_no_payment_says_nothing() -> None:
    unpaid = {"payment_status": "unpaid", "payment_intent": "pi_1"}
    assert read(event("checkout.session.completed", unpaid)) is None
    assert read(event("customer.created", {"id": "cus_1"})) is None
    assert read(event("charge.refunded", {"payment_intent": None})) is None


@pytest.mark.parametrize(
    "made",
    [
        {"id": "pi_1", "amount_received": 1.5, "currency": "eur"},
        {"id": "pi_1", "amount_received": -1, "currency": "eur"},
        {"id": "pi_1", "amount_received": True, "currency": "eur"},
        {"id": "pi_1", "amount_received": 1, "currency": "euro"},
        {"id": "", "amount_received": 1, "currency": "eur"},
        {"amount_received": 1, "currency": "eur"},
        {"id": "pi_1", "amount_received": 1, "currency": "eur", "metadata": "x"},
    ],
)
def test_a_notice_that_makes_no_sense_is_refused(made: dict[str, Any]) -> None:
    with pytest.raises(NoticeError):
        read(event("payment_intent.succeeded", made))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["type", "data", "object", "id"]), inner)
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    with contextlib.suppress(NoticeError):
        assert read(body) is None
