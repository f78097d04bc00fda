"""The wall: migration operations that put tenant-owned tables behind row-level security.

Migrations otherwise import no application code, because code moves on while a migration must keep
its meaning. These operations are the exception, like those of `django.contrib.postgres`: a library
for migrations alone, in which a published class never changes what it does; a new policy is a new
class. The alternative, the same forty lines of SQL copied into every migration, is how a table ends
up with a policy that is almost right.

Every policy reads the scope through the functions that `CreateScopeFunctions` makes:

- `scope_is_open()` raises SQLSTATE WL001 unless both settings are set and not empty (empty is what
  remains of a local setting after its transaction). It is declared IMMUTABLE, which makes the
  planner call it while it plans: so a query without a scope raises even on an empty table, on a
  hypertable without chunks or where no row matches, and costs nothing per row. A plan that was
  prepared earlier skips it, which is why safety never rests on it alone.
- `scope_tenant_ids()` and `scope_facility_ids()` (NULL: all) raise likewise. They stand in
  sub-selects, so that a query evaluates them once (an InitPlan) and compares rows with the array.
- `scope_device_ids()`: the devices in the facilities of a narrowed scope, for device-owned tables.

The policies bind every role but the tables' owner and roles with BYPASSRLS.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import connections
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import sql

POLICY: Final = "scope"
SHARED_POLICY: Final = "shared"


def role_names() -> dict[str, sql.Identifier]:
    """The database roles from the connection settings, as `{app}` and `{ingest}` for SQL."""
    return {
        "app": sql.Identifier(connections["default"].settings_dict["USER"] or "wattline_app"),
        "ingest": sql.Identifier(connections["ingest"].settings_dict["USER"] or "wattline_ingest"),
    }


class _SqlOperation(Operation):
    """An operation that runs composed statements and touches no model state."""

    reduces_to_sql: ClassVar[bool] = True
    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Nothing: the tables are as the models say."""

    def forward(self) -> list[sql.Composable]:
        """The statements of the operation."""
        raise NotImplementedError

    def backward(self) -> list[sql.Composable]:
        """The statements that take it back."""
        raise NotImplementedError

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the statements on the owner's connection."""
        del app_label, from_state, to_state
        _run(schema_editor, self.forward())

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Take the statements back."""
        del app_label, from_state, to_state
        _run(schema_editor, self.backward())


def _run(schema_editor: BaseDatabaseSchemaEditor, statements: list[sql.Composable]) -> None:
    connection = schema_editor.connection
    connection.ensure_connection()
    for statement in statements:
        schema_editor.execute(statement.as_string(connection.connection), params=None)


class Statements(_SqlOperation):
    """Plain statements in which `{app}` and `{ingest}` stand for the names of the roles.

    A literal brace is written twice, as in `str.format`.
    """

    def __init__(self, forward: list[str], backward: list[str]) -> None:
        self.forward_sql = forward
        self.backward_sql = backward

    def _compose(self, statements: list[str]) -> list[sql.Composable]:
        roles = role_names()
        return [sql.SQL(statement).format(**roles) for statement in statements]

    def forward(self) -> list[sql.Composable]:
        """The statements with the roles filled in."""
        return self._compose(self.forward_sql)

    def backward(self) -> list[sql.Composable]:
        """The statements that take them back."""
        return self._compose(self.backward_sql)

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Run {len(self.forward_sql)} statements"


class CreateScopeFunctions(_SqlOperation):
    """The functions that the policies call; see the module's docstring."""

    def forward(self) -> list[sql.Composable]:
        """Create them, executable by everybody: they tell only the caller's own settings."""
        return [sql.SQL(statement) for statement in _SCOPE_FUNCTIONS]

    def backward(self) -> list[sql.Composable]:
        """Drop them."""
        return [
            sql.SQL(f"DROP FUNCTION {name}")
            for name in ("scope_is_open()", "scope_facility_ids()", "scope_tenant_ids()")
        ]

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return "Create the functions that read the scope"


_RAISE = """
    RAISE EXCEPTION 'no tenant scope is open' USING ERRCODE = 'WL001',
      HINT = 'In psql: BEGIN; SELECT set_config(''wattline.tenant_ids'', ''{1}'', true), '
             'set_config(''wattline.facility_ids'', ''*'', true);';"""

_SCOPE_FUNCTIONS = (
    f"""CREATE FUNCTION scope_tenant_ids() RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE value text := pg_catalog.current_setting('wattline.tenant_ids', true);
BEGIN
  IF value IS NULL OR value = '' THEN {_RAISE}
  END IF;
  RETURN value::bigint[];
END $$""",
    f"""CREATE FUNCTION scope_facility_ids() RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE value text := pg_catalog.current_setting('wattline.facility_ids', true);
BEGIN
  IF value IS NULL OR value = '' THEN {_RAISE}
  END IF;
  IF value = '*' THEN RETURN NULL; END IF;
  RETURN value::bigint[];
END $$""",
    """CREATE FUNCTION scope_is_open() RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  PERFORM scope_tenant_ids(), scope_facility_ids();
  RETURN true;
END $$""",
)

_TENANT = sql.SQL("{column} = ANY ((SELECT scope_tenant_ids())::bigint[])")
_EVERYWHERE = sql.SQL("(SELECT scope_facility_ids()) IS NULL")
_FACILITY = sql.SQL("({everywhere} OR {column} = ANY ((SELECT scope_facility_ids())::bigint[]))")
_DEVICE = sql.SQL("({everywhere} OR {column} = ANY ((SELECT scope_device_ids())::bigint[]))")
_SAME_TENANT = sql.SQL(
    "EXISTS (SELECT FROM devices_device d WHERE d.id = {device} AND d.tenant_id = {tenant})"
)


