"""A membership says itself whether it is narrowed: without facilities it then reaches none."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import Statements

NARROW = Statements(
    [
        (
            "UPDATE tenants_membership m SET narrowed = true"
            " WHERE EXISTS (SELECT FROM devices_facilityaccess a WHERE a.membership_id = m.id)"
        ),
    ],
    [],
)

_FORMER_DOOR = """CREATE OR REPLACE FUNCTION door_facilities_of(member bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE reach(id) AS (
    SELECT a.facility_id FROM public.devices_facilityaccess a WHERE a.membership_id = member
    UNION
    SELECT f.id FROM public.devices_facility f JOIN reach ON f.parent_id = reach.id)
  SELECT array_agg(reach.id ORDER BY reach.id) FROM reach;
END"""

# Null, everything, only for a membership that says so; one that does not exist reaches nothing.
DOOR = Statements(
    [
        """CREATE OR REPLACE FUNCTION door_facilities_of(member bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE reach(id) AS (
    SELECT a.facility_id FROM public.devices_facilityaccess a WHERE a.membership_id = member
    UNION
    SELECT f.id FROM public.devices_facility f JOIN reach ON f.parent_id = reach.id)
  SELECT CASE WHEN (SELECT m.narrowed FROM public.tenants_membership m WHERE m.id = member) IS FALSE
         THEN NULL
         ELSE coalesce((SELECT array_agg(reach.id ORDER BY reach.id) FROM reach), '{{}}'::bigint[])
         END;
END"""
    ],
    [_FORMER_DOOR],
)


class Migration(migrations.Migration):
    dependencies = [("devices", "0005_registry_wall"), ("tenants", "0007_people_wall")]

    operations = [NARROW, DOOR]
