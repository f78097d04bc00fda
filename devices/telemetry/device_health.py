"""What is stored of how well devices do: values that arrived, connections, resets, error lines.

For many devices over some spans of time, a statement each. Every function takes an open Django
connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from devices.protocol.codes import LogLevel

# The word of a device about a planned reboot may arrive this much after it is back.
_WORD_IS_LATE: Final = timedelta(minutes=5)
# A boot count that jumps by more was set anew.
_MOST_RESETS: Final = 100


class HealthSpan(NamedTuple):
    """What began in [starts_at, ends_at); `past` tells the time before from the time after."""

    starts_at: datetime
    ends_at: datetime
    past: bool


@dataclass(frozen=True, slots=True)
class HealthCount:
    """So many of a device, in the past (`hour` None) or in an hour after it."""

    device_id: int
    hour: datetime | None
    count: int


@dataclass(frozen=True, slots=True)
class UsualHours:
    """Of the whole hours of the past: values that arrived, the median of an hour, the first one."""

    device_id: int
    values: int
    median: float
    first: datetime


_SPAN: Final = sql.SQL("""
SELECT * FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(past)s::boolean[])
  AS span(starts_at, ends_at, past)
""")
_USUAL: Final = sql.SQL("""
WITH span AS MATERIALIZED ({span})
SELECT l.device_id, sum(l.stored_values)::bigint,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY l.stored_values), min(l.hour)
FROM ledger_hour l
JOIN span s ON l.hour >= s.starts_at AND l.hour + interval '1 hour' <= s.ends_at AND s.past
WHERE l.device_id = ANY(%(devices)s) AND l.hour >= %(first)s AND l.hour < %(last)s
GROUP BY l.device_id
""").format(span=_SPAN)
_HOURS: Final = sql.SQL("""
WITH span AS MATERIALIZED ({span})
SELECT l.device_id, l.hour, l.stored_values
FROM ledger_hour l
JOIN span s ON l.hour >= s.starts_at AND l.hour + interval '1 hour' <= s.ends_at AND NOT s.past
WHERE l.device_id = ANY(%(devices)s) AND l.hour >= %(first)s AND l.hour < %(last)s
""").format(span=_SPAN)
# A reboot that was asked for, or that installs firmware, is none that happened to the device.
_CONNECTIONS: Final = sql.SQL("""
WITH span AS MATERIALIZED ({span}),
planned AS MATERIALIZED (
  SELECT device_id, occurred_at AS at FROM device_event
  WHERE device_id = ANY(%(devices)s) AND kind = 'firmware.installing'
    AND received_at >= %(first)s AND received_at < %(last)s
  UNION ALL
  SELECT device_id, answered_at FROM devices_command
  WHERE device_id = ANY(%(devices)s) AND kind = 'reboot' AND state = 'succeeded'
    AND answered_at >= %(first)s AND answered_at < %(last)s
), seen AS MATERIALIZED (
  SELECT device_id, received_at, lag(received_at) OVER following AS before,
    (data ->> 'boot_count')::bigint - lag((data ->> 'boot_count')::bigint) OVER following AS boots
  FROM device_event
  WHERE device_id = ANY(%(devices)s) AND kind = 'connected'
    AND received_at >= %(first)s AND received_at < %(last)s
  WINDOW following AS (PARTITION BY device_id ORDER BY received_at)
), told AS (
  SELECT s.device_id, s.received_at, s.boots, EXISTS (
    SELECT FROM planned p WHERE p.device_id = s.device_id
      AND p.at > coalesce(s.before, %(first)s) AND p.at <= s.received_at + %(late)s) AS planned
  FROM seen s
)
SELECT t.device_id, CASE WHEN s.past THEN NULL ELSE date_trunc('hour', t.received_at) END,
  count(*) FILTER (WHERE NOT t.planned),
  coalesce(sum(greatest(0, t.boots - t.planned::int)) FILTER (WHERE t.boots <= %(most)s), 0)::bigint
FROM told t JOIN span s ON t.received_at >= s.starts_at AND t.received_at < s.ends_at
GROUP BY 1, 2
""").format(span=_SPAN)
_ERRORS: Final = sql.SQL("""
WITH span AS MATERIALIZED ({span})
SELECT l.device_id, CASE WHEN s.past THEN NULL ELSE date_trunc('hour', l.received_at) END,
  count(DISTINCT date_trunc('minute', l.logged_at))
FROM device_log l JOIN span s ON l.received_at >= s.starts_at AND l.received_at < s.ends_at
WHERE l.device_id = ANY(%(devices)s) AND l.level >= %(level)s
  AND l.received_at >= %(first)s AND l.received_at < %(last)s
GROUP BY 1, 2
""").format(span=_SPAN)
_BEHIND: Final = """
SELECT c.device_id FROM device_cursor c LEFT JOIN rollup_progress p USING (device_id)
WHERE c.device_id = ANY(%(devices)s) AND c.last_sample_at >= %(until)s
  AND coalesce(p.sampled_at < %(until)s, true)
"""


def usual_hours(
    connection: BaseDatabaseWrapper, devices: Sequence[int], spans: Sequence[HealthSpan]
) -> list[UsualHours]:
    """What arrived in the whole hours of the past; devices of which nothing did are left out."""
    return [UsualHours(*row) for row in _rows(connection, _USUAL, devices, spans)]


def hourly_values(
    connection: BaseDatabaseWrapper, devices: Sequence[int], spans: Sequence[HealthSpan]
) -> list[HealthCount]:
    """How many values arrived in each whole hour after the past; hours without any are left out."""
    return [HealthCount(*row) for row in _rows(connection, _HOURS, devices, spans)]


def connections_and_resets(
    connection: BaseDatabaseWrapper, devices: Sequence[int], spans: Sequence[HealthSpan]
) -> tuple[list[HealthCount], list[HealthCount]]:
    """How often devices connected, and how often they were reset, planned reboots left out.

    Resets are told by the boot count of two connections that follow each other.
    """
    rows = _rows(connection, _CONNECTIONS, devices, spans, late=_WORD_IS_LATE, most=_MOST_RESETS)
    return (
        [HealthCount(device, hour, connected) for device, hour, connected, _ in rows],
        [HealthCount(device, hour, resets) for device, hour, _, resets in rows],
    )


def error_minutes(
    connection: BaseDatabaseWrapper, devices: Sequence[int], spans: Sequence[HealthSpan]
) -> list[HealthCount]:
    """In how many minutes devices logged an error or worse: a burst of lines is one trouble."""
    rows = _rows(connection, _ERRORS, devices, spans, level=int(LogLevel.ERROR))
    return [HealthCount(*row) for row in rows]


def behind_in_rollups(
    connection: BaseDatabaseWrapper, devices: Sequence[int], until: datetime
) -> frozenset[int]:
    """Devices that have reported what was measured by `until` and are not rolled up so far."""
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, {"devices": list(devices), "until": until})
        return frozenset(row[0] for row in cursor.fetchall())


def _rows(
    connection: BaseDatabaseWrapper,
    query: sql.Composed,
    devices: Sequence[int],
    spans: Sequence[HealthSpan],
    **further: Any,
) -> list[tuple[Any, ...]]:
    parameters: dict[str, Any] = {
        "devices": list(devices),
        "starts": [span.starts_at for span in spans],
        "ends": [span.ends_at for span in spans],
        "past": [span.past for span in spans],
        "first": min(span.starts_at for span in spans),
        "last": max(span.ends_at for span in spans),
        **further,
    }
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
