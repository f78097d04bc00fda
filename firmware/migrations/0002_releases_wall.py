"""Releases behind the wall: those of tenants above are seen, what was signed is final."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

_SAME_TENANT = (
    ("firmware_delta", "base", "firmware_artifact"),
    ("firmware_delta", "target", "firmware_artifact"),
    ("firmware_delta", "patch", "firmware_artifact"),
    ("firmware_release", "artifact", "firmware_artifact"),
    ("firmware_release", "signing_key", "firmware_signingkey"),
)

FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_same_tenant"
        f" FOREIGN KEY (tenant_id, {column}_id) REFERENCES {target} (tenant_id, id)"
        for table, column, target in _SAME_TENANT
    ],
    [
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_same_tenant"
        for table, column, _target in _SAME_TENANT
    ],
)

# The type is the tenant's own or everybody's; what was signed cannot be changed, and there is no
# way back in a release's life.
RELEASES = Statements(
    [
        """CREATE FUNCTION firmware_check_release() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE owner_id bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT tenant_id INTO owner_id FROM devices_devicetype WHERE id = NEW.device_type_id;
    IF owner_id IS NOT NULL AND owner_id <> NEW.tenant_id THEN
      RAISE EXCEPTION 'device type % belongs to another tenant than the release', NEW.device_type_id
        USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'firmware_release_type_same_tenant',
              TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state = 'retired' OR (OLD.state = 'approved' AND NEW.state <> 'retired')
     OR (OLD.approved_at IS NOT NULL
         AND (OLD.approved_at, OLD.approved_by_id, OLD.notes, OLD.from_versions)
             IS DISTINCT FROM (NEW.approved_at, NEW.approved_by_id, NEW.notes, NEW.from_versions)) THEN
    RAISE EXCEPTION 'release % is % and final', OLD.id, OLD.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'firmware_release_final',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NEW;
END $$""",
        "REVOKE EXECUTE ON FUNCTION firmware_check_release() FROM PUBLIC",
        (
            "CREATE TRIGGER firmware_release_final BEFORE INSERT OR UPDATE ON firmware_release"
            " FOR EACH ROW EXECUTE FUNCTION firmware_check_release()"
        ),
        """CREATE FUNCTION firmware_keep_release() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.state <> 'draft' THEN
    RAISE EXCEPTION 'release % was approved or retired: it stays', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'firmware_release_kept',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN OLD;
END $$""",
        (
            "CREATE TRIGGER firmware_release_kept BEFORE DELETE ON firmware_release"
            " FOR EACH ROW EXECUTE FUNCTION firmware_keep_release()"
        ),
        "REVOKE UPDATE ON firmware_release, firmware_artifact, firmware_signingkey FROM {app}",
        "REVOKE DELETE ON firmware_signingkey FROM {app}",
        (
            "GRANT UPDATE (notes, from_versions, state, approved_by_id, approved_at, retired_by_id,"
            " retired_at) ON firmware_release TO {app}"
        ),
        "GRANT UPDATE (name, retired_at) ON firmware_signingkey TO {app}",
    ],
    [
        "GRANT UPDATE ON firmware_release, firmware_artifact, firmware_signingkey TO {app}",
        "GRANT DELETE ON firmware_signingkey TO {app}",
        "DROP TRIGGER firmware_release_kept ON firmware_release",
        "DROP FUNCTION firmware_keep_release()",
        "DROP TRIGGER firmware_release_final ON firmware_release",
        "DROP FUNCTION firmware_check_release()",
    ],
)

_OWN = "tenant_id = ANY ((SELECT scope_tenant_ids())::bigint[])"
_ABOVE = "tenant_id = ANY ((SELECT door_tenants_above())::bigint[])"
# What a tenant above has released serves those below, so that they and their facilities see it; its
# drafts, and what belongs to them, they do not.
_SEEN = {
    "firmware_release": "state <> 'draft'",
    "firmware_artifact": (
        "(kind = 'delta' OR EXISTS (SELECT FROM firmware_release r"
        " WHERE r.artifact_id = firmware_artifact.id AND r.state <> 'draft'))"
    ),
    "firmware_delta": "true",
    "firmware_signingkey": "true",
}

INHERITED = Statements(
    [
        """CREATE FUNCTION door_tenants_above() RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE above(id) AS (
    SELECT t.parent_id FROM public.tenants_tenant t
    WHERE t.id = ANY ((SELECT public.scope_tenant_ids())::bigint[])
    UNION
    SELECT t.parent_id FROM public.tenants_tenant t JOIN above ON t.id = above.id)
  SELECT coalesce(array_agg(above.id), '{{}}'::bigint[]) FROM above WHERE above.id IS NOT NULL;
END""",
        "REVOKE EXECUTE ON FUNCTION door_tenants_above() FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_tenants_above() TO {app}",
        *(
            f"CREATE POLICY inherited ON {table} FOR SELECT"
            f" USING (scope_is_open() AND ({_OWN} OR ({_ABOVE} AND {condition})))"
            for table, condition in _SEEN.items()
        ),
    ],
    [
        *(f"DROP POLICY inherited ON {table}" for table in _SEEN),
        "DROP FUNCTION door_tenants_above()",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("firmware", "0001_releases"), ("devices", "0028_held_devices")]

    operations = [
        FOREIGN_KEYS,
        RELEASES,
        # Written by whoever has the whole tenant; a scope narrowed to facilities reads them.
        EnableRowSecurity("firmware_artifact", tenant_wide=True),
        EnableRowSecurity("firmware_signingkey", tenant_wide=True),
        EnableRowSecurity("firmware_release", tenant_wide=True),
        EnableRowSecurity("firmware_delta", tenant_wide=True),
        INHERITED,
    ]
