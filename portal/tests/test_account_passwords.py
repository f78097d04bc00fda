"""Passwords and e-mail addresses: limits, resets, and that nothing tells who has an account."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.contrib.auth import hashers
from django.core import mail as outbox
from django.test import Client
from django.urls import reverse

from portal.account import session
from portal.tests.account_world import (
    NEW_PASSWORD,
    PASSWORD,
    browser,
    commit,
    counters_start_anew,
    prove,
    sign_in,
    signed_in,
    tasks_run_at_once,
    user,
)
from tenants.models import AuditEntry, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commit", "counters_start_anew", "tasks_run_at_once", "user"]


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
