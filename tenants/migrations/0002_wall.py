"""Grants, the scope's functions, the policies, and the doors that are open before a scope is."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import CreateScopeFunctions, EnableRowSecurity, Statements

GRANTS = Statements(
    [
        "GRANT USAGE ON SCHEMA public TO {app}, {ingest}",
        # Tables of Django that were made before this migration, and all that the owner makes later.
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {app}",
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}"
        ),
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {app}",
        "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {app}",
        # Append-only.
        "REVOKE UPDATE, DELETE ON tenants_auditentry FROM {app}",
    ],
    [
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE USAGE ON SEQUENCES FROM {app}",
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            " REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM {app}"
        ),
        "REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM {app}",
        "REVOKE SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {app}",
        "REVOKE USAGE ON SCHEMA public FROM {app}, {ingest}",
    ],
)

# One function for every tree: rows of the trigger's table point to their parent by parent_id. It runs
# as the owner, because a parent may lie outside the scope of whoever changes the row.
NO_CYCLES = Statements(
    [
        """CREATE FUNCTION refuse_cycle() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE cyclic boolean;
BEGIN
  IF NEW.parent_id IS NULL THEN RETURN NEW; END IF;
  EXECUTE pg_catalog.format(
    'WITH RECURSIVE up(id, parent_id) AS ('
    ' SELECT id, parent_id FROM %1$I.%2$I WHERE id = $1'
    ' UNION SELECT t.id, t.parent_id FROM %1$I.%2$I t JOIN up ON t.id = up.parent_id)'
    ' SELECT EXISTS (SELECT FROM up WHERE id = $2)', TG_TABLE_SCHEMA, TG_TABLE_NAME)
    INTO cyclic USING NEW.parent_id, NEW.id;
  IF cyclic OR NEW.parent_id = NEW.id THEN
    RAISE EXCEPTION 'row % of % would become its own ancestor', NEW.id, TG_TABLE_NAME
      USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_no_cycle',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NEW;
END $$""",
        "REVOKE EXECUTE ON FUNCTION refuse_cycle() FROM PUBLIC",
        (
            "CREATE TRIGGER tenants_tenant_no_cycle BEFORE INSERT OR UPDATE OF parent_id ON tenants_tenant"
            " FOR EACH ROW EXECUTE FUNCTION refuse_cycle()"
        ),
    ],
    ["DROP TRIGGER tenants_tenant_no_cycle ON tenants_tenant", "DROP FUNCTION refuse_cycle()"],
)

# The doors: what must be known before a scope can be opened. They run as the owner, past the wall,
# give as little as possible, and are listed in docs/architecture.md; a test compares the list.
DOORS = Statements(
    [
        """CREATE FUNCTION door_memberships_of(member bigint)
RETURNS TABLE (membership_id bigint, role text, tenant_id bigint, tenant_name text,
               tenant_slug text, tenant_kind text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT m.id, m.role::text, t.id, t.name::text, t.slug::text, t.kind::text
  FROM public.tenants_membership m JOIN public.tenants_tenant t ON t.id = m.tenant_id
  WHERE m.user_id = member
  ORDER BY t.name, t.id;
END""",
        """CREATE FUNCTION door_tenants_below(roots bigint[])
RETURNS TABLE (root_id bigint, tenant_id bigint, tenant_name text, tenant_slug text,
               tenant_kind text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE below(root_id, id) AS (
    SELECT t.id, t.id FROM public.tenants_tenant t WHERE t.id = ANY (roots)
    UNION
    SELECT below.root_id, t.id FROM public.tenants_tenant t JOIN below ON t.parent_id = below.id)
  SELECT below.root_id, t.id, t.name::text, t.slug::text, t.kind::text
  FROM below JOIN public.tenants_tenant t ON t.id = below.id
  ORDER BY t.name, t.id;
END""",
        """CREATE FUNCTION door_tenant_ids() RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT t.id FROM public.tenants_tenant t ORDER BY t.id;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_memberships_of(bigint), door_tenants_below(bigint[]),"
            " door_tenant_ids() FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_memberships_of(bigint), door_tenants_below(bigint[]),"
            " door_tenant_ids() TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_memberships_of(bigint)",
        "DROP FUNCTION door_tenants_below(bigint[])",
        "DROP FUNCTION door_tenant_ids()",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_tenants")]

    operations = [
        GRANTS,
        CreateScopeFunctions(),
        NO_CYCLES,
        DOORS,
        EnableRowSecurity("tenants_tenant", tenant_column="id"),
        EnableRowSecurity("tenants_membership", tenant_wide=True),
        EnableRowSecurity("tenants_auditentry", tenant_wide=True, append_always=True),
    ]
