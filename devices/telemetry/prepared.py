"""Statements that PostgreSQL plans once for a connection instead of once for each request.

For the few that are asked for so often that planning them costs more than running them. Row-level
security holds as everywhere: a plan reads the scope anew each time that it runs.
"""

from __future__ import annotations

from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg.pq import Format


def prepared_cursor(connection: BaseDatabaseWrapper) -> Any:
    """A cursor of Django on this connection that binds parameters in the server, as a prepared
    statement needs; psycopg prepares what a connection has run `prepare_threshold` times (option of
    the database in the settings), and only where that is set.
    """
    return _cursor(connection, ServerBindingCursor)


def binary_cursor(connection: BaseDatabaseWrapper, *, plans_anew: bool = False) -> Any:
    """The same, which fetches rows in PostgreSQL's binary form: text of long columns of bytes takes
    longer than what is done with them. With `plans_anew` for statements whose best plan depends on
    what they are given.
    """
    cursor = _cursor(connection, _PlannedAnew if plans_anew else ServerBindingCursor)
    cursor.cursor.format = Format.BINARY
    return cursor


class _PlannedAnew(ServerBindingCursor):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Without preparing the statement."""
        cursor = cast(Any, super())
        return cursor.execute(query, params, **{**options, "prepare": False})


def _cursor(connection: BaseDatabaseWrapper, cursor_class: Any) -> Any:
    connection.ensure_connection()
    wrapper = cast(Any, connection)
    cursor = cursor_class(connection.connection)
    make = wrapper.make_debug_cursor if connection.queries_logged else wrapper.make_cursor
    return make(cursor)
