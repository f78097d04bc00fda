"""Background work of signing in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import shared_task
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from portal.account import dns, session
from portal.tasks import send_mail
from tenants.domain import audit
from tenants.domain.company_domains import RecordMissing, check_domain
from tenants.domain.company_operations import people_of_domains
from tenants.domain.company_queries import below, enforced_for
from tenants.domain.queries import all_tenant_ids
from tenants.models import AuditChannel, CompanyDomain, Membership, User
from tenants.scope import Scope, open_scope
from tenants.tasks import KeywordTask

logger = logging.getLogger(__name__)


@shared_task(base=KeywordTask, name="portal.send_password_reset")
def send_password_reset(*, email: str, **_: Any) -> None:
    """Send the link that sets a new password, where the address has an account."""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        return
    if route := enforced_for(user):
        send_mail.delay(
            template="reset_company",
            to=user.email,
            language=user.language,
            context={
                "name": user.get_full_name(),
                "company": route.name,
                "action_url": f"{settings.PUBLIC_URL}{reverse('login')}",
            },
        )
        return
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = PasswordResetTokenGenerator().make_token(user)
    path = reverse("password-set", args=[uid, token])
    send_mail.delay(
        template="reset_password",
        to=user.email,
        language=user.language,
        context={"name": user.get_full_name(), "action_url": f"{settings.PUBLIC_URL}{path}"},
    )


@shared_task(base=KeywordTask, name="portal.note_refused_sign_in")
def note_refused_sign_in(*, email: str, address: str | None, **_: Any) -> None:
    """Tell the audit trail of a wrong password, where the address has an account.

    Sent for every address: doing it in the request would tell by its time which have one.
    """
    user = User.objects.filter(email=email).first()
    if user is not None:
        with audit.origin(audit.Origin(AuditChannel.PORTAL, address)):
            audit.record_event(user_id=user.pk, action="session.refused")


@shared_task(base=KeywordTask, name="portal.end_sessions_without_second_factor")
def end_sessions_without_second_factor(*, tenant_id: int, **_: Any) -> None:
    """A tenant demands a second factor from now on: who has none signs in anew and sets it up."""
    with open_scope(Scope(tuple(sorted(below(tenant_id=tenant_id))))):
        user_ids = set(Membership.objects.values_list("user_id", flat=True))
    _end_sessions_without_second_factor(user_ids)


@shared_task(base=KeywordTask, name="portal.demand_second_factor")
def demand_second_factor(*, user_ids: Sequence[int], **_: Any) -> None:
    """People have other roles: who has to have a second factor by now signs in anew."""
    _end_sessions_without_second_factor(user_ids)


def _end_sessions_without_second_factor(user_ids: Iterable[int]) -> None:
    for user in User.objects.filter(pk__in=user_ids).iterator():
        if session.must_set_up(user):
            with transaction.atomic():
                session.end_sessions_without_second_factor(user_id=user.pk)


@shared_task(base=KeywordTask, name="portal.end_sessions_beside_company_login")
def end_sessions_beside_company_login(*, tenant_id: int, **_: Any) -> None:
    """A tenant demands its own sign-in from now on: who came in another way comes back by it."""
    for user_id in people_of_domains(tenant_id=tenant_id):
        with transaction.atomic():
            session.end_sessions_by_other_ways(user_id=user_id)


@shared_task(base=KeywordTask, name="portal.check_domains")
def check_domains(**_: Any) -> None:
    """Look at the records of all proven domains: one that is gone for days counts no more."""
    for tenant_id in all_tenant_ids():
        with open_scope(Scope((tenant_id,))):
            proven = CompanyDomain.objects.filter(verified_at__isnull=False)
            ids = list(proven.values_list("pk", flat=True))
        for domain_id in ids:
            _check_domain(tenant_id, domain_id)


def _check_domain(tenant_id: int, domain_id: int) -> None:
    with open_scope(Scope((tenant_id,))):
        try:
            check_domain(
                tenant_id=tenant_id,
                domain_id=domain_id,
                look_up=dns.texts,
                now=datetime.now(UTC),
                actor_id=None,
            )
        except dns.DnsUnavailable:
            logger.warning("company.domain_unchecked domain=%d", domain_id)
        except RecordMissing:
            logger.warning("company.domain_record_missing domain=%d", domain_id)