class EnableRowSecurity(_SqlOperation):
    """Put one table behind the wall: only rows of the open scope are seen, changed or written.

    `tenant_column` holds the tenant. A scope that is narrowed to some facilities sees further
    - with `facility_column`: the rows of these facilities,
    - with `device_column`: the rows of the devices in them,
    - with `tenant_wide`: none, because the rows concern the tenant as a whole (memberships, audit),
    - with none of these: every row of the tenant.
    With `checks_device`, whatever the scope, a row is written for a device of its own tenant only;
    a table with a foreign key that says so does not need it. With `shared`, rows without a tenant
    are seen by everybody and written by the owner alone. With `append_always`, a narrowed scope may
    still insert rows that it cannot see (audit).
    """

    def __init__(
        self,
        table: str,
        *,
        tenant_column: str = "tenant_id",
        facility_column: str | None = None,
        device_column: str | None = None,
        checks_device: bool = False,
        tenant_wide: bool = False,
        shared: bool = False,
        append_always: bool = False,
    ) -> None:
        self.table = table
        self.tenant_column = tenant_column
        self.facility_column = facility_column
        self.device_column = device_column
        self.checks_device = checks_device
        self.tenant_wide = tenant_wide
        self.shared = shared
        self.append_always = append_always

    def _tenant(self) -> sql.Composable:
        return _TENANT.format(column=sql.Identifier(self.tenant_column))

    def _narrowing(self) -> list[sql.Composable]:
        if self.tenant_wide:
            return [_EVERYWHERE]
        narrowing: list[sql.Composable] = []
        if self.facility_column:
            column = sql.Identifier(self.facility_column)
            narrowing.append(_FACILITY.format(everywhere=_EVERYWHERE, column=column))
        if self.device_column:
            column = sql.Identifier(self.device_column)
            narrowing.append(_DEVICE.format(everywhere=_EVERYWHERE, column=column))
        return narrowing

    def _same_tenant(self) -> sql.Composable:
        """The device of a written row is of the row's tenant."""
        return _SAME_TENANT.format(
            device=sql.Identifier(self.table, str(self.device_column)),
            tenant=sql.Identifier(self.table, self.tenant_column),
        )

    def forward(self) -> list[sql.Composable]:
        """Enable row-level security and create the policy."""
        tenant, narrowing = self._tenant(), self._narrowing()
        names = {"table": sql.Identifier(self.table), "policy": sql.Identifier(POLICY)}
        is_open = sql.SQL("scope_is_open()")
        written = [is_open, tenant] + ([] if self.append_always else narrowing)
        if self.checks_device:
            written.append(self._same_tenant())
        statements: list[sql.Composable] = [
            sql.SQL("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY").format(**names),
            sql.SQL(
                "CREATE POLICY {policy} ON {table} USING ({seen}) WITH CHECK ({written})"
            ).format(
                **names,
                seen=sql.SQL(" AND ").join([is_open, tenant, *narrowing]),
                written=sql.SQL(" AND ").join(written),
            ),
        ]
        if self.shared:
            # For SELECT alone: a policy for everything would let any tenant delete the row.
            statements.append(
                sql.SQL(
                    "CREATE POLICY {shared} ON {table} FOR SELECT"
                    " USING (scope_is_open() AND {column} IS NULL)"
                ).format(
                    shared=sql.Identifier(SHARED_POLICY),
                    table=names["table"],
                    column=sql.Identifier(self.tenant_column),
                )
            )
        return statements

    def backward(self) -> list[sql.Composable]:
        """Drop the policies and disable row-level security."""
        table = sql.Identifier(self.table)
        drop = sql.SQL("DROP POLICY {policy} ON {table}")
        policies = [POLICY, SHARED_POLICY] if self.shared else [POLICY]
        return [
            *(drop.format(policy=sql.Identifier(policy), table=table) for policy in policies),
            sql.SQL("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY").format(table=table),
        ]

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Put {self.table} behind row-level security"

    @property
    def migration_name_fragment(self) -> str:
        """Part of an automatic migration name."""
        return f"wall_{self.table}"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """For the migration writer."""
        return (
            type(self).__name__,
            [self.table],
            {
                "tenant_column": self.tenant_column,
                "facility_column": self.facility_column,
                "device_column": self.device_column,
                "checks_device": self.checks_device,
                "tenant_wide": self.tenant_wide,
                "shared": self.shared,
                "append_always": self.append_always,
            },
        )


_FACILITIES = sql.SQL("({everywhere} OR {column} <@ (SELECT scope_facility_ids())::bigint[])")


class EnableFacilitiesRowSecurity(EnableRowSecurity):
    """Like `EnableRowSecurity` for rows about several facilities, which an array column names.

    A scope that is narrowed to some facilities sees the rows all of whose facilities are among
    them.
    """

    def __init__(self, table: str, *, facilities_column: str = "facilities") -> None:
        super().__init__(table)
        self.facilities_column = facilities_column

    def _narrowing(self) -> list[sql.Composable]:
        column = sql.Identifier(self.facilities_column)
        return [_FACILITIES.format(everywhere=_EVERYWHERE, column=column)]

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """For the migration writer."""
        name = type(self).__name__
        return name, [self.table], {"facilities_column": self.facilities_column}
