"""Related rows stay in one tenant, trees have no cycles, scaling is final; then the policies."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements


def _same_tenant(
    table: str, columns: tuple[str, ...], target: str, targets: tuple[str, ...], name: str
) -> Statements:
    """A composite foreign key: `columns` (the first is the tenant) name one row of `target`.

    Unlike Django's own it is checked at once, so that the error names the statement.
    """
    return Statements(
        [
            (
                f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({', '.join(columns)})"
                f" REFERENCES {target} ({', '.join(targets)})"
            )
        ],
        [f"ALTER TABLE {table} DROP CONSTRAINT {name}"],
    )


FOREIGN_KEYS = [
    _same_tenant(
        "devices_facility",
        ("tenant_id", "parent_id"),
        "devices_facility",
        ("tenant_id", "id"),
        "devices_facility_parent_same_tenant",
    ),
    _same_tenant(
        "devices_facilityaccess",
        ("tenant_id", "membership_id"),
        "tenants_membership",
        ("tenant_id", "id"),
        "devices_facilityaccess_membership_same_tenant",
    ),
    _same_tenant(
        "devices_facilityaccess",
        ("tenant_id", "facility_id"),
        "devices_facility",
        ("tenant_id", "id"),
        "devices_facilityaccess_facility_same_tenant",
    ),
    _same_tenant(
        "devices_device",
        ("tenant_id", "facility_id"),
        "devices_facility",
        ("tenant_id", "id"),
        "devices_device_facility_same_tenant",
    ),
    _same_tenant(
        "devices_channel",
        ("tenant_id", "device_id"),
        "devices_device",
        ("tenant_id", "id"),
        "devices_channel_device_same_tenant",
    ),
    _same_tenant(
        "devices_load",
        ("tenant_id", "facility_id"),
        "devices_facility",
        ("tenant_id", "id"),
        "devices_load_facility_same_tenant",
    ),
    _same_tenant(
        "devices_allocation",
        ("tenant_id", "channel_id"),
        "devices_channel",
        ("tenant_id", "id"),
        "devices_allocation_channel_same_tenant",
    ),
    _same_tenant(
        "devices_allocation",
        ("tenant_id", "facility_id", "load_id"),
        "devices_load",
        ("tenant_id", "facility_id", "id"),
        "devices_allocation_load_same_facility",
    ),
]

# What a foreign key cannot say, because a type without a tenant serves all. The triggers run as the
# owner: the wall must not hide from them what they compare with.
TRIGGERS = Statements(
    [
        (
            "CREATE TRIGGER devices_facility_no_cycle BEFORE INSERT OR UPDATE OF parent_id ON devices_facility"
            " FOR EACH ROW EXECUTE FUNCTION refuse_cycle()"
        ),
        """CREATE FUNCTION devices_check_device_type() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE owner_id bigint;
BEGIN
  SELECT tenant_id INTO owner_id FROM devices_devicetype WHERE id = NEW.device_type_id;
  IF TG_TABLE_NAME = 'devices_device' THEN
    IF owner_id IS NULL OR owner_id = NEW.tenant_id THEN RETURN NEW; END IF;
  ELSIF owner_id IS NOT DISTINCT FROM NEW.tenant_id THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'device type % belongs to another tenant than the row of %', NEW.device_type_id, TG_TABLE_NAME
    USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_TABLE_NAME || '_type_same_tenant',
          TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$""",
        "REVOKE EXECUTE ON FUNCTION devices_check_device_type() FROM PUBLIC",
        (
            "CREATE TRIGGER devices_device_type_same_tenant BEFORE INSERT OR UPDATE OF tenant_id, device_type_id"
            " ON devices_device FOR EACH ROW EXECUTE FUNCTION devices_check_device_type()"
        ),
        (
            "CREATE TRIGGER devices_devicetypechannel_type_same_tenant"
            " BEFORE INSERT OR UPDATE OF tenant_id, device_type_id"
            " ON devices_devicetypechannel FOR EACH ROW EXECUTE FUNCTION devices_check_device_type()"
        ),
        """CREATE FUNCTION devices_refuse_rescaling() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.tenant_id, NEW.device_id, NEW.number, NEW.quantity, NEW.unit, NEW.resolution, NEW.minimum, NEW.maximum)
     IS DISTINCT FROM
     (OLD.tenant_id, OLD.device_id, OLD.number, OLD.quantity, OLD.unit, OLD.resolution, OLD.minimum, OLD.maximum)
  THEN
    RAISE EXCEPTION 'the scaling of channel % is final: stored readings rest on it', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'devices_channel_scaling_final',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NEW;
END $$""",
        (
            "CREATE TRIGGER devices_channel_scaling_final BEFORE UPDATE ON devices_channel"
            " FOR EACH ROW EXECUTE FUNCTION devices_refuse_rescaling()"
        ),
        # The scaling is final only as long as the channel cannot be deleted and made anew.
        """CREATE FUNCTION devices_keep_channel() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM device_cursor c WHERE c.device_id = OLD.device_id AND c.produced + c.committed > 0) THEN
    RAISE EXCEPTION 'channel % cannot be deleted: its device has reported, and stored readings rest on it', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'devices_channel_kept',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN OLD;
