"""`manage.py screenshots`: pictures of every page at three widths, light and dark.

They go to `screenshots/` of the checkout, which git ignores: `<route>-<width>-<theme>.png`, in full
length. The pages are those that the demo's people find by the routes and by following links, each
route once. Runs the whole product with the demo, that of `make up` where it runs.
"""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final, Literal

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import Error as BrowserError

from devices.benchmarks.stack import StackError
from portal import survey
from portal.benchmarks.product import (
    CHROMIUM_ARGUMENTS,
    CONSUMER,
    PEOPLE,
    Visitor,
    browser_path,
    file_name,
    running_product,
)

WIDTHS: Final = {390: 844, 1280: 800, 1920: 1080}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
_SETTLE_MS: Final = 15_000
# Charts are drawn, live pages have their first readings, fonts are there, nothing is on its way.
_SETTLED: Final = """(theme) => {
  const waits = document.querySelectorAll(".htmx-request");
  const charts = [...document.querySelectorAll("[data-chart]")];
  return document.readyState === "complete" && document.fonts.status === "loaded"
    && document.documentElement.dataset.bsTheme === theme && !waits.length
    && charts.every((chart) => chart.querySelector(".main-svg"))
    && !document.getAnimations().some((one) => one instanceof CSSTransition);
}"""


class Command(BaseCommand):
    """Ends by itself; a page that does not settle is taken as it is and named."""

    help = "Take pictures of every page into screenshots/."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", default="", help="routes whose name contains this")
        parser.add_argument("--folder", type=Path, default=settings.BASE_DIR / "screenshots")

    def handle(self, *args: object, **options: Any) -> None:
        folder: Path = options["folder"]
        if not options["only"]:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with running_product() as url:
                restless = self._take_all(url, options["only"], folder)
        except (StackError, BrowserError) as error:
            raise CommandError(f"screenshots: {error}") from error
        taken = len(list(folder.glob("*.png")))
        self.stdout.write(f"{taken} pictures are in {folder}")
        for name in restless:
            self.stdout.write(f"not settled within {_SETTLE_MS // 1000} s: {name}")

    def _take_all(self, url: str, only: str, folder: Path) -> list[str]:
        # The driver's event loop runs in this thread: everything that asks the database is first.
        found: dict[str, list[survey.Page]] = {}
        cookies: dict[str, dict[str, str]] = {}
        known: set[str] = set()
        for email in (*PEOPLE, ""):
            visitor = Visitor(url, email or None)
            pages = [
                page
                for page in survey.explore(visitor.get)
                # The consumer view is the consumer's.
                if page.route not in known
                and (email == CONSUMER or not page.route.startswith("consumer:"))
            ]
            known |= {page.route for page in pages}
            found[email] = [page for page in pages if only in page.route]
            cookies[email] = visitor.cookies
        restless: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(browser_path()), args=list(CHROMIUM_ARGUMENTS)
            )
            for email, pages in found.items():
                context = _context(browser, url, cookies[email])
                for page in pages:
                    self.stdout.write(page.path)
                    restless += _take(context, url, page, folder)
                context.close()
            browser.close()
        return restless


def _context(browser: Browser, url: str, cookies: dict[str, str]) -> BrowserContext:
    context = browser.new_context(
        reduced_motion="reduce", locale="en-GB", timezone_id="Europe/Berlin"
    )
    if cookies:
        context.add_cookies(
            [{"name": name, "value": value, "url": url} for name, value in cookies.items()]
        )
    return context


def _take(context: BrowserContext, url: str, known: survey.Page, folder: Path) -> list[str]:
    """All pictures of one page; returns the names of those that did not settle."""
    page = context.new_page()
    page.goto(f"{url}{known.path}")
    restless = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            name = f"{file_name(known)}-{width}-{theme}.png"
            if not _settle(page, theme):
                restless.append(name)
            page.screenshot(path=str(folder / name), full_page=True)
    page.close()
    return restless


def _settle(page: Page, theme: str) -> bool:
    try:
        page.wait_for_function(_SETTLED, arg=theme, timeout=_SETTLE_MS)
    except BrowserError:
        return False
    # Charts follow a new width in the frame after it.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 150)))")
    return True
