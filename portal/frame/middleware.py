"""The language and the time zone of a page, and what HTMX needs of every answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from portal.frame.htmx import is_partial
from portal.handler import API_PREFIX
from tenants.models import User

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class LanguageMiddleware(LocaleMiddleware):
    """The language that the person has chosen, and the time zone for what people did; of somebody
    unknown the language that the cookie or the browser names, and UTC. The API speaks UTC.

    What happens at a facility is told in the facility's zone, which does not go by this.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Activate them."""
        if isinstance(request.user, User) and not request.path.startswith(API_PREFIX):
            timezone.activate(ZoneInfo(request.user.time_zone))
        else:
            timezone.deactivate()
        if isinstance(request.user, User) and request.user.language in dict(settings.LANGUAGES):
            translation.activate(request.user.language)
            cast(Any, request).LANGUAGE_CODE = translation.get_language()
        else:
            super().process_request(request)


class HtmxMiddleware:
    """Redirects of the whole page and toasts for requests of HTMX.

    The browser would follow a redirect by itself and HTMX would put the page behind it into a part
    of this one: the sign-in page into a table, when the session has ended.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, then adapt the answer."""
        response = self._get_response(request)
        patch_vary_headers(response, ["HX-Request"])
        if not is_partial(request):
            return response
        if response.status_code in _REDIRECTS:
            return _page_redirect(request, response)
        texts = [
            {"text": str(message), "tone": message.level_tag} for message in get_messages(request)
        ]
        if texts:
            events = _events(response.get("HX-Trigger", ""))
            response["HX-Trigger"] = json.dumps({**events, "wattline:toasts": {"toasts": texts}})
        return response


def _events(header: str) -> dict[str, Any]:
    """What a view has asked for in `HX-Trigger`: an object, or names with commas between."""
    if header.startswith("{"):
        found: dict[str, Any] = json.loads(header)
        return found
    return {name.strip(): None for name in header.split(",") if name.strip()}


def _page_redirect(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    """The redirect for the page: to the sign-in page by loading this one again, which leads there
    and back."""
    signed_out = not request.user.is_authenticated
    answer = HttpResponse(status=200)
    answer["HX-Refresh" if signed_out else "HX-Redirect"] = (
        "true" if signed_out else response["Location"]
    )
    answer.cookies = response.cookies
    answer["HX-Reswap"] = "none"
    patch_vary_headers(answer, ["HX-Request", "Cookie"])
    return answer
