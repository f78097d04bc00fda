"""Permissions and roles in words, for people who give them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.permissions import CUSTOM_ROLE, Permission, Role


@dataclass(frozen=True, slots=True)
class Text:
    """A short name, and a sentence that says what it means."""

    label: str | Promise
    allows: str | Promise


PERMISSION_TEXTS: Final[MappingProxyType[Permission, Text]] = MappingProxyType(
    {
        Permission.FACILITIES_VIEW: Text(
            _("See facilities"), _("Names, addresses, areas and time zones of facilities.")
        ),
        Permission.FACILITIES_CHANGE: Text(
            _("Change facilities"), _("Create facilities and areas, and edit them.")
        ),
        Permission.DEVICES_VIEW: Text(
            _("See devices"), _("Devices with their channels, and whether they are connected.")
        ),
        Permission.DEVICES_CHANGE: Text(
            _("Change devices"),
            _(
                "Register, edit, suspend and revoke devices; draw new secrets; issue claim codes;"
                " allocate channels to loads."
            ),
        ),
        Permission.DEVICES_CLAIM: Text(
            _("Claim devices"), _("Take over a delivered device by the code on its label.")
        ),
        Permission.DEVICES_CONTROL: Text(
            _("Control devices"), _("Send commands to devices, which may switch loads.")
        ),
        Permission.DEVICES_DISABLE: Text(
            _("Switch off outputs"),
            _("Ask for the output of a device to be switched off, which ends a supply."),
        ),
        Permission.DEVICES_APPROVE: Text(
            _("Approve commands"),
            _("Approve or refuse the switching off that another person has asked for."),
        ),
        Permission.FIRMWARE_VIEW: Text(
            _("See firmware"), _("Releases, their signatures and patches, and roll-outs.")
        ),
        Permission.FIRMWARE_CHANGE: Text(
            _("Change firmware"),
            _("Upload and retire releases, and say whose signatures are accepted."),
        ),
        Permission.FIRMWARE_APPROVE: Text(
            _("Approve firmware"), _("Approve releases that another person has uploaded.")
        ),
        Permission.ROLLOUTS_CHANGE: Text(
            _("Change roll-outs"), _("Create, run, pause, abort and roll back roll-outs.")
        ),
        Permission.ROLLOUTS_APPROVE: Text(
            _("Approve roll-outs"), _("Let a roll-out go on with its next wave.")
        ),
        Permission.PARK_IMPORT: Text(
            _("Import the park"),
            _("Create and change facilities and devices in bulk, from a file."),
        ),
        Permission.DIAGNOSTICS_VIEW: Text(
            _("See diagnostics"), _("Log lines of the firmware and the history of connections.")
        ),
        Permission.READINGS_VIEW: Text(
            _("See readings"), _("Live and past readings, energy and charts.")
        ),
        Permission.READINGS_EXPORT: Text(
            _("Export readings"), _("Download readings as files, in any resolution.")
        ),
        Permission.READINGS_CORRECT: Text(
            _("Correct readings"),
            _("Lay corrections over what devices measured, and withdraw them; bills may restate."),
        ),
        Permission.BILLS_VIEW: Text(_("See bills"), _("Bills, tariffs and agreements.")),
        Permission.BILLS_CHANGE: Text(
            _("Change bills"),
            _("Set customers and agreements, and make bills or correct them."),
        ),
        Permission.BILLS_APPROVE: Text(
            _("Approve bills"), _("Approve bill runs, after which their bills are final.")
        ),
        Permission.TARIFFS_CHANGE: Text(
            _("Change tariffs"), _("Write and publish tariffs, and enter prices.")
        ),
        Permission.PAYMENTS_CHANGE: Text(
            _("Change payments"),
            _("Enter and import payments, refund them, and set what follows late payment."),
        ),
        Permission.MEMBERS_VIEW: Text(
            _("See people"), _("Who is a member, in which role, and who has been invited.")
        ),
        Permission.MEMBERS_CHANGE: Text(
            _("Change people"),
            _("Invite people, change their role or their facilities, and end memberships."),
        ),
        Permission.MEMBERS_IMPERSONATE: Text(
            _("Act for people"),
            _("See the portal as somebody else does, for a stated reason and a limited time."),
        ),
        Permission.ROLES_CHANGE: Text(
            _("Change roles"), _("Make custom roles and edit or delete them.")
        ),
        Permission.APPLICATIONS_VIEW: Text(
            _("See applications"), _("Registered applications and who has allowed them what.")
        ),
        Permission.APPLICATIONS_CHANGE: Text(
            _("Change applications"),
            _("Register applications and service accounts, and end their tokens."),
        ),
        Permission.SIGN_ON_CHANGE: Text(
            _("Change signing in"),
            _("Set up the company login and say whether a second factor is required."),
        ),
        Permission.AUDIT_VIEW: Text(
            _("See the audit log"), _("Who changed what, when, and from where.")
        ),
        Permission.TENANTS_VIEW: Text(
            _("See tenants"), _("The tenants below this one, with their figures.")
        ),
        Permission.TENANTS_CHANGE: Text(
            _("Change tenants"),
            _("Create, edit and suspend tenants below this one; set names, logos and colours."),
        ),
        Permission.RETENTION_CHANGE: Text(
            _("Change retention"), _("Say how long readings, log lines and events are kept.")
        ),
        Permission.HOLDS_CHANGE: Text(
            _("Set legal holds"),
            _("Keep data from being removed for a stated reason, and release it again."),
        ),
    }
)

# Every permission stands in exactly one group; the order is the one that pages show.
PERMISSION_GROUPS: Final[tuple[tuple[str | Promise, tuple[Permission, ...]], ...]] = (
    (
        _("Facilities and devices"),
        (
            Permission.FACILITIES_VIEW,
            Permission.FACILITIES_CHANGE,
            Permission.DEVICES_VIEW,
            Permission.DEVICES_CHANGE,
            Permission.DEVICES_CLAIM,
            Permission.DEVICES_CONTROL,
            Permission.DEVICES_DISABLE,
            Permission.DEVICES_APPROVE,
            Permission.DIAGNOSTICS_VIEW,
            Permission.PARK_IMPORT,
        ),
    ),
    (
        _("Firmware"),
        (
            Permission.FIRMWARE_VIEW,
            Permission.FIRMWARE_CHANGE,
            Permission.FIRMWARE_APPROVE,
            Permission.ROLLOUTS_CHANGE,
            Permission.ROLLOUTS_APPROVE,
        ),
    ),
    (
        _("Readings"),
        (
            Permission.READINGS_VIEW,
            Permission.READINGS_EXPORT,
            Permission.READINGS_CORRECT,
        ),
    ),
    (
        _("Money"),
        (
            Permission.BILLS_VIEW,
            Permission.BILLS_CHANGE,
            Permission.BILLS_APPROVE,
            Permission.TARIFFS_CHANGE,
            Permission.PAYMENTS_CHANGE,
        ),
    ),
    (
        _("People"),
        (
            Permission.MEMBERS_VIEW,
            Permission.MEMBERS_CHANGE,
            Permission.MEMBERS_IMPERSONATE,
            Permission.ROLES_CHANGE,
        ),
    ),
    (
        _("Administration"),
        (
            Permission.APPLICATIONS_VIEW,
            Permission.APPLICATIONS_CHANGE,
            Permission.SIGN_ON_CHANGE,
            Permission.AUDIT_VIEW,
            Permission.TENANTS_VIEW,
            Permission.TENANTS_CHANGE,
            Permission.RETENTION_CHANGE,
            Permission.HOLDS_CHANGE,
        ),
    ),
)

ROLE_TEXTS: Final[MappingProxyType[str, Text]] = MappingProxyType(
    {
        Role.OPERATOR: Text(_("Operator"), _("Runs the installation and may do everything.")),
        Role.ADMIN: Text(
            _("Administrator"),
            _("Runs a tenant: facilities, devices, bills, people, roles and applications."),
        ),
        Role.MANAGER: Text(
            _("Facility manager"), _("Runs facilities and devices, and sees bills and people.")
        ),
        Role.TECHNICIAN: Text(
            _("Technician"), _("Installs and mends devices, and reads their diagnostics.")
        ),
        Role.ANALYST: Text(
            _("Analyst"), _("Sees readings and bills, and exports readings. Changes nothing.")
        ),
        Role.SUPPORT: Text(
            _("Support"),
            _("Helps people of the tenants below, and may act for them for a stated reason."),
        ),
        Role.CONSUMER: Text(
            _("Consumer"), _("Follows the use and the bills of the facilities granted.")
        ),
        CUSTOM_ROLE: Text(_("Custom role"), _("A role that a tenant has made itself.")),
    }
)


def in_words(permissions: frozenset[Permission]) -> str:
    """The labels of permissions in one line, in the order that pages show them."""
    return ", ".join(
        str(PERMISSION_TEXTS[permission].label)
        for _group, members in PERMISSION_GROUPS
        for permission in members
        if permission in permissions
    )
