"""What Stripe tells of payments: its webhooks, checked and read into values.

The signature is checked here and not by the `stripe` package: that is 32 MB of a client for an API
of which nothing else is used, 22 MB of memory a process, and reads the clock itself. A test has
a header that the package has made. Source: docs.stripe.com/webhooks, "Verify manually".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.payments.values import MOST_NAME, MOST_TEXT, Disputed, Received, Refunded

TOLERANCE_S: Final = 300
SIGNATURE_HEADER: Final = "Stripe-Signature"
MOST_BYTES: Final = 512_000
# Signatures in one header: one for each secret while secrets are being changed.
_MOST_SIGNATURES: Final = 16
# Ids are shorter by far; what is made of them must fit as well.
_LONGEST_ID: Final = 120
# Currencies that Stripe counts otherwise than in hundredths
# (docs.stripe.com/currencies: zero-decimal and three-decimal currencies).
_WHOLE: Final = frozenset(
    {
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
        *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    }
)
# What is told of a disputed payment, and whether the tenant has won.
_DISPUTES: Final = {
    "charge.dispute.funds_withdrawn": False,
    "charge.dispute.funds_reinstated": True,
}
_THOUSANDTHS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


class SignatureRefused(Exception):  # noqa: N818 - it reads as what happened
    """The notice is not signed by who should have, or too old."""


class NoticeError(ValueError):
    """A notice that is signed and makes no sense."""


def verify(body: bytes, header: str, *, secret: str, now_s: int) -> None:
    """Check `Stripe-Signature` (scheme v1: HMAC-SHA256 of time and body). Raises SignatureRefused.

    The time must lie within five minutes of `now_s`, to either side.
    """
    pairs = [part.partition("=")[::2] for part in header.split(",")]
    times = [value for key, value in pairs if key.strip() == "t"]
    signatures = [value for key, value in pairs if key.strip() == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 12:
        raise SignatureRefused("the signature has no time")
    signed = times[0].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    given = signatures[:_MOST_SIGNATURES]
    if not any(hmac.compare_digest(expected, one.encode(errors="replace")) for one in given):
        raise SignatureRefused("no signature is of this secret")
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        raise SignatureRefused("the signature is too old")


def read(body: bytes) -> Received | Refunded | Disputed | None:
    """What a notice says; None where it tells of no payment. Raises NoticeError.

    A payment by a checkout page is told of twice, by its session and by its payment intent: both
    have the intent's id. What it is for is in `client_reference_id` or in the metadata
    `reference`: the number of a bill, an agreement or a customer.
    """
    try:
        event = json.loads(body)
        kind, made = event["type"], event["data"]["object"]
        day = datetime.fromtimestamp(event["created"], UTC).date()
        if not isinstance(made, Mapping):
            raise TypeError(kind)
        if kind in ("checkout.session.completed", "checkout.session.async_payment_succeeded"):
            return _session(made, day)
        if kind == "payment_intent.succeeded":
            return _intent(made, day)
        if kind == "charge.refunded":
            return _refund(made, day)
        if kind in _DISPUTES:
            return _dispute(made, day, won=_DISPUTES[kind])
    except (ArithmeticError, AttributeError, LookupError, OSError) as error:
        raise NoticeError("The notice is no event of Stripe.") from error
    except (RecursionError, TypeError, ValueError) as error:
        raise NoticeError("The notice is no event of Stripe.") from error
    return None


def _session(made: Mapping[str, Any], day: date) -> Received | None:
    # Another way of paying may take days: then a later event says that it has succeeded.
    if made.get("payment_status") != "paid" or not made.get("payment_intent"):
        return None
    details = made.get("customer_details") or {}
    return Received(
        _id(made["payment_intent"]),
        _money(made["amount_total"], made["currency"]),
        _currency(made["currency"]),
        day,
        payer=_text(details.get("name") or details.get("email"), MOST_NAME),
        reference=_reference(made, made.get("client_reference_id")),
    )


def _intent(made: Mapping[str, Any], day: date) -> Received:
    return Received(
        _id(made["id"]),
        _money(made["amount_received"], made["currency"]),
        _currency(made["currency"]),
        day,
        text=_text(made.get("description"), MOST_TEXT),
        reference=_reference(made, None),
    )


def _refund(made: Mapping[str, Any], day: date) -> Refunded | None:
    if not made.get("payment_intent"):
        return None
    total = _money(made["amount_refunded"], made["currency"])
    return Refunded(_id(made["payment_intent"]), total, _currency(made["currency"]), day)


def _dispute(made: Mapping[str, Any], day: date, *, won: bool) -> Disputed | None:
    if not made.get("payment_intent"):
        return None
    return Disputed(
        _id(made["payment_intent"]),
        _id(made["id"]),
        _money(made["amount"], made["currency"]),
        _currency(made["currency"]),
        day,
        won,
    )


def _text(value: object, most: int) -> str:
    """What somebody wrote; JSON may have the one character that no column takes."""
    return str(value or "").replace("\0", " ")[:most]


def _reference(made: Mapping[str, Any], given: object) -> str:
    metadata = made.get("metadata") or {}
    told = given or metadata.get("reference") or ""
    return _text(told, MOST_TEXT)


def _id(value: object) -> str:
    if isinstance(value, Mapping):  # expanded
        value = value["id"]
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_ID or "\0" in value:
        raise ValueError("an id is a short text")
    return value


def _currency(value: object) -> str:
    code = str(value).upper()
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise ValueError("a currency has three letters")
    return code


def _money(value: object, currency: object) -> Decimal:
    """An amount from Stripe's smallest units."""
    if type(value) is not int or not 0 < value < 10**12:
        raise ValueError("an amount is a positive whole number")
    code = _currency(currency)
    if code in _WHOLE:
        return Decimal(value)
    return Decimal(value).scaleb(-3 if code in _THOUSANDTHS else -2)
