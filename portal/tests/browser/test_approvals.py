"""Approvals and rules of two persons in a real Chromium: counted, decided, given up by two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.domain.commands_policy import SYSTEM
from devices.models import Command
from devices.tests import factories
from firmware.domain import policy_operations
from firmware.domain.policy_operations import Change
from firmware.models import ReleaseState, Rollout
from firmware.tests import factories as firmware
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import PHONE, violations, visits
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser]


@dataclass
class Site:
    """The web process, and the cookies of two administrators."""

    copy: Copy
    of: Tenant
    cookies: tuple[str, str]

    def states(self) -> list[str]:
        with open_scope(Scope((self.of.pk,))):
            return sorted(Command.objects.values_list("state", flat=True))


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    """A tenant in which something of each kind waits."""
    with django_db_blocker.unblock():
        of = factories.tenant()
        with open_scope(Scope((of.pk,))):
            first, second = (factories.member(of, Role.ADMIN).user for _ in range(2))
            kind, at = factories.device_type(of), factories.facility(of)
            for batch in (False, True):
                factories.command(
                    factories.device(at, kind).device,
                    batch=batch,
                    kind="set_output",
                    arguments={"output": 0},
                    reason="The bill of January was not paid.",
                    state="awaiting_approval",
                    queued_at=None,
                    asked_by=first,
                    expires_at="2100-01-01T00:00:00Z",
                )
            firmware.release(of, kind, state=ReleaseState.DRAFT, by=first)
            released = firmware.release(of, kind, "1.1.0")
            Rollout.objects.create(tenant=of, name="Spring", release=released, created_by=first)
            wanted = Change(second_person=True)
            policy_operations.change(actor=SYSTEM, tenant_id=of.pk, wanted=wanted)
        running = Copy(tmp_path_factory.mktemp("approvals"), of, first, free_port(), free_port())
        try:
            running.start_web()
            yield Site(running, of, (session_cookie(first), session_cookie(second)))
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def pages(site: Site, browser: Browser) -> Iterator[tuple[Page, ...]]:
    """A page of each administrator; what a console says against it fails the test."""
    with visits(browser, site.copy, *site.cookies) as opened:
        yield opened


def test_what_waits_is_decided_in_one_list(pages: tuple[Page, ...], site: Site) -> None:
    mine, theirs = pages
    mine.goto("/approvals/")
    expect(mine.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
    assert violations(mine) == []

    theirs.goto("/")
    link = theirs.get_by_role("navigation", name="Main").get_by_role("link", name="Approvals")
    expect(link).to_contain_text("4")
    link.click()
    expect(theirs.get_by_role("listitem").filter(has_text="May be approved until")).to_have_count(2)
    assert violations(theirs) == []

    batch = theirs.locator("li").filter(has_text="To 1 device")
    batch.locator("summary").click()
    batch.get_by_label("Why not").fill("They have paid.")
    assert violations(theirs) == []
    theirs.set_viewport_size(PHONE)
    wide = theirs.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    batch.get_by_role("button", name="Refuse").last.click()
    expect(theirs.get_by_text("Done for 1 command.")).to_be_visible()
    theirs.get_by_role("button", name="Approve: Switch the output off").click()
    expect(theirs.get_by_role("button", name="Approve: Switch the output off")).to_have_count(0)
    assert site.states() == ["cancelled", "queued"]

    theirs.get_by_role("link", name="Approve: Spring").click()
    expect(theirs.get_by_role("heading", name="Approve it?")).to_be_visible()


def test_a_rule_is_given_up_by_two_administrators(pages: tuple[Page, ...]) -> None:
    mine, theirs = pages
    mine.goto("/control-rules/")
    box = mine.get_by_label("Roll-outs always take two persons")
    expect(box).to_be_checked()
    assert violations(mine) == []
    box.uncheck()
    mine.get_by_label("Downloads at once, at most").fill("25")
    mine.get_by_role("button", name="Save").click()
    expect(mine.get_by_text("until another administrator agrees")).to_be_visible()
    expect(mine.get_by_role("button", name="Take it back")).to_be_visible()
    expect(mine.get_by_label("Roll-outs always take two persons")).to_be_disabled()
    assert violations(mine) == []

    theirs.goto("/control-rules/")
    theirs.get_by_role("button", name="Agree").click()
    dialog = theirs.get_by_role("dialog")
    expect(dialog.get_by_text("From then on one person is enough.")).to_be_visible()
    dialog.get_by_role("button", name="Agree").click()
    expect(theirs.get_by_text("One person is enough from now on.")).to_be_visible()
    expect(theirs.get_by_label("Roll-outs always take two persons")).not_to_be_checked()