END $$""",
        "REVOKE EXECUTE ON FUNCTION devices_keep_channel() FROM PUBLIC",
        (
            "CREATE TRIGGER devices_channel_kept BEFORE DELETE ON devices_channel"
            " FOR EACH ROW EXECUTE FUNCTION devices_keep_channel()"
        ),
        # Readings carry their device alone: with another facility, whoever may see that one would be
        # shown what was measured in the former.
        """CREATE FUNCTION devices_keep_place() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE broken text;
BEGIN
  IF OLD.state = 'revoked' AND NEW.state <> 'revoked' THEN
    broken := 'devices_device_revoked_final';
  ELSIF NEW.facility_id <> OLD.facility_id AND (
    EXISTS (SELECT FROM device_cursor c WHERE c.device_id = OLD.id AND c.produced + c.committed > 0)
    OR EXISTS (SELECT FROM devices_allocation a JOIN devices_channel ch ON ch.id = a.channel_id
               WHERE ch.device_id = OLD.id)) THEN
    broken := 'devices_device_place_final';
  ELSE
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'device % has reported or is revoked: register it anew with another serial', OLD.id
    USING ERRCODE = 'check_violation', CONSTRAINT = broken,
          TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$""",
        "REVOKE EXECUTE ON FUNCTION devices_keep_place() FROM PUBLIC",
        (
            "CREATE TRIGGER devices_device_place_final BEFORE UPDATE OF facility_id, state"
            " ON devices_device FOR EACH ROW EXECUTE FUNCTION devices_keep_place()"
        ),
        """CREATE FUNCTION devices_check_allocation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM devices_channel c JOIN devices_device d ON d.id = c.device_id
             WHERE c.id = NEW.channel_id AND d.facility_id <> NEW.facility_id) THEN
    RAISE EXCEPTION 'channel % measures in another facility than load %', NEW.channel_id, NEW.load_id
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'devices_allocation_channel_same_facility',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NEW;
END $$""",
        "REVOKE EXECUTE ON FUNCTION devices_check_allocation() FROM PUBLIC",
        (
            "CREATE TRIGGER devices_allocation_channel_same_facility"
            " BEFORE INSERT OR UPDATE OF facility_id, channel_id"
            " ON devices_allocation FOR EACH ROW EXECUTE FUNCTION devices_check_allocation()"
        ),
    ],
    [
        "DROP TRIGGER devices_allocation_channel_same_facility ON devices_allocation",
        "DROP FUNCTION devices_check_allocation()",
        "DROP TRIGGER devices_device_place_final ON devices_device",
        "DROP FUNCTION devices_keep_place()",
        "DROP TRIGGER devices_channel_kept ON devices_channel",
        "DROP FUNCTION devices_keep_channel()",
        "DROP TRIGGER devices_channel_scaling_final ON devices_channel",
        "DROP FUNCTION devices_refuse_rescaling()",
        "DROP TRIGGER devices_devicetypechannel_type_same_tenant ON devices_devicetypechannel",
        "DROP TRIGGER devices_device_type_same_tenant ON devices_device",
        "DROP FUNCTION devices_check_device_type()",
        "DROP TRIGGER devices_facility_no_cycle ON devices_facility",
    ],
)

# Plain SECURITY INVOKER: the policies of devices_device apply inside it as well. Policies ask it for
# a narrowed scope only: the condition is one that the index on the facility serves, and a scope that
# is not narrowed gets nothing.
SCOPE_DEVICES = Statements(
    [
        """CREATE FUNCTION scope_device_ids() RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT coalesce(array_agg(d.id), '{{}}'::bigint[]) FROM public.devices_device d
  WHERE d.facility_id = ANY ((SELECT scope_facility_ids())::bigint[]);
END"""
    ],
    ["DROP FUNCTION scope_device_ids()"],
)

# The door to a membership's facilities: with the areas below; null when the membership is not narrowed.
DOORS = Statements(
    [
        """CREATE FUNCTION door_facilities_of(member bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE reach(id) AS (
    SELECT a.facility_id FROM public.devices_facilityaccess a WHERE a.membership_id = member
    UNION
    SELECT f.id FROM public.devices_facility f JOIN reach ON f.parent_id = reach.id)
  SELECT array_agg(reach.id ORDER BY reach.id) FROM reach;
END""",
        "REVOKE EXECUTE ON FUNCTION door_facilities_of(bigint) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_facilities_of(bigint) TO {app}",
    ],
    ["DROP FUNCTION door_facilities_of(bigint)"],
)


class Migration(migrations.Migration):
    dependencies = [("devices", "0001_park"), ("tenants", "0002_wall")]

    operations = [
        *FOREIGN_KEYS,
        TRIGGERS,
        SCOPE_DEVICES,
        DOORS,
        EnableRowSecurity("devices_facility", facility_column="id"),
        EnableRowSecurity("devices_facilityaccess", facility_column="facility_id"),
        EnableRowSecurity("devices_devicetype", shared=True),
        EnableRowSecurity("devices_devicetypechannel", shared=True),
        EnableRowSecurity("devices_device", facility_column="facility_id"),
        EnableRowSecurity("devices_channel", device_column="device_id"),
        EnableRowSecurity("devices_load", facility_column="facility_id"),
        EnableRowSecurity("devices_allocation", facility_column="facility_id"),
    ]
