"""Notices of payment services: no session, no token; the signature over the body counts."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.domain import payments_webhook
from billing.domain.payments_webhook import NoticeError, NoticeRefused, PaymentNotFound
from tenants.domain import audit
from tenants.models import AuditChannel

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def payments(request: HttpRequest, provider: str, tenant: str) -> HttpResponse:
    """Take what a payment service tells a tenant of.

    204 once it is taken, also again; 400 for a notice that makes no sense, 401 for one that is not
    signed, 409 for a refund of a payment that is not known yet, so that the service tells again.
    """
    try:
        body = request.body
    except RequestDataTooBig:
        return HttpResponse(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    origin = replace(audit.current_origin(), channel=AuditChannel.API)
    try:
        with audit.origin(origin):
            done = payments_webhook.receive(
                provider=provider,
                tenant=tenant,
                body=body,
                headers=request.headers,
                now=datetime.now(UTC),
            )
    except NoticeRefused:
        # Who does not hold the secret does not learn which tenants there are.
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    except NoticeError:
        return HttpResponse(status=HTTPStatus.BAD_REQUEST)
    except PaymentNotFound:
        return HttpResponse(status=HTTPStatus.CONFLICT)
    logger.info("payments.notice provider=%s tenant=%s new=%d", provider, tenant, done)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)
