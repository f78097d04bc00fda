"""The wall, proven on every tenant-owned table that the database's catalogue knows.

Plain psycopg connections as the application's role: what holds here holds for the ORM, raw SQL and
psql alike. A table is tenant-owned when it has a column `tenant_id`; one without data of both
tenants in both facilities fails the tests, and so does one that nobody has said how to narrow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.db import connections
from psycopg import sql
from pytest_django import DjangoDbBlocker

from billing.tests import factories as billing_factories
from devices.telemetry.schema import CHUNK_SCHEMA, TABLES
from devices.tests import factories
from devices.tests.factories import Park
from firmware.tests import factories as firmware_factories
from portal.devstack.servers import Endpoints
from portal.settings import BASE_DIR
from tenants.rowsecurity import POLICY, SHARED_POLICY
from tenants.scope import FACILITY_SETTING, NO_SCOPE_SQLSTATE, TENANT_SETTING, Scope

# Tables of the application that belong to no tenant.
TENANTLESS = {
    "account_emailaddress",
    "account_emailconfirmation",
    "mfa_authenticator",
    "socialaccount_socialaccount",
    "socialaccount_socialapp",
    "socialaccount_socialtoken",
    "usersessions_usersession",
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
    "django_migrations",
    "django_session",
    "tenants_user",
}
# What a scope narrowed to facilities sees of tables that name neither facility nor device.
NOT_NARROWED = {
    "tenants_tenant": "all",
    "devices_devicetype": "all",
    "devices_devicetypechannel": "all",
    "tenants_membership": "none",
    "tenants_customrole": "none",
    "tenants_invitation": "none",
    "tenants_signinpolicy": "none",
    "tenants_companylogin": "none",
    "tenants_companydomain": "none",
    "tenants_auditentry": "none",
    "tenants_impersonation": "none",
    "tenants_application": "none",
    "tenants_signon": "none",
    "tenants_consent": "none",
    "tenants_grant": "none",
    "tenants_homesession": "none",
    "tenants_idtoken": "none",
    "tenants_accesstoken": "none",
    "tenants_refreshtoken": "none",
    "tenants_devicegrant": "none",
    "tenants_branding": "none",
    "devices_devicegroup": "none",
    "devices_importrun": "none",
    "devices_commandpolicy": "all",
    "devices_retention": "none",
    "retention_removal": "none",
    "devices_importrow": "none",
    "devices_keptfile": "none",
    "devices_historyimport": "none",
    "devices_historyimportpart": "none",
}
NOT_NARROWED |= dict.fromkeys(
    ("firmware_artifact", "firmware_delta", "firmware_release", "firmware_signingkey"), "all"
)
NOT_NARROWED |= dict.fromkeys(
    (
        "firmware_ddisettings",
        "firmware_firmwarepolicy",
        "firmware_gatereview",
        "firmware_rollout",
        "firmware_rolloutwave",
    ),
    "none",
)
NOT_NARROWED |= dict.fromkeys(
    (
        "billing_tariff",
        "billing_tariffversion",
        "billing_priceseries",
        "billing_pricevalue",
        "billing_customer",
        "billing_billingsettings",
        "billing_numberseries",
        "billing_billrun",
        "billing_payment",
        "billing_changesread",
        "billing_paymentprovider",
        "billing_paymentimport",
        "billing_dunningpolicy",
        "billing_unbilledday",
    ),
    "none",
)
# What a tenant above has released is seen below.
INHERITED = {"firmware_artifact", "firmware_delta", "firmware_release", "firmware_signingkey"}
# Rows without a tenant are seen by everybody.
SHARED = {"devices_devicetype", "devices_devicetypechannel"}
DOORS = {
    "door_drop_empty_chunks",
    "door_drop_over",
    "door_prepare_chunks",
    "door_remove_over",
    "door_retention_of",
    "door_drop_packed_chunks",
    "door_brand_files",
    "door_brand_of",
    "door_company_login_of_domain",
    "door_second_factor",
    "door_tenant_of_company_login",
    "door_tenants_of_member",
    "door_access_token",
    "door_home_session",
    "door_own_applications",
    "door_claim",
    "door_claim_device",
    "door_ddi",
    "door_payment_provider",
    "door_tenant_of_application",
    "door_tenants_of_sign_on",
    "door_facilities_of",
    "door_hold_role",
    "door_invitation",
    "door_roles_of",
    "door_memberships_of",
    "door_tenant_ids",
    "door_two_persons",
    "door_firmware_policy",
    "door_tenants_above",
    "door_tenants_below",
}
INGEST_PRIVILEGES = {
    "telemetry_frame": {"INSERT"},
    "telemetry_quarantine": {"INSERT"},
    "device_log": {"INSERT"},
    "device_event": {"INSERT"},
    "device_inbox": {"INSERT"},
    "device_cursor": {"SELECT", "INSERT", "UPDATE"},
    "device_link": {"SELECT", "INSERT", "UPDATE"},
    "ledger_hour": {"SELECT", "INSERT", "UPDATE"},
    "devices_credential": {"SELECT"},
}


@dataclass(frozen=True)
class Two:
    """Two tenants, each with data everywhere."""

    ours: Park
    theirs: Park


@pytest.fixture(scope="module")
def two(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Two]:
    """Committed once for the module: other connections must see it."""
    with django_db_blocker.unblock():
        parks = Two(factories.park(), factories.park())
        for park in (parks.ours, parks.theirs):
            firmware_factories.firmware_of(park)
            billing_factories.billing_of(park)
        with connections["owner"].cursor() as cursor:
            # A type for everybody, which both tenants see and neither may change.
            cursor.execute(
                "INSERT INTO devices_devicetype (code, version, manufacturer, name, step_ms,"
                " samples, capabilities, created_at)"
                " VALUES ('shared', '1', '', 'Shared', 2000, 30, '{}', now())"
            )
        yield parks
        factories.remove_everything()


@pytest.fixture
def app(servers: Endpoints, two: Two) -> Iterator[psycopg.Connection]:
    """A fresh connection as the application's role: nothing was ever set in it."""
    with psycopg.connect(servers.database_app_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(servers: Endpoints, two: Two) -> Iterator[psycopg.Connection]:
    """The owner, whom the wall does not bind: for counting what there is."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def ingest(servers: Endpoints, two: Two) -> Iterator[psycopg.Connection]:
    """The role of bridge and writer."""
    with psycopg.connect(servers.database_ingest_url, autocommit=True) as connection:
        yield connection


def _tables(owner: psycopg.Connection) -> dict[str, str]:
    """Every tenant-owned table with the column that names the tenant."""
    rows = owner.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND a.attname = 'tenant_id' AND NOT a.attisdropped ORDER BY c.relname"
    ).fetchall()
    return {"tenants_tenant": "id"} | {row[0]: "tenant_id" for row in rows}


def _columns(owner: psycopg.Connection, table: str) -> set[str]:
    rows = owner.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
        [table],
    ).fetchall()
    return {row[0] for row in rows}


def _open(connection: psycopg.Connection, scope: Scope) -> None:
    for name, value in zip((TENANT_SETTING, FACILITY_SETTING), scope.settings(), strict=True):
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def _in_scope(
    connection: psycopg.Connection, scope: Scope, query: sql.SQL | sql.Composed, *parameters: object
) -> psycopg.Cursor[tuple[Any, ...]]:
    with connection.transaction():
        _open(connection, scope)
        return connection.execute(query, parameters)


def _ids(connection: psycopg.Connection, table: str, condition: sql.Composable) -> list[str]:
    """The matching rows as sorted text: equality of rows, not of counts."""
    query = sql.SQL("SELECT t::text FROM {} t WHERE {} ORDER BY 1").format(
        sql.Identifier(table), condition
    )
    return [row[0] for row in connection.execute(query).fetchall()]


_ALL = sql.SQL("true")


def _of_tenant(column: str, tenant_id: int, *, shared: bool) -> sql.Composable:
    condition = sql.SQL("{} = {}").format(sql.Identifier(column), tenant_id)
    if shared:
        condition = sql.SQL("({} OR {} IS NULL)").format(condition, sql.Identifier(column))
    return condition


def test_every_tenant_owned_table_has_data_of_both_tenants(
    owner: psycopg.Connection, two: Two
) -> None:
    tables = _tables(owner)
    assert set(TABLES) < set(tables)
    empty = [
        (table, park.tenant.pk)
        for table, column in tables.items()
        for park in (two.ours, two.theirs)
        if not _ids(owner, table, _of_tenant(column, park.tenant.pk, shared=False))
    ]
    assert empty == []


def test_every_tenant_owned_table_has_the_policy_and_every_other_is_known(
    owner: psycopg.Connection, two: Two
) -> None:
    tables = _tables(owner)
    walled = {
        row[0]
        for row in owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND relrowsecurity"
        )
    }
    readable = {
        row[0]
        for row in owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND has_any_column_privilege('wattline_app', oid, 'SELECT')"
        )
    }
    policies = owner.execute(
        "SELECT tablename, policyname, permissive, roles::text, cmd FROM pg_policies"
        " WHERE schemaname = 'public'"
    ).fetchall()

    assert walled == set(tables)
    assert readable - walled == TENANTLESS
    expected = {(table, POLICY, "PERMISSIVE", "{public}", "ALL") for table in tables}
    expected |= {(table, SHARED_POLICY, "PERMISSIVE", "{public}", "SELECT") for table in SHARED}
    expected |= {(table, "inherited", "PERMISSIVE", "{public}", "SELECT") for table in INHERITED}
    assert set(policies) == expected


def test_without_a_scope_every_table_raises(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table in _tables(owner):
        with pytest.raises(psycopg.Error) as caught:
            app.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
        assert (table, caught.value.sqlstate) == (table, NO_SCOPE_SQLSTATE)


def test_after_a_scope_has_closed_every_table_raises_again(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table in _tables(owner):
        with app.transaction():
            _open(app, two.ours.scope)
            assert _ids(app, table, _ALL)
        with pytest.raises(psycopg.Error) as caught:
            app.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
        assert (table, caught.value.sqlstate) == (table, NO_SCOPE_SQLSTATE)


def test_half_a_scope_raises(app: psycopg.Connection, owner: psycopg.Connection, two: Two) -> None:
    for setting, value in ((TENANT_SETTING, f"{{{two.ours.tenant.pk}}}"), (FACILITY_SETTING, "*")):
        for table in _tables(owner):
            with app.transaction(force_rollback=True):
                app.execute("SELECT set_config(%s, %s, true)", [setting, value])
                with pytest.raises(psycopg.Error) as caught:
                    app.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            assert (table, caught.value.sqlstate) == (table, NO_SCOPE_SQLSTATE)


def test_without_a_scope_a_table_raises_even_where_no_row_can_match(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table, column in _tables(owner).items():
        query = sql.SQL("SELECT * FROM {} WHERE {} = -1").format(
            sql.Identifier(table), sql.Identifier(column)
        )
        with pytest.raises(psycopg.Error) as caught:
            app.execute(query)
        assert (table, caught.value.sqlstate) == (table, NO_SCOPE_SQLSTATE)


def test_a_scope_sees_exactly_the_rows_of_its_tenant(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table, column in _tables(owner).items():
        for park in (two.ours, two.theirs):
            expected = _ids(owner, table, _of_tenant(column, park.tenant.pk, shared=True))
            with app.transaction():
                _open(app, park.scope)
                assert (table, _ids(app, table, _ALL)) == (table, expected)


def test_a_scope_of_two_tenants_sees_both_and_of_none_nothing(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    both = Scope((two.ours.tenant.pk, two.theirs.tenant.pk))
    for table, column in _tables(owner).items():
        name = sql.Identifier(column)
        mine = sql.SQL("({c} = ANY({ids}) OR {c} IS NULL)").format(
            c=name, ids=list(both.tenant_ids)
        )
        with app.transaction():
            _open(app, both)
            assert (table, _ids(app, table, _ALL)) == (table, _ids(owner, table, mine))
        with app.transaction():
            _open(app, Scope(()))
            assert (table, _ids(app, table, sql.SQL("{} IS NOT NULL").format(name))) == (table, [])


def _narrowed(columns: set[str], table: str, facility_id: int) -> sql.Composable:
    """What a scope narrowed to a facility may see, said independently of the policies."""
    if table in NOT_NARROWED:
        return sql.SQL("true" if NOT_NARROWED[table] == "all" else "false")
    if table == "devices_facility":
        return sql.SQL("id = {}").format(facility_id)
    if "facilities" in columns:
        return sql.SQL("facilities <@ ARRAY[{}]::bigint[]").format(facility_id)
    if "facility_id" in columns:
        return sql.SQL("facility_id = {}").format(facility_id)
    assert "device_id" in columns
    return sql.SQL("device_id IN (SELECT id FROM devices_device WHERE facility_id = {})").format(
        facility_id
    )


def test_a_narrowed_scope_sees_exactly_its_facility(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    tenant_id = two.ours.tenant.pk
    for branch in two.ours.branches:
        for table, column in _tables(owner).items():
            condition = _narrowed(_columns(owner, table), table, branch.facility.pk)
            expected = _ids(
                owner,
                table,
                sql.SQL(" AND ").join([_of_tenant(column, tenant_id, shared=True), condition]),
            )
            if table not in NOT_NARROWED:
                whole = _ids(owner, table, _of_tenant(column, tenant_id, shared=True))
                assert (table, 0 < len(expected) < len(whole)) == (table, True)
            with app.transaction():
                _open(app, Scope((tenant_id,), (branch.facility.pk,)))
                assert (table, _ids(app, table, _ALL)) == (table, expected)


def test_a_facility_of_another_tenant_does_not_widen_a_scope(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    scope = Scope((two.ours.tenant.pk,), (two.theirs.branches[0].facility.pk,))
    for table in set(_tables(owner)) - set(NOT_NARROWED):
        with app.transaction():
            _open(app, scope)
            assert (table, _ids(app, table, _ALL)) == (table, [])


def test_a_row_of_another_tenant_cannot_be_inserted(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table, column in _tables(owner).items():
        row = owner.execute(
            sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE {} LIMIT 1").format(
                sql.Identifier(table),
                _of_tenant(column, two.theirs.tenant.pk, shared=False),
            )
        ).fetchone()
        assert row is not None
        names = sql.SQL(", ").join(map(sql.Identifier, row[0]))
        query = sql.SQL(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s)"
        ).format(table=sql.Identifier(table), names=names)
        # Refused by the policy, or because the application may not insert there at all.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _in_scope(app, two.ours.scope, query, json.dumps(row[0]))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {table} SET {column} = {column} WHERE {theirs}", "DELETE FROM {table} WHERE {theirs}"],
)
def test_rows_of_another_tenant_cannot_be_changed(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two, statement: str
) -> None:
    for table, column in _tables(owner).items():
        query = sql.SQL(statement).format(
            table=sql.Identifier(table),
            column=sql.Identifier(column),
            theirs=_of_tenant(column, two.theirs.tenant.pk, shared=True),
        )
        if _may(owner, table, statement.split()[0]):
            assert (table, _in_scope(app, two.ours.scope, query).rowcount) == (table, 0)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                _in_scope(app, two.ours.scope, query)


def test_nothing_is_written_about_a_device_of_another_tenant(
    app: psycopg.Connection, two: Two
) -> None:
    """Such a row would also take the place of the bridge's own in `device_event_own`."""
    query = sql.SQL(
        "INSERT INTO device_event (received_at, tenant_id, device_id, occurred_at, kind)"
        " VALUES (now(), %s, %s, now(), 'connected')"
    )
    ours, theirs = two.ours.branches[0].device, two.theirs.branches[0].device
    both = Scope((two.ours.tenant.pk, two.theirs.tenant.pk))
    with app.transaction(force_rollback=True):
        assert _in_scope(app, both, query, ours.tenant_id, ours.pk).rowcount == 1
    for scope in (two.ours.scope, both):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _in_scope(app, scope, query, ours.tenant_id, theirs.pk)


def _may(owner: psycopg.Connection, table: str, privilege: str) -> bool:
    row = owner.execute(
        "SELECT has_table_privilege('wattline_app', %s, %s)", [table, privilege]
    ).fetchone()
    assert row is not None
    return bool(row[0])


def test_a_row_cannot_be_moved_to_another_tenant(
    app: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    for table in ("devices_facility", "devices_load", "tenants_membership"):
        query = sql.SQL("UPDATE {} SET tenant_id = {}").format(
            sql.Identifier(table), two.theirs.tenant.pk
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _in_scope(app, two.ours.scope, query)


def test_chunks_of_hypertables_cannot_be_read_directly(
    app: psycopg.Connection, ingest: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    chunks = owner.execute(
        "SELECT chunk_schema, chunk_name FROM timescaledb_information.chunks"
    ).fetchall()
    assert {schema for schema, _ in chunks} == {CHUNK_SCHEMA}
    for connection in (app, ingest):
        for chunk in chunks:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(*chunk))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                _in_scope(connection, two.ours.scope, query)


def test_statistics_of_chunks_tell_nothing(
    app: psycopg.Connection, ingest: psycopg.Connection, owner: psycopg.Connection, two: Two
) -> None:
    """`pg_stats` has values of rows, and asks for the right to read a table but not its schema."""
    query = sql.SQL(
        "SELECT schemaname, tablename, attname FROM pg_stats WHERE schemaname = ANY(%s)"
    )
    schemas = ["public", CHUNK_SCHEMA]
    owner.execute("ANALYZE")  # all that the owner has
    gathered = {row[:2] for row in owner.execute(query, [schemas])}
    assert {schema for schema, _ in gathered} == set(schemas)
    readable = {table for table, may in INGEST_PRIVILEGES.items() if "SELECT" in may}
    for connection, known in ((app, TENANTLESS), (ingest, readable)):
        told = {row[1] for row in connection.execute(query, [schemas])}
        assert told <= known


def test_the_application_is_bound_and_owns_nothing(owner: psycopg.Connection) -> None:
    row = owner.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,"
        " (SELECT count(*) FROM pg_class WHERE relowner = r.oid),"
        " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid),"
        " has_schema_privilege(r.oid, 'public', 'CREATE'),"
        " has_schema_privilege(r.oid, %s, 'USAGE')"
        " FROM pg_roles r WHERE rolname = 'wattline_app'",
        [CHUNK_SCHEMA],
    ).fetchone()
    assert row == (False, False, False, False, 0, 0, False, False)


def test_the_doors_are_the_only_way_past_the_wall(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT p.proname, p.proconfig::text FROM pg_proc p"
        " WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
        " AND has_function_privilege('wattline_app', p.oid, 'EXECUTE')"
    ).fetchall()
    assert {name for name, _ in rows} == DOORS
    assert {config for _, config in rows} == {'{"search_path=pg_catalog, public, pg_temp"}'}
    text = (BASE_DIR / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(door_[a-z_]+)", text)) == DOORS


def test_the_doors_are_closed_to_ingest(ingest: psycopg.Connection) -> None:
    for call in ("door_tenant_ids()", "door_memberships_of(1)", "door_facilities_of(1)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ingest.execute(sql.SQL("SELECT {}").format(sql.SQL(call)))


def test_ingest_has_these_privileges_and_no_other(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT c.relname, p.name FROM pg_class c,"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p(name)"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND has_any_column_privilege('wattline_ingest', c.oid,"
        "   CASE WHEN p.name IN ('DELETE', 'TRUNCATE') THEN 'SELECT' ELSE p.name END)"
        " AND (p.name NOT IN ('DELETE', 'TRUNCATE')"
        "   OR has_table_privilege('wattline_ingest', c.oid, p.name))"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, privilege in rows:
        found.setdefault(table, set()).add(privilege)
    assert found == INGEST_PRIVILEGES


@pytest.mark.parametrize("table", ["telemetry_frame", "devices_facility", "tenants_user"])
def test_ingest_cannot_read(ingest: psycopg.Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ingest.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))


def test_the_application_cannot_read_credentials(app: psycopg.Connection, two: Two) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _in_scope(app, two.ours.scope, sql.SQL("SELECT * FROM devices_credential"))


AUDIT_CHANGES = (
    "UPDATE tenants_auditentry SET action = 'x'",
    "DELETE FROM tenants_auditentry",
    "DELETE FROM tenants_auditentry WHERE false",
    "TRUNCATE tenants_auditentry",
)


@pytest.mark.parametrize("statement", AUDIT_CHANGES)
def test_audit_entries_can_only_be_appended(
    app: psycopg.Connection, two: Two, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _in_scope(app, two.ours.scope, sql.SQL(statement))


@pytest.mark.parametrize("statement", AUDIT_CHANGES)
def test_audit_entries_are_kept_from_their_owner_too(
    owner: psycopg.Connection, two: Two, statement: str
) -> None:
    before = owner.execute("SELECT count(*) FROM tenants_auditentry").fetchone()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        owner.execute(sql.SQL(statement))
    assert owner.execute("SELECT count(*) FROM tenants_auditentry").fetchone() == before


def test_the_application_cannot_take_the_guard_of_the_audit_trail_away(
    app: psycopg.Connection, two: Two
) -> None:
    for statement in (
        "ALTER TABLE tenants_auditentry DISABLE TRIGGER tenants_auditentry_append_only",
        "DROP TRIGGER tenants_auditentry_append_only ON tenants_auditentry",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(sql.SQL(statement))


def test_the_scope_is_evaluated_once_a_query(app: psycopg.Connection, two: Two) -> None:
    for table in ("devices_device", "telemetry_frame"):
        with app.transaction():
            _open(app, two.ours.scope)
            query = sql.SQL("EXPLAIN SELECT * FROM {}").format(sql.Identifier(table))
            plan = "\n".join(row[0] for row in app.execute(query))
        assert "InitPlan" in plan
        assert "scope_tenant_ids()" not in plan  # no call that each row would repeat
        assert "scope_is_open" not in plan  # the planner has done it
