"""Commands in a real Chromium, obeyed by a simulated device over TLS: asked, answered while one
looks, switched off by two persons; and no page has a violation of accessibility or of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker
from redis import Redis

from devices.domain import queries
from devices.ingest import heartbeat
from devices.tests import factories
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, eventually, free_port
from portal.tests.browser.visiting import violations, visits
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser]

# Bridge, database and dispatcher take part in an answer.
_ANSWER_MS = 30_000


@dataclass
class Site:
    """The running product with one household's meter, which has an output."""

    copy: Copy
    device_id: int


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """Everything that takes part in a command, and a simulated device that is connected."""
    with django_db_blocker.unblock(), Redis.from_url(settings.REDIS_URL) as redis:
        redis.flushdb()
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            manager = factories.member(tenant, Role.MANAGER).user
        folder = tmp_path_factory.mktemp("commands")
        copy = Copy(folder, tenant, manager, free_port(), free_port())
        needed = {"writer", "bridge", "live", "dispatcher"}
        try:
            for name in sorted(needed):
                copy.start(name, "manage.py", f"run_{name}")
            copy.start_web()
            eventually(
                lambda: {beat.name for beat in heartbeat.alive(redis)} >= needed,
                f"all processes are up {copy.log('dispatcher')}",
            )
            fleet = ("--fleet", "1", "--tenant", tenant.slug, "--state", str(folder))
            copy.start("simulate", "manage.py", "simulate", *fleet)
            found: list[int] = []

            def connected() -> bool:
                with open_scope(Scope((tenant.pk,))):
                    found[:] = [
                        one.device_id
                        for one in queries.devices()
                        if one.link is not None and one.link.connected
                    ]
                return bool(found)

            eventually(connected, f"the device is connected {copy.log('simulate')}")
            yield Site(copy, found[0])
        finally:
            for name in reversed(list(copy.processes)):
                copy.stop(name)
            factories.remove_everything()


@pytest.fixture
def pages(
    site: Site, browser: Browser, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[Page, Page]]:
    """A page of a technician and one of the manager; what a console says fails the test."""
    copy = site.copy
    with django_db_blocker.unblock():
        with open_scope(Scope((copy.tenant.pk,))):
            technician = factories.member(copy.tenant, Role.TECHNICIAN).user
        cookies = [session_cookie(person) for person in (technician, copy.manager)]
    with visits(browser, copy, *cookies) as (first, second):
        yield first, second


def test_a_command_is_answered_while_one_looks(pages: tuple[Page, Page], site: Site) -> None:
    page, _manager = pages
    page.goto(f"/devices/{site.device_id}/control/")
    assert violations(page) == []
    page.get_by_role("link", name="Show itself").click()
    page.get_by_label("For (s)").fill("5")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#command-now")).to_contain_text("Succeeded", timeout=_ANSWER_MS)
    steps = page.locator("#command-steps > li")
    expect(steps.first).to_contain_text("Asked for")
    expect(steps.last).to_contain_text("The device says so")
    assert violations(page) == []


def test_an_output_goes_dark_by_two_persons_and_comes_back(
    pages: tuple[Page, Page], site: Site
) -> None:
    page, manager = pages
    page.goto(f"/devices/{site.device_id}/control/?kind=set_output")
    page.get_by_label("Off", exact=True).check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Say why it is to be switched off").first).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Reason").fill("Two bills are unpaid")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("somebody else has to approve it")).to_be_visible()
    assert violations(page) == []

    manager.goto("/commands/")
    expect(manager.get_by_text("1 command waits for a second person")).to_be_visible()
    assert violations(manager) == []
    manager.get_by_role("link", name="Switch the output off").first.click()
    expect(manager.get_by_text("Two bills are unpaid").first).to_be_visible()
    assert violations(manager) == []
    manager.get_by_role("button", name="Approve").click()
    expect(manager.locator("#command-now")).to_contain_text("Succeeded", timeout=_ANSWER_MS)

    page.goto(f"/devices/{site.device_id}/control/")
    output = page.locator("#output-now")
    expect(output).to_contain_text("The output is off", timeout=_ANSWER_MS)
    expect(output).to_contain_text("The device said so on", timeout=_ANSWER_MS)
    expect(output).to_contain_text("Two bills are unpaid")
    assert violations(page) == []
    page.get_by_label("On", exact=True).check()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#command-now")).to_contain_text("Succeeded", timeout=_ANSWER_MS)
    page.goto(f"/devices/{site.device_id}/control/")
    expect(output).to_contain_text("The output is on", timeout=_ANSWER_MS)


def test_many_are_asked_after_a_preview(pages: tuple[Page, Page], site: Site) -> None:
    _page, manager = pages
    manager.goto("/devices/")
    manager.locator(f'input[name="device"][value="{site.device_id}"]').check()
    manager.get_by_role("button", name="Send a command").click()
    manager.get_by_role("button", name="Send log lines").click()
    manager.get_by_label("Lines at most").fill("20")
    manager.get_by_role("button", name="Preview").click()
    expect(manager.get_by_text("Are told, at once or when they are connected")).to_be_visible()
    assert violations(manager) == []
    manager.get_by_role("button", name="Send", exact=True).click()
    expect(manager.locator("#command-now, #batch-now").first).to_contain_text(
        "Succeeded", timeout=_ANSWER_MS
    )
    assert violations(manager) == []
    manager.goto("/commands/batches/")
    assert violations(manager) == []
