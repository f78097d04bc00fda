"""The audit log in words: actions, kinds of subjects, names and values of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

# What is asked for by one choice of the filter: a heading, then codes of actions with their words.
ACTIONS: Final[Mapping[str | Promise, Mapping[str, str | Promise]]] = {
    _("Signing in"): {
        "session.begin": _("Signed in"),
        "session.refused": _("Sign-in refused"),
        "session.end": _("Signed out"),
        "password.change": _("Password changed"),
        "password.reset": _("Password reset"),
        "mfa.add": _("Second factor added"),
        "mfa.remove": _("Second factor removed"),
        "mfa.use_recovery_code": _("Recovery code used"),
        "mfa.renew_recovery_codes": _("Recovery codes renewed"),
        "passkey.add": _("Passkey added"),
        "passkey.remove": _("Passkey removed"),
        "account.create": _("Account created by a company login"),
        "account.change": _("Profile changed"),
        "email.change": _("E-mail address changed"),
        "sign_in_policy.change": _("Demand of a second factor changed"),
        "company_login.create": _("Company login set up"),
        "company_login.change": _("Company login changed"),
        "company_login.rotate_secret": _("Secret of the company login replaced"),
        "company_login.enforce": _("Demand of the company login changed"),
        "company_login.remove": _("Company login removed"),
        "company_domain.add": _("Domain added"),
        "company_domain.verify": _("Domain proven"),
        "company_domain.lapse": _("Domain lapsed: its record is gone"),
        "company_domain.remove": _("Domain removed"),
    },
    _("People and roles"): {
        "membership.grant": _("Member added"),
        "membership.change_role": _("Role of a member changed"),
        "membership.end": _("Member removed"),
        "membership.restrict": _("Restriction of a member changed"),
        "membership.suspend": _("Member suspended"),
        "membership.restore": _("Member restored"),
        "invitation.create": _("Invitation sent"),
        "invitation.resend": _("Invitation sent again"),
        "invitation.revoke": _("Invitation revoked"),
        "invitation.accept": _("Invitation accepted"),
        "role.create": _("Role created"),
        "role.change": _("Role changed"),
        "role.delete": _("Role deleted"),
    },
    _("Impersonation"): {
        "impersonation.begin": _("Impersonation begun"),
        "impersonation.end": _("Impersonation ended"),
    },
    _("Applications"): {
        "application.register": _("Application registered"),
        "application.change": _("Application changed"),
        "application.change_secret": _("Secret of an application set"),
        "application.rotate_secret": _("Secret of an application replaced"),
        "application.activate": _("Application activated"),
        "application.deactivate": _("Application deactivated"),
        "application.revoke_tokens": _("Tokens of an application revoked"),
        "consent.give": _("Application allowed"),
        "consent.revoke": _("Permission of an application revoked"),
        "token.revoke": _("Token revoked by its application"),
        "token.reuse": _("Token used twice, all that came of it ended"),
    },
    _("Facilities"): {
        "facility.create": _("Facility created"),
        "facility.change": _("Facility changed"),
        "facility.delete": _("Facility deleted"),
        "load.create": _("Load created"),
        "load.change": _("Load changed"),
        "load.remove": _("Load removed"),
        "allocation.create": _("Channel allocated to a load"),
        "allocation.end": _("Allocation to a load ended"),
        "allocation.remove": _("Allocation to a load removed"),
    },
    _("Devices"): {
        "device_type.create": _("Device type created"),
        "device.register": _("Device registered"),
        "device.change": _("Device changed"),
        "device.rename": _("Device renamed"),
        "device.arrange": _("Meter arranged behind another"),
        "device.register_anew": _("Device registered anew"),
        "device.claim": _("Device claimed"),
        "device.hand_over": _("Device handed over"),
        "claim_code.issue": _("Claim code issued"),
        "claim_code.withdraw": _("Claim code withdrawn"),
        "import.start": _("Import begun"),
        "import.finish": _("Import finished"),
        "import.fetch_secrets": _("Secrets of an import fetched"),
        "import.remove": _("Import removed"),
        "device.planned": _("Device planned"),
        "device.active": _("Device activated"),
        "device.suspended": _("Device suspended"),
        "device.revoked": _("Device revoked"),
        "device.rotate_secret": _("Secret of a device replaced"),
        "channel.derive": _("Derived channel created"),
        "channel.formula": _("Formula of a channel changed"),
    },
    _("Tenants"): {
        "tenant.create": _("Tenant created"),
        "tenant.change": _("Tenant changed"),
        "tenant.suspend": _("Tenant suspended"),
        "tenant.resume": _("Tenant resumed"),
        "branding.set": _("Branding set"),
        "branding.change": _("Branding changed"),
    },
    _("Keeping data"): {
        "retention.set": _("Rule of retention made"),
        "retention.change": _("Rule of retention changed"),
        "retention.remove": _("Rule of retention taken away"),
        "hold.make": _("Legal hold set"),
        "hold.release": _("Legal hold released"),
    },
    _("Exports"): {
        "export.audit": _("Audit log exported"),
        "export.list": _("List exported"),
        "export.readings": _("Readings exported"),
    },
}
ACTION_WORDS: Final = {code: words for group in ACTIONS.values() for code, words in group.items()}

SUBJECT_WORDS: Final[Mapping[str, str | Promise]] = {
    "tenants.tenant": _("Tenant"),
    "tenants.user": _("Person"),
    "tenants.membership": _("Member"),
    "tenants.invitation": _("Invitation"),
    "tenants.customrole": _("Role"),
    "tenants.application": _("Application"),
    "tenants.consent": _("Application"),
    "tenants.impersonation": _("Impersonation"),
    "tenants.companylogin": _("Company login"),
    "tenants.companydomain": _("Domain"),
    "tenants.signinpolicy": _("Rules of signing in"),
    "devices.importrun": pgettext_lazy("thing", "Import"),
    "devices.claimcode": _("Claim code"),
    "tenants.branding": _("Branding"),
    "devices.facility": _("Facility"),
    "devices.facilityaccess": _("Access to a facility"),
    "devices.device": _("Device"),
    "devices.devicetype": _("Device type"),
    "devices.load": _("Load"),
    "devices.allocation": _("Allocation"),
    "devices.retention": _("Rule of retention"),
    "devices.hold": _("Legal hold"),
}

FIELD_WORDS: Final[Mapping[str, str | Promise]] = {
    "address": _("Address"),
    "allowed_scopes": _("Scopes"),
    "application": _("Application"),
    "application_name": _("Name shown"),
    "authorization_grant_type": _("Kind"),
    "backchannel_logout_uri": _("Logout notices to"),
    "capabilities": _("Capabilities"),
    "category": _("Category"),
    "cause": _("Cause"),
    "cause_id": _("Number of the cause"),
    "channel": _("Channel"),
    "city": _("City"),
    "client_id": _("Client ID"),
    "client_type": _("Keeps a secret"),
    "code": _("Code"),
    "country": _("Country"),
    "custom_role": _("Role"),
    "created_at": _("Created at"),
    "created_by": _("Created by"),
    "data_class": _("Data"),
    "days": _("Days"),
    "description": _("Description"),
    "devices": _("Devices"),
    "device": _("Device"),
    "device_type": _("Device type"),
    "email": _("E-mail address"),
    "ends_at": _("Ends at"),
    "expires_at": _("Expires at"),
    "facilities": _("Facilities"),
    "facility": _("Facility"),
    "facility_ids": _("Facilities"),
    "granted_at": _("Granted at"),
    "hardware_revision": _("Hardware revision"),
    "id": _("Number"),
    "is_active": _("Active"),
    "kind": _("Kind"),
    "list": _("List"),
    "rows": _("Rows"),
    "filter": _("Filter"),
    "language": _("Language"),
    "latitude": _("Latitude"),
    "load": _("Load"),
    "longitude": _("Longitude"),
    "manufacturer": _("Manufacturer"),
    "membership": _("Member"),
    "method": _("Method"),
    "name": _("Name"),
    "narrowed": _("Restricted to facilities"),
    "number": _("Number"),
    "parent": _("Above it"),
    "permissions": _("Permissions"),
    "person": _("Person"),
    "placement": _("Placement"),
    "post_logout_redirect_uris": _("Addresses after signing out"),
    "postal_code": _("Postal code"),
    "reason": _("Reason"),
    "redirect_uris": _("Redirect addresses"),
    "region": _("Region"),
    "released_at": _("Released at"),
    "released_by": _("Released by"),
    "role": _("Role"),
    "samples": _("Samples in a frame"),
    "scopes": _("Scopes"),
    "serial": _("Serial"),
    "shorter": _("Removed before finer data"),
    "skip_authorization": _("Asks nobody for consent"),
    "slug": _("Short name"),
    "starts_at": _("Starts at"),
    "state": _("State"),
    "step_ms": _("Step, ms"),
    "street": _("Street"),
    "suspended_at": _("Suspended at"),
    "tenant": _("Tenant"),
    "ticket": _("Ticket"),
    "time_zone": _("Time zone"),
    "user": _("Person"),
    "version": _("Version"),
}

# The page of a subject, by its key.
SUBJECT_PAGES: Final[Mapping[str, str]] = {
    "devices.facility": "facility",
    "devices.device": "device",
    "tenants.application": "application",
    "tenants.tenant": "tenant",
    "tenants.membership": "person",
    "tenants.customrole": "role",
}


def action_in_words(code: str) -> str:
    """What happened; a code that nobody has put into words is shown as words of its own."""
    found = ACTION_WORDS.get(code)
    return str(found) if found else code.replace(".", " ").replace("_", " ").capitalize()


def subject_in_words(label: str) -> str:
    """What kind of row it was."""
    found = SUBJECT_WORDS.get(label)
    return str(found) if found else label.partition(".")[2].capitalize()


def field_in_words(name: str) -> str:
    """What a column holds."""
    found = FIELD_WORDS.get(name)
    return str(found) if found else name.replace("_", " ").capitalize()
