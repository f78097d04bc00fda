"""Tenants and people for tests, made by the operations that the product uses.

Every name is new, so that tests can run in any order on one database.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tenants.domain import (
    application_operations,
    company_domains,
    company_operations,
    oauth_operations,
    operations,
    operations_invitations,
    operations_roles,
)
from tenants.domain.authority import RoleChoice
from tenants.domain.branding import Look, set_look
from tenants.domain.company_operations import LoginDraft
from tenants.domain.operations_invitations import Offer
from tenants.domain.operations_roles import RoleDraft
from tenants.models import (
    AccessToken,
    Application,
    CompanyDomain,
    Consent,
    CustomRole,
    DeviceGrant,
    Grant,
    HomeSession,
    IDToken,
    Impersonation,
    Invitation,
    Membership,
    RefreshToken,
    SecondFactor,
    Tenant,
    TenantKind,
    User,
)
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Permission, Role

_numbers = itertools.count(1)


def number() -> int:
    """A number that no other call gave."""
    return next(_numbers)


def operator() -> Tenant:
    """A root of the tenant tree."""
    n = number()
    return operations.create_tenant(
        name=f"Operator {n:06}",
        slug=f"operator-{n}",
        kind=TenantKind.OPERATOR,
        parent_id=None,
        actor_id=None,
    )


def tenant(parent: Tenant | None = None, kind: TenantKind = TenantKind.CLIENT) -> Tenant:
    """A client below `parent`, or below an operator of its own."""
    n = number()
    return operations.create_tenant(
        name=f"Tenant {n:06}",
        slug=f"tenant-{n}",
        kind=kind,
        parent_id=(parent or operator()).pk,
        actor_id=None,
    )


def user(password: str | None = None) -> User:
    """A user without any membership."""
    return operations.create_user(email=f"user{number()}@example.org", password=password)


def member(of: Tenant, role: RoleChoice) -> Membership:
    """A membership of a new user; needs an open scope that contains the tenant."""
    return operations.grant_membership(tenant_id=of.pk, user_id=user().pk, role=role, actor_id=None)


def custom_role(of: Tenant, *permissions: Permission) -> CustomRole:
    """A role of the tenant, which allows to see readings unless told otherwise."""
    draft = RoleDraft(
        name=f"Role {number():06}",
        description="",
        permissions=frozenset(permissions or [Permission.READINGS_VIEW]),
    )
    return operations_roles.create_role(tenant_id=of.pk, draft=draft, actor_id=None)


def invitation(
    of: Tenant,
    role: RoleChoice = Role.ANALYST,
    *,
    by: User | None = None,
    email: str | None = None,
    facility_ids: tuple[int, ...] | None = None,
) -> Invitation:
    """An open invitation of a new address, whose mail has not been written."""
    return operations_invitations.invite(
        tenant_id=of.pk,
        email=email or f"guest{number()}@example.org",
        offer=Offer(role=role, facility_ids=facility_ids, language="en", message="Welcome"),
        now=datetime.now(UTC),
        actor_id=by.pk if by else None,
    )


def company_login(of: Tenant) -> CompanyDomain:
    """A row in every table of signing in: policy, company login, domain; needs an open scope."""
    # Demanded once and no more: there is a row, and nobody is kept from anything.
    for level in (SecondFactor.STAFF, SecondFactor.OPTIONAL):
        company_operations.set_policy(tenant_id=of.pk, second_factor=level, actor_id=None)
    draft = LoginDraft(
        name=f"Company {number():06}",
        issuer="https://login.example.org",
        client_id="wattline",
        client_secret="s3cret",
        extra_scopes="",
        groups_claim="groups",
        role_rules=(),
        default_role=Role.ANALYST.value,
        is_active=True,
    )
    company_operations.save_login(tenant_id=of.pk, draft=draft, actor_id=None)
    return company_domains.add_domain(
        tenant_id=of.pk, domain=f"company{number()}.example", actor_id=None
    )


def application(of: Tenant, **changes: object) -> tuple[Application, str]:
    """A confidential web application with its secret; needs an open scope with the tenant."""
    n = number()
    service = changes.get("authorization_grant_type") == Application.GRANT_CLIENT_CREDENTIALS
    values: dict[str, object] = {
        "tenant_id": of.pk,
        "name": f"Application {n:06}",
        "client_type": Application.CLIENT_CONFIDENTIAL,
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "redirect_uris": f"https://app{n}.example.org/callback",
        "allowed_scopes": [s for s in ACCESS_SCOPES if not (service and s in PERSONAL_SCOPES)],
    }
    made = Application(**(values | changes))
    return made, application_operations.register_application(made, actor_id=None)


def look(of: Tenant, name: str = "") -> None:
    """A name and colours of the tenant's own; needs an open scope with it."""
    own = Look(name or f"Look {number():06}", "#7a1fa2", "#d6a3ff")
    set_look(tenant_id=of.pk, look=own, actor_id=None)


def impersonation(of: Tenant, member_of: Membership) -> Impersonation:
    """Support acting as a member; needs an open scope with the tenant."""
    now = datetime.now(UTC)
    return Impersonation.objects.create(
        tenant=of,
        impersonator=user(),
        person=member_of.user,
        membership_id=member_of.pk,
        reason="A chart is empty",
        started_at=now,
        ends_at=now + timedelta(minutes=30),
    )


def authorization(of: Tenant, by: User) -> Consent:
    """One row in every table of OAuth2; needs an open scope with the tenant."""
    made, _secret = application(of)
    later = datetime.now(UTC) + timedelta(minutes=10)
    common = {"tenant": of, "user": by, "application": made}
    family = uuid4()
    sign_on = oauth_operations.sign_on(
        sid=uuid4(),
        application=made,
        user_id=by.pk,
        tenant_id=of.pk,
        authenticated_at=datetime.now(UTC),
    )
    tied = {**common, "sign_on": sign_on, "token_family": family}
    Grant.objects.create(**tied, code=uuid4().hex, expires=later, redirect_uri="", scope="openid")
    access = AccessToken(**tied, scope="openid", expires=later)
    access._raw_token = uuid4().hex
    access.save()
    refresh = RefreshToken(**tied, access_token=access)
    refresh._raw_token = uuid4().hex
    refresh.save()
    IDToken.objects.create(**common, scope="openid", expires=later)
    DeviceGrant.objects.create(
        **common,
        client_id=made.client_id,
        device_code=uuid4().hex,
        user_code=uuid4().hex,
        expires=later,
    )
    HomeSession.objects.create(
        **common,
        secret=uuid4().hex,
        sid=sign_on.sid,
        sealed=b"",
        access_expires_at=later,
        renewed_at=datetime.now(UTC),
    )
    return oauth_operations.give_consent(
        application=made, user_id=by.pk, tenant_id=of.pk, scopes=["openid"]
    )
