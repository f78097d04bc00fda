"""The people of the demo: somebody in every role, a role of a tenant's own, and an invitation."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from devices.domain.operations import grant_facility
from devices.models import Facility, FacilityAccess
from devices.simulator.park import CHAIN, UTILITY
from tenants.domain import operations
from tenants.domain.operations_invitations import Offer, invite
from tenants.domain.operations_roles import RoleDraft, create_role
from tenants.models import CustomRole, Invitation, Membership, Tenant, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope

OPERATOR: Final = "wattline"
# Releases of firmware take two people.
UPLOADER: Final = "firmware@wattline.example"
APPROVER: Final = "operator@wattline.example"
# What the chain lets the people of its auditor see, and no built-in role allows so narrowly.
AUDITOR: Final = RoleDraft(
    name="Energy auditor",
    description="Reads and exports for the yearly energy audit, and sees who changed what.",
    permissions=frozenset(
        {Permission.DEVICES_VIEW, Permission.READINGS_EXPORT, Permission.AUDIT_VIEW}
    ),
)


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the demo; `role` is a built-in one or AUDITOR, `facility` narrows it."""

    email: str
    name: str
    tenant: str
    role: Role | RoleDraft
    facility: str | None = None


PEOPLE: Final = (
    Person(APPROVER, "Olga Petersen", OPERATOR, Role.OPERATOR),
    Person(UPLOADER, "Rosa Okafor", OPERATOR, Role.ADMIN),
    Person("support@wattline.example", "Samir Haddad", OPERATOR, Role.SUPPORT),
    Person("admin@fennel-rye.example", "Agnes Brandt", CHAIN, Role.ADMIN),
    Person("manager@fennel-rye.example", "Marta Lindqvist", CHAIN, Role.MANAGER),
    Person("technician@fennel-rye.example", "Tomasz Zieliński", CHAIN, Role.TECHNICIAN),
    Person("analyst@fennel-rye.example", "Anaïs Moreau", CHAIN, Role.ANALYST),
    Person("auditor@fennel-rye.example", "Henrik Solberg", CHAIN, AUDITOR),
    Person("manager@auental-energie.example", "Ute Baumgartner", UTILITY, Role.MANAGER),
    Person(
        "consumer@auental-energie.example", "Jonas Keller", UTILITY, Role.CONSUMER, "Ahornweg 3"
    ),
    # Pays before she uses, and sees her credit.
    Person("prepaid@auental-energie.example", "Mirjam Vogt", UTILITY, Role.CONSUMER, "Im Grün 22"),
)
INVITED: Final = ("electrician@example.org", CHAIN, Role.TECHNICIAN)


def ensure_people(
    tenants: Mapping[str, Tenant], logins: list[dict[str, str]]
) -> list[dict[str, str]]:
    """Users with their memberships; a password that is not known any more is replaced.

    Returns the logins with their passwords.
    """
    passwords = {login["email"]: login["password"] for login in logins}
    for person in PEOPLE:
        password = passwords.setdefault(person.email, secrets.token_urlsafe(9))
        tenant = tenants[person.tenant]
        _ensure_member(tenant, person, _ensure_user(person, password, tenant.time_zone))
    _ensure_invitation(tenants)
    return [
        {
            "email": person.email,
            "password": passwords[person.email],
            "tenant": tenants[person.tenant].name,
            "role": person.role.value if isinstance(person.role, Role) else person.role.name,
        }
        for person in PEOPLE
    ]


def user_id(email: str) -> int:
    """The user with an e-mail; raises User.DoesNotExist."""
    found: int = User.objects.get(email=email).pk
    return found


def _ensure_user(person: Person, password: str, time_zone: str) -> User:
    user = User.objects.filter(email=person.email).first()
    if user is None:
        return operations.create_user(
            email=person.email, password=password, name=person.name, time_zone=time_zone
        )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def _ensure_member(tenant: Tenant, person: Person, user: User) -> None:
    with open_scope(Scope((tenant.pk,))):
        membership = Membership.objects.filter(tenant=tenant, user=user).first()
        if membership is None:
            membership = operations.grant_membership(
                tenant_id=tenant.pk,
                user_id=user.pk,
                role=_ensure_role(tenant, person.role),
                actor_id=None,
            )
        if person.facility and not FacilityAccess.objects.filter(membership=membership):
            facility = Facility.objects.get(tenant=tenant, name=person.facility)
            grant_facility(membership_id=membership.pk, facility_id=facility.pk, actor_id=None)


def _ensure_role(tenant: Tenant, role: Role | RoleDraft) -> Role | int:
    if isinstance(role, Role):
        return role
    found = CustomRole.objects.filter(tenant=tenant, name=role.name).first()
    return (found or create_role(tenant_id=tenant.pk, draft=role, actor_id=None)).pk


def _ensure_invitation(tenants: Mapping[str, Tenant]) -> None:
    """One that nobody has answered yet; its mail is sent when somebody asks for it."""
    email, slug, role = INVITED
    tenant = tenants[slug]
    with open_scope(Scope((tenant.pk,))):
        if Invitation.objects.filter(tenant=tenant, email=email).exists():
            return
        invite(
            tenant_id=tenant.pk,
            email=email,
            offer=Offer(role=role, facility_ids=None, language="en"),
            now=datetime.now(UTC),
            actor_id=None,
        )
