"""The interactive API reference in a real browser, under the strict policy."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from portal.tests.browser.conftest import Copy

pytestmark = [pytest.mark.browser]


def test_reference_lists_every_operation_without_a_violation(copy: Copy, browser: Browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{copy.url}/api/v1/docs/")
    page.locator(".opblock").nth(8).wait_for()
    assert page.locator(".opblock").count() == 9
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").wait_for()
    assert said == []
    page.close()
