"""The whole product with the demo, running, and signed-in browsers on it: for Lighthouse and for
the screenshots.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests
from django.conf import settings

from devices.benchmarks.stack import StackError
from portal import survey
from portal.benchmarks.live import session_cookie
from portal.devstack import chromium
from portal.devstack.up import ask_ready
from tenants.models import User

# The demo's people, from who sees most to who sees least; a page is taken as the first sees it.
PEOPLE: Final = (
    "manager@fennel-rye.example",
    "operator@wattline.example",
    "consumer@auental-energie.example",
)
CONSUMER: Final = PEOPLE[-1]
# For a browser without a window, in a container too.
CHROMIUM_ARGUMENTS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_READY_S: Final = 300.0
_STOP_S: Final = 60.0


@contextmanager
def running_product() -> Iterator[str]:
    """The address of the product: of `make up`, where it runs on this copy, else of one that runs
    as long as the block. Raises StackError when it does not start.
    """
    if ask_ready(settings.WEB_PORT):
        yield settings.PUBLIC_URL
        return
    log = Path(settings.HOME) / "log" / "product.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal.devstack", "up"],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ,
        )
    try:
        deadline = time.monotonic() + _READY_S
        while not ask_ready(settings.WEB_PORT):
            if process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(log.read_text(errors="replace").strip().splitlines()[-5:])
                raise StackError(f"the product did not come up, see {log}: {end}")
            time.sleep(0.5)
        yield settings.PUBLIC_URL
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def browser_path() -> Path:
    """A Chromium; raises StackError where there is none."""
    found = chromium.find()
    if found is None:
        raise StackError(chromium.HOW_TO_GET)
    return found


class Visitor:
    """Somebody who gets pages and keeps the cookies; `email` None: nobody."""

    def __init__(self, url: str, email: str | None) -> None:
        self.url = url
        self._session = requests.Session()
        if email is not None:
            name, _, value = session_cookie(User.objects.get(email=email)).partition("=")
            self._session.cookies.set(name, value)

    def get(self, path: str) -> survey.Answer:
        """As `survey.explore` wants it."""
        answer = self._session.get(f"{self.url}{path}", timeout=60)
        kind = answer.headers.get("Content-Type", "")
        text = answer.text if kind.startswith("text/html") else ""
        return survey.Answer(answer.status_code, kind, urlsplit(answer.url).path, text)

    @property
    def cookies(self) -> dict[str, str]:
        """All cookies by name, whatever their path."""
        return {cookie.name: cookie.value or "" for cookie in self._session.cookies}


def file_name(page: survey.Page) -> str:
    """What files about a page are called."""
    return re.sub(r"[^a-z0-9]+", "-", page.route.lower()).strip("-")
