"""Parts of a file by HTTP (RFC 9110, section 14): which bytes a request is to get. Values alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ONE: Final = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*\Z", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes [start, end) of a file of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The header field of a 206."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


class UnsatisfiableRange(Exception):  # noqa: N818 - it reads as what happened
    """The file ends before the part that is asked for."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.content_range: Final = f"bytes */{size}"


def span_of(
    header: str | None, *, size: int, if_range: str | None = None, etag: str = ""
) -> Span | None:
    """The part that a `Range` header asks for; None for the whole file. `size` is above 0.

    One range is served, also a suffix; several at once, and what is no range, are answered with the
    whole file, as RFC 9110 allows. With `If-Range` the part is served only to whoever has the
    beginning of this very file: a date never says so. Raises UnsatisfiableRange.
    """
    match = _ONE.match(header.strip()) if header else None
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        count = int(last)
        if count == 0:
            raise UnsatisfiableRange(size)
        return Span(max(0, size - count), size, size)
    start = int(first)
    end = int(last) + 1 if last else size
    if last and end <= start:
        return None
    if start >= size:
        raise UnsatisfiableRange(size)
    return Span(start, min(end, size), size)
