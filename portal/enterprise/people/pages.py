"""What the pages of people and roles show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise

from devices.domain.people import PersonDetail
from portal.enterprise.people.tables import STATE_TONES, STATES
from tenants.domain.queries import RoleFacts
from tenants.domain.queries_people import SUSPENDED, key_of
from tenants.models import Membership
from tenants.permission_texts import PERMISSION_GROUPS, PERMISSION_TEXTS, ROLE_TEXTS
from tenants.permissions import PERMISSIONS, TENANT_WIDE, Permission, Role


def role_key(membership: Membership) -> str:
    """How forms and addresses name the role of a membership."""
    if membership.custom_role_id is not None:
        return key_of(membership.custom_role_id)
    return membership.role


def role_url(key: str) -> str:
    """The page of a role."""
    kind, dash, number = key.partition("-")
    return reverse("role", args=[int(number)]) if dash else reverse("role-built-in", args=[kind])


def person(detail: PersonDetail) -> dict[str, Any]:
    """A member."""
    membership: Any = detail.membership  # with the columns that the rows add
    user = membership.user
    ineffective = TENANT_WIDE if membership.narrowed else frozenset[Permission]()
    return {
        "pk": membership.pk,
        "name": user.get_full_name(),
        "email": user.email,
        "tenant": membership.tenant.name,
        "tenant_id": membership.tenant_id,
        "role": membership.role_label,
        "role_url": role_url(membership.role_key),
        "state": STATES[membership.state],
        "tone": STATE_TONES[membership.state],
        "suspended": membership.state == SUSPENDED,
        "suspended_at": membership.suspended_at,
        "last_login": user.last_login,
        "created_at": membership.created_at,
        "narrowed": membership.narrowed,
        "facilities": detail.facilities,
        "invitation": detail.invitation,
        "groups": permission_groups(detail.permissions, ineffective=ineffective),
        "changeable": detail.changeable,
        "obstacle": detail.obstacle,
        "history": f"{reverse('audit')}?subject=tenants.membership:{membership.pk}",
    }


def permission_groups(
    permissions: Collection[Permission], *, ineffective: Collection[Permission] = ()
) -> list[dict[str, Any]]:
    """Every permission in words, by group, and whether it is among `permissions`; `ineffective`
    ones count as not.
    """
    return [
        {
            "label": label,
            "permissions": [
                {
                    "label": PERMISSION_TEXTS[permission].label,
                    "allows": PERMISSION_TEXTS[permission].allows,
                    "included": permission in permissions and permission not in ineffective,
                    "ineffective": permission in permissions and permission in ineffective,
                }
                for permission in members
            ],
        }
        for label, members in PERMISSION_GROUPS
    ]


def role_list(
    custom: Collection[RoleFacts], *, members: Mapping[str, int], tenant_id: int
) -> dict[str, list[dict[str, Any]]]:
    """The built-in roles, then the custom ones, each with how many people have it."""
    return {
        "built_in": [
            _role(role.value, ROLE_TEXTS[role].label, ROLE_TEXTS[role].allows, members)
            | {"permissions": len(PERMISSIONS[role])}
            for role in Role
        ],
        "custom": [
            _role(key_of(role.role_id), role.name, role.description, members)
            | {
                "permissions": len(role.permissions),
                "inherited": "" if role.tenant_id == tenant_id else role.tenant_name,
            }
            for role in custom
        ],
    }


def _role(
    key: str, name: str | Promise, description: str | Promise, members: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "members": members.get(key, 0),
        "url": role_url(key),
        "people_url": f"{reverse('people')}?role={key}",
    }
