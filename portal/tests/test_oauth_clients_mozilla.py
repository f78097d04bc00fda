"""mozilla-django-oidc, the sign-in of many Django sites, in a site and process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings as django_settings

from portal.tests.browser.conftest import free_port
from portal.tests.oauth_parties import Member, agree, browser_of, issuer, member, signed_in
from tenants.tests import factories

__all__ = ["issuer", "member"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])

SITE = django_settings.BASE_DIR / "portal" / "tests" / "clients" / "mozilla_site.py"
_READY_S = 30


@pytest.fixture
def site(issuer: str, member: Member, tmp_path: Path) -> Iterator[str]:
    """The site's address; it is registered as an application."""
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    application, secret = member.application(
        redirect_uris=f"{here}/oidc/callback/", post_logout_redirect_uris=f"{here}/"
    )
    log = tmp_path / "site.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(SITE)],
            env={
                **os.environ,
                "ISSUER": issuer,
                "CLIENT_ID": str(application.client_id),
                "CLIENT_SECRET": secret,
                "PORT": str(port),
                "DATABASE": str(tmp_path / "site.sqlite3"),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(here, log)
        yield here
    finally:
        process.terminate()
        process.wait(20)


def _wait(here: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            requests.get(f"{here}/", timeout=2)
        except requests.RequestException:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        else:
            return


def test_site_signs_in_renews_and_signs_out(site: str, issuer: str, member: Member) -> None:
    # Cookies know no ports: the site's and the provider's live in one browser.
    browser = member.browser
    assert browser.get(f"{site}/", timeout=10).text == "nobody"
    begin = browser.get(f"{site}/oidc/authenticate/", allow_redirects=False, timeout=10)
    answer = agree(browser, begin.headers["Location"])
    assert answer.startswith(f"{site}/oidc/callback/?")
    email, access = browser.get(answer, timeout=10).text.split()
    assert email == member.user.email
    assert signed_in(issuer, access)

    # Its session is renewed silently (prompt=none) once the ID token has expired.
    browser.get(f"{site}/refresh-now", timeout=10)
    email, renewed = browser.get(f"{site}/", timeout=10).text.split()
    assert (email, renewed != access) == (member.user.email, True)

    left = browser.post(f"{site}/oidc/logout/", timeout=10)
    assert (left.url.split("?")[0], left.text) == (f"{site}/", "nobody")
    assert not signed_in(issuer, access)
    assert not signed_in(issuer, renewed)
    # The provider's session is over as well: signing in again asks for a password.
    again = browser.get(f"{site}/oidc/authenticate/", timeout=10)
    assert again.url.startswith(f"{issuer}/accounts/login/")


def test_site_takes_no_code_twice_and_no_answer_to_another_browser(
    site: str, member: Member
) -> None:
    begin = member.browser.get(f"{site}/oidc/authenticate/", allow_redirects=False, timeout=10)
    answer = agree(member.browser, begin.headers["Location"])
    stranger = requests.Session()
    assert stranger.get(answer, timeout=10).status_code in {400, 403}
    assert stranger.get(f"{site}/", timeout=10).text == "nobody"
    assert member.browser.get(answer, timeout=10).text.startswith(member.user.email)
    assert member.browser.get(answer, timeout=10).status_code in {400, 403}


def test_person_who_is_no_member_is_refused(site: str, member: Member) -> None:
    browser = browser_of(factories.user())
    refused = browser.get(f"{site}/oidc/authenticate/", timeout=10)
    assert (refused.status_code, refused.text) == (403, "refused")
