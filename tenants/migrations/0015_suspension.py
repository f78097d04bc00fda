"""Suspended tenants: the doors leave out their memberships, applications and tokens."""

from __future__ import annotations

from django.db import migrations, models

from tenants.rowsecurity import Statements

# Whether a tenant or one above it is suspended. For the doors alone, which run as the owner.
_IS_SUSPENDED = """CREATE FUNCTION tenant_is_suspended(tenant bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE up(id, parent_id, suspended_at) AS (
    SELECT t.id, t.parent_id, t.suspended_at FROM public.tenants_tenant t WHERE t.id = tenant
    UNION
    SELECT t.id, t.parent_id, t.suspended_at
    FROM public.tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT EXISTS (SELECT FROM up WHERE suspended_at IS NOT NULL);
END"""


_MEMBERSHIPS = """CREATE OR REPLACE FUNCTION door_memberships_of(member bigint)
RETURNS TABLE (membership_id bigint, role text, tenant_id bigint, tenant_name text,
               tenant_slug text, tenant_kind text, narrowed boolean, role_name text,
               permissions text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT m.id, m.role::text, t.id, t.name::text, t.slug::text, t.kind::text, m.narrowed,
         r.name::text, r.permissions::text[]
  FROM public.tenants_membership m JOIN public.tenants_tenant t ON t.id = m.tenant_id
  LEFT JOIN public.tenants_customrole r ON r.id = m.custom_role_id
  WHERE m.user_id = member AND m.suspended_at IS NULL /* and more */
  ORDER BY t.name, t.id;
END"""


_APPLICATION = """CREATE OR REPLACE FUNCTION door_tenant_of_application(client text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT a.tenant_id FROM public.tenants_application a
  WHERE a.client_id = client AND a.is_active /* and more */;
END"""


_ACCESS = """CREATE OR REPLACE FUNCTION door_access_token(checksum text)
RETURNS TABLE (token_id bigint, tenant_id bigint, application_id bigint, client_id text,
               application_tenant_id bigint, facility_ids bigint[], user_id bigint, scope text,
               expires timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT t.id, t.tenant_id, a.id, a.client_id::text, a.tenant_id, a.facility_ids, t.user_id,
         t.scope, t.expires
  FROM public.tenants_accesstoken t
  JOIN public.tenants_application a ON a.id = t.application_id AND a.is_active
  LEFT JOIN public.tenants_user u ON u.id = t.user_id
  WHERE t.token_checksum = checksum AND (t.user_id IS NULL OR u.is_active) /* and more */;
END"""


def _without(door: str, tenant: str) -> str:
    """The door, without what belongs to suspended tenants."""
    return door.replace("/* and more */", f"AND NOT public.tenant_is_suspended({tenant})")


DOORS = Statements(
    [
        _IS_SUSPENDED,
        "REVOKE EXECUTE ON FUNCTION tenant_is_suspended(bigint) FROM PUBLIC",
        _without(_MEMBERSHIPS, "m.tenant_id"),
        _without(_APPLICATION, "a.tenant_id"),
        _without(_ACCESS, "a.tenant_id"),
    ],
    [
        _MEMBERSHIPS,
        _APPLICATION,
        _ACCESS,
        "DROP FUNCTION tenant_is_suspended(bigint)",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0014_company_login_wall")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="suspended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        DOORS,
    ]
