"""Limits on wrong passwords, and where a sign-in leads."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from portal.account.adapter import TOO_MANY, AccountAdapter
from portal.account.limits import ACCOUNT, ADDRESS, PAIR, Attempt
from tenants.models import User
from tenants.tests import factories

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user(db: None) -> User:
    return factories.user(PASSWORD)


def _place() -> str:
    """An address that no other test signs in from."""
    number = factories.number()
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _sign_in(email: str, password: str, address: str, next_page: str = "") -> tuple[int, str]:
    """Status, and where it leads or what the page says."""
    form = {"login": email, "password": password, "next": next_page}
    response = Client(REMOTE_ADDR=address).post(reverse("login"), form)
    return response.status_code, response.get("Location") or response.content.decode()


def test_wrong_passwords_are_limited_even_before_the_right_one(user: User) -> None:
    here = _place()
    for _ in range(PAIR.failures):
        assert _sign_in(user.email, "wrong", here)[0] == 200
    status, text = _sign_in(user.email.upper(), PASSWORD, here)
    assert status == 429
    assert str(AccountAdapter.error_messages[TOO_MANY]) in text
    assert _sign_in(user.email, PASSWORD, _place()) == (302, "/")  # nobody is locked out elsewhere


def test_right_password_forgets_the_wrong_ones_before_it(user: User) -> None:
    here = _place()
    for _ in range(2):
        for _ in range(PAIR.failures - 1):
            assert _sign_in(user.email, "wrong", here)[0] == 200
        assert _sign_in(user.email, PASSWORD, here) == (302, "/")


def test_unknown_account_is_answered_like_a_known_one(user: User) -> None:
    answers = []
    for email in (user.email, f"nobody{factories.number()}@example.org"):
        here = _place()
        statuses = [_sign_in(email, "wrong", here)[0] for _ in range(PAIR.failures + 1)]
        answers.append(statuses)
    assert answers[0] == answers[1] == [200] * PAIR.failures + [429]


def test_one_place_cannot_try_many_accounts() -> None:
    here, elsewhere = _place(), _place()
    begun = [
        Attempt(address=here, email=f"a{n}@example.org").begin()
        for n in range(ADDRESS.failures + 1)
    ]
    assert begun == [None] * ADDRESS.failures + [ADDRESS]
    assert Attempt(address=elsewhere, email="a0@example.org").begin() is None


def test_many_places_cannot_try_one_account() -> None:
    email = f"target{factories.number()}@example.org"
    begun = [Attempt(address=_place(), email=email).begin() for _ in range(ACCOUNT.failures + 1)]
    assert begun == [None] * ACCOUNT.failures + [ACCOUNT]


def test_one_network_of_ipv6_is_one_place() -> None:
    n = factories.number()
    begun = [
        Attempt(address=f"2001:db8:{n:x}::{host:x}", email="same@example.org").begin()
        for host in range(PAIR.failures + 1)
    ]
    assert begun == [None] * PAIR.failures + [PAIR]


@pytest.mark.parametrize(
    ("next_page", "leads_to"),
    [
        ("/facilities/1/", "/facilities/1/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_sign_in_leads_to_this_site_alone(user: User, next_page: str, leads_to: str) -> None:
    assert _sign_in(user.email, PASSWORD, _place(), next_page) == (302, leads_to)


def test_session_changes_its_key_at_sign_in(user: User) -> None:
    client = Client(REMOTE_ADDR=_place())
    session = client.session
    session["before"] = 1
    session.save()
    client.post(reverse("login"), {"login": user.email, "password": PASSWORD})
    assert client.session.session_key not in (None, session.session_key)


def test_error_pages_are_in_the_products_own_design(client: Client) -> None:
    forged = Client(enforce_csrf_checks=True).post(reverse("login"), {"login": "a"})
    foreign = client.get(reverse("login"), headers={"host": "evil.example"})
    missing = client.get("/no-such-page/")
    statuses = [response.status_code for response in (forged, foreign, missing)]
    assert statuses == [403, 400, 404]
    for response in (forged, foreign, missing):
        assert "css/tokens.css" in response.content.decode()
        assert "<style" not in response.content.decode()
