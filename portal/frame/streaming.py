"""Answers that are made while they are sent, whatever their length, in little memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

from channels.db import database_sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

Place = TypeVar("Place")


class Chunks(Generic[Place]):
    """A text, or bytes, in chunks: `read(place)` gives one and the place behind it, None at the
    end.

    Each call is a transaction of its own, in whatever thread is free: `read` opens its scope
    itself, since that of the request has closed when the first chunk is sent.
    """

    def __init__(self, read: Callable[[Place | None], tuple[str | bytes, Place | None]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        place: Place | None = None
        while True:
            text, place = self._read(place)
            yield text if isinstance(text, bytes) else text.encode()
            if place is None:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = database_sync_to_async(self._read, thread_sensitive=False)
        place: Place | None = None
        while True:
            text, place = await read(place)
            yield text if isinstance(text, bytes) else text.encode()
            if place is None:
                return


def stream(
    request: HttpRequest, chunks: Chunks[Place], *, content_type: str, file_name: str
) -> StreamingHttpResponse:
    """A file for download, sent as it is made."""
    asynchronous = isinstance(request, ASGIRequest)
    content = aiter(chunks) if asynchronous else iter(chunks)
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = str(content_disposition_header(True, file_name))
    return response
