"""Which way an address signs in, for whom an organisation's provider may speak, and what a tenant
demands of those who sign in.

All but `sign_in_settings` need no scope: they answer before anybody is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from tenants.domain.authority import RoleChoice, permissions_of
from tenants.domain.queries import memberships_of, tenants_below
from tenants.models import (
    CompanyDomain,
    CompanyLogin,
    Membership,
    SecondFactor,
    SignInPolicy,
    User,
)
from tenants.permissions import NARROWED_ROLES, Permission, Role
from tenants.scope import Scope, open_scope

# Where the record of a domain stands, and what it says (docs/sign-on.md).
RECORD_NAME: Final = "_wattline-challenge"
RECORD_VALUE: Final = "wattline-domain-verification"


class NoCompanyLogin(Exception):  # noqa: N818 - it reads as what happened
    """There is no company login of that name, or it is turned off."""


@dataclass(frozen=True, slots=True)
class Route:
    """The company login that the domain of an address leads to."""

    tenant_id: int
    key: str
    name: str
    is_enforced: bool
    break_glass_id: int | None


@dataclass(frozen=True, slots=True)
class Provider:
    """An organisation's OpenID provider, with the secret that we are known to it by."""

    login_id: int
    tenant_id: int
    key: str
    name: str
    issuer: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    groups_claim: str


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain with the DNS record that proves it."""

    domain_id: int
    domain: str
    record_name: str
    record_value: str
    verified_at: datetime | None
    checked_at: datetime | None
    missing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How the people of a tenant sign in; `login` None: no company login."""

    second_factor: SecondFactor
    login: CompanyLogin | None
    domains: tuple[DomainFacts, ...]
    break_glass_email: str

    @property
    def has_verified_domain(self) -> bool:
        """Whether the company login can be used by anybody."""
        return any(domain.verified_at for domain in self.domains)


def domain_of(email: str) -> str:
    """The domain of an address in the form of the DNS: lower case, ASCII; '' when it has none."""
    domain = email.rpartition("@")[2].strip().lower().rstrip(".")
    try:
        return domain.encode("idna").decode("ascii") if domain else ""
    except UnicodeError:
        return ""


def route_of(*, email: str) -> Route | None:
    """The company login for an address, whether it has an account or not."""
    domain = domain_of(email)
    if not domain or "\x00" in domain:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, login, name, is_enforced, break_glass_id"
            " FROM door_company_login_of_domain(%s)",
            [domain],
        )
        row = cursor.fetchone()
    return Route(*row) if row else None


def provider(*, key: str) -> Provider:
    """The provider behind a company login; raises NoCompanyLogin and Unsealable."""
    tenant_id = _tenant_of(key)
    with open_scope(Scope((tenant_id,))):
        login = CompanyLogin.objects.filter(key=key, is_active=True).first()
    if login is None:
        raise NoCompanyLogin
    return Provider(
        login_id=login.pk,
        tenant_id=tenant_id,
        key=login.key,
        name=login.name,
        issuer=login.issuer,
        client_id=login.client_id,
        client_secret=login.open_secret(),
        scopes=("openid", "profile", "email", *login.extra_scopes.split()),
        groups_claim=login.groups_claim,
    )


def _tenant_of(key: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_tenant_of_company_login(%s)", [key.replace("\x00", "")])
        row = cursor.fetchone()
    if row is None or row[0] is None:
        raise NoCompanyLogin
    return int(row[0])


def tenants_of_member(*, user_id: int) -> frozenset[int]:
    """Every tenant in which the person has a membership, suspended ones included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_tenants_of_member(%s)", [user_id])
        return frozenset(row[0] for row in cursor.fetchall())


def below(*, tenant_id: int) -> frozenset[int]:
    """The tenant and all below it."""
    return frozenset(t.tenant_id for t in tenants_below(tenant_ids=[tenant_id])[tenant_id])


def enforced_for(user: User) -> Route | None:
    """The company login that the person has to use; None when password and passkey do.

    It is the one of the domain of the account's address, where that is enforced and the person is a
    member of its tenant or of those below and of no other: for anybody else it could not speak.
    """
    route = route_of(email=user.email)
    if route is None or not route.is_enforced or route.break_glass_id == user.pk:
        return None
    tenants = tenants_of_member(user_id=user.pk)
    return route if tenants and tenants <= below(tenant_id=route.tenant_id) else None


def demanded_of_newcomer(*, email: str, tenant_id: int) -> Route | None:
    """The company login that somebody without an account has to use to join a tenant.

    None where an account with a password may be made: the login is not enforced, or the tenant is
    none that it could speak for.
    """
    route = route_of(email=email)
    if route is None or not route.is_enforced:
        return None
    return route if tenant_id in below(tenant_id=route.tenant_id) else None


def permissions_spoken_for(*, login: CompanyLogin) -> frozenset[Permission]:
    """All that the people of the verified domains may do in the login's tenant and below it.

    Whoever decides what the provider says can act with all of it.
    """
    verified = CompanyDomain.objects.filter(company_login=login, verified_at__isnull=False)
    with open_scope(Scope(tuple(sorted(below(tenant_id=login.tenant_id))))):
        domains = set(verified.values_list("domain", flat=True))
        roles = {
            (row.tenant_id, row.role, row.custom_role_id): row
            for row in Membership.objects.select_related("user").iterator()
            if domain_of(row.user.email) in domains
        }
        return frozenset().union(*(permissions_of(row) for row in roles.values()))


def needs_second_factor(*, user_id: int) -> bool:
    """Whether a tenant of the person, or one above it, demands a second factor."""
    memberships = memberships_of(user_id=user_id)
    if not memberships:
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, second_factor FROM door_second_factor(%s)",
            [[membership.tenant.tenant_id for membership in memberships]],
        )
        demanded = cursor.fetchall()
    of_everyone = {tenant for tenant, level in demanded if level == SecondFactor.EVERYONE}
    of_staff = {tenant for tenant, level in demanded if level == SecondFactor.STAFF}
    return any(
        membership.tenant.tenant_id in of_everyone
        or (membership.tenant.tenant_id in of_staff and membership.role not in NARROWED_ROLES)
        for membership in memberships
    )


def sign_in_settings(*, tenant_id: int) -> Settings:
    """What the settings page of a tenant shows; three queries, in its scope."""
    policy = SignInPolicy.objects.filter(tenant_id=tenant_id).first()
    login = CompanyLogin.objects.filter(tenant_id=tenant_id).select_related("break_glass").first()
    domains = CompanyDomain.objects.filter(tenant_id=tenant_id)
    return Settings(
        second_factor=SecondFactor(policy.second_factor) if policy else SecondFactor.OPTIONAL,
        login=login,
        domains=tuple(domain_facts(domain) for domain in domains),
        break_glass_email=login.break_glass.email if login and login.break_glass else "",
    )


def domain_facts(domain: CompanyDomain) -> DomainFacts:
    """A domain, with the record to set."""
    return DomainFacts(
        domain_id=domain.pk,
        domain=domain.domain,
        record_name=f"{RECORD_NAME}.{domain.domain}",
        record_value=f"{RECORD_VALUE}={domain.challenge}",
        verified_at=domain.verified_at,
        checked_at=domain.checked_at,
        missing_since=domain.missing_since,
    )


def stored_role(value: str) -> RoleChoice:
    """A role as it stands in the rules: the code of a built-in one, or the id of a custom one.

    Raises ValueError for anything else.
    """
    return int(value) if value.isascii() and value.isdigit() else Role(value)
