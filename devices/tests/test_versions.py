"""Versions of firmware: precedence as semver.org has it, and ranges."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.versions import Range, Version, VersionError

# The examples of section 11 of the specification, and what lies around them.
ASCENDING = (
    *("0.9.9", "1.0.0-0", "1.0.0-9", "1.0.0-10", "1.0.0--", "1.0.0-alpha", "1.0.0-alpha.1"),
    *("1.0.0-alpha.beta", "1.0.0-alpha-a", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
    *("1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "10.0.0"),
)

_WORD = st.from_regex(r"\A[0-9]*[a-zA-Z-][0-9a-zA-Z-]{0,4}\Z")
_PART = st.one_of(st.integers(0, 999).map(str), _WORD)
_NUMBER = st.integers(0, 12)
VERSIONS = st.builds(Version, _NUMBER, _NUMBER, _NUMBER, st.lists(_PART, max_size=3).map(tuple))


def _precedence(version: Version) -> tuple[object, ...]:
    """Section 11 as tuples: numbers below words, fewer parts below more, none above all."""
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in version.pre)
    return version.major, version.minor, version.patch, not version.pre, parts


def test_precedence_is_that_of_the_specification() -> None:
    versions = [Version.parse(text) for text in ASCENDING]

    assert all(one < other for one, other in pairwise(versions))
    assert [str(version) for version in versions] == list(ASCENDING)


@given(VERSIONS, VERSIONS)
def test_keys_sort_as_versions_do(one: Version, other: Version) -> None:
    assert (one.key < other.key) == (_precedence(one) < _precedence(other))
    assert Version.parse(str(one)) == one


def test_build_metadata_says_nothing_of_precedence() -> None:
    assert Version.parse("1.4.0+a").key == Version.parse("1.4.0+b.2").key
    assert str(Version.parse("1.4.0-rc.1+b.2")) == "1.4.0-rc.1+b.2"


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+",
     " 1.2.3", "1.2.3\n", "99999999999.0.0", "1.2.3-" + "a" * 64, "١.2.3"],
)  # fmt: skip
def test_what_is_no_version_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(VersionError, match=r"major\.minor\.patch"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("", ["0.0.1", "9.9.9"], []),
        ("*", ["1.0.0-rc.1"], []),
        (">=1.2,<2", ["1.2.0", "1.2.0-rc.1", "1.99.0"], ["1.1.9", "2.0.0-rc.1", "2.0.0"]),
        ("<2.0.0", ["1.9.9", "2.0.0-rc.1"], ["2.0.0"]),
        (">1.2", ["1.3.0", "1.3.0-a"], ["1.2.9", "1.2.0"]),
        (">1.2.0", ["1.2.1", "1.3.0-a"], ["1.2.0", "1.2.0-rc.1"]),
        ("<=1.2", ["1.2.99", "1.0.0"], ["1.3.0-a", "1.3.0"]),
        ("=1.2", ["1.2.0", "1.2.7"], ["1.3.0", "1.1.9"]),
        ("1.4.0", ["1.4.0", "1.4.0+x"], ["1.4.1", "1.4.0-rc.1"]),
        ("== 1", ["1.0.0", "1.9.0"], ["2.0.0-a", "0.9.0"]),
        ("!=1.4.0, >=1.4", ["1.4.1"], ["1.4.0"]),
    ],
)
def test_ranges_hold_what_they_say(text: str, inside: list[str], outside: list[str]) -> None:
    wanted = Range.parse(text)

    assert [one for one in inside + outside if wanted.holds(Version.parse(one))] == inside
    assert Range.parse(str(wanted)) == wanted


def test_a_device_that_tells_no_version_is_in_no_range_but_that_of_all() -> None:
    assert Range.parse("*").holds_text("unknown")
    assert not Range.parse(">=0").holds_text("unknown")
    assert Range.parse(">=0").holds_text("0.0.1")


@pytest.mark.parametrize(
    "text", [">=", "1.2 1.3", "~1.2", ">=1.2,", "=>1", "1.x", ",".join("1" * 17)]
)
def test_what_is_no_range_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(VersionError, match="join comparisons by commas"):
        Range.parse(text)


@given(VERSIONS, VERSIONS)
def test_comparisons_of_full_versions_are_precedence(one: Version, bound: Version) -> None:
    key, limit = _precedence(one), _precedence(bound)
    expected = {">=": key >= limit, "<": key < limit, "=": key == limit, ">": key > limit}
    told = {operator: Range.parse(f"{operator}{bound}").holds(one) for operator in expected}
    assert told == expected
