"""Emptying the database after tests that commit.

`TRUNCATE` makes new files for a table and each of its indexes, and takes along every table that
refers to it, filled or not: with a single tenant those are nearly all, some 500 files, 0.1 s of CPU
and a log that must reach the disk. Tests leave a few rows in each, which `DELETE` removes in a
fifth of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from typing import Any, Final

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

# Pages (8 KiB) beyond the first of each table, from which on the rows, or what is left of those
# before them, are so many that new files are cheaper.
MANY_PAGES: Final = 200


@dataclass(frozen=True, slots=True)
class Filled:
    """What tables hold: pages of plain ones, and hypertables that have chunks."""

    pages: dict[str, int]
    hypertables: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return self.hypertables | self.pages.keys()


def filled_tables() -> Filled:
    """Tables with at least one page, hypertables with at least one chunk.

    Sizes rather than rows: one question, however many tables there are.
    """
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """
            SELECT relname, pg_relation_size(oid) / 8192,
                   EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = pg_class.oid)
            FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            """
        )
        found = cursor.fetchall()
    return Filled(
        {name: pages for name, pages, parent in found if pages and not parent},
        frozenset(name for name, _pages, parent in found if parent),
    )


def empty(seeded: frozenset[str]) -> None:
    """Removes what tests have written, from tables outside the ORM too; `seeded` stay."""
    found = filled_tables()
    pages = {name: count for name, count in found.pages.items() if name not in seeded}
    parents = found.hypertables - seeded
    if not pages and not parents:
        return
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        if sum(pages.values()) - len(pages) > MANY_PAGES:
            _run(cursor, [_truncate(parents | pages.keys())])
            return
        statements = [_truncate(parents)] if parents else []
        rank = {name: place for place, name in enumerate(_children_first())}
        ordered = sorted(pages, key=lambda name: rank.get(name, -1))
        deletes = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in ordered]
        _run(cursor, [*statements, *deletes])


def _run(cursor: CursorWrapper, statements: list[sql.Composed]) -> None:
    """All at once, without the triggers that keep rows for ever."""
    off = [_switch(one, "DISABLE") for one in _keepers()]
    on = [_switch(one, one.enabled) for one in _keepers()]
    # No trigger can be switched while a check of a foreign key is due.
    now = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")
    script = sql.SQL("; ").join([*off, *statements, now, *on])
    cursor.execute(script.as_string(cursor.connection.connection))


def _truncate(names: frozenset[str]) -> sql.Composed:
    tables = sql.SQL(", ").join(map(sql.Identifier, sorted(names)))
    return sql.SQL("TRUNCATE {} CASCADE").format(tables)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """A trigger that refuses to remove rows, or does something when they go."""

    table: str
    name: str
    enabled: str


def _switch(trigger: _Keeper, how: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
        sql.Identifier(trigger.table), sql.SQL(how), sql.Identifier(trigger.name)
    )


@cache
def _keepers() -> tuple[_Keeper, ...]:
    """The triggers of `DELETE` (8) and `TRUNCATE` (32)."""
    states = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    rows = _ask(
        "SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c"
        " ON c.oid = t.tgrelid WHERE c.relnamespace = 'public'::regnamespace"
        " AND NOT t.tgisinternal AND t.tgtype & (8 | 32) <> 0 AND t.tgenabled <> 'D'"
    )
    return tuple(_Keeper(table, name, states[enabled]) for table, name, enabled in rows)


@cache
def _children_first() -> tuple[str, ...]:
    """Tables such that each comes before those that it refers to by a key that is checked at once;
    the others are checked when all rows are gone."""
    order = TopologicalSorter[str]()
    for child, parent in _ask(
        "SELECT c.relname, p.relname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid"
        " JOIN pg_class p ON p.oid = f.confrelid WHERE f.contype = 'f' AND NOT f.condeferrable"
        " AND c.relnamespace = 'public'::regnamespace AND c.oid <> p.oid"
    ):
        order.add(parent, child)
    return tuple(order.static_order())


def _ask(question: str) -> list[Any]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(question)
        return list(cursor.fetchall())
