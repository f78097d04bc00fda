"""The consumer view: signing in as a client of the provider, its session, its pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.domain import operations
from devices.tests import factories
from devices.tests.factories import Park
from portal.consumer import provider, sessions, transport, vault
from portal.oauth import own
from portal.oauth.backchannel import logout_token
from portal.oauth.bearer import InvalidToken, authenticate
from portal.tests import home
from tenants.domain.oauth_operations import access_changed
from tenants.domain.operations import end_membership
from tenants.models import AccessToken, Application, HomeSession, Membership, RefreshToken
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

LATER = timedelta(seconds=settings.ACCESS_TOKEN_S)


@pytest.fixture
def park() -> Park:
    cache.clear()
    return factories.park()


@pytest.fixture
def consumer(park: Park) -> Client:
    """A consumer's browser, signed in to the view."""
    return home.signed_in(park.consumer(0))


def secret_of(browser: Client) -> str:
    return browser.cookies[settings.HOME_COOKIE_NAME].value


def stored(park: Park) -> HomeSession:
    with open_scope(park.scope):
        return HomeSession.objects.exclude(sealed=b"").get()


def count(park: Park) -> int:
    with open_scope(park.scope):
        return HomeSession.objects.exclude(sealed=b"").count()


# --- signing in ---------------------------------------------------------------------------


def test_consumer_signs_in_without_a_question_and_sees_the_own_home(
    park: Park, consumer: Client
) -> None:
    page = consumer.get("/home/")
    assert page.status_code == 200
    text = page.content.decode()
    assert park.branches[0].facility.name in text
    assert park.branches[1].facility.name not in text


@pytest.mark.parametrize("role", list(Role))
def test_portal_leads_consumers_alone_to_their_home(park: Park, role: Role) -> None:
    with open_scope(park.scope):
        person = factories.member(park.tenant, role).user
    answer = home.browser(person).get("/")
    expected = (302, "/home/") if role is Role.CONSUMER else (200, None)
    assert (answer.status_code, answer.headers.get("Location")) == expected


def test_request_to_the_provider_carries_every_guard(park: Park) -> None:
    own.keep_all()
    browser = home.browser(park.consumer(0))
    response = home.follow(browser, browser.get("/home/"), "/oauth/authorize")
    query = parse_qs(urlsplit(response["Location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert len(query["state"][0]) >= 32
    assert len(query["nonce"][0]) >= 32
    assert query["redirect_uri"] == [f"{settings.PUBLIC_URL}/home/callback/"]
    (attempt,) = [name for name in response.cookies if "attempt" in name]
    cookie = response.cookies[attempt]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/home/")


def test_somebody_unknown_is_led_through_the_sign_in_page_and_back(park: Park) -> None:
    own.keep_all()
    browser = home.browser()
    response = home.follow(browser, browser.get("/home/"), "/accounts/login/")
    back = parse_qs(urlsplit(response["Location"]).query)["next"][0]
    assert back.startswith(("/oauth/authorize?", "/home/sign-in/"))


def test_another_name_of_the_machine_leads_to_the_registered_one(park: Park) -> None:
    own.keep_all()
    browser = Client()
    response = browser.get("/home/sign-in/?next=/home/")
    assert response["Location"] == f"{settings.PUBLIC_URL}/home/sign-in/?next=/home/"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"state": "forged"}, 400),
        ({"iss": "https://evil.example"}, 400),
        ({"iss": ""}, 400),
        ({"code": "forged"}, 400),
        ({"code": ""}, 400),
    ],
)
def test_answer_that_is_not_the_providers_signs_nobody_in(
    park: Park, changes: dict[str, str], status: int
) -> None:
    """Another state is another browser's sign-in, another issuer another provider's (RFC 9207)."""
    own.keep_all()
    browser = home.browser(park.consumer(0))
    response = home.follow(browser, browser.get("/home/"), "/home/callback/")
    query = {
        name: values[0] for name, values in parse_qs(urlsplit(response["Location"]).query).items()
    }
    answer = browser.get("/home/callback/", query | changes)
    assert answer.status_code == status
    assert settings.HOME_COOKIE_NAME not in answer.cookies
    assert count(park) == 0


