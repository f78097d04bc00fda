"""A role that is being given cannot be deleted by the tenant above meanwhile."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import Statements

# The role may lie outside the scope of whoever gives it, so the lock is taken by the owner.
HOLD_ROLE = Statements(
    [
        """CREATE FUNCTION door_hold_role(held_role bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM tenants_customrole r WHERE r.id = held_role FOR KEY SHARE;
END $$""",
        "REVOKE EXECUTE ON FUNCTION door_hold_role(bigint) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_hold_role(bigint) TO {app}",
    ],
    ["DROP FUNCTION door_hold_role(bigint)"],
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0015_suspension")]

    operations = [HOLD_ROLE]
