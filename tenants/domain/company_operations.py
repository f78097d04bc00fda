"""Changes to how people of a tenant sign in; each leaves an audit row in the same transaction.

All need an open scope with the tenant, and the permission `sign_on.change` of the actor.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import NotAllowed, require, role_given
from tenants.domain.company_queries import (
    below,
    domain_of,
    permissions_spoken_for,
    stored_role,
    tenants_of_member,
)
from tenants.models import (
    CompanyDomain,
    CompanyLogin,
    Membership,
    SecondFactor,
    SignInPolicy,
    User,
)
from tenants.permissions import Permission
from tenants.scope import Scope, open_scope

MAX_RULES: Final = 50
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NotReady(Exception):  # noqa: N818 - it reads as what happened
    """The company login cannot be demanded yet; the text says to the actor what is missing."""


@dataclass(frozen=True, slots=True)
class LoginDraft:
    """What an administrator fills in; `client_secret` '' keeps the one that is there."""

    name: str
    issuer: str
    client_id: str
    client_secret: str
    extra_scopes: str
    groups_claim: str
    role_rules: tuple[tuple[str, str], ...]
    default_role: str
    is_active: bool


@transaction.atomic
def set_policy(*, tenant_id: int, second_factor: SecondFactor, actor_id: int | None) -> bool:
    """Demand a second factor of more or fewer people; returns whether it became stricter."""
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    policy = SignInPolicy.objects.select_for_update().filter(tenant_id=tenant_id).first()
    order = list(SecondFactor)
    action = "sign_in_policy.change"
    if policy is None:
        if second_factor is SecondFactor.OPTIONAL:
            return False
        made = SignInPolicy(tenant_id=tenant_id, second_factor=second_factor.value)
        audit.insert(made, actor_id=actor_id, action=action)
        return True
    former = SecondFactor(policy.second_factor)
    audit.update(policy, {"second_factor": second_factor.value}, actor_id=actor_id, action=action)
    return order.index(second_factor) > order.index(former)


@transaction.atomic
def save_login(*, tenant_id: int, draft: LoginDraft, actor_id: int | None) -> CompanyLogin:
    """Set up the company login of a tenant, or change it.

    Another provider or client has to be tried anew before it can be demanded: `last_success_at` is
    None until then, and what the former provider called people means nobody any more. Raises
    ValidationError by field, NotAllowed for a rule that gives more than the actor has, and for a
    change that would let the actor act as, or demote, somebody who may more.
    """
    permissions = _checked(tenant_id, draft)
    login = CompanyLogin.objects.select_for_update().filter(tenant_id=tenant_id).first()
    if login is not None and _says_otherwise(login, draft):
        permissions |= permissions_spoken_for(login=login)
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE, over=permissions)
    values: dict[str, Any] = {
        "name": draft.name,
        "issuer": draft.issuer,
        "client_id": draft.client_id,
        "extra_scopes": draft.extra_scopes,
        "groups_claim": draft.groups_claim,
        "role_rules": [list(rule) for rule in draft.role_rules],
        "default_role": draft.default_role,
        "is_active": draft.is_active,
    }
    if login is None:
        if not draft.client_secret:
            raise ValidationError({"client_secret": _("The provider has given you a secret.")})
        login = CompanyLogin(tenant_id=tenant_id, key=secrets.token_hex(16), **values)
        login.seal_secret(draft.client_secret)
        login.full_clean(exclude=["tenant"])
        return audit.insert(login, actor_id=actor_id, action="company_login.create")
    other = (login.issuer, login.client_id) != (draft.issuer, draft.client_id)
    if other and not draft.client_secret:
        raise ValidationError(
            {"client_secret": _("Another provider or client has another secret: type it, too.")}
        )
    if login.is_enforced and (other or not draft.is_active):
        raise ValidationError(
            {"issuer": _("First let people sign in by password again, then change the provider.")}
        )
    audit.update(login, values, actor_id=actor_id, action="company_login.change")
    if draft.client_secret:
        login.seal_secret(draft.client_secret)
        login.save(update_fields=["sealed_secret"])
        audit.record(
            tenant_id=tenant_id,
            actor_id=actor_id,
            action="company_login.rotate_secret",
            subject=login,
        )
    if other:
        login.last_success_at = None
        login.save(update_fields=["last_success_at"])
    return login


def _says_otherwise(login: CompanyLogin, draft: LoginDraft) -> bool:
    """Whether the draft has another provider speak, or the same one give other roles."""
    former = (login.issuer, login.client_id, login.groups_claim, login.default_role)
    return (
        former != (draft.issuer, draft.client_id, draft.groups_claim, draft.default_role)
        or tuple(map(tuple, login.role_rules)) != draft.role_rules
    )


def _checked(tenant_id: int, draft: LoginDraft) -> frozenset[Permission]:
    """All permissions that the rules may give; raises ValidationError by field."""
    if problem := why_no_issuer(draft.issuer):
        raise ValidationError({"issuer": problem})
    if len(draft.role_rules) > MAX_RULES:
        raise ValidationError({"role_rules": _("These are too many rules.")})
    found: frozenset[Permission] = frozenset()
    for group, role in draft.role_rules:
        if not group:
            raise ValidationError({"role_rules": _("A rule needs a group.")})
        found |= role_given(tenant_id=tenant_id, role=stored_role(role))[2]
    if draft.default_role:
        found |= role_given(tenant_id=tenant_id, role=stored_role(draft.default_role))[2]
    return found


def why_no_issuer(issuer: str) -> str | None:
    """Why `issuer` cannot be one; None when it can. HTTP is for a provider on the own machine."""
    try:
        parts = urlsplit(issuer)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return _("This is no address.")
    if parts.query or parts.fragment or "@" in parts.netloc or not host:
        return _("The address of the provider has neither a user nor a query.")
    if parts.scheme == "https":
        return None
    if parts.scheme == "http" and host in _LOOPBACK and not settings.HTTPS:
        return None
    return _("The address must begin with https://.")


@transaction.atomic
def remove_login(*, tenant_id: int, actor_id: int | None) -> str:
    """Give the company login up, with its domains; returns its key."""
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    login = CompanyLogin.objects.select_for_update().get(tenant_id=tenant_id)
    for domain in CompanyDomain.objects.filter(company_login=login):
        audit.delete(domain, actor_id=actor_id, action="company_domain.remove")
    audit.delete(login, actor_id=actor_id, action="company_login.remove")
    return login.key


@transaction.atomic
def enforce(
    *, tenant_id: int, enforced: bool, break_glass_email: str, actor_id: int | None
) -> CompanyLogin:
    """Refuse password and passkey to the people of the verified domains, or no more.

    One person is exempt, for the day when the provider does not answer: a member of the tenant with
    a password who may change this setting. Raises NotReady.
    """
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.SIGN_ON_CHANGE)
    login = CompanyLogin.objects.select_for_update().get(tenant_id=tenant_id)
    values: dict[str, Any] = {"is_enforced": enforced}
    if enforced:
        values["break_glass_id"] = _break_glass(login, break_glass_email).pk
    audit.update(login, values, actor_id=actor_id, action="company_login.enforce", validate=False)
    return login


def _break_glass(login: CompanyLogin, email: str) -> User:
    if not login.is_active:
        raise NotReady(_("Turn the company login on first."))
    if not CompanyDomain.objects.filter(company_login=login, verified_at__isnull=False).exists():
        raise NotReady(_("Prove at least one domain first."))
    if login.last_success_at is None:
        raise NotReady(_("Sign in through the company login once, so that it is known to work."))
    user = User.objects.filter(email=User.objects.normalize_email(email), is_active=True).first()
    membership = (
        Membership.objects.filter(
            tenant_id=login.tenant_id, user=user, suspended_at__isnull=True, narrowed=False
        ).first()
        if user
        else None
    )
    if user is None or membership is None:
        raise NotReady(_("The exempt person must be a member of this tenant."))
    try:
        require(actor_id=user.pk, tenant_id=login.tenant_id, to=Permission.SIGN_ON_CHANGE)
    except NotAllowed as error:
        raise NotReady(_("The exempt person must be allowed to change this setting.")) from error
    if not user.has_usable_password():
        raise NotReady(_("The exempt person needs a password."))
    return user


def people_of_domains(*, tenant_id: int) -> tuple[int, ...]:
    """Who is subject to an enforced company login: users whom it may speak for, the exempt one
    left out. Needs no scope.
    """
    reach = below(tenant_id=tenant_id)
    with open_scope(Scope(tuple(sorted(reach)))):
        login = CompanyLogin.objects.get(tenant_id=tenant_id)
        domains = set(
            CompanyDomain.objects.filter(
                company_login=login, verified_at__isnull=False
            ).values_list("domain", flat=True)
        )
        members = User.objects.filter(memberships__isnull=False).distinct()
        found = [
            user.pk
            for user in members.only("pk", "email")
            if domain_of(user.email) in domains and user.pk != login.break_glass_id
        ]
    return tuple(pk for pk in found if tenants_of_member(user_id=pk) <= reach)


@transaction.atomic
def seal_anew(*, tenant_id: int) -> int:
    """Seal the tenant's client secret with the current key; returns how many there were.

    Raises Unsealable.
    """
    login = CompanyLogin.objects.select_for_update().filter(tenant_id=tenant_id).first()
    if login is None:
        return 0
    login.seal_secret(login.open_secret())
    login.save(update_fields=["sealed_secret"])
    return 1
