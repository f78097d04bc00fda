"""Who tells of payments: by one interface, whatever the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from billing.payments import stripe
from billing.payments.values import Disputed, Received, Refunded

Notice = Received | Refunded | Disputed


class UnknownProvider(Exception):  # noqa: N818 - it reads as what happened
    """No service of this name tells of payments."""


class PaymentService(Protocol):
    """A service that posts notices, signed with a secret that it shares with the tenant."""

    @property
    def most_bytes(self) -> int:
        """The longest post that makes sense."""
        ...

    def notices(
        self, body: bytes, headers: Mapping[str, str], *, secret: str, now: datetime
    ) -> tuple[Notice, ...]:
        """What a post says, once its signature is checked; nothing where it is about no payment.

        Raises `stripe.SignatureRefused` and `stripe.NoticeError`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stripe:
    """Stripe's webhooks."""

    most_bytes: int = stripe.MOST_BYTES

    def notices(
        self, body: bytes, headers: Mapping[str, str], *, secret: str, now: datetime
    ) -> tuple[Notice, ...]:
        """One event a post."""
        header = headers.get(stripe.SIGNATURE_HEADER, "")
        stripe.verify(body, header, secret=secret, now_s=int(now.timestamp()))
        found = stripe.read(body)
        return () if found is None else (found,)


_SERVICES: Final[Mapping[str, PaymentService]] = {"stripe": Stripe()}


def service_of(code: str) -> PaymentService:
    """The service of a code. Raises UnknownProvider: what people enter is posted by none."""
    try:
        return _SERVICES[code]
    except KeyError:
        raise UnknownProvider(code) from None
