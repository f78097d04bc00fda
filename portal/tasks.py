"""Background work of the portal itself; `celery.py` says when."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from smtplib import SMTPException
from typing import Any, Final

import requests
from allauth.usersessions.models import UserSession
from celery import current_task, shared_task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from billing.documents.values import DocumentError
from billing.domain import documents_mail_operations as bill_mail
from billing.domain import dunning_driver, dunning_notices, payg_operations, wallet_notices
from billing.domain.documents_store import FileDamagedError, FileMissingError
from billing.domain.evidence import EvidenceError
from portal import mail
from portal.feed.notices import memberships_changed
from portal.oauth import backchannel
from tenants.domain import home_operations, impersonation
from tenants.domain.oauth_operations import access_changed, remove_expired
from tenants.domain.operations_invitations import note_sent, write_letter
from tenants.domain.queries import all_tenant_ids, tenant_batches
from tenants.scope import Scope, open_scope
from tenants.tasks import KeywordTask, ScopedTask

logger = logging.getLogger(__name__)

# Waits between the attempts, in seconds; together well below the broker's visibility time-out.
LOGOUT_RETRIES: Final = (2, 10, 60, 300, 900)
MAIL_RETRIES: Final = (5, 30, 120, 600, 1800)
# Notices that nobody takes are left to the next round.
NOTICE_S: Final = 60
# How long one worker sends bills before others get their turn.
BILLS_TURN_S: Final = 45.0
# Codes, tokens and ended sessions are kept this long beyond their end.
EXPIRED_RETENTION: Final = timedelta(days=1)


@shared_task(base=KeywordTask, name="portal.send_logout_token", max_retries=len(LOGOUT_RETRIES))
def send_logout_token(*, uri: str, client_id: str, user_id: int, sid: str, **_: Any) -> None:
    """Tell one application that a session ended; every attempt signs a fresh token."""
    token = backchannel.logout_token(
        client_id=client_id, user_id=user_id, sid=sid, now=datetime.now(UTC)
    )
    try:
        backchannel.post(uri, token)
    except (backchannel.NoticeRefused, requests.RequestException) as error:
        attempt = current_task.request.retries
        if attempt >= len(LOGOUT_RETRIES):
            logger.warning("logout_notice_lost client=%s reason=%r", client_id, str(error))
            return
        raise current_task.retry(exc=error, countdown=LOGOUT_RETRIES[attempt]) from error


@shared_task(base=KeywordTask, name="portal.send_mail", max_retries=len(MAIL_RETRIES))
def send_mail(*, template: str, to: str, language: str, context: dict[str, Any], **_: Any) -> None:
    """Send one message (`portal/mail.py`); a server that does not take it is tried again."""
    try:
        mail.send(template=template, to=to, language=language, context=context)
    except (SMTPException, OSError) as error:
        attempt = current_task.request.retries
        if attempt >= len(MAIL_RETRIES):
            logger.exception("mail.lost template=%s", template)
            return
        raise current_task.retry(exc=error, countdown=MAIL_RETRIES[attempt]) from error


@shared_task(base=KeywordTask, name="portal.mail_notices")
def mail_notices(**_: Any) -> None:
    """Have each notice of dunning mailed that has not been."""
    for tenant_id, event_id in dunning_driver.unmailed():
        mail_notice.apply_async(
            kwargs={"tenant_id": tenant_id, "event_id": event_id}, expires=NOTICE_S
        )


@shared_task(base=KeywordTask, name="portal.mail_notice")
def mail_notice(*, tenant_id: int, event_id: int, **_: Any) -> None:
    """Mail a notice of dunning, and note it. A server that does not take it is asked again by the
    next round; who has begun holds the notice meanwhile, so that it goes out once.
    """
    with open_scope(Scope((tenant_id,))):
        letter = dunning_notices.claim(event_id=event_id)
        if letter is None:
            return
        try:
            mail.send(
                template="dunning",
                to=letter.to,
                language=letter.language,
                context={"letter": letter},
            )
        except (SMTPException, OSError):
            logger.warning("mail.delayed template=dunning event=%d", event_id, exc_info=True)
            return
        dunning_notices.note_mailed(event_id=event_id, now=datetime.now(UTC))


@shared_task(base=KeywordTask, name="portal.send_invitation", max_retries=len(MAIL_RETRIES))
def send_invitation(*, tenant_id: int, invitation_id: int, **_: Any) -> None:
    """Send the mail of an invitation, if it is still open.

    The token of its link is drawn here, so that it passes no queue; sent again, the link is a new
    one and the former ends.
    """
    scope = Scope((tenant_id,))
    with open_scope(scope):
        letter = write_letter(invitation_id=invitation_id, now=datetime.now(UTC))
    if letter is None:
        return
    context = {
        "tenant": letter.tenant,
        "role": letter.role,
        "invited_by": letter.invited_by,
        "message": letter.message,
        "expires_at": letter.expires_at,
        "action_url": settings.PUBLIC_URL + reverse("invitation-accept", args=[letter.token]),
    }
    try:
        with timezone.override(letter.time_zone):
            mail.send(
                template="invitation", to=letter.to, language=letter.language, context=context
            )
    except (SMTPException, OSError) as error:
        attempt = current_task.request.retries
        if attempt >= len(MAIL_RETRIES):
            logger.exception("mail.lost template=invitation")
            return
        raise current_task.retry(exc=error, countdown=MAIL_RETRIES[attempt]) from error
    with open_scope(scope):
        note_sent(invitation_id=invitation_id, now=datetime.now(UTC))


@shared_task(base=KeywordTask, name="portal.send_bills")
def send_bills(**_: Any) -> None:
    """Send bills that wait for it, tenant by tenant, for a while; the next tick goes on."""
    until = time.monotonic() + BILLS_TURN_S
    for tenant_id in bill_mail.tenants_due(now=datetime.now(UTC)):
        while time.monotonic() < until:
            with open_scope(Scope((tenant_id,))):
                delivery_id = bill_mail.take(tenant_id=tenant_id, now=datetime.now(UTC))
            if delivery_id is None:
                break
            problem = _send_bill(tenant_id, delivery_id)
            with open_scope(Scope((tenant_id,))):
                now = datetime.now(UTC)
                if problem:
                    bill_mail.note_failed(delivery_id=delivery_id, problem=problem, now=now)
                else:
                    bill_mail.note_sent(delivery_id=delivery_id, now=now)


def _send_bill(tenant_id: int, delivery_id: int) -> str:
    """Why a bill could not be sent, or nothing."""
    try:
        with open_scope(Scope((tenant_id,))):
            letter = bill_mail.write_letter(delivery_id=delivery_id, now=datetime.now(UTC))
        attached = letter.attachment
        mail.send(
            template="bill",
            to=letter.to,
            language=letter.language,
            context=letter.context,
            attachments=[mail.Attachment(attached.name, attached.media_type, attached.data)],
            reply_to=letter.reply_to,
        )
    except (SMTPException, OSError) as error:
        logger.warning("bill.mail_failed delivery=%d reason=%r", delivery_id, str(error))
        return f"The mail server did not take it: {error}"
    except (DocumentError, EvidenceError, FileMissingError, FileDamagedError) as error:
        logger.exception("bill.mail_without_document delivery=%d", delivery_id)
        return str(error)
    return ""


@shared_task(base=KeywordTask, name="portal.remove_expired_tokens")
def remove_expired_tokens(**_: Any) -> None:
    """Delete expired codes, tokens and sessions, tenant by tenant."""
    now = datetime.now(UTC)
    unused = now - timedelta(seconds=settings.REFRESH_TOKEN_S)
    for tenant_id in all_tenant_ids():
        with open_scope(Scope((tenant_id,))):
            remove_expired(before=now - EXPIRED_RETENTION)
            home_operations.remove_unused(before=unused)


@shared_task(base=ScopedTask, name="portal.tell_of_memberships")
def tell_of_memberships(*, user_ids: Sequence[int], **_: Any) -> None:
    """Have tokens and open pages of many people look at their rights again."""
    for user_id in user_ids:
        access_changed(user_id=user_id)
        transaction.on_commit(partial(memberships_changed, user_id))


@shared_task(base=KeywordTask, name="portal.end_impersonations")
def end_impersonations(**_: Any) -> None:
    """Note the end of impersonations whose time is up: they allow nothing any more as it is."""
    now = datetime.now(UTC)
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            impersonation.end_expired(now=now)


@shared_task(base=KeywordTask, name="portal.clear_sessions")
def clear_sessions(**_: Any) -> None:
    """Delete sessions that have expired: they open nothing, but their tables only grow."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()


