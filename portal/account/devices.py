"""Which browser somebody uses: in words, and whether the account has been used in it before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

COOKIE: Final = "wattline_device"
_SALT: Final = "wattline-device"
# Browsers keep no cookie longer than 400 days.
MAX_AGE_S: Final = 400 * 86_400
# Somebody who signs many people in with one browser is asked to look at a notice now and then.
MAX_PEOPLE: Final = 20

# The first that occurs in the user agent counts: most browsers name others, too.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
PHONES: Final = frozenset({"iPhone", "iPad", "Android"})


@dataclass(frozen=True, slots=True)
class Device:
    """What a user agent tells; empty where it tells nothing known."""

    browser: str
    system: str

    @property
    def is_phone(self) -> bool:
        """Whether it is a phone or a tablet."""
        return self.system in PHONES

    def __str__(self) -> str:
        if self.browser and self.system:
            return _("%(browser)s on %(system)s") % {
                "browser": self.browser,
                "system": self.system,
            }
        return self.browser or self.system or _("Unknown device")


def describe(user_agent: str) -> Device:
    """The device behind a user agent (RFC 9110, section 10.1.5)."""
    return Device(_first(user_agent, _BROWSERS), _first(user_agent, _SYSTEMS))


def _first(user_agent: str, known: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in known if mark in user_agent), "")


def is_known(request: HttpRequest, user_id: int) -> bool:
    """Whether this browser has been signed in as `user_id` before."""
    return user_id in _people(request)


def remember(request: HttpRequest, response: HttpResponseBase, user_id: int) -> None:
    """Let the browser be known from now on.

    The cookie opens nothing: whoever has it is spared a notice. It is signed, so that the answer to
    a made-up one tells nobody which accounts exist.
    """
    people = [known for known in _people(request) if known != user_id][-MAX_PEOPLE + 1 :]
    value = signing.dumps({"id": uuid4().hex, "people": [*people, user_id]}, salt=_SALT)
    response.set_cookie(
        COOKIE,
        value,
        max_age=MAX_AGE_S,
        httponly=True,
        secure=request.is_secure(),
        samesite="Lax",
    )


def _people(request: HttpRequest) -> list[int]:
    try:
        known = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=MAX_AGE_S)
    except signing.BadSignature:
        return []
    return list(known["people"])
