"""A payload, whole or in part, for whoever has a link to it."""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods

from devices.ingest.limits import BucketTable
from firmware.artifacts.ranges import UnsatisfiableRange
from firmware.artifacts.store import ArtifactMissingError
from firmware.domain import downloads
from firmware.domain.downloads import Download, DownloadEnded, DownloadRefused
from portal import ranged
from portal.api.problems import MEDIA_TYPE, problem
from portal.downloads import paced
from portal.downloads.sending import Sending

logger = logging.getLogger(__name__)

# What one process sends at once by one link: more than a device needs to resume after a break.
_AT_ONCE: Final = 4
_RETRY_S: Final = 30


# Requests by one link: a device that takes a few KB at a time gets by with one a second.
_REQUESTS_AT_ONCE: Final = 60
_REQUEST_EVERY_S: Final = 1.0

# The views run in several threads.
_lock = threading.Lock()
_requests = BucketTable(_REQUESTS_AT_ONCE, _REQUEST_EVERY_S)


_sending = Sending(_AT_ONCE)


@require_http_methods(["GET", "HEAD"])
def payload(request: HttpRequest, sha256: str) -> HttpResponseBase:
    """The payload that the link is good for: 200, 206, 304, 412 or 416; refusals as problems."""
    if not _asked(request):
        detail = "This link was asked for too often. Ask for larger parts, and less often."
        return _refused(HTTPStatus.TOO_MANY_REQUESTS, "too_often", detail)
    try:
        download = downloads.opened(sha256, request.GET)
    except DownloadRefused as error:
        ended = isinstance(error, DownloadEnded)
        status = HTTPStatus.GONE if ended else HTTPStatus.FORBIDDEN
        return _refused(status, error.code, str(error))
    if _sending.is_full(download.update_uid):
        detail = "This payload is being sent by this link already. Wait, or end those answers."
        return _refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many", detail)
    try:
        answer = ranged.serve(request, sha256=sha256, size=download.size, name=f"{sha256[:16]}.bin")
    except ArtifactMissingError:
        logger.exception("download.missing device=%d", download.device_id)
        detail = "The payload is not in the store at present. Try again later."
        return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "not_stored", detail)
    answer["Cache-Control"] = "private, no-store"
    if isinstance(answer, StreamingHttpResponse):
        _send(request, answer, download)
    return answer


def _asked(request: HttpRequest) -> bool:
    """Count one more request by the link; False when there are too many. Before the database is
    asked, so by what the request says of itself."""
    signature = request.GET.get("signature", "")[:64]
    with _lock:
        return not signature or _requests.take(signature, time.monotonic())


def _send(request: HttpRequest, answer: StreamingHttpResponse, download: Download) -> None:
    """Pace the answer, tell the roll-out how far it is, and count it until it has ended."""
    _sending.begin(download.update_uid, answer)
    start = _start(request, download)
    paced.pace(
        answer,
        pace=_sending.pace(download.update_uid, download.rate),
        size=download.size,
        tell=lambda sent: downloads.progressed(download, offset=start + sent),
    )


def _start(request: HttpRequest, download: Download) -> int:
    try:
        return ranged.asked_for(request, sha256=download.sha256, size=download.size).start
    except UnsatisfiableRange:
        return 0


def _refused(status: HTTPStatus, code: str, detail: str) -> JsonResponse:
    answer = JsonResponse(problem(status, code, detail), status=status, content_type=MEDIA_TYPE)
    answer["Cache-Control"] = "private, no-store"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        answer["Retry-After"] = str(_RETRY_S)
    return answer