def test_answer_is_worth_nothing_in_another_browser_or_a_second_time(park: Park) -> None:
    own.keep_all()
    browser = home.browser(park.consumer(0))
    response = home.follow(browser, browser.get("/home/"), "/home/callback/")
    address = response["Location"].removeprefix(settings.PUBLIC_URL)
    assert home.browser(park.consumer(1)).get(address).status_code == 400
    assert browser.get(address).status_code == 302
    assert browser.get(address).status_code == 400


def test_code_of_another_sign_in_is_refused_by_its_verifier(park: Park) -> None:
    own.keep_all()
    first, second = (home.browser(park.consumer(n)) for n in (0, 1))
    answers = [
        parse_qs(urlsplit(home.follow(b, b.get("/home/"), "/home/callback/")["Location"]).query)
        for b in (first, second)
    ]
    mixed = {name: values[0] for name, values in answers[1].items()}
    mixed["code"] = answers[0]["code"][0]
    assert second.get("/home/callback/", mixed).status_code == 400
    assert count(park) == 0


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/facilities/", "/home//evil.example/.."]
)
def test_sign_in_leads_nowhere_else(park: Park, target: str) -> None:
    own.keep_all()
    browser = home.browser(park.consumer(0))
    start = browser.get("/home/sign-in/", {"next": target})
    response = home.follow(browser, start, "/home/callback/")
    answer = browser.get(response["Location"].removeprefix(settings.PUBLIC_URL))
    assert urlsplit(answer["Location"]).netloc == ""
    assert answer["Location"].startswith("/home/")


def test_refusal_of_the_provider_is_told(park: Park) -> None:
    own.keep_all()
    browser = home.browser(factories.user())
    answer = browser.get("/home/", follow=True)
    assert answer.status_code == 403
    assert "not a member of any organisation" in answer.content.decode()


def test_sign_ins_in_several_tabs_do_not_undo_each_other(park: Park) -> None:
    own.keep_all()
    browser = home.browser(park.consumer(0))
    addresses = [
        home.follow(browser, browser.get("/home/"), "/home/callback/")["Location"] for _ in range(2)
    ]
    for address in addresses:
        assert browser.get(address.removeprefix(settings.PUBLIC_URL)).status_code == 302
    assert count(park) == 1  # the second took the place of the first


# --- the session --------------------------------------------------------------------------


def test_session_holds_no_readable_token(park: Park, consumer: Client) -> None:
    row = stored(park)
    contents = sessions.visit(secret_of(consumer)).contents
    with connection.cursor() as cursor, open_scope(park.scope):
        cursor.execute("SELECT s::text, encode(sealed, 'escape') FROM tenants_homesession s")
        everything = str(cursor.fetchall())
    for value in (secret_of(consumer), contents.access, contents.refresh, contents.id_token):
        assert value not in everything
    with pytest.raises(vault.Unreadable):
        vault.unseal(vault.new_secret(), bytes(row.sealed))


