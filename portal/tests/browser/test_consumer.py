"""The consumer view in a real browser on real processes, a third party's application beside it: one
sign-in serves all, one sign-out ends all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from devices.domain import operations
from devices.models import Facility
from devices.tests import factories
from portal.tests.browser.conftest import PASSWORD, Copy, eventually, free_port
from portal.tests.browser.visiting import TALL, violations
from tenants.domain import application_operations
from tenants.models import Application, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(databases=["default", "owner"]),
]


@dataclass
class Street:
    """The product with a worker, somebody who lives in the recorded house, and Power watch, an
    application of a third party."""

    copy: Copy
    consumer: User
    power_watch: str

    @property
    def url(self) -> str:
        """The address that the installation knows itself by; cookies hang on its name."""
        return f"http://localhost:{self.copy.web_port}"


@pytest.fixture(scope="module")
def street(copy: Copy, django_db_blocker: Any) -> Iterator[Street]:
    url = f"http://localhost:{copy.web_port}"
    command = [sys.executable, "manage.py", "own_applications"]
    environment = {**os.environ, "WATTLINE_PORT": str(copy.web_port)}
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "own applications changed: 2\n"
    scope = Scope((copy.tenant.pk,))

    def facility() -> Facility | None:
        with open_scope(scope):
            return Facility.objects.first()

    port = free_port()
    watch = f"http://localhost:{port}"
    with django_db_blocker.unblock():
        eventually(lambda: facility() is not None, "the recorded house is registered")
        house = facility()
        assert house is not None
        with open_scope(scope):
            membership = factories.member(copy.tenant, Role.CONSUMER)
            operations.grant_facility(
                membership_id=membership.pk, facility_id=house.pk, actor_id=None
            )
            application = Application(
                tenant_id=copy.tenant.pk,
                name="Power watch",
                client_type=Application.CLIENT_CONFIDENTIAL,
                authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
                redirect_uris=f"{watch}/callback",
                post_logout_redirect_uris=f"{watch}/",
                backchannel_logout_uri=f"{watch}/backchannel-logout",
                allowed_scopes=["openid", "facilities:read", "readings:read"],
            )
            secret = application_operations.register_application(application, actor_id=None)
        consumer = membership.user
        consumer.set_password(PASSWORD)
        consumer.save(update_fields=["password"])
    silent = "ignore:You're running the worker with superuser privileges"
    copy.start(
        "worker",
        *("-W", silent, "-m", "celery", "--app", "portal", "--quiet"),
        *("worker", "--concurrency", "1", "--without-gossip"),
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "WATTLINE_URL": url,
            "CLIENT_ID": str(application.client_id),
            "CLIENT_SECRET": secret,
        }.items():
            patch.setenv(name, value)
        example = ("-m", "flask", "--app", "examples/third_party.py", "run", "--without-threads")
        copy.start("power-watch", *example, "--port", str(port))
    eventually(lambda: _answers(watch), "Power watch answers")
    yield Street(copy, consumer, watch)
    for name in ("power-watch", "worker"):
        copy.stop(name)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@dataclass
class Phone:
    """A browser of the size of a phone, and everything that went wrong in it."""

    context: BrowserContext
    street: Street
    troubles: list[str] = field(default_factory=list)

    def page(self) -> Page:
        """A new tab."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " event => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`))"
        )
        page.on(
            "console",
            lambda message: self.troubles.append(message.text) if message.type == "error" else None,
        )
        return page

    def sign_in(self, page: Page, user: User) -> None:
        """Fill in the sign-in page that the browser has been led to."""
        page.get_by_label("E-mail address").fill(user.email)
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()

    def open_home(self) -> Page:
        """From nothing to the live page of the home."""
        page = self.page()
        page.goto(f"{self.street.url}/home/")
        self.sign_in(page, self.street.consumer)
        expect_live(page)
        return page


def expect_live(page: Page) -> None:
    expect(page.locator('[data-show="state"]')).to_have_text("Live", timeout=20_000)
    expect(page.locator('[data-show="number"]')).to_have_text(
        re.compile(r"^[\d.]+$"), timeout=30_000
    )


@pytest.fixture
def phone(browser: Browser, street: Street) -> Iterator[Phone]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, locale="en-GB", reduced_motion="reduce"
    )
    yield Phone(context, street)
    context.close()


def test_one_sign_in_serves_portal_home_and_third_party_and_one_sign_out_ends_all(
    phone: Phone,
) -> None:
    street = phone.street
    home = phone.open_home()

    # The portal knows the person already.
    portal = phone.page()
    portal.goto(f"{street.url}/oauth/grants/")
    expect(portal).to_have_url(f"{street.url}/oauth/grants/")

    # So does the third party's application, once the person has agreed to what it may see.
    watch = phone.page()
    watch.goto(street.power_watch)
    watch.get_by_role("link", name="Sign in with Wattline").click()
    expect(watch.get_by_role("heading")).to_have_text("Allow Power watch?")
    watch.get_by_role("button", name="Allow").click()
    expect(watch.get_by_role("heading")).to_have_text(re.compile("Recording"))
    expect(watch.locator("#power")).to_have_text(re.compile(r"^\d+ W$"), timeout=10_000)

    portal.goto(f"{street.url}/oauth/grants/")
    portal.evaluate(
        """() => {
            const form = document.querySelector('form[action="/accounts/logout/"]');
            form.requestSubmit();
        }"""
    )
    expect(portal).to_have_url(re.compile("/accounts/login/"))

    # Told by the worker: both applications have ended their own sessions.
    expect(home.get_by_text("You have been signed out.").first).to_be_visible(timeout=20_000)
    home.goto(f"{street.url}/home/")
    expect(home).to_have_url(re.compile("/accounts/login/"))
    expect(watch.get_by_role("link", name="Sign in with Wattline")).to_be_visible(timeout=20_000)
    expect(portal).to_have_url(re.compile("/accounts/login/"))


_KEPT = """async () => {
    const found = await caches.match("/home/kept", { cacheName: "wattline-home-kept" });
    return found ? found.json() : null;
}"""


def kept(page: Page) -> Any:
    """What the browser keeps for times without a connection."""
    return page.evaluate(_KEPT)


def test_home_shows_power_flow_and_today_without_a_violation(phone: Phone) -> None:
    page = phone.open_home()
    expect(page.locator('[data-value="home"]')).to_have_text(re.compile(r"^[\d.]+\s(W|kW)$"))
    expect(page.locator('[data-run="grid"]')).to_have_attribute("data-direction", "in")
    expect(page.locator('[data-word="grid"]')).to_have_text("from the grid")
    expect(page.get_by_role("heading", name="Today")).to_be_visible()
    moved = page.locator('[data-show="number"]').text_content()
    eventually(
        lambda: page.locator('[data-show="number"]').text_content() != moved, "the number moves"
    )
    assert phone.troubles == []


def test_home_has_no_violation_of_accessibility(phone: Phone) -> None:
    page = phone.open_home()
    page.locator(".hm-account summary").click()
    assert violations(page) == []
    page.goto(f"{phone.street.url}/home/callback/")
    assert violations(page) == []


def test_without_a_connection_the_last_values_are_shown_with_their_time(phone: Phone) -> None:
    page = phone.open_home()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    eventually(
        lambda: bool(page.evaluate("navigator.serviceWorker.controller !== null")),
        "the service worker controls the page",
    )
    eventually(lambda: (kept(page) or {}).get("home") is not None, "values are kept")
    copy = phone.street.copy
    copy.stop("web")
    expect(page.locator('[data-show="state"]')).to_have_text("No connection. Trying again.")
    expect(page.locator(".hm-now")).to_have_attribute("data-stale", "true")
    page.goto(f"{phone.street.url}/home/")
    expect(page).to_have_title("No connection · Wattline")
    values = kept(page)
    expect(page.locator('[data-show="number"]')).to_have_text(re.compile(r"^[\d.]+$"))
    expect(page.locator('[data-show="age"]')).to_have_text(re.compile("^Last known, "))
    expect(page.locator('[data-show="place"]')).to_have_text(values["place"])
    copy.start_web()
    page.get_by_role("button", name="Try now").click()
    expect_live(page)


def _shells(page: Page) -> list[str]:
    names: list[str] = page.evaluate("caches.keys()")
    return [name for name in names if name.startswith("wattline-home-shell-")]


def _speak(phone: Phone, language: str) -> None:
    """Choose the language of what is about nobody: the shell of the application is another one
    then, as after a new release.
    """
    (token,) = [c["value"] for c in phone.context.cookies() if "csrf" in c["name"]]
    form: dict[str, str | float | bool] = {"language": language, "csrfmiddlewaretoken": token}
    address = f"{phone.street.url}/language/"
    assert phone.context.request.post(address, form=form, max_redirects=0).status == 302


def test_new_version_waits_until_it_is_taken_and_replaces_the_former(phone: Phone) -> None:
    page = phone.open_home()
    controlled = "navigator.serviceWorker.controller !== null"
    eventually(lambda: bool(page.evaluate(controlled)), "the service worker controls the page")
    (former,) = _shells(page)
    offer = page.locator("[data-update]")
    expect(offer).to_be_hidden()
    _speak(phone, "de")
    page.evaluate("navigator.serviceWorker.ready.then((one) => one.update()).then(() => true)")
    expect(offer).to_be_visible(timeout=20_000)
    # The page that is open goes on with what it was made for.
    assert former in _shells(page)
    with page.expect_navigation():
        offer.get_by_role("button").click()
    expect_live(page)
    eventually(lambda: former not in _shells(page), "the former shell is gone")
    assert len(_shells(page)) == 1
    expect(offer).to_be_hidden()
    copy = phone.street.copy
    copy.stop("web")
    page.goto(f"{phone.street.url}/home/")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page).to_have_title("Keine Verbindung · Wattline")
    copy.start_web()
    _speak(phone, "en")


def test_signing_out_removes_what_the_phone_kept(phone: Phone) -> None:
    page = phone.open_home()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    eventually(lambda: kept(page) is not None, "values are kept")
    page.locator(".hm-account summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    assert kept(page) is None
    names = page.evaluate("caches.keys()")
    assert [name for name in names if not name.startswith("wattline-home-shell-")] == []
    page.goto(f"{phone.street.url}/home/offline/")
    expect(page.get_by_text("Nothing is known yet")).to_be_visible()
    page.goto(f"{phone.street.url}/home/")
    expect(page).to_have_url(re.compile("/accounts/login/"))


def test_what_somebody_else_left_behind_is_not_shown(phone: Phone) -> None:
    """The session ended while this phone was off: the values go before the next person looks."""
    page = phone.open_home()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    eventually(
        lambda: bool(page.evaluate("navigator.serviceWorker.controller !== null")), "control"
    )
    eventually(lambda: kept(page) is not None, "values are kept")
    other = phone.page()
    page.close()
    phone.context.clear_cookies()
    other.goto(f"{phone.street.url}/home/")
    expect(other).to_have_url(re.compile("/accounts/login/"))
    assert kept(other) is None


def test_reference_of_the_api_gets_a_token_and_uses_it(phone: Phone) -> None:
    """By its button Authorize: a public client with PKCE, in a window of its own."""
    street = phone.street
    page = phone.page()
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto(f"{street.url}/oauth/grants/")
    phone.sign_in(page, street.copy.manager)
    expect(page).to_have_url(f"{street.url}/oauth/grants/")
    page.goto(f"{street.url}/api/v1/docs/")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    expect(dialog.get_by_text("session")).to_have_count(0)
    flow = dialog.locator(".auth-container").first
    expect(flow.locator("#client_id_authorizationCode")).to_have_value(
        re.compile(r"^wattline-reference-\d+$")
    )
    with phone.context.expect_page() as opened:
        flow.get_by_role("button", name="Apply given OAuth2 credentials").click()
    window = opened.value
    expect(window.get_by_role("heading")).to_have_text("Allow API reference?")
    window.get_by_role("button", name="Allow").click()
    expect(flow.get_by_role("button", name="Remove authorization")).to_be_visible()
    dialog.get_by_role("button", name="Close", exact=True).first.click()
    page.set_viewport_size(TALL)
    operation = page.locator("#operations-Facilities-facilities")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".curl-command")).to_contain_text("Authorization: Bearer")
    expect(
        operation.locator(".live-responses-table tbody .response-col_status").first
    ).to_have_text(re.compile("200"))
    assert phone.troubles == []
