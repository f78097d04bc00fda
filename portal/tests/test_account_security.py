"""What protects an account: second factors, resets, proofs, and that nothing tells who has one."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.usersessions.models import UserSession
from django.contrib.auth import hashers
from django.contrib.messages import get_messages
from django.core import mail as outbox
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from portal.account import session
from tenants import sealing
from tenants.domain import company_operations
from tenants.models import AuditEntry, SecondFactor, SignOn, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "an entirely different phrase"


@pytest.fixture(autouse=True)
def _counters_start_anew() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def _tasks_run_at_once(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True


@pytest.fixture
def user(db: None) -> User:
    return factories.user(PASSWORD)


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Callable[..., Any]) -> Callable[[], Any]:
    """Runs what waits for the commit, as if there had been one."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def browser(address: str = "") -> Client:
    """A new browser at a place that no other test uses."""
    number = factories.number()
    return Client(REMOTE_ADDR=address or f"10.{number >> 8 & 255}.{number & 255}.7")


def sign_in(user: User, client: Client | None = None, password: str = PASSWORD) -> Client:
    """By password."""
    client = client or browser()
    client.post(reverse("login"), {"login": user.email, "password": password})
    return client


def signed_in(client: Client) -> bool:
    """Whether the browser's session is somebody's."""
    return "_auth_user_id" in client.session


def prove(client: Client, password: str = PASSWORD) -> None:
    """The password once more."""
    client.post(reverse("account_reauthenticate"), {"password": password})


def add_app(user: User) -> str:
    """An authenticator app and recovery codes; returns the app's secret."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def code_of(secret: str, step: int = 0) -> str:
    """The app's code now, or some steps of 30 s later."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step)))


def told(response: Any) -> list[str]:
    """The messages of a response."""
    return [str(message) for message in get_messages(response.wsgi_request)]


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


# --- passwords -----------------------------------------------------------------------------------


def _reset_link(user: User, commit: Callable[[], Any]) -> str:
    with commit():
        browser().post(reverse("password-forgotten"), {"email": user.email.upper()})
    (message,) = outbox.outbox
    outbox.outbox.clear()
    assert message.to == [user.email]
    found = re.search(r"https?://\S+", str(message.body))
    assert found is not None
    return urlsplit(found[0]).path


def _set_password(link: str, password: str = NEW_PASSWORD) -> tuple[Client, int]:
    client = browser()
    page = client.get(link, follow=True)
    address = page.redirect_chain[-1][0] if page.redirect_chain else link
    form = {"new_password1": password, "new_password2": password}
    return client, client.post(address, form).status_code


def test_link_of_a_reset_works_once_and_signs_out_everywhere(
    user: User, commit: Callable[[], Any]
) -> None:
    client = sign_in(user)
    link = _reset_link(user, commit)  # somebody signed in before it was asked for
    with commit():
        _other, status = _set_password(link)
    assert status == 302
    assert client.get(reverse("account-sessions")).status_code == 302
    assert UserSession.objects.filter(user=user).count() == 0
    assert [message.subject for message in outbox.outbox] == [
        "The security of your account was changed"
    ]
    assert signed_in(sign_in(user, password=NEW_PASSWORD))
    assert _set_password(link, "yet another phrase entirely")[1] == 200
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD)


def test_link_of_a_reset_is_bound_to_the_address_and_the_hour(
    user: User, commit: Callable[[], Any]
) -> None:
    link = _reset_link(user, commit)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=3605)):
        assert _set_password(link)[1] == 200
    User.objects.filter(pk=user.pk).update(email=f"other{factories.number()}@example.org")
    assert _set_password(link)[1] == 200
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_link_of_a_reset_does_not_stay_in_the_address(
    user: User, commit: Callable[[], Any]
) -> None:
    link = _reset_link(user, commit)
    answer = browser().get(link)
    token = link.rstrip("/").rsplit("/", 1)[1]
    assert answer.status_code == 302
    assert token not in answer["Location"]


