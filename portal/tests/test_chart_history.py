"""The past of a page's charts: what `read_series` says, as columns, and only what is the page's."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytest_django import DjangoDbBlocker

from devices.domain import history as domain
from devices.domain.series import ChannelFacts, ChannelSeries, SeriesResult, read_series
from devices.protocol.data import Block, encode_data
from devices.telemetry.periods import Reason, Resolution
from devices.telemetry.series import Curve, Periods
from devices.tests import factories
from devices.tests.factories import START, Park
from portal.charts import history as charts
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(databases=["default", "owner"])

START_MS = int(START.timestamp()) * 1000
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def parks(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Park, Park]]:
    """Ours and another's, committed once; ours has an hour of readings with a gap."""
    with django_db_blocker.unblock():
        ours, theirs = factories.park(), factories.park()
        device = ours.branches[0].device
        times = START_MS + 60_000 + np.arange(1_000) * 2_000
        times = np.delete(times, np.arange(300, 400))
        values = np.stack([np.arange(900) * 7 - 3_000, 23_000 + np.arange(900) % 50])
        body = encode_data(9, [Block(times, (0, 1), values)])
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "INSERT INTO telemetry_frame VALUES (%s, %s, %s, 9, %s, %s, 1800, %s)",
                [
                    START + timedelta(hours=1), device.tenant_id, device.pk,
                    START + timedelta(minutes=1), START + timedelta(minutes=35), body,
                ],
            )  # fmt: skip
        yield ours, theirs
        factories.remove_everything()


@pytest.fixture
def client(parks: tuple[Park, Park]) -> Client:
    """Our manager in a browser."""
    signed_in = Client()
    signed_in.force_login(parks[0].manager)
    return signed_in


def _asked(park: Park, **more: str) -> dict[str, str]:
    device = park.branches[0].device.pk
    return {
        "channels": f"{device}.0,{device}.1",
        "from": str(START_MS),
        "to": str(START_MS + HOUR_MS),
    } | more


def _columns(body: bytes) -> tuple[dict[str, Any], list[dict[str, NDArray[Any]]]]:
    """Head and columns of an answer, read as its description says."""
    (length,) = struct.unpack_from("<I", body)
    assert (4 + length) % 8 == 0
    head = json.loads(body[4 : 4 + length])
    columns = []
    for channel in head["channels"]:
        columns.append(
            {
                name: np.frombuffer(body, f"<{kind}", count, 4 + length + place)
                for name, (kind, place, count) in channel["columns"].items()
            }
        )
    return head, columns


def test_readings_are_those_of_read_series(client: Client, parks: tuple[Park, Park]) -> None:
    device = parks[0].branches[0].device
    answer = client.get(reverse("device-history", args=[device.pk]), _asked(parks[0]))
    assert (answer.status_code, answer["Content-Type"]) == (200, charts.MEDIA_TYPE)
    head, columns = _columns(answer.content)
    assert (head["resolution"], head["reason"]) == ("raw", "short")
    assert [(one["device"], one["number"]) for one in head["channels"]] == [
        (device.pk, 0), (device.pk, 1),
    ]  # fmt: skip
    with open_scope(parks[0].scope):
        found = read_series(
            channels=[(device.pk, 0), (device.pk, 1)], start=START, end=START + timedelta(hours=1)
        )
    for channel, column, expected in zip(head["channels"], columns, found.channels, strict=True):
        assert expected.curve is not None
        assert len(expected.curve.times) > 900
        assert (head["start"] + column["time"].astype(np.int64)).tolist() == (
            expected.curve.times.tolist()
        )
        numerator, denominator = channel["scale"]
        values = column["value"].astype(np.float64) * numerator / denominator
        assert values.tolist() == expected.curve.values.tolist()
        assert column["gap"].tolist() == np.flatnonzero(expected.curve.gap_before).tolist()
        assert len(column["gap"]) > 0


@pytest.mark.parametrize("resolution", ["quarter", "hour", "day", "month"])
def test_periods_are_those_of_read_series(
    client: Client, parks: tuple[Park, Park], resolution: str
) -> None:
    facility, device = parks[0].branches[0].facility, parks[0].branches[0].device
    answer = client.get(
        reverse("facility-history", args=[facility.pk]), _asked(parks[0], resolution=resolution)
    )
    head, columns = _columns(answer.content)
    assert head["resolution"] == resolution
    with open_scope(parks[0].scope):
        found = read_series(
            channels=[(device.pk, 0), (device.pk, 1)],
            start=START,
            end=START + timedelta(hours=1),
            resolution=Resolution(resolution),
        )
    for column, expected in zip(columns, found.channels, strict=True):
        periods = expected.periods
        assert periods is not None
        assert len(periods.starts) > 0
        assert (head["start"] + column["begin"].astype(np.int64) * 1000).tolist() == (
            periods.starts.tolist()
        )
        assert (head["start"] + column["end"].astype(np.int64) * 1000).tolist() == (
            periods.ends.tolist()
        )
        for name in ("minimum", "maximum", "mean", "last", "energy", "returned"):
            values = getattr(periods, name)
            assert (name in column) == (not np.isnan(values).all())
            if name in column:
                np.testing.assert_array_equal(column[name], values)


