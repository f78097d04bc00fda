"""Lists of people, invitations and roles, as rows that a table sorts and slices in SQL.

All need an open scope that is not narrowed to facilities: one that is sees nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Concat, NullIf

from tenants.domain.queries import RoleFacts, usable_roles
from tenants.domain.queries_invitations import InvitationState
from tenants.models import Invitation, Membership
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import CUSTOM_ROLE, Role

ACTIVE, SUSPENDED, CLOSED = "active", "suspended", "closed"


def people_rows(*, roles: Iterable[RoleFacts]) -> QuerySet[Membership]:
    """Memberships of the scope with `person` (name or address), `role_key`, `role_label` and
    `state` (ACTIVE, SUSPENDED, CLOSED: the account), by person. `roles` are those that may occur.
    """
    return (
        Membership.objects.select_related("user", "tenant")
        .annotate(
            person=_name("user"),
            state=Case(
                When(user__is_active=False, then=Value(CLOSED)),
                When(suspended_at__isnull=False, then=Value(SUSPENDED)),
                default=Value(ACTIVE),
            ),
            **_role(roles),
        )
        .order_by("person", "pk")
    )


def invitation_rows(*, roles: Iterable[RoleFacts], now: datetime) -> QuerySet[Invitation]:
    """Invitations of the scope with `role_key`, `role_label`, `state` (an InvitationState) and
    `inviter`, newest first.
    """
    return (
        Invitation.objects.select_related("tenant")
        .annotate(
            state=Case(
                When(accepted_at__isnull=False, then=Value(InvitationState.ACCEPTED.value)),
                When(revoked_at__isnull=False, then=Value(InvitationState.REVOKED.value)),
                When(expires_at__lte=now, then=Value(InvitationState.EXPIRED.value)),
                default=Value(InvitationState.OPEN.value),
            ),
            inviter=_name("invited_by"),
            **_role(roles),
        )
        .order_by("-created_at", "-pk")
    )


def role_choices(*, tenant_ids: Sequence[int]) -> tuple[tuple[RoleFacts, ...], dict[str, str]]:
    """The custom roles that can occur in the tenants, and all roles by key in words."""
    roles = usable_roles(tenant_ids=tenant_ids)
    labels = {role.value: str(ROLE_TEXTS[role].label) for role in Role}
    return roles, labels | {key_of(role.role_id): role.name for role in roles}


@dataclass(frozen=True, slots=True)
class RolesFound:
    """The custom roles that a tenant can give, and how many members of the scope have each role,
    by its key.
    """

    custom: tuple[RoleFacts, ...]
    members: Mapping[str, int]


def roles(*, tenant_id: int) -> RolesFound:
    """The roles of a tenant; two queries."""
    counted = (
        Membership.objects.order_by()
        .values_list("role", "custom_role_id")
        .annotate(number=Count("pk"))
    )
    members = {
        role if custom_id is None else key_of(custom_id): number
        for role, custom_id, number in counted
    }
    return RolesFound(usable_roles(tenant_ids=[tenant_id]), members)


def key_of(role_id: int) -> str:
    """How addresses and forms name a custom role; built-in ones go by their code."""
    return f"{CUSTOM_ROLE}-{role_id}"


def role_of_key(key: str) -> Role | int:
    """The role that a form or an address names; raises ValueError for what is no key."""
    kind, _dash, number = key.partition("-")
    return int(number) if kind == CUSTOM_ROLE else Role(key)


def invited(*, membership: Membership) -> Invitation | None:
    """The invitation that the membership came of, with whoever sent it."""
    return (
        Invitation.objects.filter(tenant_id=membership.tenant_id, accepted_by_id=membership.user_id)
        .select_related("invited_by")
        .order_by("-accepted_at")
        .first()
    )


def _name(user: str) -> Coalesce:
    """How a user is addressed: as `User.get_full_name`."""
    return Coalesce(
        NullIf(f"{user}__name", Value("")), F(f"{user}__email"), output_field=CharField()
    )


def _role(roles: Iterable[RoleFacts]) -> dict[str, Case]:
    """The key of a row's role, and its name as the reader's language has it.

    Names of custom roles come from the door: those of tenants above lie outside the scope.
    """
    names = [When(custom_role_id=role.role_id, then=Value(role.name)) for role in roles]
    built_in = [When(role=code, then=Value(str(text.label))) for code, text in ROLE_TEXTS.items()]
    key = Case(
        When(
            custom_role_id__isnull=False,
            then=Concat(Value(f"{CUSTOM_ROLE}-"), "custom_role_id", output_field=CharField()),
        ),
        default=F("role"),
        output_field=CharField(),
    )
    return {"role_key": key, "role_label": Case(*names, *built_in, output_field=CharField())}
