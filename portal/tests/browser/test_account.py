"""Signing in and the account pages in a real Chromium, with its virtual authenticator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal.tests import name_server, openid_provider
from portal.tests.browser.conftest import PASSWORD, Copy, free_port
from portal.tests.browser.visiting import violations
from portal.tests.name_server import NameServer
from tenants.models import User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser, pytest.mark.django_db(databases=["default", "owner"])]


@dataclass
class Site(Copy):
    """The running web process, and who answers it for names."""

    names: NameServer = field(default_factory=NameServer)


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """The web process alone, with a name server."""
    with (
        django_db_blocker.unblock(),
        name_server.running() as names,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("WATTLINE_DNS_RESOLVER", names.address)
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            manager = factories.member(tenant, Role.MANAGER).user
        running = Site(tmp_path_factory.mktemp("web"), tenant, manager, free_port(), free_port())
        running.names = names
        try:
            running.start_web()
            yield running
        finally:
            running.stop("web")
            factories.remove_everything()


@pytest.fixture(scope="module")
def people(web: Copy, django_db_blocker: DjangoDbBlocker) -> list[User]:
    """Administrators, each for one test; committed, because the web process must see them."""
    with django_db_blocker.unblock(), open_scope(Scope((web.tenant.pk,))):
        made = [factories.member(web.tenant, Role.ADMIN).user for _ in range(10)]
        for user in made:
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])
    return made


@dataclass
class Visit:
    """A browser of somebody new, and everything that went wrong in it."""

    context: BrowserContext
    page: Page
    # Passkeys are for names, not for addresses: browsers refuse 127.0.0.1.
    url: str
    user: User
    troubles: list[str] = field(default_factory=list)

    def sign_in(self, path: str = "/") -> None:
        """By password."""
        page = self.page
        page.goto(f"{self.url}{path}")
        page.get_by_label("E-mail address").fill(self.user.email)
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()

    def sign_out(self) -> None:
        """By the menu."""
        self.page.goto(f"{self.url}/account/")
        self.page.locator(".wl-menu summary").click()
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def prove(self) -> None:
        """The password once more."""
        expect(self.page.get_by_role("heading", name="Is it you?")).to_be_visible()
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Continue").click()

    def authenticator(self) -> Any:
        """A device with a fingerprint reader that keeps passkeys; the session that controls it."""
        session = self.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return session, made["authenticatorId"]


@pytest.fixture
def visit(browser: Browser, web: Copy, people: list[User]) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    url = f"http://localhost:{web.web_port}"
    made = Visit(context, context.new_page(), url, people.pop())

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            made.troubles.append(message.text)

    made.page.on("console", console)
    made.page.on("pageerror", lambda error: made.troubles.append(str(error)))
    yield made
    context.close()


def touch(session: Any, authenticator: str, *, enabled: bool) -> None:
    """Whether somebody touches the authenticator when it is asked."""
    session.send(
        "WebAuthn.setAutomaticPresenceSimulation",
        {"authenticatorId": authenticator, "enabled": enabled},
    )


def test_a_passkey_is_made_signs_in_alone_is_renamed_and_removed(visit: Visit) -> None:
    page = visit.page
    session, authenticator = visit.authenticator()
    visit.sign_in("/account/security/passkeys/new")
    visit.prove()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    expect(page.locator(".wl-codes li")).to_have_count(10)
    (credential,) = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})[
        "credentials"
    ]
    assert credential["isResidentCredential"] is True

    # A browser that offers none in the field of the address: there is the button.
    page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    visit.sign_out()
    page.goto(f"{visit.url}/accounts/login/?next=/account/security/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("Laptop")).to_be_visible()

    page.get_by_role("link", name="Rename Laptop").click()
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Name").fill("Work laptop")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Remove Work laptop").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Work laptop")).to_have_count(0)
    assert Authenticator.objects.filter(user=visit.user).count() == 0  # nor recovery codes
    assert visit.troubles == []


def test_a_passkey_is_offered_in_the_field_of_the_address(visit: Visit) -> None:
    page = visit.page
    session, authenticator = visit.authenticator()
    visit.sign_in("/account/security/passkeys/new")
    visit.prove()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    touch(session, authenticator, enabled=False)
    visit.sign_out()
    page.goto(f"{visit.url}/accounts/login/?next=/account/sessions/")
    touch(session, authenticator, enabled=True)
    expect(page.get_by_text("This one")).to_be_visible()
    assert visit.troubles == []


def test_a_passkey_is_the_second_step_after_the_password(visit: Visit) -> None:
    page = visit.page
    session, authenticator = visit.authenticator()
    visit.sign_in("/account/security/passkeys/new")
    visit.prove()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    touch(session, authenticator, enabled=False)
    visit.sign_out()
    visit.sign_in("/account/sessions/")
    touch(session, authenticator, enabled=True)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("This one")).to_be_visible()
    assert visit.troubles == []


def test_a_cancelled_passkey_is_explained(visit: Visit) -> None:
    page = visit.page
    session, authenticator = visit.authenticator()
    session.send(
        "WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False}
    )
    visit.sign_in("/account/security/passkeys/new")
    visit.prove()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_text("No passkey was made. Try again.")).to_be_visible()
    assert Authenticator.objects.filter(user=visit.user).count() == 0


def _code(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def test_an_authenticator_app_asks_for_a_code_and_recovery_codes_replace_it(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("/account/security/app/")
    visit.prove()
    page.get_by_text("It cannot be scanned?").click()
    secret = page.locator(".wl-key").inner_text()
    page.get_by_label("Code").fill(_code(secret))
    page.get_by_role("button", name="Turn on").click()
    codes = page.locator(".wl-codes code").all_inner_texts()
    assert len(codes) == 10
    visit.sign_out()
    visit.sign_in()
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Second step")).to_have_count(0)
    page.goto(f"{visit.url}/account/security/")
    expect(page.get_by_text("9 codes are left")).to_be_visible()
    assert visit.troubles == []


def test_two_browsers_see_each_other_and_one_ends_the_other(visit: Visit, browser: Browser) -> None:
    page = visit.page
    visit.sign_in("/account/sessions/")
    expect(page.get_by_text("Chrome on Linux")).to_be_visible()
    with browser.new_context(user_agent="Mozilla/5.0 (iPhone) Version/18.0 Safari/604.1") as phone:
        other = Visit(phone, phone.new_page(), visit.url, visit.user)
        other.sign_in("/account/sessions/")
        expect(other.page.locator(".wl-rows > li")).to_have_count(2)
        page.reload()
        page.get_by_role("button", name="End the session of Safari on iPhone").click()
        expect(page.get_by_text("The session has ended.")).to_be_visible()
        other.page.reload()
        expect(other.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert visit.troubles == []


def test_company_login_is_set_up_and_signs_in(visit: Visit, web: Site) -> None:
    page = visit.page
    with openid_provider.running() as provider:
        visit.sign_in("/tenants/sign-in/company/")
        visit.prove()
        page.get_by_label("Name").fill("Example SSO")
        page.get_by_label("Address of the provider (issuer)").fill(provider.issuer)
        page.get_by_label("Client ID").fill(openid_provider.CLIENT_ID)
        page.get_by_label("Client secret").fill(openid_provider.CLIENT_SECRET)
        page.locator("#id_rules-0-group").fill("energy")
        page.locator("#id_rules-0-role").select_option("manager")
        assert violations(page) == []
        page.get_by_role("button", name="Save").click()
        page.get_by_label("Domain", exact=True).fill("example.org")
        page.get_by_role("button", name="Add the domain").click()
        expect(page.get_by_text("Not proven yet")).to_be_visible()
        assert violations(page) == []
        record = page.locator('[id^="record-"]').inner_text()
        callback = page.locator("#callback").inner_text()
        provider.redirect_uris.add(callback)
        web.names.records = {"_wattline-challenge.example.org": [record]}
        page.get_by_role("button", name="Check example.org").click()
        expect(page.get_by_text("Proven", exact=True)).to_be_visible()
        visit.sign_out()
        provider.person = {
            "sub": "1",
            "email": "ada@example.org",
            "name": "Ada Byron",
            "groups": ["energy"],
        }
        page.goto(f"{visit.url}/accounts/login/?next=/account/")
        page.get_by_label("E-mail address").fill("ada@example.org")
        page.get_by_role("button", name="Continue").click()
        assert violations(page) == []
        page.get_by_role("link", name="Continue with Example SSO").click()
        expect(page.locator("main strong")).to_have_text("ada@example.org")
    assert visit.troubles == []


def test_what_a_sign_in_asks_is_accessible_and_fits_the_screen(visit: Visit) -> None:
    """What test_axe.py does not come by: a mistake, and to prove oneself again."""
    page = visit.page
    page.goto(f"{visit.url}/accounts/login/?next=/account/security/password")
    page.get_by_label("E-mail address").fill(visit.user.email)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("do not match")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    assert violations(page) == []