def test_few_points_are_asked_for(client: Client, parks: tuple[Park, Park]) -> None:
    device = parks[0].branches[0].device.pk
    answer = client.get(
        reverse("device-history", args=[device]),
        _asked(parks[0], points="40", resolution="raw", channels=f"{device}.0"),
    )
    _head, (column,) = _columns(answer.content)
    assert 10 <= len(column["time"]) <= 40


def test_an_answer_that_the_browser_has_is_not_sent_again(
    client: Client, parks: tuple[Park, Park]
) -> None:
    device = parks[0].branches[0].device
    address = reverse("device-history", args=[device.pk])
    first = client.get(address, _asked(parks[0]))
    assert first["Cache-Control"] == "private, no-cache"
    again = client.get(address, _asked(parks[0]), headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    packed = client.get(address, _asked(parks[0]), headers={"Accept-Encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == first.content
    assert len(packed.content) < len(first.content)
    assert {"Accept-Encoding", "Cookie"} <= set(packed["Vary"].split(", "))
    later = client.get(
        address, _asked(parks[0], to=str(START_MS + 2 * HOUR_MS)),
        headers={"If-None-Match": first["ETag"]},
    )  # fmt: skip
    assert later.status_code == 200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": ""}, "Name the channels as device.number"),
        ({"channels": "1.0;drop"}, "Name the channels as device.number"),
        ({"channels": "٣.0"}, "Name the channels as device.number"),
        ({"from": ""}, "Give from and to in milliseconds"),
        ({"to": "tomorrow"}, "Give from and to in milliseconds"),
        ({"to": "99999999999999"}, "Give an instant between the years 1971 and 2100"),
        ({"to": str(START_MS)}, "The period is empty"),
        ({"points": "many"}, "Give the number of points in digits"),
        ({"resolution": "week"}, "There is no such resolution: choose one of raw, quarter"),
        ({"resolution": "raw", "from": "1600000000000"}, "ask for a shorter period"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_so(
    client: Client, parks: tuple[Park, Park], change: dict[str, str], says: str
) -> None:
    device = parks[0].branches[0].device
    answer = client.get(reverse("device-history", args=[device.pk]), _asked(parks[0], **change))
    assert answer.status_code == 400
    assert says in answer.json()["text"]


def test_too_many_channels_are_refused(client: Client, parks: tuple[Park, Park]) -> None:
    device = parks[0].branches[0].device.pk
    many = ",".join(f"{device}.{number}" for number in range(domain.MOST_CHANNELS + 1))
    answer = client.get(reverse("device-history", args=[device]), _asked(parks[0], channels=many))
    assert (answer.status_code, answer.json()) == (
        400, {"text": f"Ask for at most {domain.MOST_CHANNELS} channels at once."},
    )  # fmt: skip


def test_channels_of_another_page_are_not_found(client: Client, parks: tuple[Park, Park]) -> None:
    own, other = parks[0].branches
    foreign = parks[1].branches[0].device.pk
    for channels in (f"{other.device.pk}.0", f"{own.device.pk}.0,{other.device.pk}.0",
                     f"{foreign}.0", f"{own.device.pk}.99"):  # fmt: skip
        asked = _asked(parks[0], channels=channels)
        for route, key in (
            ("device-history", own.device.pk),
            ("facility-history", own.facility.pk),
        ):
            answer = client.get(reverse(route, args=[key]), asked)
            assert (channels, answer.status_code) == (channels, 404)


def test_a_consumer_gets_the_own_facility_and_no_other(parks: tuple[Park, Park]) -> None:
    ours = parks[0]
    signed_in = Client()
    signed_in.force_login(ours.consumer(0))
    statuses = [
        signed_in.get(
            reverse("facility-history", args=[branch.facility.pk]),
            _asked(ours, channels=f"{branch.device.pk}.0"),
        ).status_code
        for branch in (*ours.branches, parks[1].branches[0])
    ]
    assert statuses == [200, 404, 404]


def test_a_narrowed_member_gets_no_other_facility(parks: tuple[Park, Park]) -> None:
    ours = parks[0]
    with open_scope(ours.scope):
        member = factories.member(ours.tenant, Role.MANAGER)
        member.narrowed = True
        member.save(update_fields=["narrowed"])
    signed_in = Client()
    signed_in.force_login(member.user)
    for route, subject in (
        ("facility-history", ours.branches[0].facility),
        ("device-history", ours.branches[0].device),
    ):
        assert signed_in.get(reverse(route, args=[subject.pk]), _asked(ours)).status_code == 404


@pytest.mark.parametrize("count", [1, 2])
def test_an_answer_takes_a_fixed_number_of_queries(parks: tuple[Park, Park], count: int) -> None:
    branch = parks[0].branches[0]
    with open_scope(Scope((parks[0].tenant.pk,))), CaptureQueriesContext(connection) as queries:
        domain.facility_history(
            facility_id=branch.facility.pk,
            channels=[(branch.device.pk, number) for number in range(count)],
            start=START,
            end=START + timedelta(days=30),
        )
    assert len(queries) == 2


# --- columns ------------------------------------------------------------------------------------

_numbers = st.floats(allow_nan=True, allow_infinity=False, width=32)
_FACTS = ChannelFacts(
    1, 2, 3, 4, "p", "Power", "active_power", "W", Decimal("0.1"), 2_000, "Europe/Berlin"
)


def _result(*found: ChannelSeries) -> SeriesResult:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return SeriesResult(
        start, start + timedelta(days=400), Resolution.RAW, Reason.ASKED, None, found
    )


@given(
    raw=st.lists(st.integers(-(2**40), 2**40), max_size=20),
    step=st.sampled_from([1, 2_000, 400_000_000]),
)
def test_a_curve_comes_back_as_it_was(raw: list[int], step: int) -> None:
    times = 1_767_225_600_000 + np.arange(len(raw), dtype=np.int64) * step
    values = np.array(raw, np.float64) / 10
    gaps = np.arange(len(raw)) % 3 == 1
    head, (column,) = _columns(
        charts.packed(_result(ChannelSeries(_FACTS, curve=Curve(times, values, gaps))))
    )
    assert (head["start"] + column["time"].astype(np.int64)).tolist() == times.tolist()
    assert (column["value"].astype(np.float64) / 10).tolist() == values.tolist()
    assert column["gap"].tolist() == np.flatnonzero(gaps).tolist()


@given(columns=st.lists(st.tuples(*[_numbers] * 7), min_size=1, max_size=20))
def test_periods_come_back_as_they_were(columns: list[tuple[float, ...]]) -> None:
    minimum, maximum, mean, first, last, energy, returned = np.array(columns).T
    starts = 1_767_225_600_000 + np.arange(len(columns), dtype=np.int64) * 900_000
    whole = np.ones(len(columns), np.int64)
    periods = Periods(
        starts,
        starts + 900_000,
        whole,
        minimum,
        maximum,
        mean,
        first,
        last,
        energy,
        returned,
        np.ones(len(columns)),
        whole > 1,
    )
    body = charts.packed(_result(ChannelSeries(_FACTS, periods=periods)))
    head, (found,) = _columns(body)
    assert (head["start"] + found["begin"].astype(np.int64) * 1000).tolist() == starts.tolist()
    for name in ("minimum", "maximum", "mean", "last", "energy", "returned"):
        expected = getattr(periods, name)
        if name in found:
            np.testing.assert_array_equal(found[name], expected)
        else:
            assert np.isnan(expected).all()


def test_equal_columns_are_sent_once() -> None:
    times = 1_767_225_600_000 + np.arange(1_000, dtype=np.int64) * 2_000
    curve = Curve(times, np.arange(1_000) / 10, np.zeros(1_000, np.bool_))
    one = charts.packed(_result(ChannelSeries(_FACTS, curve=curve)))
    eight = charts.packed(_result(*[ChannelSeries(_FACTS, curve=curve)] * 8))
    assert len(eight) - len(one) < 7 * 200


@given(raw=st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=20), late=st.integers(0, 19))
def test_what_is_corrected_or_comes_late_changes_the_validator(raw: list[int], late: int) -> None:
    def tag(of: list[int]) -> str:
        times = 1_767_225_600_000 + np.arange(len(of), dtype=np.int64) * 2_000
        curve = Curve(times, np.array(of) / 10, np.zeros(len(of), np.bool_))
        return charts.etag_of(charts.packed(_result(ChannelSeries(_FACTS, curve=curve))))

    assert tag(raw) == tag(list(raw))
    assert tag(raw) != tag([*raw, 0])
    place = late % len(raw)
    assert tag(raw) != tag([*raw[:place], raw[place] + 1, *raw[place + 1 :]])
