"""HTMX: which requests ask for a part of a page, and answers that a page follows.

Redirects and messages need nothing from a view: `portal.frame.middleware` turns a redirect that
HTMX would follow unseen into one of the whole page, and sends messages along as toasts.
"""

from __future__ import annotations

from django.http import HttpRequest


def is_partial(request: HttpRequest) -> bool:
    """Whether HTMX asks, and so wants a part of the page. Not for a page restored by "back"."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers


def target(request: HttpRequest) -> str:
    """The id of the element that the answer is put into; empty for an ordinary request."""
    return request.headers.get("HX-Target", "") if is_partial(request) else ""
