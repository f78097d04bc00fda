"""Applications and tokens behind the wall, and the doors to them."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

# What must be known of a request before a scope can be opened for it: whose application it names,
# whose access token it carries, in which tenants a session of a browser is signed on.
DOORS = Statements(
    [
        """CREATE FUNCTION door_tenant_of_application(client text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT a.tenant_id FROM public.tenants_application a WHERE a.client_id = client AND a.is_active;
END""",
        """CREATE FUNCTION door_access_token(checksum text)
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
  WHERE t.token_checksum = checksum AND (t.user_id IS NULL OR u.is_active);
END""",
        """CREATE FUNCTION door_tenants_of_sign_on(session uuid) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT s.tenant_id FROM public.tenants_signon s WHERE s.sid = session
  UNION
  SELECT a.tenant_id FROM public.tenants_signon s
  JOIN public.tenants_application a ON a.id = s.application_id WHERE s.sid = session;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_tenant_of_application(text), door_access_token(text),"
            " door_tenants_of_sign_on(uuid) FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_tenant_of_application(text), door_access_token(text),"
            " door_tenants_of_sign_on(uuid) TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_tenant_of_application(text)",
        "DROP FUNCTION door_access_token(text)",
        "DROP FUNCTION door_tenants_of_sign_on(uuid)",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_oauth")]

    operations = [
        DOORS,
        EnableRowSecurity("tenants_application", tenant_wide=True),
        EnableRowSecurity("tenants_signon", tenant_wide=True),
        EnableRowSecurity("tenants_consent", tenant_wide=True),
        EnableRowSecurity("tenants_grant", tenant_wide=True),
        EnableRowSecurity("tenants_idtoken", tenant_wide=True),
        EnableRowSecurity("tenants_accesstoken", tenant_wide=True),
        EnableRowSecurity("tenants_refreshtoken", tenant_wide=True),
        EnableRowSecurity("tenants_devicegrant", tenant_wide=True),
    ]
