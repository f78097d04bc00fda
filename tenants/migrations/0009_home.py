"""Sessions of the consumer view, and the doors to them and to the applications of the house."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

# What must be known before a scope can be opened: whose session a browser's secret belongs to, and
# which of the installation's own applications (one for each root tenant) serves a person.
DOORS = Statements(
    [
        """CREATE FUNCTION door_home_session(digest text)
RETURNS TABLE (session_id bigint, tenant_id bigint, user_id bigint, client_id text, sid uuid,
               sealed bytea, access_expires_at timestamptz, facility_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT s.id, s.tenant_id, s.user_id, a.client_id::text, s.sid, s.sealed, s.access_expires_at,
         s.facility_id
  FROM public.tenants_homesession s
  JOIN public.tenants_application a ON a.id = s.application_id AND a.is_active
  JOIN public.tenants_user u ON u.id = s.user_id AND u.is_active
  WHERE s.secret = digest;
END""",
        """CREATE FUNCTION door_own_applications(prefix text, person bigint) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE above AS (
    SELECT t.id, t.parent_id FROM public.tenants_membership m
    JOIN public.tenants_tenant t ON t.id = m.tenant_id WHERE m.user_id = person
    UNION
    SELECT p.id, p.parent_id FROM above JOIN public.tenants_tenant p ON p.id = above.parent_id
  )
  SELECT a.client_id::text FROM public.tenants_application a
  WHERE a.client_id = prefix || a.tenant_id AND a.is_active
    AND (person IS NULL OR a.tenant_id IN (SELECT id FROM above))
  ORDER BY a.id;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_home_session(text),"
            " door_own_applications(text, bigint) FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_home_session(text),"
            " door_own_applications(text, bigint) TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_home_session(text)",
        "DROP FUNCTION door_own_applications(text, bigint)",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0008_audit_indexes")]

    operations = [
        migrations.CreateModel(
            name="HomeSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("secret", models.CharField(max_length=64, unique=True)),
                ("sid", models.UUIDField(db_index=True)),
                ("sealed", models.BinaryField(max_length=8192)),
                ("access_expires_at", models.DateTimeField()),
                ("renewed_at", models.DateTimeField()),
                ("facility_id", models.BigIntegerField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"abstract": False},
        ),
        DOORS,
        EnableRowSecurity("tenants_homesession", tenant_wide=True),
    ]
