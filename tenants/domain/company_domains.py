"""The domains of a company login: added, proven by a DNS record, lapsed, removed.

All need an open scope with the tenant, and the permission `sign_on.change` of the actor.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import require
from tenants.domain.company_operations import NotReady
from tenants.domain.company_queries import domain_facts, domain_of
from tenants.models import CompanyDomain, CompanyLogin
from tenants.permissions import Permission

MAX_DOMAINS: Final = 50
# A record may vanish by mistake: a domain counts for so long without it.
GRACE: Final = timedelta(days=7)
_DOMAIN: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*")

# The texts of the TXT records of a name; empty when there are none.
LookUp = Callable[[str], Sequence[str]]


class DomainTaken(Exception):  # noqa: N818 - it reads as what happened
    """Another tenant has proven that the domain is its own."""


class RecordMissing(Exception):  # noqa: N818 - it reads as what happened
    """The DNS record of the domain is not there, or says something else."""


@transaction.atomic
def add_domain(*, tenant_id: int, domain: str, actor_id: int | None) -> CompanyDomain:
    """Add a domain, which counts for nothing before it is proven; raises ValidationError."""
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    login = CompanyLogin.objects.select_for_update().get(tenant_id=tenant_id)
    name = domain_of(domain)
    if not _DOMAIN.fullmatch(name):
        raise ValidationError(
            {"domain": _("This is no domain: type the part of the addresses behind the @.")}
        )
    if CompanyDomain.objects.filter(company_login=login).count() >= MAX_DOMAINS:
        raise ValidationError({"domain": _("A company login has at most 50 domains.")})
    if CompanyDomain.objects.filter(company_login=login, domain=name).exists():
        raise ValidationError({"domain": _("This domain is in the list already.")})
    made = CompanyDomain(
        tenant_id=tenant_id, company_login=login, domain=name, challenge=secrets.token_hex(16)
    )
    return audit.insert(made, actor_id=actor_id, action="company_domain.add")


@transaction.atomic
def remove_domain(*, tenant_id: int, domain_id: int, actor_id: int | None) -> None:
    """Remove a domain; raises CompanyDomain.DoesNotExist, and NotReady for the last one that an
    enforced login rests on.
    """
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    domain = CompanyDomain.objects.select_related("company_login").get(
        pk=domain_id, tenant_id=tenant_id
    )
    others = CompanyDomain.objects.filter(
        company_login_id=domain.company_login_id, verified_at__isnull=False
    ).exclude(pk=domain.pk)
    if domain.company_login.is_enforced and domain.verified_at and not others.exists():
        raise NotReady(_("First let people sign in by password again, then remove the domain."))
    audit.delete(domain, actor_id=actor_id, action="company_domain.remove")


def check_domain(
    *, tenant_id: int, domain_id: int, look_up: LookUp, now: datetime, actor_id: int | None
) -> CompanyDomain:
    """Look for the record of a domain, and let it count from now on.

    Raises RecordMissing, DomainTaken, CompanyDomain.DoesNotExist, and what `look_up` does. The
    DNS is asked before anything is locked.
    """
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    facts = domain_facts(CompanyDomain.objects.get(pk=domain_id, tenant_id=tenant_id))
    found = facts.record_value in look_up(facts.record_name)
    with transaction.atomic():
        domain = CompanyDomain.objects.select_for_update().get(pk=domain_id, tenant_id=tenant_id)
        domain.checked_at = now
        domain.missing_since = None if found else domain.missing_since or now
        domain.save(update_fields=["checked_at", "missing_since"])
        if not found:
            _let_go(domain, now)
        elif domain.verified_at is None:
            _verify(domain, now, actor_id)
    if not found:
        raise RecordMissing
    return domain


def _verify(domain: CompanyDomain, now: datetime, actor_id: int | None) -> None:
    domain.verified_at = now
    try:
        with transaction.atomic():
            domain.save(update_fields=["verified_at"])
    except IntegrityError:
        raise DomainTaken from None
    audit.record(
        tenant_id=domain.tenant_id,
        actor_id=actor_id,
        action="company_domain.verify",
        subject=domain,
        after={"domain": domain.domain},
    )


def _let_go(domain: CompanyDomain, now: datetime) -> None:
    """A domain whose record has been gone for too long may have another owner by now."""
    if domain.verified_at is None or domain.missing_since is None:
        return
    if now - domain.missing_since < GRACE:
        return
    domain.verified_at = None
    domain.save(update_fields=["verified_at"])
    audit.record(
        tenant_id=domain.tenant_id,
        actor_id=None,
        action="company_domain.lapse",
        subject=domain,
        after={"domain": domain.domain},
    )
