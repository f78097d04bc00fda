"""Signing in and out, and what people do with their own account."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession

from portal.tests.permission_rows.notation import EVERY, Area, Row, anybody, member
from portal.tests.permission_rows.world import World
from tenants.models import CompanyDomain, User
from tenants.scope import open_scope


def _manager(world: World) -> User:
    (manager,) = (person.user for person in world.people if person.name == "own manager")
    assert manager is not None
    return manager


def _session_of_the_manager(world: World) -> int:
    values = {"user": _manager(world), "ip": "192.0.2.1", "user_agent": "Firefox/128.0 Linux"}
    row, _made = UserSession.objects.get_or_create(session_key="of-the-manager", defaults=values)
    return int(row.pk)


def _passkey_of_the_manager(world: World) -> int:
    values = {"data": {"name": "Key", "credential": {}}}
    user, kind = _manager(world), Authenticator.Type.WEBAUTHN
    return int(Authenticator.objects.get_or_create(user=user, type=kind, defaults=values)[0].pk)


def _domain(world: World) -> int:
    with open_scope(world.park.scope):
        return CompanyDomain.objects.get(tenant=world.park.tenant).pk


# Whose passkey it is has to prove it first.
ASKED = {"own manager": 302}

# Settings of a tenant as a whole are not for members who are narrowed to facilities.
NARROWED = {"elsewhere admin": 403}
ADMINS = "operator admin"
# They are those of the tenant that one acts in: the tenants above have none in this table.
OF_THE_OWN_TENANT = NARROWED | {"above operator": 404, "above admin": 404}

# fmt: off
AREA = Area(
    rows=(
        member("login", "GET", 302, nobody=200),
        member("login", "POST", 302, nobody=200),
        member("account_login", "GET", 302, nobody=200),
        member("account_login", "POST", 302, nobody=200),
        member("mfa_login_webauthn", "GET", 302, nobody=200),
        member("mfa_login_webauthn", "POST", 302, nobody=302),
        # Without a first step nobody gets as far as the second.
        anybody("mfa_authenticate", "GET", 302),
        anybody("mfa_authenticate", "POST", 302),
        anybody("company-start", "GET", 404, "no-company"),
        anybody("company-callback", "GET", 404, "no-company"),
        anybody("logout", "POST", 302),
        # Who has neither password nor second factor has nothing to prove it with.
        member("account_reauthenticate", "GET", 403),
        member("account_reauthenticate", "POST", 403),
        member("mfa_reauthenticate", "GET", 403),
        member("mfa_reauthenticate", "POST", 403),
        member("mfa_reauthenticate_webauthn", "GET", 403),
        member("mfa_reauthenticate_webauthn", "POST", 403),
        anybody("password-forgotten", "GET", 200),
        anybody("password-forgotten", "POST", 200),
        anybody("password-forgotten-sent", "GET", 200),
        anybody("password-set", "GET", 200, "link"),
        anybody("password-set", "POST", 200, "link"),
        member("account-profile", "GET", 200),
        member("account-profile", "POST", 200),
        member("account-email", "GET", 200),
        member("account-email", "POST", 200),
        anybody("account-email-confirm", "GET", 400, "token"),
        anybody("account-email-confirm", "POST", 400, "token"),
        member("mfa_index", "GET", 200),
        member("account_change_password", "GET", 200),
        member("account_change_password", "POST", 200),
        member("mfa_add_webauthn", "GET", 200),
        member("mfa_add_webauthn", "POST", 200),
        #   route                    method  roles  may  far  others newcomer nobody  subject
        Row("mfa_edit_webauthn",     "GET",  EVERY, 404, 404, 404,   404,     302, "passkey", but=ASKED),
        Row("mfa_edit_webauthn",     "POST", EVERY, 404, 404, 404,   404,     302, "passkey", but=ASKED),
        Row("mfa_remove_webauthn",   "GET",  EVERY, 404, 404, 404,   404,     302, "passkey", but=ASKED),
        Row("mfa_remove_webauthn",   "POST", EVERY, 404, 404, 404,   404,     302, "passkey", but=ASKED),
        member("mfa_activate_totp", "GET", 200),
        member("mfa_activate_totp", "POST", 200),
        member("mfa_deactivate_totp", "GET", 404),
        member("mfa_deactivate_totp", "POST", 404),
        member("mfa_view_recovery_codes", "GET", 404),
        member("mfa_generate_recovery_codes", "GET", 200),
        member("mfa_generate_recovery_codes", "POST", 200),
        member("account-sessions", "GET", 200),
        member("account-sessions-end", "POST", 302),
        Row("sign-in-settings",      "GET",  ADMINS, 200, 200, 403,  403,     302, but=NARROWED),
        Row("sign-in-policy",        "POST", ADMINS, 200, 200, 403,  403,     302, but=NARROWED),
        Row("company-login",         "GET",  ADMINS, 200, 200, 403,  403,     302, but=NARROWED),
        Row("company-login",         "POST", ADMINS, 200, 200, 403,  403,     302, but=NARROWED),
        Row("company-remove",        "POST", ADMINS, 302, 404, 403,  403,     302,
            but=OF_THE_OWN_TENANT | {"other admin": 302}),
        Row("company-enforce",       "POST", ADMINS, 302, 404, 403,  403,     302,
            but=OF_THE_OWN_TENANT | {"other admin": 302}),
        Row("company-domain-add",    "POST", ADMINS, 200, 200, 403,  403,     302, but=NARROWED),
        Row("company-domain-check",  "POST", ADMINS, 302, 404, 403,  403,     302, "domain",
            but=OF_THE_OWN_TENANT),
        Row("company-domain-remove", "POST", ADMINS, 302, 404, 403,  403,     302, "domain",
            but=OF_THE_OWN_TENANT),
        Row("account-session-end",   "POST", EVERY, 404, 404, 404,   404,     302, "session",
            but={"own manager": 302}),
    ),
    subjects={
        "session": _session_of_the_manager,
        "passkey": _passkey_of_the_manager,
        "link": lambda world: ("MQ", "abc-def"),
        "token": lambda world: "made-up",
        "no-company": lambda world: "unknown",
        "domain": _domain,
    },
)
# fmt: on
