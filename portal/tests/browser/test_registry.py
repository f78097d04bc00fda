"""The registry in a real Chromium: a choice searched by keyboard, rows chosen, a file imported in
the background, labels printed, a device claimed on a phone. No violation of the policy anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.models import Device, DeviceType, Facility
from devices.tests import factories
from portal.tests.browser.conftest import PASSWORD, Copy, free_port
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser, pytest.mark.django_db(databases=["default", "owner"])]

FACILITIES = 12


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Copy, DeviceType]]:
    """The web process, a worker, and an administrator of a park."""
    with django_db_blocker.unblock():
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            admin = factories.member(tenant, Role.ADMIN).user
            kind = factories.device_type(tenant)
            places = [factories.facility(tenant) for _ in range(FACILITIES)]
            for _ in range(3):
                factories.device(places[0], kind)
        admin.set_password(PASSWORD)
        admin.save(update_fields=["password"])
        running = Copy(tmp_path_factory.mktemp("registry"), tenant, admin, free_port(), free_port())
        try:
            running.start_web()
            running.start(
                "worker",
                *("-m", "celery", "--app", "portal", "worker", "--pool", "solo"),
                *("--loglevel", "warning"),
            )
            yield running, kind
        finally:
            for name in reversed(list(running.processes)):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def page(site: tuple[Copy, DeviceType], browser: Browser) -> Iterator[Page]:
    """A page of a signed-in browser; what its console says against the page fails the test."""
    copy, _kind = site
    context = browser.new_context(base_url=copy.url, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.goto("/devices/")
    opened.get_by_label("E-mail address").fill(copy.manager.email)
    opened.get_by_role("button", name="Continue").click()
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in", exact=True).click()
    expect(opened.get_by_role("heading", name="Devices", level=1)).to_be_visible()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    context.close()
    assert said == []


def test_a_choice_is_searched_by_keyboard(page: Page, site: tuple[Copy, DeviceType]) -> None:
    copy, _kind = site
    page.goto("/facilities/new/")
    page.get_by_label("Name").fill("Kiosk")
    zone = page.get_by_role("combobox", name="Time zone")
    zone.focus()
    page.keyboard.type("lis")  # America/Indianapolis and Asia/Tbilisi have it inside
    expect(page.get_by_role("option", name="Europe/Lisbon")).to_have_attribute(
        "aria-selected", "true"
    )
    page.keyboard.press("Enter")
    expect(zone).to_have_value("Europe/Lisbon")
    # What is typed and not chosen goes.
    zone.fill("nothing like it")
    expect(page.locator("[role=option]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(zone).to_have_value("Europe/Lisbon")
    expect(zone).to_have_attribute("aria-expanded", "false")

    parent = page.get_by_role("combobox", name="Part of")
    parent.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("[role=option][aria-selected=true]").inner_text()
    page.keyboard.press("Enter")
    expect(parent).to_have_value(chosen)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Kiosk", level=1)).to_be_visible()
    with open_scope(Scope((copy.tenant.pk,))):
        made = Facility.objects.select_related("parent").get(name="Kiosk")
    assert made.time_zone == "Europe/Lisbon"
    assert made.parent is not None
    assert made.parent.name == chosen


def test_chosen_devices_are_suspended(page: Page) -> None:
    suspend = page.get_by_role("button", name="Suspend")
    expect(suspend).to_be_hidden()
    boxes = page.get_by_role("checkbox", name=re.compile("^Choose "))
    boxes.nth(0).check()
    expect(page.get_by_text("1 device chosen")).to_be_visible()
    page.get_by_label("All on this page").check()
    expect(page.get_by_text("3 devices chosen")).to_be_visible()
    boxes.nth(1).uncheck()
    suspend.click()
    expect(page.get_by_role("heading", name="2 of 2 devices changed")).to_be_visible()
    page.get_by_role("link", name="Back to the devices").click()
    # Another part of the list begins without a choice.
    page.get_by_label("State").select_option("suspended")
    expect(boxes).to_have_count(2)
    expect(page.get_by_text("None chosen")).to_be_visible()


def test_a_file_is_imported_labelled_and_claimed(
    page: Page, site: tuple[Copy, DeviceType], tmp_path: Path, browser: Browser
) -> None:
    copy, kind = site
    file = tmp_path / "stock.csv"
    rows = "".join(f"ST-{n:03};Stock {n};{kind.code}\n" for n in range(30))
    file.write_text("Seriennummer;Bezeichnung;Typ\n" + rows + "ST-000;again;\n", encoding="cp1252")
    page.goto("/imports/new/?kind=devices")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("combobox", name="Facility, where a row has none").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_text("This is a dry run")).to_be_visible()
    page.get_by_role("link", name="Show").click()
    expect(page.get_by_text("Line 2 has the same serial number.")).to_be_visible()
    page.get_by_role("button", name="Import 30 rows").click()
    expect(page.get_by_role("button", name="Result file")).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Result file").click()
    # A random code or secret may hold the letters of a serial number: only the column counts.
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[1].startswith("ST-") for line in lines] == [False] + [True] * 31

    page.get_by_role("link", name="Print labels").click()
    expect(page.get_by_role("heading", name="30 labels")).to_be_visible()
    codes = page.locator(".wl-label-code").all_inner_texts()
    assert len(set(codes)) == 30

    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/claim/")
    page.get_by_label("Claim code").fill(codes[0].replace("-", "").lower())
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("ST-000")).to_be_visible()
    facility = page.get_by_role("combobox", name="Facility")
    facility.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_label("Name").fill("Cold store")
    page.get_by_role("button", name="Claim the device").click()
    expect(page.get_by_role("heading", name="Cold store", level=1)).to_be_visible()
    with open_scope(Scope((copy.tenant.pk,))):
        assert Device.objects.get(serial="ST-000").state == "active"


def test_a_formula_is_checked_while_it_is_typed(page: Page, site: tuple[Copy, DeviceType]) -> None:
    copy, _kind = site
    with open_scope(Scope((copy.tenant.pk,))):
        device = Device.objects.filter(tenant=copy.tenant).order_by("pk")[0]
        name, pk = device.name, device.pk
    page.goto(f"/devices/{pk}/derived/new/")
    page.get_by_label("Name", exact=True).fill("Twice")
    page.get_by_label("Key").fill("twice")
    page.get_by_label("Quantity").select_option("voltage")
    formula = page.get_by_label("Formula")
    formula.fill("2 * voltag")
    told = page.locator("#formula-check")
    expect(told).to_contain_text("did you mean `voltage`?")
    expect(told.locator("mark")).to_have_text("voltag")
    expect(formula).to_have_attribute("aria-invalid", "true")
    formula.fill("2 * ")
    page.get_by_role("button", name="voltage", exact=True).click()
    expect(formula).to_have_value("2 * voltage")
    expect(told).to_contain_text("is in V")
    expect(formula).to_have_attribute("aria-invalid", "false")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Derived channels", level=1)).to_be_visible()
    expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_role("cell", name="2 * voltage")).to_be_visible()
