"""Opening, nesting and closing a scope on Django's connections."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, ProgrammingError, connection, transaction

from tenants.domain import operations
from tenants.models import Tenant, TenantKind
from tenants.scope import (
    FACILITY_SETTING,
    LONG_STATEMENTS,
    TENANT_SETTING,
    NoScope,
    Scope,
    long_scope,
    open_scope,
    require_scope,
)


def _settings() -> tuple[str | None, str | None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting(%s, true), current_setting(%s, true)",
            [TENANT_SETTING, FACILITY_SETTING],
        )
        row = cursor.fetchone()
    return row[0] or None, row[1] or None


@pytest.fixture
def pair(db: None) -> tuple[Tenant, Tenant]:
    """Two unrelated tenants."""

    def make(slug: str) -> Tenant:
        return operations.create_tenant(
            name=slug, slug=slug, kind=TenantKind.OPERATOR, parent_id=None, actor_id=None
        )

    return make("one"), make("two")


def _slugs() -> list[str]:
    return [tenant.slug for tenant in Tenant.objects.order_by("slug")]


def test_scope_gives_its_settings_as_array_literals() -> None:
    assert Scope((3, 5)).settings() == ("{3,5}", "*")
    assert Scope((3,), (7, 8)).settings() == ("{3}", "{7,8}")
    assert Scope((), ()).settings() == ("{}", "{}")


def test_query_outside_a_scope_raises_no_scope_with_what_to_do(db: None) -> None:
    with pytest.raises(NoScope, match=r"open_scope"), transaction.atomic():
        Tenant.objects.first()
    with pytest.raises(NoScope), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tenants_tenant")


def test_other_database_errors_stay_what_they_are(db: None) -> None:
    with (
        pytest.raises(ProgrammingError) as caught,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT * FROM no_such_table")
    assert not isinstance(caught.value, NoScope)


def test_scope_shows_its_tenants_only(pair: tuple[Tenant, Tenant]) -> None:
    one, two = pair
    with open_scope(Scope((one.pk,))):
        assert _slugs() == ["one"]
    with open_scope(Scope((one.pk, two.pk))):
        assert _slugs() == ["one", "two"]
    with open_scope(Scope(())):
        assert _slugs() == []


def test_scope_is_closed_afterwards(pair: tuple[Tenant, Tenant]) -> None:
    with open_scope(Scope((pair[0].pk,))):
        assert _settings() == (f"{{{pair[0].pk}}}", "*")
    assert _settings() == (None, None)
    with pytest.raises(NoScope), transaction.atomic():
        Tenant.objects.first()


def test_inner_scope_replaces_the_outer_one_and_gives_it_back(pair: tuple[Tenant, Tenant]) -> None:
    one, two = pair
    with open_scope(Scope((one.pk,), (1,))) as outer:
        with open_scope(Scope((two.pk,))):
            assert _slugs() == ["two"]
        assert _slugs() == ["one"]
        assert _settings() == outer.settings()


def test_outer_scope_is_back_after_an_exception(pair: tuple[Tenant, Tenant]) -> None:
    one, two = pair
    with open_scope(Scope((one.pk,))) as outer:
        with pytest.raises(KeyError), open_scope(Scope((two.pk,))):
            raise KeyError
        assert _settings() == outer.settings()
        assert require_scope() == outer
        assert _slugs() == ["one"]


def test_outer_scope_is_back_after_a_database_error(pair: tuple[Tenant, Tenant]) -> None:
    one, two = pair
    with open_scope(Scope((one.pk,))) as outer:
        with pytest.raises(IntegrityError), open_scope(Scope((two.pk,))):
            Tenant.objects.filter(pk=two.pk).update(kind="nonsense")
        assert _settings() == outer.settings()


def test_outer_scope_is_back_after_a_rollback_that_the_block_asked_for(
    pair: tuple[Tenant, Tenant],
) -> None:
    one, two = pair
    with open_scope(Scope((one.pk,))) as outer:
        with open_scope(Scope((two.pk,))):
            Tenant.objects.update(name="changed")
            transaction.set_rollback(True)
        assert _settings() == outer.settings()
        with open_scope(Scope((two.pk,))):
            assert Tenant.objects.get().name == "two"


def test_changes_are_rolled_back_with_the_scope(pair: tuple[Tenant, Tenant]) -> None:
    def change_and_fail() -> None:
        with open_scope(Scope((pair[0].pk,))):
            Tenant.objects.update(name="changed")
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    with open_scope(Scope((pair[0].pk,))):
        assert Tenant.objects.get().name == "one"


def test_require_scope_raises_outside_and_returns_the_innermost(db: None) -> None:
    with pytest.raises(NoScope):
        require_scope()
    with open_scope(Scope((1,))), open_scope(Scope((2,), (3,))):
        assert require_scope() == Scope((2,), (3,))
    with pytest.raises(NoScope):
        require_scope()


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_pooled_connection_does_not_carry_a_scope_to_its_next_user() -> None:
    def backend() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    assert connection.settings_dict["OPTIONS"]["pool"]
    with open_scope(Scope((1,), (2,))):
        used = backend()
    connection.close()  # back to the pool
    for _ in range(50):
        if backend() == used:
            break
        connection.close()
    assert backend() == used
    assert _settings() == (None, None)
    with pytest.raises(NoScope):
        Tenant.objects.first()


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
async def test_scope_opened_inside_the_sync_function_is_its_alone() -> None:
    def in_scope(number: int) -> tuple[str | None, str | None]:
        with open_scope(Scope((number,))):
            return _settings()

    found = await asyncio.gather(*(sync_to_async(in_scope)(number) for number in range(5)))
    assert found == [(f"{{{number}}}", "*") for number in range(5)]
    assert await sync_to_async(_settings)() == (None, None)
    await sync_to_async(lambda: connection.close())()


@pytest.mark.django_db
def test_long_scope_lets_statements_take_long_until_it_closes() -> None:
    def limit() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            return str(cursor.fetchone()[0])

    usual = limit()
    with transaction.atomic():
        with long_scope(Scope((1,))) as scope:
            assert (limit(), require_scope()) == (LONG_STATEMENTS, scope)
        transaction.set_rollback(True)
    assert limit() == usual
