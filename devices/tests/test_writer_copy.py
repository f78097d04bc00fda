"""Binary formats, read back by PostgreSQL itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest

from devices.ingest import copy
from devices.tests.ingest_park import Endpoints, rows

EDGES = [0, 1, 946_684_800_000_000, 1_760_000_000_123_456, copy.LAST_US]


@pytest.fixture
def connection(servers: Endpoints, django_db_setup: None) -> psycopg.Connection:
    connection = psycopg.connect(servers.database_ingest_url, autocommit=True)
    copy.register(connection)
    return connection


def test_arrays_arrive_as_they_are(connection: psycopg.Connection) -> None:
    numbers = [0, -1, (1 << 63) - 1, -(1 << 63)]
    with connection:
        found = rows(
            connection,
            "SELECT array_agg(n ORDER BY i), array_agg((extract(epoch FROM t) * 1000000)::bigint"
            " ORDER BY i) FROM unnest(%s, %s) WITH ORDINALITY AS a (n, t, i)",
            copy.BigintArray([*numbers, 5]),
            copy.TimestampArray(EDGES),
        )
        assert found == [([*numbers, 5], EDGES)]
        empty = rows(
            connection,
            "SELECT %s = '{}', %s = '{}'",
            copy.BigintArray([]),
            copy.TimestampArray([]),
        )
        assert empty == [(True, True)]


def test_no_time_is_minus_infinity_and_any_other_time_is_taken(
    connection: psycopg.Connection,
) -> None:
    with connection:
        times = copy.TimestampArray([copy.NO_TIME, (1 << 63) - 1, -5])
        ((last,),) = rows(connection, "SELECT max(t) FROM unnest(%s) t", times)
        assert last == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
        found = rows(
            connection, "SELECT t = '-infinity', extract(year FROM t) FROM unnest(%s) t", times
        )
        assert [(low, int(year) if not low else None) for low, year in found] == [
            (True, None),
            (False, 9999),
            (False, 1970),
        ]


def test_frame_rows_of_any_length_are_one_copy() -> None:
    bodies = [b"", b"x", bytes(70_000)]
    n = np.arange(3)
    payload = copy.frame_rows(n, n, n, n, n, n, n.astype(np.uint32), bodies)
    heads = len(payload) - len(copy.COPY_HEAD) - len(copy.COPY_END) - sum(map(len, bodies))
    assert heads == 3 * (2 + 6 * 12 + 8 + 4)
    empty = copy.frame_rows(n[:0], n[:0], n[:0], n[:0], n[:0], n[:0], n[:0].astype(np.uint32), [])
    assert empty == copy.COPY_HEAD + copy.COPY_END
