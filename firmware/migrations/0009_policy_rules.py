"""What a tenant demands of roll-outs: of tenants below as well, switched off by two persons."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import Statements

# A roll-out is bound by the rules above, which its scope does not hold; each limit is the narrowest.
DOOR = Statements(
    [
        """CREATE FUNCTION door_firmware_policy(of_tenant bigint)
RETURNS TABLE (own_second boolean, own_downloads integer, own_bytes bigint,
               above_second boolean, above_downloads integer, above_bytes bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NOT of_tenant = ANY (scope_tenant_ids()) THEN
    RAISE EXCEPTION 'tenant % is not in the scope', of_tenant USING ERRCODE = '42501';
  END IF;
  RETURN QUERY
  WITH RECURSIVE up(id, parent_id) AS (
    SELECT t.id, t.parent_id FROM tenants_tenant t WHERE t.id = of_tenant
    UNION
    SELECT t.id, t.parent_id FROM tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT coalesce(bool_or(p.second_person) FILTER (WHERE up.id = of_tenant), false),
         min(p.max_downloads) FILTER (WHERE up.id = of_tenant),
         min(p.bytes_per_s) FILTER (WHERE up.id = of_tenant),
         coalesce(bool_or(p.second_person) FILTER (WHERE up.id <> of_tenant), false),
         min(p.max_downloads) FILTER (WHERE up.id <> of_tenant),
         min(p.bytes_per_s) FILTER (WHERE up.id <> of_tenant)
  FROM up JOIN firmware_firmwarepolicy p ON p.tenant_id = up.id;
END $$""",
        "REVOKE EXECUTE ON FUNCTION door_firmware_policy(bigint) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_firmware_policy(bigint) TO {app}",
    ],
    ["DROP FUNCTION door_firmware_policy(bigint)"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("firmware", "0008_rollout_changed_by"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="firmwarepolicy",
            name="off_asked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="firmwarepolicy",
            name="off_asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="firmwarepolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("off_asked_at__isnull", True), ("off_asked_by__isnull", True)),
                    models.Q(
                        ("off_asked_at__isnull", False),
                        ("off_asked_by__isnull", False),
                        ("second_person", True),
                    ),
                    _connector="OR",
                ),
                name="firmware_firmwarepolicy_off_asked",
            ),
        ),
        DOOR,
    ]
