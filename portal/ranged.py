"""Files of the artifact store over HTTP: whole or in parts, in pieces, in little memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from firmware.artifacts import store
from firmware.artifacts.ranges import Span, UnsatisfiableRange, span_of

_PIECE: Final = 256 * 1024
_TYPE: Final = "application/octet-stream"


def entity_tag(sha256: str) -> str:
    """The entity tag of a file: its digest."""
    return f'"{sha256}"'


def asked_for(request: HttpRequest, *, sha256: str, size: int) -> Span:
    """The part of the file that a request asks for; raises UnsatisfiableRange."""
    part = span_of(
        request.headers.get("Range"),
        size=size,
        if_range=request.headers.get("If-Range"),
        etag=entity_tag(sha256),
    )
    return part or Span(0, size, size)


def serve(request: HttpRequest, *, sha256: str, size: int, name: str) -> HttpResponseBase:
    """The answer to GET or HEAD: 200, 206, 304, 412 or 416, with the file under `name`.

    Raises ArtifactMissingError.
    """
    etag = entity_tag(sha256)
    if not _matches(request.headers.get("If-Match"), etag, otherwise=True):
        return _headed(HttpResponse(status=HTTPStatus.PRECONDITION_FAILED), etag)
    if _matches(request.headers.get("If-None-Match"), etag, otherwise=False):
        return _headed(HttpResponse(status=HTTPStatus.NOT_MODIFIED), etag)
    try:
        part = asked_for(request, sha256=sha256, size=size)
    except UnsatisfiableRange as error:
        response = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        response["Content-Range"] = error.content_range
        return _headed(response, etag)
    whole = part.length == size
    status = HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT
    answer: HttpResponseBase
    if request.method == "HEAD":
        answer = HttpResponse(status=status, content_type=_TYPE)
    else:
        pieces = _Pieces(sha256, part)
        content = aiter(pieces) if isinstance(request, ASGIRequest) else iter(pieces)
        answer = StreamingHttpResponse(content, status=status, content_type=_TYPE)
    if not whole:
        answer["Content-Range"] = part.content_range
    answer["Content-Length"] = str(part.length)
    answer["Content-Disposition"] = str(content_disposition_header(True, name))
    return _headed(answer, etag)


class _Pieces:
    """A part of a file, piece by piece; an asynchronous server reads them in threads."""

    def __init__(self, sha256: str, part: Span) -> None:
        self._sha256 = sha256
        self._at, self._end = part.start, part.end
        if not store.exists(sha256):
            raise store.ArtifactMissingError(f"the store has no file {sha256}")

    def _read(self) -> bytes:
        piece = store.part(self._sha256, self._at, min(_PIECE, self._end - self._at))
        self._at += len(piece)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        while self._at < self._end and (piece := self._read()):
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = sync_to_async(self._read, thread_sensitive=False)
        while self._at < self._end and (piece := await read()):
            yield piece


def _matches(header: str | None, etag: str, *, otherwise: bool) -> bool:
    """Whether a list of entity tags holds this one; `otherwise` where there is no list."""
    if header is None:
        return otherwise
    return header.strip() == "*" or etag in [word.strip() for word in header.split(",")]


def _headed(response: HttpResponseBase, etag: str) -> HttpResponseBase:
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    return response
