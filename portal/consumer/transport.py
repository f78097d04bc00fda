"""How the consumer view reaches the provider: as an ordinary client of `requests`, whose transport
leads to the views of this very process.

The two are one installation. Over the network each sign-in would hold one worker and one database
connection while it waits for another of the same pools, so that a few at once could wait for each
other; the address that people use need not be reachable from here at all; and the exchange of a
refresh token could be lost between two transactions. Here the answer is made in the caller's
thread, connection and transaction. What is spoken stays HTTP: method, headers, form, status, JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.handlers.wsgi import WSGIRequest
from django.urls import resolve
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

# What the client may reach: the provider's endpoints for applications, no page.
ROUTES: Final = frozenset({"configuration", "jwks", "token", "revoke", "userinfo"})


class OutOfReach(Exception):  # noqa: N818 - it reads as what happened
    """The address is none of the provider's endpoints for applications."""


class InProcessAdapter(BaseAdapter):
    """A transport of `requests` that calls the provider's views."""

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer of the view that the address belongs to; raises OutOfReach."""
        del stream, timeout, verify, cert, proxies
        parts = urlsplit(request.url or "")
        found = resolve(parts.path)
        if found.app_names != ["oauth"] or found.url_name not in ROUTES:
            raise OutOfReach(f"{parts.path} is no endpoint for applications")
        inner = WSGIRequest(_environ(request))
        inner.resolver_match = found
        answer = found.func(inner, *found.args, **found.kwargs)
        response = Response()
        response.status_code = answer.status_code
        response.headers = CaseInsensitiveDict(answer.items())
        response.raw = BytesIO(answer.content)
        response.url = request.url or ""
        response.request = request
        response.encoding = "utf-8"
        return response

    def close(self) -> None:
        """Nothing is open."""


def _environ(request: PreparedRequest) -> dict[str, Any]:
    parts = urlsplit(request.url or "")
    body = request.body or b""
    assert isinstance(body, bytes | str)  # forms alone are sent, no streams
    content = body.encode() if isinstance(body, str) else body
    secure = parts.scheme == "https"
    environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": str(parts.port or (443 if secure else 80)),
        "HTTP_HOST": parts.netloc,
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": BytesIO(content),
        "CONTENT_LENGTH": str(len(content)),
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
    }
    if secure:
        environ["HTTP_X_FORWARDED_PROTO"] = "https"
    for name in ("Accept", "Authorization"):
        if name in request.headers:
            environ[f"HTTP_{name.upper()}"] = request.headers[name]
    return environ
