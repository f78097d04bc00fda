"""A release in a real Chromium: checked while its files are chosen, uploaded, approved by another
person; and no page has a violation of accessibility or of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.models import DeviceType
from devices.tests import factories
from firmware.tests import images
from firmware.tests.factories import firmware_of
from firmware.tests.uploads import Signer
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations, visits
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = [pytest.mark.browser]


@dataclass
class Site:
    """The web process, two administrators' cookies, a type, and who signs for it."""

    copy: Copy
    first: str
    second: str
    kind: DeviceType
    signer: Signer


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """A park whose releases and patches are there, without images."""
    with django_db_blocker.unblock():
        park = factories.park()
        firmware_of(park)
        with open_scope(park.scope):
            people = [factories.member(park.tenant, Role.ADMIN).user for _ in range(2)]
            kind = DeviceType.objects.filter(tenant=park.tenant)[0]
            signer = Signer.of(park.tenant)
        folder = tmp_path_factory.mktemp("firmware")
        running = Copy(folder, park.tenant, park.manager, free_port(), free_port())
        try:
            running.start_web()
            first, second = (session_cookie(person) for person in people)
            yield Site(running, first, second, kind, signer)
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def pages(site: Site, browser: Browser) -> Iterator[tuple[Page, Page]]:
    """A page of each administrator; what a console says against its page fails the test."""
    with visits(browser, site.copy, site.first, site.second) as (first, second):
        yield first, second


def test_a_release_is_checked_uploaded_and_approved_by_another(
    pages: tuple[Page, Page], site: Site, tmp_path: Path
) -> None:
    page, other = pages
    image = images.mcuboot(tmp_path, "2.4.0")
    signed, wrong = tmp_path / "meter.img.sig.json", tmp_path / "other.img.sig.json"
    (tmp_path / "meter.img").write_bytes(image)
    signed.write_bytes(site.signer.sign(image, site.kind.code, "2.4.0", ("rev A",)))
    wrong.write_bytes(site.signer.sign(b"another image", site.kind.code, "2.4.0", ("rev A",)))

    page.goto("/firmware/releases/")
    assert violations(page) == []
    page.get_by_role("link", name="Upload a release").click()
    assert violations(page) == []
    checks = page.locator("#release-checks")
    page.get_by_label("Device type").select_option(str(site.kind.pk))
    page.get_by_label("Image", exact=True).set_input_files(tmp_path / "meter.img")
    expect(checks.get_by_text("its header says version 2.4.0")).to_be_visible()
    page.get_by_label("Signature file").set_input_files(wrong)
    expect(checks.get_by_text("signed for another image")).to_be_visible()
    page.get_by_label("Signature file").set_input_files(signed)
    expect(checks.get_by_text("Everything fits together")).to_be_visible()
    assert violations(page) == []

    page.get_by_label("Release notes").fill("Counts better.\nForgets less.")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("a draft until another person approves it")).to_be_visible()
    expect(page.get_by_text("Forgets less.")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert violations(page) == []

    other.goto(page.url)
    other.get_by_role("button", name="Approve").click()
    other.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(other.get_by_text("may be rolled out")).to_be_visible()
    other.get_by_role("button", name="Retire").click()
    other.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(other.get_by_text("no new roll-out begins with it")).to_be_visible()
    assert violations(other) == []


def test_keys_and_patches_can_be_read_by_everybody(pages: tuple[Page, Page], site: Site) -> None:
    page, _other = pages
    page.goto("/firmware/keys/")
    expect(page.get_by_text(site.signer.key.key_id)).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="Add a key").click()
    assert violations(page) == []
    page.goto("/firmware/releases/")
    page.get_by_role("link", name="1.1.0").click()
    expect(page.get_by_role("heading", name="Patches")).to_be_visible()
    assert violations(page) == []
