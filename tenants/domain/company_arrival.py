"""Somebody comes from an organisation's own provider: whom may it speak for, and in which role?

Needs no scope: it opens that of the organisation's tenant and all below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import RoleChoice, UnknownRole, lock_people, role_given, role_to_give
from tenants.domain.company_queries import below, domain_of, stored_role, tenants_of_member
from tenants.domain.operations import LastAdministrator, change_role, create_user, grant_membership
from tenants.models import CompanyDomain, CompanyLogin, Membership, User
from tenants.scope import Scope, open_scope


class NotAdmitted(Exception):  # noqa: N818 - it reads as what happened
    """The provider's word is not enough; `code` for the log, the text for the person."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Identity:
    """What the provider says about a person.

    `email_verified` None: it says nothing about that. `user_id`: the account that this very person
    of the provider (its `sub`) has used before; `linked_elsewhere(user_id)` tells whether another
    person of the provider uses an account.
    """

    email: str
    email_verified: bool | None
    name: str
    groups: frozenset[str]
    user_id: int | None
    linked_elsewhere: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who has come; `changed`: membership or role is another than before."""

    user: User
    tenant_ids: tuple[int, ...]
    changed: bool


def arrive(*, login_id: int, tenant_id: int, identity: Identity, now: datetime) -> Arrival:
    """The account of who comes, made at the first time, with the role that the groups give.

    Raises NotAdmitted: for an address outside the verified domains, an account that belongs to
    other organisations as well, another person's account, or somebody without a role.
    """
    reach = tuple(sorted(below(tenant_id=tenant_id)))
    with open_scope(Scope(reach)), transaction.atomic():
        lock_people(tenant_id=tenant_id)
        login = CompanyLogin.objects.select_for_update().get(pk=login_id)
        domains = _domains(login)
        _check_address(identity, domains)
        user = _account(identity, domains, frozenset(reach))
        role = _role(login, identity)
        created = user is None
        if user is None:
            user = create_user(email=identity.email, password=None, name=identity.name[:120])
            audit.record_event(
                user_id=user.pk,
                action="account.create",
                details={"email": user.email, "company_login": login.name},
                tenant_ids=(tenant_id,),
            )
        changed = _member(login, user, role) or created
        login.last_success_at = now
        login.save(update_fields=["last_success_at"])
    return Arrival(user, reach, changed)


def _domains(login: CompanyLogin) -> frozenset[str]:
    verified = CompanyDomain.objects.filter(company_login=login, verified_at__isnull=False)
    return frozenset(verified.values_list("domain", flat=True))


def _check_address(identity: Identity, domains: frozenset[str]) -> None:
    if domain_of(identity.email) not in domains:
        raise NotAdmitted(
            "domain",
            _("Your organisation has not proven that addresses like yours are its own."),
        )
    if identity.email_verified is False:
        raise NotAdmitted(
            "email_unverified", _("Your organisation has not verified your e-mail address.")
        )


def _account(identity: Identity, domains: frozenset[str], reach: frozenset[int]) -> User | None:
    """The account that is meant, if the organisation may speak for it; None: there is none yet."""
    if identity.user_id is not None:
        user = User.objects.select_for_update().get(pk=identity.user_id)
    else:
        email = User.objects.normalize_email(identity.email)
        found = User.objects.select_for_update().filter(email=email).first()
        if found is None:
            return None
        user = found
    tenants = tenants_of_member(user_id=user.pk)
    if not user.is_active:
        raise NotAdmitted("inactive", _("This account cannot be used to sign in."))
    if domain_of(user.email) not in domains:
        raise NotAdmitted(
            "foreign_address",
            _("Your account here has an address outside your organisation's domains."),
        )
    if not tenants <= reach:
        raise NotAdmitted(
            "foreign_member",
            _(
                "Your account belongs to other organisations as well, for which this one cannot "
                "speak. Sign in with your password or passkey."
            ),
        )
    if identity.user_id is None and tenants and identity.linked_elsewhere(user.pk):
        raise NotAdmitted(
            "other_person",
            _(
                "The account with your address is used by somebody else of your organisation. Ask "
                "its administrator to remove that member first."
            ),
        )
    return user


def _role(login: CompanyLogin, identity: Identity) -> RoleChoice:
    """The role of the first rule that fits, else the default; raises NotAdmitted."""
    fitting = [role for group, role in login.role_rules if group in identity.groups]
    for stored in [*fitting, login.default_role]:
        if not stored:
            continue
        try:
            role = stored_role(stored)
            role_to_give(tenant_id=login.tenant_id, role=role)
        except (ValueError, UnknownRole):  # the role was deleted since
            continue
        return role
    raise NotAdmitted(
        "no_role",
        _("Your organisation has not given you a role here. Ask its administrator."),
    )


def _member(login: CompanyLogin, user: User, role: RoleChoice) -> bool:
    """Give the membership and the role of the rules; returns whether anything changed.

    Whoever is a member only below the organisation's tenant stays there: the rules speak of the
    organisation itself.
    """
    membership = Membership.objects.filter(tenant_id=login.tenant_id, user=user).first()
    if membership is None:
        if tenants_of_member(user_id=user.pk):
            return False
        grant_membership(tenant_id=login.tenant_id, user_id=user.pk, role=role, actor_id=None)
        return True
    if membership.suspended_at is not None:
        raise NotAdmitted("suspended", _("Your membership is suspended. Ask your administrator."))
    code, custom_role_id, _permissions = role_given(tenant_id=login.tenant_id, role=role)
    if (membership.role, membership.custom_role_id) == (code, custom_role_id):
        return False
    try:
        change_role(membership_id=membership.pk, role=role, actor_id=None)
    except LastAdministrator:
        # A rule must not leave the tenant without anybody: the role stays until there is another.
        return False
    return True
