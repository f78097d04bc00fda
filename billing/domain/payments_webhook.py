"""What payment services post: checked, then taken in the scope of the tenant that it is for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from billing.domain import payments_doors, payments_operations, payments_refunds_operations
from billing.domain.payments_operations import PaymentNotFound
from billing.models import PaymentProvider, Provider
from billing.payments import provider as providers
from billing.payments.provider import UnknownProvider
from billing.payments.stripe import NoticeError, SignatureRefused
from billing.payments.values import Disputed, Refunded
from tenants.scope import Scope, open_scope
from tenants.sealing import KeysUnusable, Unsealable

__all__ = ["NoticeError", "NoticeRefused", "PaymentNotFound", "receive"]

logger = logging.getLogger(__name__)


class NoticeRefused(Exception):  # noqa: N818 - it reads as what happened
    """No such service or tenant, or not signed by it; which, is not told."""


def receive(
    *, provider: str, tenant: str, body: bytes, headers: Mapping[str, str], now: datetime
) -> int:
    """Take what a service tells the tenant (its short name) of; returns how many payments and
    refunds were new. The same post again changes nothing.

    Raises NoticeRefused, NoticeError, and PaymentNotFound for a refund or dispute of a payment that
    was not told of yet. Opens the scope itself.
    """
    try:
        service = providers.service_of(provider)
    except UnknownProvider as error:
        raise NoticeRefused from error
    if len(body) > service.most_bytes:
        raise NoticeRefused
    found = payments_doors.secret_of(provider=provider, tenant=tenant)
    if found is None:
        raise NoticeRefused
    tenant_id, sealed = found
    try:
        secret = PaymentProvider.open_secret(sealed, tenant_id=tenant_id)
        notices = service.notices(body, headers, secret=secret, now=now)
    except SignatureRefused as error:
        raise NoticeRefused from error
    except (KeysUnusable, Unsealable) as error:
        logger.exception("payments.secret_lost provider=%s tenant=%d", provider, tenant_id)
        raise NoticeRefused from error
    done = 0
    with open_scope(Scope((tenant_id,))):
        for notice in notices:
            if isinstance(notice, Refunded):
                done += payments_refunds_operations.take_refund(
                    tenant_id=tenant_id, provider=Provider(provider), told=notice, now=now
                )
            elif isinstance(notice, Disputed):
                done += payments_refunds_operations.take_dispute(
                    tenant_id=tenant_id, provider=Provider(provider), told=notice, now=now
                )
            else:
                taken = payments_operations.take(
                    tenant_id=tenant_id,
                    provider=Provider(provider),
                    payments=[notice],
                    now=now,
                    actor_id=None,
                )
                done += len(taken.payments)
    return done
