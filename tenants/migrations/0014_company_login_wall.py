"""Company logins behind the wall, and the doors that are open before anybody is known."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

# A domain belongs to a login of its own tenant.
SAME_TENANT = Statements(
    [
        (
            "ALTER TABLE tenants_companydomain ADD CONSTRAINT tenants_companydomain_same_tenant"
            " FOREIGN KEY (tenant_id, company_login_id)"
            " REFERENCES tenants_companylogin (tenant_id, id) DEFERRABLE INITIALLY DEFERRED"
        ),
    ],
    ["ALTER TABLE tenants_companydomain DROP CONSTRAINT tenants_companydomain_same_tenant"],
)

DOORS = Statements(
    [
        """CREATE FUNCTION door_tenant_of_company_login(login text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT l.tenant_id FROM public.tenants_companylogin l WHERE l.key = login AND l.is_active;
END""",
        # What the sign-in page needs for an address, and no more: nothing of it depends on whether
        # the address has an account.
        """CREATE FUNCTION door_company_login_of_domain(asked text)
RETURNS TABLE (tenant_id bigint, login text, name text, is_enforced boolean, break_glass_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT l.tenant_id, l.key::text, l.name::text, l.is_enforced, l.break_glass_id
  FROM public.tenants_companydomain d JOIN public.tenants_companylogin l ON l.id = d.company_login_id
  WHERE d.domain = asked AND d.verified_at IS NOT NULL AND l.is_active;
END""",
        # Suspended memberships, too: an organisation must not speak for who belongs elsewhere.
        """CREATE FUNCTION door_tenants_of_member(member bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT m.tenant_id FROM public.tenants_membership m WHERE m.user_id = member;
END""",
        """CREATE FUNCTION door_second_factor(tenants bigint[])
RETURNS TABLE (tenant_id bigint, second_factor text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE up(member_id, id, parent_id) AS (
    SELECT t.id, t.id, t.parent_id FROM public.tenants_tenant t WHERE t.id = ANY (tenants)
    UNION
    SELECT up.member_id, t.id, t.parent_id
    FROM public.tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT up.member_id, p.second_factor::text
  FROM up JOIN public.tenants_signinpolicy p ON p.tenant_id = up.id;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_tenant_of_company_login(text),"
            " door_company_login_of_domain(text), door_tenants_of_member(bigint),"
            " door_second_factor(bigint[]) FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_tenant_of_company_login(text),"
            " door_company_login_of_domain(text), door_tenants_of_member(bigint),"
            " door_second_factor(bigint[]) TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_second_factor(bigint[])",
        "DROP FUNCTION door_tenants_of_member(bigint)",
        "DROP FUNCTION door_company_login_of_domain(text)",
        "DROP FUNCTION door_tenant_of_company_login(text)",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0013_company_login")]

    operations = [
        SAME_TENANT,
        DOORS,
        EnableRowSecurity("tenants_signinpolicy", tenant_wide=True),
        EnableRowSecurity("tenants_companylogin", tenant_wide=True),
        EnableRowSecurity("tenants_companydomain", tenant_wide=True),
    ]