def test_cookie_is_for_this_application_alone(park: Park, consumer: Client) -> None:
    cookie = consumer.cookies[settings.HOME_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    alone = home.browser()
    alone.cookies[settings.HOME_COOKIE_NAME] = secret_of(consumer)
    assert alone.get("/home/").status_code == 200
    assert alone.get("/").status_code == 302
    assert alone.get("/api/v1/me/").status_code == 401


def test_session_of_the_portal_alone_opens_nothing(park: Park) -> None:
    browser = home.browser(park.consumer(0))
    assert browser.get("/home/").status_code == 302
    facility = park.branches[0].facility.pk
    part = browser.get(f"/home/facilities/{facility}/today/", headers={"X-Wattline-Part": "1"})
    assert part.status_code == 401


def test_token_is_renewed_and_the_session_goes_on(park: Park, consumer: Client) -> None:
    before = sessions.visit(secret_of(consumer)).contents
    with time_machine.travel(datetime.now(UTC) + LATER, tick=True):
        assert consumer.get("/home/").status_code == 200
        after = sessions.visit(secret_of(consumer)).contents
        assert after.access != before.access
        assert after.refresh != before.refresh
        # Until the next time it is due, nothing is renewed.
        assert sessions.visit(secret_of(consumer)).contents == after


def test_two_tabs_that_renew_at_once_get_the_same_tokens(park: Park, consumer: Client) -> None:
    secret = secret_of(consumer)

    def look(_: int) -> str:
        try:
            return sessions.visit(secret).contents.refresh
        finally:
            connections.close_all()

    with (
        time_machine.travel(datetime.now(UTC) + LATER, tick=True),
        ThreadPoolExecutor(6) as pool,
    ):
        found = list(pool.map(look, range(6)))
        assert len(set(found)) == 1
        assert consumer.get("/home/").status_code == 200
    with open_scope(Scope((park.tenant.pk, root_of(park)))):
        chain = RefreshToken.objects.filter(application__client_id__startswith=own.HOME.prefix)
        assert chain.filter(revoked__isnull=True).count() == 1


def test_renewal_and_its_result_are_one_transaction(
    park: Park, consumer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails after the exchange leaves the former refresh token good: nothing is lost."""
    secret = secret_of(consumer)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the process ends here")

    with time_machine.travel(datetime.now(UTC) + LATER, tick=True):
        with monkeypatch.context() as patch:
            patch.setattr(HomeSession, "save", fail)
            with pytest.raises(RuntimeError):
                sessions.visit(secret)
        assert consumer.get("/home/").status_code == 200


def test_stolen_refresh_token_ends_the_session(park: Park, consumer: Client) -> None:
    visit = sessions.visit(secret_of(consumer))
    # Somebody else used it: the provider ends the family when the view comes with it, too.
    provider.refresh(client_id=visit.session.client_id, refresh_token=visit.contents.refresh)
    with time_machine.travel(datetime.now(UTC) + LATER, tick=True):
        answer = consumer.get("/home/")
        assert (answer.status_code, urlsplit(answer["Location"]).path) == (302, "/home/sign-in/")
        assert count(park) == 0
    with open_scope(park.scope):
        tokens = AccessToken.objects.filter(application__client_id=visit.session.client_id)
        assert tokens.count() == 0


def test_end_of_the_membership_is_effective_at_once(park: Park, consumer: Client) -> None:
    with open_scope(park.scope):
        membership = Membership.objects.get(user=park.consumer(0))
        end_membership(membership_id=membership.pk, actor_id=None)
        access_changed(user_id=membership.user_id)
    page = consumer.get("/home/", follow=True)
    assert page.status_code == 403
    assert park.branches[0].facility.name not in page.content.decode()


def test_member_without_any_facility_is_told_so(park: Park) -> None:
    with open_scope(park.scope):
        nobody = factories.member(park.tenant, Role.CONSUMER).user
    page = home.signed_in(nobody).get("/home/")
    assert "No home yet" in page.content.decode()


def test_closed_account_is_out_at_once(park: Park, consumer: Client) -> None:
    user = park.consumer(0)
    user.is_active = False
    user.save(update_fields=["is_active"])
    cache.clear()
    assert consumer.get("/home/").status_code == 302


# --- facilities ---------------------------------------------------------------------------


def test_facility_of_somebody_else_does_not_exist(park: Park, consumer: Client) -> None:
    other = factories.park()
    for pk in (park.branches[1].facility.pk, other.branches[0].facility.pk, 2**40):
        assert consumer.get(f"/home/facilities/{pk}/").status_code == 404
        assert consumer.get(f"/home/facilities/{pk}/today/").status_code == 404


def test_facility_that_was_looked_at_last_comes_first(park: Park, consumer: Client) -> None:
    with open_scope(park.scope):
        membership = Membership.objects.get(user=park.consumer(0))
        operations.grant_facility(
            membership_id=membership.pk,
            facility_id=park.branches[1].facility.pk,
            actor_id=None,
        )
    cache.clear()
    first, second = (branch.facility for branch in park.branches)
    assert f'<h1 class="hm-hidden">{first.name}</h1>' in consumer.get("/home/").content.decode()
    chosen = consumer.get(f"/home/facilities/{second.pk}/").content.decode()
    assert f'<h1 class="hm-hidden">{second.name}</h1>' in chosen
    again = consumer.get("/home/").content.decode()
    assert f'<h1 class="hm-hidden">{second.name}</h1>' in again


def queries_of(browser: Client) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert browser.get("/home/").status_code == 200
    return len(captured)


def test_page_takes_a_fixed_number_of_queries(park: Park, consumer: Client) -> None:
    consumer.get("/home/")
    before = queries_of(consumer)
    facility = park.branches[0].facility
    with open_scope(park.scope):
        membership = Membership.objects.get(user=park.consumer(0))
        for _ in range(2):
            factories.device(facility)
        for _ in range(2):
            fresh = factories.facility(park.tenant)
            operations.grant_facility(
                membership_id=membership.pk, facility_id=fresh.pk, actor_id=None
            )
    cache.clear()
    consumer.get("/home/")
    assert queries_of(consumer) == before


def test_page_shows_everything_its_script_needs(park: Park, consumer: Client) -> None:
    text = consumer.get("/home/").content.decode()
    found = re.search(r'<script id="page" type="application/json">(.*?)</script>', text)
    assert found is not None
    page = json.loads(found[1])
    branch = park.branches[0]
    assert page["facility"] == {"id": branch.facility.pk, "name": branch.facility.name}
    assert page["parts"] == {"grid": [[branch.device.pk, 0]]}
    assert [device["id"] for device in page["devices"]] == [branch.device.pk]
    assert page["addresses"]["socket"] == "/home/ws/live/"
    assert "token" not in text.lower().replace("csrfmiddlewaretoken", "")


# --- signing out --------------------------------------------------------------------------


def test_signing_out_ends_the_session_everywhere_and_comes_back(
    park: Park, consumer: Client
) -> None:
    access = sessions.visit(secret_of(consumer)).contents.access
    answer = consumer.post("/home/sign-out/")
    assert answer["Location"].startswith(f"{settings.PUBLIC_URL}/oauth/logout?")
    assert answer.cookies[settings.HOME_COOKIE_NAME].value == ""
    end = consumer.get(answer["Location"].removeprefix(settings.PUBLIC_URL))
    assert end["Location"].startswith(f"{settings.PUBLIC_URL}/home/signed-out/")
    assert "_auth_user_id" not in consumer.session
    assert count(park) == 0
    with pytest.raises(InvalidToken):
        authenticate(access)
    assert consumer.get("/home/signed-out/").status_code == 200


def test_signing_out_is_protected_against_forgery(consumer: Client) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    strict.cookies = consumer.cookies
    assert strict.post("/home/sign-out/").status_code == 403


def notice(park: Park, **changes: Any) -> str:
    """A logout token about the session that there is."""
    row = stored(park)
    values: dict[str, Any] = {
        "client_id": f"{own.HOME.prefix}{root_of(park)}",
        "user_id": row.user_id,
        "sid": str(row.sid),
        "now": datetime.now(UTC),
    }
    return logout_token(**(values | changes))


def root_of(park: Park) -> int:
    assert park.tenant.parent_id is not None
    return park.tenant.parent_id


def test_provider_ends_the_session_by_a_notice(park: Park, consumer: Client) -> None:
    token = notice(park)
    answer = Client().post("/home/backchannel-logout/", {"logout_token": token})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert count(park) == 0
    assert consumer.get("/home/").status_code == 302


def test_notice_about_another_session_ends_nothing(park: Park, consumer: Client) -> None:
    token = notice(park, sid="00000000-0000-4000-8000-000000000000")
    assert Client().post("/home/backchannel-logout/", {"logout_token": token}).status_code == 200
    assert count(park) == 1


def test_notice_is_taken_once_and_only_from_the_provider(park: Park, consumer: Client) -> None:
    good = notice(park)
    head, body, signature = good.split(".")
    visit = sessions.visit(secret_of(consumer))
    old = datetime.now(UTC) - timedelta(minutes=10)
    for bad in (
        "",
        "nonsense",
        f"{head}.{body}.{signature[:-6]}AAAAAA",
        visit.contents.id_token,
        notice(park, client_id="another-application"),
        notice(park, now=old),
    ):
        answer = Client().post("/home/backchannel-logout/", {"logout_token": bad})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), bad
        assert count(park) == 1
    assert Client().post("/home/backchannel-logout/", {"logout_token": good}).status_code == 200
    again = Client().post("/home/backchannel-logout/", {"logout_token": good})
    assert again.status_code == 400


# --- the applications of the installation --------------------------------------------------


def test_own_applications_are_made_once_and_follow_their_address(
    park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own.keep_all() == 2
    assert own.keep_all() == 0
    monkeypatch.setattr(settings, "PUBLIC_URL", "https://wattline.example.org")
    assert own.keep_all() == 2
    with open_scope(Scope((root_of(park),))):
        uris = Application.objects.get(client_id=f"{own.HOME.prefix}{root_of(park)}").redirect_uris
    assert uris == "https://wattline.example.org/home/callback/"


def test_own_applications_refuse_an_address_that_is_not_safe(
    park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PUBLIC_URL", "http://wattline.example.org")
    with pytest.raises(CommandError, match=r"WATTLINE_URL is http://wattline\.example\.org"):
        call_command("own_applications")


def test_person_gets_the_application_of_the_own_root(park: Park) -> None:
    other = factories.park()
    own.keep_all()
    assert own.client_for(own.HOME, user_id=None) is None  # two roots: nobody knows which
    for one in (park, other):
        wanted = f"{own.HOME.prefix}{root_of(one)}"
        assert own.client_for(own.HOME, user_id=one.consumer(0).pk) == wanted
        assert home.signed_in(one.consumer(0)).get("/home/").status_code == 200
    unknown = home.browser()
    response = unknown.get("/home/sign-in/?next=/home/")
    assert urlsplit(response["Location"]).path == "/accounts/login/"


def test_transport_reaches_no_page() -> None:
    session = provider._client("x")
    for path in ("/accounts/login/", "/api/v1/me/", "/oauth/grants/", "/home/"):
        with pytest.raises(transport.OutOfReach):
            session.get(f"{settings.PUBLIC_URL}{path}", withhold_token=True)


# --- the application on the phone ----------------------------------------------------------


def test_manifest_makes_it_installable() -> None:
    answer = Client().get("/home/manifest.webmanifest")
    assert answer["Content-Type"] == "application/manifest+json"
    found = answer.json()
    assert (found["start_url"], found["scope"], found["display"]) == (
        "/home/",
        "/home/",
        "standalone",
    )
    assert [(icon["sizes"], icon["purpose"]) for icon in found["icons"]] == [
        ("192x192", "any"),
        ("512x512", "any"),
        ("512x512", "maskable"),
    ]


def test_service_worker_keeps_files_alone_and_no_page_of_somebody(consumer: Client) -> None:
    source = consumer.get("/home/service-worker.js").content.decode()
    found = re.match(r"const SETUP = (\{.*\});\n", source)
    assert found is not None
    setup = json.loads(found[1])
    assert setup["offline"] == "/home/offline/"
    assert all(name.startswith(settings.STATIC_URL) for name in setup["shell"])
    page = consumer.get("/home/offline/").content.decode()
    assert "csrf" not in page
    assert Client().get("/home/offline/").content.decode() == page


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()
