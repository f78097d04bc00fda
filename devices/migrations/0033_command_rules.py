"""Two persons for switching off: demanded of tenants below as well, switched off by two persons."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import Statements

# Whoever asks for a command is bound by the rules above, which the scope does not hold. Beyond the
# scope nobody is told anything, and nobody is told that nothing is demanded.
DOOR = Statements(
    [
        """CREATE FUNCTION door_two_persons(of_tenant bigint)
RETURNS TABLE (own boolean, above boolean)
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
  SELECT coalesce(bool_or(p.two_persons) FILTER (WHERE up.id = of_tenant), false),
         coalesce(bool_or(p.two_persons) FILTER (WHERE up.id <> of_tenant), false)
  FROM up JOIN devices_commandpolicy p ON p.tenant_id = up.id;
END $$""",
        "REVOKE EXECUTE ON FUNCTION door_two_persons(bigint) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_two_persons(bigint) TO {app}",
    ],
    ["DROP FUNCTION door_two_persons(bigint)"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0032_tried_settings"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="commandpolicy",
            name="off_asked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="commandpolicy",
            name="off_asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="commandpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("off_asked_at__isnull", True), ("off_asked_by__isnull", True)),
                    models.Q(
                        ("off_asked_at__isnull", False),
                        ("off_asked_by__isnull", False),
                        ("two_persons", True),
                    ),
                    _connector="OR",
                ),
                name="devices_commandpolicy_off_asked",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("state", "awaiting_approval")),
                fields=["tenant", "asked_at"],
                name="devices_command_awaiting",
            ),
        ),
        DOOR,
    ]
