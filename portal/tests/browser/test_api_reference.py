"""The interactive API reference in a real browser, under the strict policy."""

from __future__ import annotations

import pytest
import yaml
from django.conf import settings
from playwright.sync_api import Browser, expect

from portal.tests.browser.conftest import Copy
from portal.tests.browser.visiting import TALL

pytestmark = [pytest.mark.browser]


def _operations() -> int:
    """How many the committed description has."""
    described = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text("utf-8"))
    methods = {"get", "put", "post", "delete", "patch"}
    return sum(len(methods & path.keys()) for path in described["paths"].values())


def test_reference_lists_every_operation_without_a_violation(copy: Copy, browser: Browser) -> None:
    page = browser.new_page(viewport=TALL)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{copy.url}/api/v1/docs/")
    expect(page.locator(".opblock")).to_have_count(_operations(), timeout=30_000)
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").wait_for()
    assert said == []
    page.close()