@shared_task(base=KeywordTask, name="portal.tell_prepaid")
def tell_prepaid(**_: Any) -> None:
    """Tell customers of their wallets, and have their tokens mailed, each once."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            letters = wallet_notices.take_wallet_letters()
            tokens = wallet_notices.tokens_to_mail()
        for tenant_id, token_id in tokens:
            mail_token.apply_async(
                kwargs={"tenant_id": tenant_id, "token_id": token_id}, expires=NOTICE_S
            )
        for letter in letters:
            send_mail.delay(
                template=letter.template,
                to=letter.to,
                language=letter.language,
                context=letter.context,
            )


@shared_task(base=KeywordTask, name="portal.mail_token")
def mail_token(*, tenant_id: int, token_id: int, **_: Any) -> None:
    """Mail a token that was paid for, and note it. A server that does not take it is asked again by
    the next round; who has begun holds the token meanwhile.
    """
    with open_scope(Scope((tenant_id,))):
        letter = wallet_notices.claim_token(token_id=token_id)
        if letter is None:
            return
        try:
            mail.send(
                template=letter.template,
                to=letter.to,
                language=letter.language,
                context=letter.context,
            )
        except (SMTPException, OSError):
            logger.warning("mail.delayed template=payg_token token=%d", token_id, exc_info=True)
            return
        payg_operations.note_mailed(token_ids=[token_id], now=datetime.now(UTC))
