"""The scope: whose rows the current transaction may see.

PostgreSQL compares every tenant-owned row with two session settings (`rowsecurity.py`); this module
sets them for the length of a block and puts the former values back. The scope lives in the database
connection of the current thread. Asynchronous code therefore opens it inside the function that it
hands to `sync_to_async`/`database_sync_to_async`, never around an `await`: another thread's
connection would not have it, and its queries would raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, DatabaseError, ProgrammingError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

TENANT_SETTING: Final = "wattline.tenant_ids"
FACILITY_SETTING: Final = "wattline.facility_ids"
ALL_FACILITIES: Final = "*"
# SQLSTATE raised by the database functions that read the settings; class WL is Wattline's own.
NO_SCOPE_SQLSTATE: Final = "WL001"
LONG_STATEMENTS: Final = "10min"


class NoScope(ProgrammingError):  # noqa: N818 - it reads as what happened
    """A tenant-owned table was asked for while no scope was open."""

    def __init__(self) -> None:
        super().__init__(
            "no tenant scope is open: wrap the query in tenants.scope.open_scope(Scope(…)), which "
            "web requests (ScopeMiddleware) and tasks (ScopedTask) do at their edge"
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The tenants, and perhaps only some of their facilities, whose rows may be seen and written.

    `facility_ids` None means every facility of the tenants; an empty tuple means none.
    """

    tenant_ids: tuple[int, ...]
    facility_ids: tuple[int, ...] | None = None

    def settings(self) -> tuple[str, str]:
        """The values of the two session settings."""
        return (
            _array(self.tenant_ids),
            ALL_FACILITIES if self.facility_ids is None else _array(self.facility_ids),
        )


def _array(numbers: tuple[int, ...]) -> str:
    return "{" + ",".join(str(int(number)) for number in numbers) + "}"


_current: ContextVar[dict[str, Scope] | None] = ContextVar("wattline_scope", default=None)


@contextmanager
def open_scope(scope: Scope, *, using: str = DEFAULT_DB_ALIAS) -> Iterator[Scope]:
    """Run a block in `scope`, inside a transaction (a savepoint when one is open already).

    Blocks nest: the outer scope is back afterwards, also when the block raises. The settings are
    local to the transaction, so that a pooled connection never carries them to its next user.
    """
    outer = _current.get() or {}
    token = _current.set({**outer, using: scope})
    try:
        connection = connections[using]
        nested = connection.in_atomic_block
        with transaction.atomic(using=using):
            # The end of the transaction unsets them: the outermost block has nothing to give back.
            former = _replace(connection, scope.settings()) if nested else None
            if former is None:
                _set(connection, scope.settings())
            yield scope
            # A block that raises, or marks its transaction for rollback, gets the former values
            # back from the rollback itself; a released savepoint keeps the inner ones.
            if former is not None and not connection.needs_rollback:
                _set(connection, former)
    finally:
        _current.reset(token)


@contextmanager
def long_scope(scope: Scope) -> Iterator[Scope]:
    """`open_scope` for a task that reads much: its statements may take minutes (LONG_STATEMENTS)
    where those of a page are ended after seconds.
    """
    with open_scope(scope):
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [LONG_STATEMENTS])
        yield scope


@contextmanager
def index_order() -> Iterator[None]:
    """Have sorted queries of the block walk along an index until they have enough.

    The planner cannot know how many rows a policy lets pass: it guesses one in ten thousand,
    expects to find next to nothing, and so reads and sorts all rows of a table for one page of them
    (measured on a million audit entries: 310 ms instead of 1 ms). Needs an open scope.
    """
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        yield
        # After an error the rollback resets them.
        cursor.execute("SET LOCAL enable_sort TO DEFAULT; SET LOCAL enable_bitmapscan TO DEFAULT")


def _set(connection: BaseDatabaseWrapper, values: tuple[str, str]) -> None:
    """Set both settings for the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(%s, %s, true), set_config(%s, %s, true)",
            [TENANT_SETTING, values[0], FACILITY_SETTING, values[1]],
        )


def _replace(connection: BaseDatabaseWrapper, values: tuple[str, str]) -> tuple[str, str]:
    """Set both settings for the transaction; returns the former values, '' for unset."""
    with connection.cursor() as cursor:
        # The sub-select is evaluated before the settings change.
        cursor.execute(
            "WITH former AS MATERIALIZED (SELECT coalesce(current_setting(%s, true), '') AS "
            "tenants, coalesce(current_setting(%s, true), '') AS facilities) "
            "SELECT tenants, facilities, set_config(%s, %s, true), set_config(%s, %s, true) "
            "FROM former",
            [
                TENANT_SETTING,
                FACILITY_SETTING,
                TENANT_SETTING,
                values[0],
                FACILITY_SETTING,
                values[1],
            ],
        )
        row = cursor.fetchone()
    assert row is not None
    return row[0], row[1]


def require_scope(*, using: str = DEFAULT_DB_ALIAS) -> Scope:
    """The scope that is open; raises NoScope when none is."""
    scope = (_current.get() or {}).get(using)
    if scope is None:
        raise NoScope
    return scope


def is_open(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether this thread's queries run in a scope.

    Those of an error page do not: Django makes it in a thread of its own, which has heard of the
    scope but has no part in its transaction.
    """
    return using in (_current.get() or {}) and connections[using].in_atomic_block


def explain_missing_scope(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Execute wrapper of every connection: the database's refusal becomes NoScope."""
    try:
        return execute(sql, params, many, context)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) == NO_SCOPE_SQLSTATE:
            raise NoScope from error
        raise


def open_transactions() -> frozenset[tuple[int, datetime]]:
    """The transactions that other processes of the portal have open, as process and beginning.

    Needs no scope. For what must not be done before all that began earlier has been saved.
    """
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(
            "SELECT pid, xact_start FROM pg_stat_activity WHERE usename = current_user"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
            " AND xact_start IS NOT NULL"
        )
        return frozenset((row[0], row[1]) for row in cursor.fetchall())
