"""Sessions: how they begin, which ones a person sees, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.core import mail as outbox
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from devices.tests import factories as park_factories
from portal.account import devices, session
from portal.account.middleware import AccountMiddleware
from portal.tests.live_client import own_hub, page
from tenants.models import User
from tenants.tests import factories

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.fixture(autouse=True)
def _tasks_run_at_once(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True


def _signed_in(
    user: User, client: Client | None = None, user_agent: str = FIREFOX, method: str = "password"
) -> Client:
    """A browser in which `sign_in` has been called; cookies go both ways."""
    client = client or Client()
    request = RequestFactory().get("/", headers={"user-agent": user_agent})
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    stored: Any = client.session
    request.session = stored
    request.user = AnonymousUser()
    session.sign_in(request, user, method=method)
    response = AccountMiddleware(lambda _request: HttpResponse())(request)
    request.session.save()
    client.cookies.update(response.cookies)
    client.cookies["wattline_session"] = str(request.session.session_key)
    return client


@pytest.fixture
def user(db: None) -> User:
    return factories.user("correct horse battery staple")


def test_sign_in_changes_the_key_and_lists_the_session(user: User) -> None:
    client = Client()
    before: SessionBase = client.session
    before["kept"] = 1
    before.save()
    _signed_in(user, client)
    assert client.session.session_key != before.session_key
    assert not before.exists(str(before.session_key))
    (listed,) = UserSession.objects.filter(user=user)
    assert listed.session_key == client.session.session_key
    assert client.get(reverse("account-sessions")).status_code == 200


def test_person_sees_own_sessions_alone_with_the_current_first(user: User) -> None:
    here, phone = _signed_in(user), _signed_in(user, user_agent=IPHONE)
    _signed_in(factories.user())
    facts = session.sessions_of(user_id=user.pk, current_key=here.session.session_key)
    assert [(str(one.device), one.is_current) for one in facts] == [
        ("Firefox on Linux", True),
        ("Safari on iPhone", False),
    ]
    assert [one.device.is_phone for one in facts] == [False, True]
    phone.session.flush()
    assert len(session.sessions_of(user_id=user.pk, current_key=None)) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_list_of_sessions_takes_a_fixed_number_of_queries(
    user: User, count: int, django_assert_num_queries: Callable[[int], Any]
) -> None:
    for _ in range(count):
        _signed_in(user)
    with django_assert_num_queries(2):
        assert len(session.sessions_of(user_id=user.pk, current_key=None)) == count


def test_ended_session_opens_nothing_any_more(user: User) -> None:
    here, there = _signed_in(user), _signed_in(user)
    other = UserSession.objects.get(session_key=there.session.session_key)
    assert here.post(reverse("account-session-end", args=[other.pk])).status_code == 302
    assert there.get(reverse("account-sessions")).status_code == 302
    assert here.get(reverse("account-sessions")).status_code == 200


def test_all_other_sessions_end_at_once(user: User) -> None:
    clients = [_signed_in(user) for _ in range(3)]
    clients[0].post(reverse("account-sessions-end"))
    statuses = [client.get(reverse("account-sessions")).status_code for client in clients]
    assert statuses == [200, 302, 302]


def test_nobody_ends_somebody_elses_session(user: User) -> None:
    mine, theirs = _signed_in(user), _signed_in(factories.user())
    other = UserSession.objects.get(session_key=theirs.session.session_key)
    assert mine.post(reverse("account-session-end", args=[other.pk])).status_code == 404
    assert theirs.get(reverse("account-sessions")).status_code == 200


def test_first_sign_in_is_no_news_and_a_new_browser_is(
    user: User, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        here = _signed_in(user)
        user.refresh_from_db()
        _signed_in(user, here)
    assert outbox.outbox == []
    with django_capture_on_commit_callbacks(execute=True):
        user.refresh_from_db()
        _signed_in(user, user_agent=IPHONE)
    (message,) = outbox.outbox
    assert message.to == [user.email]
    assert message.subject == "New sign-in: Safari on iPhone"


def test_cookie_of_another_person_or_a_made_up_one_makes_no_browser_known(user: User) -> None:
    client = _signed_in(user)
    request = RequestFactory().get("/")
    request.COOKIES = {devices.COOKIE: client.cookies[devices.COOKIE].value}
    assert devices.is_known(request, user.pk)
    assert not devices.is_known(request, user.pk + 1)
    request.COOKIES = {devices.COOKIE: "made-up"}
    assert not devices.is_known(request, user.pk)


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
async def test_ended_session_closes_its_sockets() -> None:
    def make() -> tuple[int, User, str]:
        park = park_factories.park()
        client = _signed_in(park.manager)
        key = client.session.session_key
        assert key is not None
        return park.branches[0].facility.pk, park.manager, key

    facility_id, manager, key = await sync_to_async(make, thread_sensitive=False)()
    async with own_hub(), page(manager, session_key=key) as socket:
        await socket.send({"watch": {"facility": facility_id}})
        assert "description" in await socket.receive()

        def end() -> None:
            session.end_sessions([UserSession.objects.get(session_key=key)])

        await sync_to_async(end, thread_sensitive=False)()
        received = [await socket.receive()]
        while not isinstance(received[-1], str):
            received.append(await socket.receive())
        assert received[-1] == "closed 4401"
