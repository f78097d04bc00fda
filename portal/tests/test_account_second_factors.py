"""Second factors and new proofs, and how they stay when somebody signs in once more."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.urls import reverse
from pytest_django import Settings

from portal.tests.account_world import (
    NEW_PASSWORD,
    PASSWORD,
    add_app,
    browser,
    code_of,
    commit,
    counters_start_anew,
    member_of,
    prove,
    sign_in,
    signed_in,
    tasks_run_at_once,
    told,
    user,
)
from tenants import sealing, time_zones
from tenants.models import AuditEntry, SignOn, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commit", "counters_start_anew", "tasks_run_at_once", "user"]


# --- second factors ------------------------------------------------------------------------------


def test_password_alone_opens_nothing_where_there_is_a_second_factor(user: User) -> None:
    secret = add_app(user)
    client = sign_in(user)
    assert not signed_in(client)
    assert client.get(reverse("account-sessions")).status_code == 302
    answer = client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert (answer.status_code, signed_in(client)) == (302, True)


def test_code_is_taken_once_while_it_could_be_accepted(user: User) -> None:
    secret = add_app(user)
    code = code_of(secret)
    first, second = sign_in(user), sign_in(user)
    first.post(reverse("mfa_authenticate"), {"code": code})
    assert signed_in(first)
    answer = second.post(reverse("mfa_authenticate"), {"code": f" {code[:3]} {code[3:]} "})
    assert (answer.status_code, signed_in(second)) == (200, False)
    # The next code is already valid, and the former one still would be.
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=31), tick=False):
        second.post(reverse("mfa_authenticate"), {"code": code})
        assert not signed_in(second)
        second.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
        assert signed_in(second)


def test_code_of_setting_up_cannot_be_used_to_sign_in(user: User) -> None:
    client = sign_in(user)
    prove(client)
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    found = re.search(r'wl-key">([A-Z2-7]+)<', page)
    assert found is not None
    code = code_of(found[1])
    assert client.post(reverse("mfa_activate_totp"), {"code": code}).status_code == 302
    other = sign_in(user)
    other.post(reverse("mfa_authenticate"), {"code": code})
    assert not signed_in(other)


def test_recovery_code_works_once(user: User) -> None:
    add_app(user)
    codes = Authenticator.objects.get(user=user, type="recovery_codes").wrap().get_unused_codes()
    assert (len(codes), len(codes[0])) == (10, 10)
    first, second = sign_in(user), sign_in(user)
    first.post(reverse("mfa_authenticate"), {"code": codes[0]})
    second.post(reverse("mfa_authenticate"), {"code": codes[0]})
    assert (signed_in(first), signed_in(second)) == (True, False)
    cache.clear()  # not what remembers it
    second.post(reverse("mfa_authenticate"), {"code": codes[0]})
    assert not signed_in(second)


def test_wrong_codes_are_limited_over_all_places(user: User) -> None:
    secret = add_app(user)
    statuses = []
    for _ in range(7):
        client = sign_in(user)
        answer = client.post(reverse("mfa_authenticate"), {"code": "000000"})
        statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [429] * 2
    client = sign_in(user)
    client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert not signed_in(client)


def test_session_key_from_before_the_password_does_not_reach_the_second_step(user: User) -> None:
    secret = add_app(user)
    client = browser()
    planted = client.session
    planted.save()
    client.cookies["wattline_session"] = str(planted.session_key)
    sign_in(user, client)
    attacker = browser()
    attacker.cookies["wattline_session"] = str(planted.session_key)
    attacker.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert not signed_in(attacker)
    assert client.session.session_key != planted.session_key


def test_secrets_of_second_factors_are_sealed(user: User) -> None:
    secret = add_app(user)
    stored = str(list(Authenticator.objects.filter(user=user).values_list("data", flat=True)))
    assert secret not in stored
    assert stored.count("s1.") == 2


def test_rotated_key_opens_what_was_sealed_before(
    user: User, settings: Settings, tmp_path: Any
) -> None:
    settings.SEALING_KEYS_DIR = tmp_path / "sealing"
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        login = factories.company_login(tenant).company_login
    secret = add_app(user)
    (former,) = (path for path in settings.SEALING_KEYS_DIR.glob("*.key"))
    call_command("rotate_sealing_key")
    assert not former.exists()
    client = sign_in(user)
    client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert signed_in(client)
    with open_scope(Scope((tenant.pk,))):
        login.refresh_from_db()
    assert login.open_secret() == "s3cret"


def test_sealed_value_opens_for_its_purpose_and_owner_alone(
    settings: Settings, tmp_path: Any
) -> None:
    settings.SEALING_KEYS_DIR = tmp_path / "sealing"
    value = sealing.seal("text ü", purpose="a", owner="1")
    assert sealing.unseal(value, purpose="a", owner="1") == "text ü"
    changed = value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1]
    for attempt, purpose, owner in (
        (value, "b", "1"),
        (value, "a", "2"),
        (changed, "a", "1"),
        ("text ü", "a", "1"),
    ):
        with pytest.raises(sealing.Unsealable):
            sealing.unseal(attempt, purpose=purpose, owner=owner)
    assert sealing.seal("text ü", purpose="a", owner="1") != value
    for key in settings.SEALING_KEYS_DIR.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
        key.unlink()
    with pytest.raises(sealing.Unsealable, match="SEALING_KEYS_DIR"):
        sealing.unseal(value, purpose="a", owner="1")


# --- proofs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["account-email", "account_change_password", "mfa_add_webauthn", "mfa_activate_totp"],
)
def test_security_is_changed_after_a_new_proof_alone(user: User, name: str) -> None:
    client = sign_in(user)
    answer = client.get(reverse(name))
    following = quote(reverse(name), safe="")
    assert answer["Location"] == f"{reverse('account_reauthenticate')}?next={following}"
    prove(client, "wrong")
    assert client.get(reverse(name)).status_code == 302
    prove(client)
    assert client.get(reverse(name)).status_code == 200
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=301)):
        assert client.get(reverse(name)).status_code == 302


def test_form_that_comes_too_late_is_kept_nowhere(user: User) -> None:
    client = sign_in(user)
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    address = reverse("account_change_password")
    assert client.post(address, form)["Location"] == address
    client.get(address)
    assert NEW_PASSWORD not in str(dict(client.session))
    prove(client)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_proof_is_limited_like_a_sign_in(user: User) -> None:
    client = sign_in(user)
    for _ in range(5):
        prove(client, "wrong")
    prove(client)
    assert client.get(reverse("account-email")).status_code == 302


# --- once more -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_signing_in_once_more_keeps_what_applications_know_the_session_by(user: User) -> None:
    secret = add_app(user)
    client = sign_in(user)
    client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    stored = client.session
    stored["oauth_sid"] = "00000000-0000-4000-8000-000000000001"
    stored.save()
    again = f"{reverse('login')}?again=1"
    assert client.get(again).status_code == 200
    client.post(again, {"login": user.email, "password": PASSWORD})
    assert not signed_in(client)  # until the second factor
    client.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert signed_in(client)
    assert client.session["oauth_sid"] == "00000000-0000-4000-8000-000000000001"
    assert UserSession.objects.filter(user=user).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("second_factor", [False, True])
def test_another_person_who_signs_in_gets_nothing_of_the_session(second_factor: bool) -> None:
    tenant = factories.tenant()
    former, other = member_of(tenant, Role.MANAGER), member_of(tenant, Role.ANALYST)
    secret = add_app(other) if second_factor else ""
    client = sign_in(former)
    with open_scope(Scope((tenant.pk,))):
        factories.authorization(tenant, former)
        signed_on = SignOn.objects.latest("pk")
    stored = client.session
    stored["oauth_sid"] = str(signed_on.sid)
    stored.save()
    sign_in_once_more = f"{reverse('login')}?again=1"
    client.post(sign_in_once_more, {"login": other.email, "password": PASSWORD})
    if secret:
        client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert client.session["_auth_user_id"] == str(other.pk)
    assert "oauth_sid" not in client.session
    with open_scope(Scope((tenant.pk,))):
        assert not SignOn.objects.filter(pk=signed_on.pk, ended_at__isnull=True).exists()
    assert UserSession.objects.filter(user=former).count() == 0


@pytest.mark.django_db
def test_unknown_passkey_is_answered_with_a_sentence() -> None:
    client = browser()
    options = client.get(reverse("mfa_login_webauthn")).json()["request_options"]["publicKey"]
    assert options["userVerification"] == "required"
    assert options.get("allowCredentials", []) == []
    parts = {"clientDataJSON": "e30", "authenticatorData": "AAAA", "signature": "AAAA"}
    whole = {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": parts}
    shapes: list[Any] = [
        *({}, [], None, 1, {"id": "a", "response": {"userHandle": "MQ"}}),
        *(whole, whole | {"rawId": 7}, whole | {"response": parts | {"userHandle": "MQ"}}),
        whole | {"response": parts | {"userHandle": "!", "clientDataJSON": "!"}},
        whole | {"response": parts | {"userHandle": base64.b64encode(b"9" * 30).decode()}},
    ]
    for credential in ("no json", *map(json.dumps, shapes)):
        answer = client.post(reverse("mfa_login_webauthn"), {"credential": credential})
        assert answer["Location"] == reverse("login")
        assert told(answer)[-1].startswith("This passkey could not be used")


@pytest.mark.django_db
def test_nobody_reaches_somebody_elses_passkey(user: User) -> None:
    other = factories.user()
    made = Authenticator.objects.create(
        user=other, type="webauthn", data={"name": "Key", "credential": {}}
    )
    client = sign_in(user)
    prove(client)
    for name in ("mfa_edit_webauthn", "mfa_remove_webauthn"):
        assert client.post(reverse(name, args=[made.pk]), {"name": "Mine"}).status_code == 404


def test_inactive_account_is_answered_like_an_unknown_one(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)
    answer = browser().post(reverse("login"), {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert "E-mail address and password do not match" in answer.content.decode()


@pytest.mark.django_db
def test_profile_is_changed_and_told_to_the_tenant() -> None:
    tenant = factories.tenant()
    member = member_of(tenant, Role.MANAGER)
    client = sign_in(member)
    form = {"name": "Ada Byron", "language": "en", "time_zone": "Europe/Berlin"}
    assert client.post(reverse("account-profile"), form).status_code == 302
    member.refresh_from_db()
    assert (member.name, member.time_zone) == ("Ada Byron", "Europe/Berlin")
    with open_scope(Scope((tenant.pk,))):
        entry = AuditEntry.objects.get(action="account.change")
    assert (entry.after or {})["after"] == {"name": "Ada Byron", "time_zone": "Europe/Berlin"}
    bad = client.post(reverse("account-profile"), form | {"time_zone": "Mars/Olympus"})
    assert bad.status_code == 200


@pytest.mark.django_db
def test_profile_offers_every_zone_without_a_template_for_each() -> None:
    member = member_of(factories.tenant(), Role.MANAGER)
    member.time_zone = "America/New_York"
    member.save(update_fields=["time_zone"])
    answer = sign_in(member).get(reverse("account-profile"))
    page = answer.content.decode()
    assert page.count('<option value="America/New_York" selected>America/New York</option>') == 1
    assert page.count("<option") == len(time_zones.names()) + len(settings.LANGUAGES)
    names = [template.name for template in answer.templates]
    assert names.count("django/forms/widgets/select_option.html") == len(settings.LANGUAGES)
