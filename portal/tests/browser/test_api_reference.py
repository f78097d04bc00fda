"""The interactive API reference in a real browser, under the strict policy."""

from __future__ import annotations

import pytest
import yaml
from django.conf import settings
from playwright.sync_api import Browser, expect

from portal.tests.browser.conftest import Copy
from portal.tests.browser.visiting import pass_by

pytestmark = [pytest.mark.browser]


def _operations() -> int:
    """How many the committed description has."""
    described = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text("utf-8"))
    methods = {"get", "put", "post", "delete", "patch"}
    return sum(len(methods & path.keys()) for path in described["paths"].values())


def test_reference_lists_every_operation_without_a_violation(copy: Copy, browser: Browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{copy.url}/api/v1/docs/")
    shown = page.locator(".opblock")
    expect(shown.first).to_be_visible(timeout=30_000)
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").wait_for()
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.update(shown.evaluate_all("all => all.map((one) => one.id)"))
        return len(seen) >= _operations()

    assert pass_by(page, all_seen), f"{len(seen)} of {_operations()}"
    assert len(seen) == _operations()
    assert said == []
    page.close()
