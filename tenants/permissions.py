"""Roles as sets of named permissions.

A membership carries one role, one of those here or one that a tenant has made itself
(`tenants.models.CustomRole`); code asks for a permission, never for a role.
`tenants/permission_texts.py` says all of them in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Permission(StrEnum):
    """What a principal may do inside its scope; the values are stored in audit rows and tokens."""

    FACILITIES_VIEW = "facilities.view"
    FACILITIES_CHANGE = "facilities.change"
    DEVICES_VIEW = "devices.view"
    DEVICES_CHANGE = "devices.change"
    DEVICES_CLAIM = "devices.claim"
    DEVICES_CONTROL = "devices.control"
    DEVICES_DISABLE = "devices.disable"
    DEVICES_APPROVE = "devices.approve"
    FIRMWARE_VIEW = "firmware.view"
    FIRMWARE_CHANGE = "firmware.change"
    FIRMWARE_APPROVE = "firmware.approve"
    ROLLOUTS_CHANGE = "rollouts.change"
    ROLLOUTS_APPROVE = "rollouts.approve"
    PARK_IMPORT = "park.import"
    READINGS_VIEW = "readings.view"
    READINGS_EXPORT = "readings.export"
    READINGS_CORRECT = "readings.correct"
    DIAGNOSTICS_VIEW = "diagnostics.view"
    BILLS_VIEW = "bills.view"
    BILLS_CHANGE = "bills.change"
    BILLS_APPROVE = "bills.approve"
    TARIFFS_CHANGE = "tariffs.change"
    PAYMENTS_CHANGE = "payments.change"
    MEMBERS_VIEW = "members.view"
    MEMBERS_CHANGE = "members.change"
    MEMBERS_IMPERSONATE = "members.impersonate"
    ROLES_CHANGE = "roles.change"
    APPLICATIONS_VIEW = "applications.view"
    APPLICATIONS_CHANGE = "applications.change"
    SIGN_ON_CHANGE = "sign_on.change"
    AUDIT_VIEW = "audit.view"
    TENANTS_VIEW = "tenants.view"
    TENANTS_CHANGE = "tenants.change"
    RETENTION_CHANGE = "retention.change"
    HOLDS_CHANGE = "holds.change"


_CODES: Final = frozenset(permission.value for permission in Permission)


class Role(StrEnum):
    """The part that a user plays in a tenant."""

    OPERATOR = "operator"
    ADMIN = "admin"
    MANAGER = "manager"
    TECHNICIAN = "technician"
    ANALYST = "analyst"
    SUPPORT = "support"
    CONSUMER = "consumer"


# The code of a membership whose role a tenant has made itself.
CUSTOM_ROLE: Final = "custom"

_WATCH = frozenset({Permission.FACILITIES_VIEW, Permission.DEVICES_VIEW, Permission.READINGS_VIEW})
_RUN = _WATCH | {
    Permission.FACILITIES_CHANGE,
    Permission.DEVICES_CHANGE,
    Permission.DEVICES_CLAIM,
    Permission.DEVICES_CONTROL,
    Permission.DEVICES_DISABLE,
    Permission.DEVICES_APPROVE,
    Permission.FIRMWARE_VIEW,
    Permission.ROLLOUTS_CHANGE,
    Permission.ROLLOUTS_APPROVE,
    Permission.PARK_IMPORT,
    Permission.READINGS_EXPORT,
    Permission.READINGS_CORRECT,
    Permission.DIAGNOSTICS_VIEW,
    Permission.BILLS_VIEW,
    Permission.MEMBERS_VIEW,
}
_ADMINISTER = _RUN | {
    Permission.FIRMWARE_CHANGE,
    Permission.FIRMWARE_APPROVE,
    Permission.BILLS_CHANGE,
    Permission.BILLS_APPROVE,
    Permission.TARIFFS_CHANGE,
    Permission.PAYMENTS_CHANGE,
    Permission.MEMBERS_CHANGE,
    Permission.ROLES_CHANGE,
    Permission.APPLICATIONS_VIEW,
    Permission.APPLICATIONS_CHANGE,
    Permission.SIGN_ON_CHANGE,
    Permission.AUDIT_VIEW,
    Permission.TENANTS_VIEW,
    Permission.TENANTS_CHANGE,
    Permission.RETENTION_CHANGE,
    Permission.HOLDS_CHANGE,
}

PERMISSIONS: MappingProxyType[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OPERATOR: frozenset(Permission),
        Role.ADMIN: _ADMINISTER,
        Role.MANAGER: _RUN,
        Role.TECHNICIAN: _WATCH
        | {
            Permission.DEVICES_CHANGE,
            Permission.DEVICES_CLAIM,
            Permission.DEVICES_CONTROL,
            Permission.DEVICES_DISABLE,
            Permission.FIRMWARE_VIEW,
            Permission.DIAGNOSTICS_VIEW,
        },
        Role.ANALYST: _WATCH | {Permission.READINGS_EXPORT, Permission.BILLS_VIEW},
        Role.SUPPORT: _WATCH
        | {
            Permission.FIRMWARE_VIEW,
            Permission.DIAGNOSTICS_VIEW,
            Permission.MEMBERS_VIEW,
            Permission.MEMBERS_IMPERSONATE,
            Permission.TENANTS_VIEW,
        },
        Role.CONSUMER: frozenset(
            {
                Permission.FACILITIES_VIEW,
                Permission.DEVICES_CLAIM,
                Permission.READINGS_VIEW,
                Permission.BILLS_VIEW,
            }
        ),
    }
)

# Roles whose memberships are always narrowed to the facilities granted to them.
NARROWED_ROLES = frozenset({Role.CONSUMER})

# What concerns a tenant as a whole: a membership that is narrowed to facilities does not include
# it, whatever its role, and the wall hides the rows from its scope anyway.
TENANT_WIDE: Final = frozenset(
    {
        Permission.FIRMWARE_CHANGE,
        Permission.FIRMWARE_APPROVE,
        Permission.ROLLOUTS_CHANGE,
        Permission.ROLLOUTS_APPROVE,
        Permission.PARK_IMPORT,
        Permission.BILLS_CHANGE,
        Permission.BILLS_APPROVE,
        Permission.TARIFFS_CHANGE,
        Permission.PAYMENTS_CHANGE,
        Permission.MEMBERS_VIEW,
        Permission.MEMBERS_CHANGE,
        Permission.MEMBERS_IMPERSONATE,
        Permission.ROLES_CHANGE,
        Permission.APPLICATIONS_VIEW,
        Permission.APPLICATIONS_CHANGE,
        Permission.SIGN_ON_CHANGE,
        Permission.AUDIT_VIEW,
        Permission.TENANTS_VIEW,
        Permission.TENANTS_CHANGE,
        Permission.RETENTION_CHANGE,
        Permission.HOLDS_CHANGE,
    }
)

# A permission that is of no use without another one brings it along.
_NEEDS: Final[MappingProxyType[Permission, frozenset[Permission]]] = MappingProxyType(
    {
        Permission.FACILITIES_CHANGE: frozenset({Permission.FACILITIES_VIEW}),
        Permission.DEVICES_VIEW: frozenset({Permission.FACILITIES_VIEW}),
        Permission.DEVICES_CHANGE: frozenset({Permission.DEVICES_VIEW}),
        Permission.DEVICES_CLAIM: frozenset({Permission.FACILITIES_VIEW}),
        Permission.DEVICES_CONTROL: frozenset({Permission.DEVICES_VIEW}),
        Permission.DEVICES_DISABLE: frozenset({Permission.DEVICES_CONTROL}),
        Permission.DEVICES_APPROVE: frozenset({Permission.DEVICES_VIEW}),
        Permission.FIRMWARE_VIEW: frozenset({Permission.DEVICES_VIEW}),
        Permission.FIRMWARE_CHANGE: frozenset({Permission.FIRMWARE_VIEW}),
        Permission.FIRMWARE_APPROVE: frozenset({Permission.FIRMWARE_VIEW}),
        Permission.ROLLOUTS_CHANGE: frozenset({Permission.FIRMWARE_VIEW}),
        Permission.ROLLOUTS_APPROVE: frozenset({Permission.FIRMWARE_VIEW}),
        Permission.PARK_IMPORT: frozenset(
            {Permission.FACILITIES_CHANGE, Permission.DEVICES_CHANGE}
        ),
        Permission.DIAGNOSTICS_VIEW: frozenset({Permission.DEVICES_VIEW}),
        Permission.READINGS_VIEW: frozenset({Permission.FACILITIES_VIEW}),
        Permission.READINGS_EXPORT: frozenset({Permission.READINGS_VIEW}),
        Permission.READINGS_CORRECT: frozenset({Permission.DEVICES_VIEW, Permission.READINGS_VIEW}),
        Permission.BILLS_CHANGE: frozenset({Permission.BILLS_VIEW}),
        Permission.BILLS_APPROVE: frozenset({Permission.BILLS_VIEW}),
        Permission.TARIFFS_CHANGE: frozenset({Permission.BILLS_VIEW}),
        Permission.PAYMENTS_CHANGE: frozenset({Permission.BILLS_VIEW}),
        Permission.MEMBERS_CHANGE: frozenset({Permission.MEMBERS_VIEW}),
        Permission.MEMBERS_IMPERSONATE: frozenset({Permission.MEMBERS_VIEW}),
        Permission.ROLES_CHANGE: frozenset({Permission.MEMBERS_VIEW}),
        Permission.APPLICATIONS_CHANGE: frozenset({Permission.APPLICATIONS_VIEW}),
        Permission.TENANTS_CHANGE: frozenset({Permission.TENANTS_VIEW}),
    }
)


def completed(permissions: Iterable[Permission]) -> frozenset[Permission]:
    """The permissions with all that they need."""
    found: set[Permission] = set()
    waiting = list(permissions)
    while waiting:
        permission = waiting.pop()
        if permission not in found:
            found.add(permission)
            waiting += _NEEDS.get(permission, ())
    return frozenset(found)


def known(codes: Iterable[str]) -> frozenset[Permission]:
    """The permissions among the stored codes; one that does not exist any more allows nothing."""
    return frozenset(Permission(code) for code in codes if code in _CODES)


def allows(*, role: str, permission: Permission) -> bool:
    """Whether `role` (a code, as stored) includes `permission`; ValueError for an unknown role."""
    return permission in PERMISSIONS[Role(role)]


@dataclass(frozen=True, slots=True)
class AccessScope:
    """What an application may be allowed by a scope of OAuth2: in words, and as permissions.

    `label` completes the sentence "The application may …" of the consent page.
    """

    name: str
    label: str | Promise
    permissions: frozenset[Permission] = frozenset()


# The scopes of OAuth2, all of them: discovery, consent, tokens and the API read this table. The
# first three give claims about the person and no permission; `PERSONAL_SCOPES` need a person.
ACCESS_SCOPES: Final[MappingProxyType[str, AccessScope]] = MappingProxyType(
    {
        scope.name: scope
        for scope in (
            AccessScope("openid", _("know that it is you who signs in")),
            AccessScope("profile", _("see your name, your language and your time zone")),
            AccessScope("email", _("see your e-mail address")),
            AccessScope(
                "facilities:read",
                _("see your facilities: names, places, time zones"),
                frozenset({Permission.FACILITIES_VIEW}),
            ),
            AccessScope(
                "devices:read",
                _("see your devices and what they measure"),
                frozenset({Permission.DEVICES_VIEW}),
            ),
            AccessScope(
                "devices:derive",
                _("compute channels of your devices by formulas"),
                frozenset({Permission.DEVICES_CHANGE}),
            ),
            AccessScope(
                "commands:read",
                _("see the commands to your devices and what became of them"),
                frozenset({Permission.DEVICES_VIEW}),
            ),
            AccessScope(
                "commands:write",
                _("send commands to your devices, which may switch loads"),
                frozenset(
                    {
                        Permission.DEVICES_CONTROL,
                        Permission.DEVICES_DISABLE,
                        Permission.DEVICES_APPROVE,
                    }
                ),
            ),
            AccessScope(
                "firmware:read",
                _("see the releases of your devices’ firmware and their roll-outs"),
                frozenset({Permission.FIRMWARE_VIEW}),
            ),
            AccessScope(
                "firmware:write",
                _("upload, approve and retire releases of your devices’ firmware"),
                frozenset({Permission.FIRMWARE_CHANGE, Permission.FIRMWARE_APPROVE}),
            ),
            AccessScope(
                "rollouts:write",
                _("roll out firmware to your devices"),
                frozenset({Permission.ROLLOUTS_CHANGE, Permission.ROLLOUTS_APPROVE}),
            ),
            # Apart from sending commands and rolling out, which these rules bind.
            AccessScope(
                "policies:write",
                _("change when it takes two persons to switch off or to update devices"),
                frozenset({Permission.TENANTS_CHANGE}),
            ),
            AccessScope(
                "readings:read",
                _("see the readings of your devices, live and past"),
                frozenset({Permission.READINGS_VIEW}),
            ),
            AccessScope(
                "readings:correct",
                _("correct the readings of your devices"),
                frozenset({Permission.READINGS_CORRECT}),
            ),
            AccessScope(
                "readings:export",
                _("export the readings of your devices as files"),
                frozenset({Permission.READINGS_EXPORT}),
            ),
            AccessScope(
                "bills:read",
                _("see your bills and what they were made from"),
                frozenset({Permission.BILLS_VIEW}),
            ),
            AccessScope(
                "bills:write",
                _("change customers and agreements, make bills and approve them"),
                frozenset({Permission.BILLS_CHANGE, Permission.BILLS_APPROVE}),
            ),
            AccessScope(
                "tariffs:read",
                _("see your tariffs and try them on past use"),
                frozenset({Permission.BILLS_VIEW}),
            ),
            AccessScope(
                "tariffs:write",
                _("write and publish tariffs and prices"),
                frozenset({Permission.TARIFFS_CHANGE}),
            ),
            AccessScope(
                "payments:read",
                _("see what was paid and what is owed"),
                frozenset({Permission.BILLS_VIEW}),
            ),
            AccessScope(
                "payments:write",
                _("enter payments"),
                frozenset({Permission.PAYMENTS_CHANGE}),
            ),
        )
    }
)
PERSONAL_SCOPES: Final = frozenset({"openid", "profile", "email"})


def permissions_of_scopes(names: frozenset[str]) -> frozenset[Permission]:
    """What scopes allow together; a name that is no scope allows nothing."""
    return frozenset(
        permission
        for name in names
        if name in ACCESS_SCOPES
        for permission in ACCESS_SCOPES[name].permissions
    )
