"""A roll-out in a real Chromium: the wizard with its dry run, the live page that takes itself anew,
the way from a failure to a device; and no page has a violation of accessibility or of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from firmware.models import GateReview, Rollout, RolloutState, RolloutWave
from firmware.tests.rollout_park import RolloutPark
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations, visits
from portal.tests.test_gate_chart import LOOK
from tenants.models import User
from tenants.scope import open_scope

pytestmark = [pytest.mark.browser]


@dataclass
class Site:
    """Devices with two releases, and an administrator's page."""

    park: RolloutPark
    page: Page


@pytest.fixture
def site(
    tmp_path: Path,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    browser: Browser,
) -> Iterator[Site]:
    """Gone with the test."""
    with django_db_blocker.unblock():
        park = RolloutPark.make(4)
        person = User.objects.get(pk=park.people[0])
        running = Copy(tmp_path, park.tenant, person, free_port(), free_port())
        try:
            running.start_web()
            with visits(browser, running, session_cookie(person)) as (page,):
                yield Site(park, page)
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


def test_a_rollout_is_drafted_tried_started_and_watched(site: Site) -> None:
    page, park = site.page, site.park
    page.goto("/firmware/rollouts/")
    assert violations(page) == []
    page.get_by_role("link", name="New roll-out").click()
    preview = page.locator("#rollout-preview")
    page.get_by_label("Release", exact=True).select_option(str(park.releases["2.0.0"].pk))
    expect(preview).to_contain_text("4 of 4 devices")
    page.get_by_text("Groups, a rule, or single devices").click()
    page.get_by_role("textbox", name="Single devices").fill(park.devices[0].serial)
    expect(preview).to_contain_text("1 of 1 devices")
    page.get_by_role("radio", name="All devices").check()
    page.get_by_role("radio", name="Urgent").check()
    expect(page.locator("#id_waves")).to_have_value("5 %, 100 %")
    expect(preview).to_contain_text("4 of 4 devices")
    for folded in page.locator("details.wl-more").all():
        folded.evaluate("(one) => { one.open = true; }")
    assert violations(page) == []
    page.locator("#id_waves").fill("all")
    page.get_by_role("button", name="Save and look at the dry run").click()
    expect(page.get_by_role("alert")).to_contain_text("This field is required")
    assert violations(page) == []
    page.locator("#id_name").fill("Spring")
    page.locator("#id_waves").fill("2, 100 %")
    page.get_by_role("button", name="Save and look at the dry run").click()

    expect(page.get_by_role("heading", name="Spring")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="2.0.0 (image")).to_have_count(4)
    assert violations(page) == []
    page.get_by_role("link", name="Start").click()
    expect(page.get_by_text("4 devices get it in 2 waves")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#standing")).to_contain_text("0 of 4 updated")
    _fail_one(park)
    # The page takes itself anew.
    expect(page.locator("#standing")).to_contain_text("1 of 4 updated, 1 failed", timeout=15_000)
    expect(page.locator("#waves")).to_contain_text("Beyond the limit")
    assert violations(page) == []

    page.get_by_role("link", name="The device could not write it.").click()
    expect(page.get_by_role("row")).to_have_count(2)
    assert violations(page) == []
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.get_by_text("Worn out").last).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="All its updates").click()
    expect(page.get_by_role("row")).to_have_count(2)
    assert violations(page) == []


def _fail_one(park: RolloutPark) -> None:
    """The first wave: one device updates, the other fails; the gate has looked at it."""
    with open_scope(park.scope):
        row = Rollout.objects.get()
        wave = RolloutWave.objects.get(rollout=row, number=1)
        GateReview.objects.create(
            tenant=park.tenant,
            rollout=row,
            wave=wave,
            look=1,
            at=LOOK.at,
            begins_at=LOOK.verdict.begins_at,
            evidence_until=LOOK.verdict.evidence_until,
            outcome=LOOK.verdict.outcome,
            verdict=LOOK.verdict.to_json(),
            course=LOOK.course.to_json(),
        )
    assert row.started_at is not None
    assert row.state == RolloutState.RUNNING
    park.now = row.started_at
    park.tick(2, seconds=60)
    offers = park.offers()
    good, bad = (device for device in park.devices if device.pk in offers)
    park.update(good, offers[good.pk])
    uid = UUID(bytes=offers[bad.pk].update_id)
    for _attempt in range(3):
        park.say(bad, "failed", uid, code="flash", detail="Worn out")
        park.tick(2, seconds=3600)
        again = park.offers().get(bad.pk)
        if again is None:
            break
        uid = UUID(bytes=again.update_id)