def test_reset_answers_alike_whether_there_is_an_account(
    user: User, commit: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    sent = []
    for email in (user.email, f"nobody{factories.number()}@example.org"):
        with commit() as callbacks:
            answer = browser().post(reverse("password-forgotten"), {"email": email})
        answers.append((answer.status_code, answer["Location"], len(callbacks)))
        sent.append([message.to for message in outbox.outbox])
    assert answers[0] == answers[1]
    assert sent == [[[user.email]], [[user.email]]]


def test_resets_are_limited_by_address_of_the_account(user: User) -> None:
    statuses = [
        browser().post(reverse("password-forgotten"), {"email": user.email}).status_code
        for _ in range(5)
    ]
    assert statuses == [302] * 3 + [429] * 2


def test_wrong_password_costs_the_same_hash_without_an_account(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for email in (user.email, f"nobody{factories.number()}@example.org"):
        hashed: list[int] = []
        hasher = type(hashers.get_hasher())
        original = hasher.encode
        verify = hasher.verify
        monkeypatch.setattr(
            hasher, "encode", lambda *a, h=hashed, o=original, **k: (h.append(1), o(*a, **k))[1]
        )
        monkeypatch.setattr(
            hasher, "verify", lambda *a, h=hashed, v=verify, **k: (h.append(1), v(*a, **k))[1]
        )
        browser().post(reverse("login"), {"login": email, "password": "wrong"})
        counts.append(len(hashed))
        monkeypatch.setattr(hasher, "encode", original)
        monkeypatch.setattr(hasher, "verify", verify)
    assert counts == [1, 1]


def test_changed_password_keeps_this_session_and_ends_the_others(
    user: User, commit: Callable[[], Any]
) -> None:
    here, there = sign_in(user), sign_in(user)
    prove(here)
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    with commit():
        assert here.post(reverse("account_change_password"), form).status_code == 302
    statuses = [client.get(reverse("account-sessions")).status_code for client in (here, there)]
    assert statuses == [200, 302]
    facts = session.sessions_of(user_id=user.pk, current_key=here.session.session_key)
    assert [one.is_current for one in facts] == [True]


@pytest.mark.parametrize("password", ["short", "password1234", "1234567890123"])
def test_weak_password_is_refused(user: User, password: str) -> None:
    client = sign_in(user)
    prove(client)
    form = {"new_password1": password, "new_password2": password}
    assert client.post(reverse("account_change_password"), form).status_code == 200
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.django_db
def test_sign_in_that_fails_is_in_the_trail_of_the_tenant() -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        member = factories.member(tenant, Role.MANAGER).user
    browser("203.0.113.9").post(reverse("login"), {"login": member.email, "password": "wrong"})
    with open_scope(Scope((tenant.pk,))):
        entry = AuditEntry.objects.get(action="session.refused")
    assert (entry.subject_id, entry.address) == (member.pk, "203.0.113.9")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name", ["login", "mfa_login_webauthn", "password-forgotten", "account-profile", "logout"]
)
def test_forms_of_another_site_are_refused(name: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.user())
    assert client.post(reverse(name), {"login": "a@example.org"}).status_code == 403


# --- e-mail address ------------------------------------------------------------------------------


def _ask_for(client: Client, email: str, commit: Callable[[], Any]) -> str:
    with commit():
        client.post(reverse("account-email"), {"email": email})
    message = outbox.outbox[-1]
    assert message.to == [email]
    found = re.search(r"https?://\S+", str(message.body))
    assert found is not None
    return urlsplit(found[0]).path


def test_address_changes_once_the_new_one_was_read(user: User, commit: Callable[[], Any]) -> None:
    former, wanted = user.email, f"new{factories.number()}@example.org"
    client = sign_in(user)
    prove(client)
    link = _ask_for(client, wanted, commit)
    user.refresh_from_db()
    assert user.email == former
    assert browser().get(link).status_code == 200  # a program that looks at links
    user.refresh_from_db()
    assert user.email == former
    with commit():
        browser().post(link)
    user.refresh_from_db()
    assert user.email == wanted
    assert outbox.outbox[-1].to == [former]
    assert outbox.outbox[-1].subject == "Your e-mail address was changed"
    assert browser().post(link).status_code == 400


def test_address_of_another_account_is_not_told_and_not_taken(
    user: User, commit: Callable[[], Any]
) -> None:
    other = factories.user()
    client = sign_in(user)
    prove(client)
    link = _ask_for(client, other.email, commit)
    assert browser().post(link).status_code == 400
    user.refresh_from_db()
    assert user.email != other.email


# --- demanded by a tenant ------------------------------------------------------------------------


def _demanding(level: SecondFactor, parent: Tenant | None = None) -> Tenant:
    tenant = factories.tenant(parent)
    with open_scope(Scope((tenant.pk,))):
        company_operations.set_policy(tenant_id=tenant.pk, second_factor=level, actor_id=None)
    return tenant


def _member(tenant: Tenant, role: Role) -> User:
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, role).user
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    return user


@pytest.mark.django_db
def test_who_has_no_second_factor_is_led_to_it_before_anything_else() -> None:
    user = _member(_demanding(SecondFactor.EVERYONE), Role.MANAGER)
    client = sign_in(user)
    security = reverse("mfa_index")
    for path in ("/", reverse("account-profile"), "/oauth/authorize?client_id=x"):
        assert client.get(path)["Location"] == security
    refused = client.get(reverse("api:me"))
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert client.get(security).status_code == 200
    prove(client)
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    found = re.search(r'wl-key">([A-Z2-7]+)<', page)
    assert found is not None
    client.post(reverse("mfa_activate_totp"), {"code": code_of(found[1])})
    assert client.get("/").status_code == 200
    # The last one stays, as long as it is demanded.
    prove(client)
    answer = client.post(reverse("mfa_deactivate_totp"))
    assert "Your organisation asks for a second factor" in answer.content.decode()
    assert Authenticator.objects.filter(user=user, type="totp").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("level", "role", "demanded"),
    [
        (SecondFactor.OPTIONAL, Role.ADMIN, False),
        (SecondFactor.STAFF, Role.CONSUMER, False),
        (SecondFactor.STAFF, Role.ANALYST, True),
        (SecondFactor.EVERYONE, Role.CONSUMER, True),
    ],
)
def test_demand_is_for_whom_the_tenant_says_and_for_tenants_below(
    level: SecondFactor, role: Role, demanded: bool
) -> None:
    tenant = _demanding(level)
    for of in (tenant, factories.tenant(tenant)):
        client = sign_in(_member(of, role))
        assert client.session.get(session.SET_UP, False) is demanded
    assert session.SET_UP not in sign_in(_member(factories.tenant(), role)).session


@pytest.mark.django_db
def test_first_demand_ends_the_sessions_of_those_without(commit: Callable[[], Any]) -> None:
    tenant = factories.tenant()
    admin, member = _member(tenant, Role.ADMIN), _member(tenant, Role.MANAGER)
    here, there = sign_in(admin), sign_in(member)
    prove(here)
    form = {"second_factor": "everyone"}
    refused = here.post(reverse("sign-in-policy"), form)
    assert refused["Location"] == reverse("mfa_index")  # oneself first
    secret = add_app(admin)
    prove(here)
    with commit():
        assert here.post(reverse("sign-in-policy"), form)["Location"] == reverse("sign-in-settings")
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert secret


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
    former, other = _member(tenant, Role.MANAGER), _member(tenant, Role.ANALYST)
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
    member = _member(tenant, Role.MANAGER)
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
