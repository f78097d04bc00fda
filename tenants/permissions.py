"""Roles as sets of named permissions.

A membership carries one role; code asks for a permission, never for a role.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """What a principal may do inside its scope; the values are stored in audit rows and tokens."""

    FACILITIES_VIEW = "facilities.view"
    FACILITIES_CHANGE = "facilities.change"
    DEVICES_VIEW = "devices.view"
    DEVICES_CHANGE = "devices.change"
    DEVICES_CONTROL = "devices.control"
    READINGS_VIEW = "readings.view"
    READINGS_EXPORT = "readings.export"
    DIAGNOSTICS_VIEW = "diagnostics.view"
    BILLS_VIEW = "bills.view"
    BILLS_CHANGE = "bills.change"
    MEMBERS_VIEW = "members.view"
    MEMBERS_CHANGE = "members.change"
    AUDIT_VIEW = "audit.view"
    TENANTS_CHANGE = "tenants.change"


class Role(StrEnum):
    """The part that a user plays in a tenant."""

    OPERATOR = "operator"
    ADMIN = "admin"
    MANAGER = "manager"
    TECHNICIAN = "technician"
    ANALYST = "analyst"
    SUPPORT = "support"
    CONSUMER = "consumer"


_WATCH = frozenset({Permission.FACILITIES_VIEW, Permission.DEVICES_VIEW, Permission.READINGS_VIEW})
_RUN = _WATCH | {
    Permission.FACILITIES_CHANGE,
    Permission.DEVICES_CHANGE,
    Permission.DEVICES_CONTROL,
    Permission.READINGS_EXPORT,
    Permission.DIAGNOSTICS_VIEW,
    Permission.BILLS_VIEW,
    Permission.MEMBERS_VIEW,
}
_ADMINISTER = _RUN | {Permission.BILLS_CHANGE, Permission.MEMBERS_CHANGE, Permission.AUDIT_VIEW}

PERMISSIONS: MappingProxyType[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OPERATOR: frozenset(Permission),
        Role.ADMIN: _ADMINISTER | {Permission.TENANTS_CHANGE},
        Role.MANAGER: _RUN,
        Role.TECHNICIAN: _WATCH
        | {
            Permission.DEVICES_CHANGE,
            Permission.DEVICES_CONTROL,
            Permission.DIAGNOSTICS_VIEW,
        },
        Role.ANALYST: _WATCH | {Permission.READINGS_EXPORT, Permission.BILLS_VIEW},
        Role.SUPPORT: _WATCH | {Permission.DIAGNOSTICS_VIEW, Permission.MEMBERS_VIEW},
        Role.CONSUMER: frozenset(
            {Permission.FACILITIES_VIEW, Permission.READINGS_VIEW, Permission.BILLS_VIEW}
        ),
    }
)

# Roles whose scope is always narrowed to the facilities granted to the membership: without a
# grant they see nothing, while the other roles without a grant see the whole tenant.
NARROWED_ROLES = frozenset({Role.CONSUMER})


def allows(*, role: str, permission: Permission) -> bool:
    """Whether `role` (a code, as stored) includes `permission`; ValueError for an unknown role."""
    return permission in PERMISSIONS[Role(role)]
