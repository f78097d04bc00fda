"""The log and the history of a device page by page, and what it delivered.

A page begins below the place where the one before ended: a line is met once, however many come
meanwhile. Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

MAX_LINES: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Far beyond any line: where the first page begins.
_NEWEST: Final = datetime(9999, 1, 1, tzinfo=UTC)

Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the firmware logged; `level` as in the protocol's LOG message."""

    received_at: datetime
    logged_at: datetime
    level: int
    line: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a device; without a sequence number the system says so."""

    received_at: datetime
    occurred_at: datetime
    sequence: int | None
    kind: str
    data: dict[str, Any]


class Place(NamedTuple):
    """Where a page ended: its last line. `kind` is empty for a log."""

    received_at: datetime
    sequence: int
    kind: str

    def __str__(self) -> str:
        microseconds = (self.received_at - _EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}.{self.sequence}.{self.kind}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """The place of its text; None when the text is none."""
        microseconds, _, rest = text.partition(".")
        sequence, _, kind = rest.partition(".")
        try:
            received_at = _EPOCH + timedelta(microseconds=int(microseconds))
            place = cls(received_at, int(sequence), kind)
        except (ValueError, OverflowError):
            return None
        fits = 0 <= place.sequence < 1 << 63 and "\0" not in kind
        return place if fits else None


@dataclass(frozen=True, slots=True)
class Lines(Generic[Line]):
    """Some lines, newest first; `following` is where the next page begins, None at the end."""

    items: tuple[Line, ...]
    following: Place | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What arrived of a device: frames and values stored; messages sent twice, and put aside."""

    frames: int
    values: int
    duplicate: int
    quarantined: int


def log_page(
    connection: BaseDatabaseWrapper,
    device_id: int,
    *,
    limit: int,
    before: Place | None = None,
    level: int = 0,
) -> Lines[LogLine]:
    """Log lines from a level up, as they arrived."""
    place = before or Place(_NEWEST, 0, "")
    rows = _rows(
        connection,
        "SELECT received_at, sequence, logged_at, level, line FROM device_log"
        " WHERE device_id = %s AND level >= %s AND received_at <= %s"
        " AND (received_at, sequence) < (%s, %s)"
        " ORDER BY received_at DESC, sequence DESC LIMIT %s",
        [device_id, level, place.received_at, place.received_at, place.sequence, _more(limit)],
    )
    places = [Place(row[0], row[1], "") for row in rows]
    return _page([LogLine(row[0], *row[2:]) for row in rows], places, limit)


def event_page(
    connection: BaseDatabaseWrapper,
    device_id: int,
    *,
    limit: int,
    before: Place | None = None,
) -> Lines[Event]:
    """Events, connections among them, as they arrived."""
    place = before or Place(_NEWEST, 0, "")
    rows = _rows(
        connection,
        "SELECT received_at, occurred_at, sequence, kind, data FROM device_event"
        " WHERE device_id = %s AND received_at <= %s"
        " AND (received_at, coalesce(sequence, 0), kind) < (%s, %s, %s)"
        " ORDER BY received_at DESC, coalesce(sequence, 0) DESC, kind DESC LIMIT %s",
        [
            device_id,
            place.received_at,
            place.received_at,
            place.sequence,
            place.kind,
            _more(limit),
        ],
    )
    # Django leaves jsonb to its own model fields: a raw query gets the text.
    events = [
        Event(received_at, occurred_at, sequence, kind, json.loads(data))
        for received_at, occurred_at, sequence, kind, data in rows
    ]
    places = [Place(event.received_at, event.sequence or 0, event.kind) for event in events]
    return _page(events, places, limit)


def newest_events(
    connection: BaseDatabaseWrapper, device_id: int, kinds: Sequence[str], *, since: datetime
) -> dict[str, Event]:
    """The newest event of each kind since an instant; a kind of which there is none is left out."""
    rows = _rows(
        connection,
        "SELECT DISTINCT ON (kind) received_at, occurred_at, sequence, kind, data FROM device_event"
        " WHERE device_id = %s AND kind = ANY(%s) AND received_at >= %s"
        " ORDER BY kind, received_at DESC, coalesce(sequence, 0) DESC",
        [device_id, list(kinds), since],
    )
    return {
        kind: Event(received_at, occurred_at, sequence, kind, json.loads(data))
        for received_at, occurred_at, sequence, kind, data in rows
    }


def delivered_since(connection: BaseDatabaseWrapper, device_id: int, since: datetime) -> Delivered:
    """What arrived since the full hour of an instant, by the ledger."""
    (row,) = _rows(
        connection,
        "SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(stored_values), 0)::bigint,"
        " coalesce(sum(duplicate), 0)::bigint, coalesce(sum(quarantined), 0)::bigint"
        " FROM ledger_hour WHERE device_id = %s AND hour >= %s",
        [device_id, since.replace(minute=0, second=0, microsecond=0)],
    )
    return Delivered(*row)


def _more(limit: int) -> int:
    """One more than a page, to know whether there is another."""
    return min(limit, MAX_LINES) + 1


def _page(lines: Sequence[Line], places: Sequence[Place], limit: int) -> Lines[Line]:
    limit = min(limit, MAX_LINES)
    following = places[limit - 1] if len(lines) > limit else None
    return Lines(tuple(lines[:limit]), following)


def _rows(
    connection: BaseDatabaseWrapper, query: str, parameters: list[Any]
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
