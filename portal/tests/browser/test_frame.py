"""The frame in a real browser: palette, switcher, lists, dialogs, toasts, menus, themes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.test_live_page import violations
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}


@dataclass
class Site:
    """The web process, and an administrator of a tenant with another below it."""

    copy: Copy
    user: User
    below: Tenant


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    with django_db_blocker.unblock():
        above = factories.operator()
        below = factories.tenant(above)
        with open_scope(Scope((above.pk,))):
            user = factories.member(above, Role.OPERATOR).user
            for _ in range(30):
                factories.member(above, Role.ANALYST)
            for name in ("Hamburg Winterhude", "Hamburg Altona"):
                place = factories.facility(above)
                place.name = name
                place.save(update_fields=["name"])
        running = Copy(tmp_path_factory.mktemp("frame"), above, user, free_port(), free_port())
        try:
            running.start_web()
            yield Site(running, user, below)
        finally:
            running.stop("web")
            factories.remove_everything()


@dataclass
class Visit:
    """A signed-in browser, and everything that went wrong in it."""

    context: BrowserContext
    page: Page
    url: str
    troubles: list[str] = field(default_factory=list)

    def open(self, path: str = "/design/") -> Page:
        """Go to a page; its scripts are deferred, so they have run when it is loaded."""
        self.page.goto(f"{self.url}{path}")
        return self.page


@pytest.fixture
def visit(browser: Browser, site: Site, django_db_blocker: DjangoDbBlocker) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESK, locale="en-GB")
    with django_db_blocker.unblock():  # committed, because the web process must see it
        cookie, _, value = session_cookie(site.user).partition("=")
    context.add_cookies([{"name": cookie, "value": value, "url": site.copy.url}])
    context.set_default_timeout(10_000)
    made = Visit(context, context.new_page(), site.copy.url)

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            made.troubles.append(message.text)

    made.page.on("console", console)
    made.page.on("pageerror", lambda error: made.troubles.append(str(error)))
    yield made
    context.close()
    assert made.troubles == []


@pytest.fixture
def axe(served_files: None) -> Path:
    file: Path = settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
    return file


def mark(page: Page) -> None:
    """Leave a mark that a whole page load would take away."""
    page.evaluate("() => { window.stillHere = true; }")


def still_here(page: Page) -> bool:
    return bool(page.evaluate("() => window.stillHere === true"))


def focused(page: Page, selector: str) -> bool:
    return bool(page.evaluate("(s) => document.activeElement.matches(s)", selector))


# --- palette --------------------------------------------------------


def test_palette_opens_finds_and_goes_by_keyboard(visit: Visit) -> None:
    page = visit.open()
    opener = page.locator("[data-palette-open]")
    opener.focus()
    page.keyboard.press("Control+k")
    field = page.locator("#palette").get_by_role("combobox")
    expect(field).to_be_focused()
    field.type("hamburg")
    options = page.locator("#palette").get_by_role("option")
    expect(options).to_have_count(2)
    chosen = page.locator('#palette [aria-selected="true"]')
    expect(chosen).to_contain_text("Altona")
    assert field.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text("Winterhude")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text("Altona")
    page.keyboard.press("ArrowUp")
    expect(field).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hamburg Winterhude")


def test_palette_closes_by_escape_and_gives_the_focus_back(visit: Visit) -> None:
    page = visit.open()
    page.locator("[data-palette-open]").click()
    expect(page.locator("#palette").get_by_role("combobox")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page.locator("[data-palette-open]")).to_be_focused()


def test_palette_shows_pages_before_anything_is_typed(visit: Visit) -> None:
    page = visit.open("/")
    page.keyboard.press("Control+k")
    page.locator("#palette").get_by_role("option", name="Branding").click()
    expect(page).to_have_url(f"{visit.url}/tenants/branding/")


# --- tenants --------------------------------------------------------


def test_switching_the_tenant_by_keyboard(visit: Visit, site: Site) -> None:
    page = visit.open()
    page.locator("a.wl-tenant").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Switch the organisation")
    dialog.get_by_role("button", name=site.copy.tenant.name).focus()
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("button", name=site.below.name)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".wl-toast")).to_contain_text(f"You now work in {site.below.name}.")
    expect(page.locator(".wl-tenant")).to_contain_text(site.below.name)


# --- lists ----------------------------------------------------------


def first_cell(page: Page) -> Any:
    return page.locator("#list tbody tr").first.locator("td").first


def test_list_sorts_and_pages_without_loading_the_page(visit: Visit) -> None:
    page = visit.open()
    mark(page)
    expect(first_cell(page)).to_have_text("Meter 1")
    page.get_by_role("link", name="Power").click()
    expect(page).to_have_url(f"{visit.url}/design/?sort=power_w")
    expect(first_cell(page)).to_have_text("Inverter 59")
    expect(page.get_by_role("columnheader", name="Power")).to_have_attribute(
        "aria-sort", "ascending"
    )
    page.get_by_role("link", name="Next page").click()
    expect(page).to_have_url(f"{visit.url}/design/?sort=power_w&page=2")
    expect(page.locator("#list-count")).to_have_text("26–50 of 60")
    assert still_here(page)


def test_back_button_leads_to_the_list_as_it_was(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("link", name="Power").click()
    expect(first_cell(page)).to_have_text("Inverter 59")
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("#list-count")).to_have_text("26–50 of 60")
    page.go_back()
    expect(page).to_have_url(f"{visit.url}/design/?sort=power_w")
    expect(page.locator("#list-count")).to_have_text("1–25 of 60")
    expect(first_cell(page)).to_have_text("Inverter 59")
    page.go_back()
    expect(first_cell(page)).to_have_text("Meter 1")
    expect(page.get_by_role("heading", level=1)).to_have_text("Design")
    expect(page.locator("nav.wl-nav")).to_be_visible()


def test_address_of_a_list_shows_the_same_when_opened_anew(visit: Visit) -> None:
    page = visit.open("/design/?sort=-power_w&page=2&per_page=50")
    expect(page.locator("#list-count")).to_have_text("51–60 of 60")


def test_list_is_searched_while_typing(visit: Visit, site: Site) -> None:
    page = visit.open("/people/")
    mark(page)
    expect(page.locator("#list tbody tr")).to_have_count(25)
    field = page.get_by_role("searchbox").first
    field.type(site.user.email)
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page).to_have_url(f"{visit.url}/people/?q={site.user.email.replace('@', '%40')}")
    expect(field).to_be_focused()
    field.fill("nobody of that name")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    assert still_here(page)


def test_leaving_the_search_does_not_bring_the_list_again(visit: Visit, site: Site) -> None:
    page = visit.open("/people/")
    field = page.get_by_role("searchbox").first
    field.type(site.user.email)
    expect(page.locator("#list tbody tr")).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    field.blur()
    # Something that is answered after a second list would have been.
    page.locator("[data-palette-open]").click()
    expect(page.locator("#palette").get_by_role("combobox")).to_be_focused()
    assert [url for url in asked if "/people/" in url] == []


def test_what_was_typed_before_the_scripts_came_is_searched(visit: Visit, site: Site) -> None:
    held: list[Route] = []
    script = re.compile(r"/js/wattline/frame[^/]*\.js")
    visit.page.route(script, lambda route: held.append(route))
    with visit.page.expect_request(script):
        visit.page.goto(f"{visit.url}/people/", wait_until="commit")
    field = visit.page.get_by_role("searchbox").first
    field.fill(site.user.email)
    held[0].continue_()
    expect(visit.page.locator("#list tbody tr")).to_have_count(1)
    expect(field).to_have_value(site.user.email)


def test_list_is_cards_on_a_phone(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(PHONE)
    visit.open()
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    label = page.locator("#list td:nth-child(3)").first.evaluate(
        "cell => getComputedStyle(cell, '::before').content"
    )
    assert label == '"Power"'


def test_filters_are_folded_on_a_phone_until_one_is_used(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(PHONE)
    visit.open("/people/")
    role = page.get_by_label("Role", exact=True)
    expect(role).to_be_hidden()
    page.get_by_text("Filters", exact=True).click()
    role.select_option("analyst")
    expect(page.locator("#list-count")).to_have_text("1–25 of 30")
    page.reload()
    expect(role).to_be_visible()
    page.set_viewport_size(DESK)
    expect(page.get_by_text("Filters", exact=True)).to_be_hidden()


# --- dialogs and toasts ----------------------------------------------


def test_dialog_keeps_the_focus_and_gives_it_back(visit: Visit) -> None:
    page = visit.open()
    opener = page.get_by_role("button", name="Form in a dialog")
    opener.click()
    dialog = page.get_by_role("dialog", name="Form in a dialog")
    expect(dialog).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        # The browser's own bar is part of the circle; the page behind is not.
        assert focused(page, "#dialog *, #dialog, body")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_form_in_a_dialog_shows_what_is_wrong_and_closes_when_right(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Form in a dialog").click()
    dialog = page.get_by_role("dialog", name="Form in a dialog")
    dialog.get_by_label("Name").fill("   ")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".errorlist")).to_contain_text("This field is required.")
    dialog.get_by_label("Name").fill("Mains")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".wl-toast")).to_contain_text("Mains is saved.")
    visit.troubles.clear()  # the browser notes the 422


def test_question_is_asked_before_what_cannot_be_taken_back(visit: Visit) -> None:
    page = visit.open()
    revoke = page.locator("[data-confirm]").get_by_role("button", name="Revoke")
    revoke.click()
    question = page.get_by_role("dialog", name="Revoke the device?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(question).to_be_hidden()
    expect(page.locator(".wl-toast")).to_have_count(0)
    revoke.click()
    question.get_by_role("button", name="Revoke").click()
    expect(page.locator(".wl-toast")).to_contain_text("The device is saved.")


def test_toast_of_a_failure_stays_until_it_is_closed(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Toast: error").click()
    toast = page.get_by_role("alert").filter(has_text="serial number is taken")
    expect(toast).to_be_visible()
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)


def test_part_of_a_page_that_fails_is_told(visit: Visit) -> None:
    page = visit.open()
    page.route("**/design/dialog/", lambda route: route.fulfill(status=500, body="<p>no</p>"))
    page.get_by_role("button", name="Form in a dialog").click()
    expect(page.locator(".wl-toast")).to_contain_text("That did not work.")
    expect(page.locator("#dialog")).to_be_hidden()
    visit.troubles.clear()  # the browser notes the 500


# --- menus and themes -------------------------------------------------


def test_menu_of_a_phone_keeps_the_focus_and_closes(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(PHONE)
    visit.open()
    side, opener = page.locator("#side"), page.get_by_role("button", name="Open the menu")
    expect(side).to_be_hidden()
    opener.click()
    expect(side).to_be_visible()
    expect(opener).to_have_attribute("aria-expanded", "true")
    assert page.evaluate("() => document.querySelector('.wl-body').inert")
    page.keyboard.press("Escape")
    expect(side).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    side.get_by_text("Administration", exact=True).click()
    side.get_by_role("link", name="Branding").click()
    expect(page).to_have_url(f"{visit.url}/tenants/branding/")
    expect(side).to_be_hidden()


def test_menu_keeps_the_groups_that_a_person_opens(visit: Visit) -> None:
    page = visit.open()
    menu = page.get_by_role("navigation", name="Main")
    devices = menu.get_by_role("link", name="Devices", exact=True)
    expect(devices).to_be_hidden()
    menu.get_by_text("Fleet", exact=True).click()
    expect(devices).to_be_visible()
    menu.get_by_text("Monitoring", exact=True).click()
    visit.open("/people/")
    expect(devices).to_be_visible()
    expect(menu.get_by_role("link", name="Overview", exact=True)).to_be_hidden()
    expect(menu.get_by_role("link", name="People", exact=True)).to_be_in_viewport()


def test_account_menu_closes_by_escape_and_by_a_click_beside(visit: Visit) -> None:
    page = visit.open()
    summary = page.locator(".wl-menu summary")
    summary.click()
    out = page.get_by_role("button", name="Sign out")
    expect(out).to_be_visible()
    page.keyboard.press("Escape")
    expect(out).to_be_hidden()
    expect(summary).to_be_focused()
    summary.click()
    page.get_by_role("heading", level=1).click()
    expect(out).to_be_hidden()


def test_theme_that_was_chosen_stays(visit: Visit) -> None:
    page = visit.open()
    root = page.locator("html")
    expect(root).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-bs-theme", "dark")


def test_language_that_was_chosen_stays(visit: Visit, site: Site) -> None:
    page = visit.open()
    page.locator(".wl-menu summary").click()
    page.get_by_role("button", name="Deutsch").click()
    expect(page.get_by_role("link", name="Zum Inhalt springen")).to_have_count(1)
    page.locator(".wl-menu summary").click()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Skip to the content")).to_have_count(1)


def test_preview_takes_the_colour_that_is_typed(visit: Visit) -> None:
    page = visit.open("/tenants/branding/")
    page.get_by_label("Accent on light pages").fill("#7a1fa2")
    button = page.locator('[data-sample-of="light"] .wl-button')
    expect(button).to_have_css("background-color", "rgb(122, 31, 162)")
    expect(button).to_have_css("color", "rgb(255, 255, 255)")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_opens_is_accessible(visit: Visit, axe: Path, theme: Any) -> None:
    page = visit.page
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    visit.open()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette").get_by_role("option").first).to_be_visible()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    for name in ("Form in a dialog", "Revoke"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page, axe) == []
        page.keyboard.press("Escape")
    page.locator(".wl-menu summary").click()
    assert violations(page, axe) == []
    page.set_viewport_size(PHONE)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Open the menu").click()
    expect(page.locator("#side")).to_be_in_viewport()
    page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished))")
    assert violations(page, axe) == []
