"""Custom roles and invitations behind the wall, what a foreign key cannot say, and the doors."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

# A role of a tenant serves the tenants below it, too. The trigger runs as the owner: the tenants
# above may lie outside the scope of whoever writes the row.
ROLE_OF_AN_ANCESTOR = Statements(
    [
        """CREATE FUNCTION tenants_check_role() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE fits boolean;
BEGIN
  IF NEW.custom_role_id IS NULL THEN RETURN NEW; END IF;
  WITH RECURSIVE up(id, parent_id) AS (
    SELECT t.id, t.parent_id FROM tenants_tenant t WHERE t.id = NEW.tenant_id
    UNION
    SELECT t.id, t.parent_id FROM tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT EXISTS (SELECT FROM tenants_customrole r JOIN up ON up.id = r.tenant_id
                 WHERE r.id = NEW.custom_role_id) INTO fits;
  IF fits THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'role % belongs neither to tenant % nor to one above it', NEW.custom_role_id, NEW.tenant_id
    USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_TABLE_NAME || '_role_of_tenant',
          TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$""",
        "REVOKE EXECUTE ON FUNCTION tenants_check_role() FROM PUBLIC",
        (
            "CREATE TRIGGER tenants_membership_role_of_tenant"
            " BEFORE INSERT OR UPDATE OF tenant_id, custom_role_id"
            " ON tenants_membership FOR EACH ROW EXECUTE FUNCTION tenants_check_role()"
        ),
        (
            "CREATE TRIGGER tenants_invitation_role_of_tenant"
            " BEFORE INSERT OR UPDATE OF tenant_id, custom_role_id"
            " ON tenants_invitation FOR EACH ROW EXECUTE FUNCTION tenants_check_role()"
        ),
        # A role that changed its tenant would give members elsewhere what nobody gave them.
        """CREATE FUNCTION tenants_keep_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'role % stays with its tenant', OLD.id
    USING ERRCODE = 'check_violation', CONSTRAINT = 'tenants_customrole_tenant_final',
          TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$""",
        (
            "CREATE TRIGGER tenants_customrole_tenant_final BEFORE UPDATE ON tenants_customrole"
            " FOR EACH ROW WHEN (OLD.tenant_id IS DISTINCT FROM NEW.tenant_id)"
            " EXECUTE FUNCTION tenants_keep_role()"
        ),
    ],
    [
        "DROP TRIGGER tenants_customrole_tenant_final ON tenants_customrole",
        "DROP FUNCTION tenants_keep_role()",
        "DROP TRIGGER tenants_invitation_role_of_tenant ON tenants_invitation",
        "DROP TRIGGER tenants_membership_role_of_tenant ON tenants_membership",
        "DROP FUNCTION tenants_check_role()",
    ],
)

_FORMER_DOOR = """CREATE FUNCTION door_memberships_of(member bigint)
RETURNS TABLE (membership_id bigint, role text, tenant_id bigint, tenant_name text,
               tenant_slug text, tenant_kind text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT m.id, m.role::text, t.id, t.name::text, t.slug::text, t.kind::text
  FROM public.tenants_membership m JOIN public.tenants_tenant t ON t.id = m.tenant_id
  WHERE m.user_id = member
  ORDER BY t.name, t.id;
END"""

# Suspended memberships are none; a custom role may belong to a tenant above, outside any scope of
# the member.
DOORS = Statements(
    [
        "DROP FUNCTION door_memberships_of(bigint)",
        """CREATE FUNCTION door_memberships_of(member bigint)
RETURNS TABLE (membership_id bigint, role text, tenant_id bigint, tenant_name text,
               tenant_slug text, tenant_kind text, narrowed boolean, role_name text,
               permissions text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT m.id, m.role::text, t.id, t.name::text, t.slug::text, t.kind::text, m.narrowed,
         r.name::text, r.permissions::text[]
  FROM public.tenants_membership m JOIN public.tenants_tenant t ON t.id = m.tenant_id
  LEFT JOIN public.tenants_customrole r ON r.id = m.custom_role_id
  WHERE m.user_id = member AND m.suspended_at IS NULL
  ORDER BY t.name, t.id;
END""",
        """CREATE FUNCTION door_roles_of(tenants bigint[])
RETURNS TABLE (role_id bigint, tenant_id bigint, tenant_name text, role_name text,
               description text, permissions text[], usable_in bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE up(member_id, id, parent_id) AS (
    SELECT t.id, t.id, t.parent_id FROM public.tenants_tenant t WHERE t.id = ANY (tenants)
    UNION
    SELECT up.member_id, t.id, t.parent_id
    FROM public.tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT r.id, r.tenant_id, t.name::text, r.name::text, r.description::text,
         r.permissions::text[], array_agg(up.member_id ORDER BY up.member_id)
  FROM up JOIN public.tenants_customrole r ON r.tenant_id = up.id
  JOIN public.tenants_tenant t ON t.id = r.tenant_id
  GROUP BY r.id, t.id
  ORDER BY lower(r.name), r.id;
END""",
        """CREATE FUNCTION door_invitation(digest text)
RETURNS TABLE (invitation_id bigint, tenant_id bigint, tenant_name text, email text, role text,
               role_name text, language text, message text, invited_by text,
               expires_at timestamptz, accepted_at timestamptz, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT i.id, t.id, t.name::text, i.email::text, i.role::text, r.name::text, i.language::text,
         i.message, coalesce(nullif(u.name, ''), u.email)::text, i.expires_at, i.accepted_at,
         i.revoked_at
  FROM public.tenants_invitation i JOIN public.tenants_tenant t ON t.id = i.tenant_id
  LEFT JOIN public.tenants_customrole r ON r.id = i.custom_role_id
  LEFT JOIN public.tenants_user u ON u.id = i.invited_by_id
  WHERE i.token_sha256 = digest;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_memberships_of(bigint), door_roles_of(bigint[]),"
            " door_invitation(text) FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_memberships_of(bigint), door_roles_of(bigint[]),"
            " door_invitation(text) TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_invitation(text)",
        "DROP FUNCTION door_roles_of(bigint[])",
        "DROP FUNCTION door_memberships_of(bigint)",
        _FORMER_DOOR,
        "REVOKE EXECUTE ON FUNCTION door_memberships_of(bigint) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_memberships_of(bigint) TO {app}",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_people")]

    operations = [
        ROLE_OF_AN_ANCESTOR,
        DOORS,
        EnableRowSecurity("tenants_customrole", tenant_wide=True),
        EnableRowSecurity("tenants_invitation", tenant_wide=True),
    ]
