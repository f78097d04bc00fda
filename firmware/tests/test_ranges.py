"""Which bytes a `Range` header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.artifacts.ranges import Span, UnsatisfiableRange, span_of


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=90-1000000", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes= 5-9 ", (5, 10)),
    ],
)
def test_one_range_is_served(header: str, span: tuple[int, int]) -> None:
    assert span_of(header, size=100) == Span(*span, 100)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=-", "bytes=9-5", "bytes=0-1,5-6", "items=0-5", "bytes=a-b", "0-5"],
)
def test_what_is_no_single_range_gets_the_whole_file(header: str | None) -> None:
    assert span_of(header, size=100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(UnsatisfiableRange) as raised:
        span_of(header, size=100)
    assert raised.value.content_range == "bytes */100"


def test_if_range_serves_parts_of_this_very_file_alone() -> None:
    part = Span(5, 100, 100)
    assert span_of("bytes=5-", size=100, if_range='"abc"', etag='"abc"') == part
    assert span_of("bytes=5-", size=100, if_range='"abd"', etag='"abc"') is None
    assert span_of("bytes=5-", size=100, if_range='W/"abc"', etag='"abc"') is None
    date = "Sun, 01 Mar 2026 12:00:00 GMT"
    assert span_of("bytes=5-", size=100, if_range=date, etag='"abc"') is None


@given(
    st.integers(1, 2**50), st.text(max_size=40) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True)
)
def test_parts_lie_inside_the_file(size: int, header: str) -> None:
    try:
        span = span_of(header, size=size)
    except UnsatisfiableRange:
        return
    if span is not None:
        assert 0 <= span.start < span.end <= size
        assert span.content_range == f"bytes {span.start}-{span.end - 1}/{size}"
