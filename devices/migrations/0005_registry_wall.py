"""Claim codes and imports behind the wall; the doors through which a device is claimed."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEYS = Statements(
    [
        (
            "ALTER TABLE devices_claimcode ADD CONSTRAINT devices_claimcode_device_same_tenant"
            " FOREIGN KEY (tenant_id, device_id) REFERENCES devices_device (tenant_id, id)"
        ),
        (
            "ALTER TABLE devices_importrow ADD CONSTRAINT devices_importrow_run_same_tenant"
            " FOREIGN KEY (tenant_id, run_id) REFERENCES devices_importrun (tenant_id, id)"
        ),
    ],
    [
        "ALTER TABLE devices_importrow DROP CONSTRAINT devices_importrow_run_same_tenant",
        "ALTER TABLE devices_claimcode DROP CONSTRAINT devices_claimcode_device_same_tenant",
    ],
)

# Helpers of the doors, which nobody but the owner may call.
HELPERS = Statements(
    [
        """CREATE FUNCTION devices_is_below(ancestor bigint, tenant bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE up(id, parent_id) AS (
    SELECT t.id, t.parent_id FROM public.tenants_tenant t WHERE t.id = tenant
    UNION
    SELECT t.id, t.parent_id FROM public.tenants_tenant t JOIN up ON t.id = up.parent_id)
  SELECT EXISTS (SELECT FROM up WHERE up.id = ancestor);
END""",
        # A device that has done nothing yet: only then may it change hands.
        """CREATE FUNCTION devices_is_fresh(device bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM public.devices_device d WHERE d.id = device AND d.state = 'planned')
    AND NOT EXISTS (SELECT FROM public.device_cursor c
                    WHERE c.device_id = device AND c.produced + c.committed > 0)
    AND NOT EXISTS (SELECT FROM public.devices_allocation a
                    JOIN public.devices_channel ch ON ch.id = a.channel_id
                    WHERE ch.device_id = device);
END""",
        """CREATE FUNCTION devices_type_measures(device_type bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT coalesce(string_agg(concat_ws(' ', c.number, c.key, c.quantity, c.unit, c.resolution, c.minimum,
                                       c.maximum, c.in_total), ';' ORDER BY c.number), '')
  FROM public.devices_devicetypechannel c WHERE c.device_type_id = device_type;
END""",
        # A type belongs to one tenant, unless it serves all: the new owner gets a copy of it, or has
        # one that measures the same already.
        """CREATE FUNCTION devices_type_for(device_type bigint, tenant bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  source devices_devicetype;
  found bigint;
  copy bigint;
BEGIN
  SELECT * INTO STRICT source FROM devices_devicetype t WHERE t.id = device_type;
  IF source.tenant_id IS NULL OR source.tenant_id = tenant THEN RETURN source.id; END IF;
  -- Two claims at once must not make two copies.
  PERFORM FROM tenants_tenant t WHERE t.id = tenant FOR NO KEY UPDATE;
  SELECT t.id INTO found FROM devices_devicetype t
  WHERE t.tenant_id = tenant AND t.code IN (source.code, left(source.code, 40) || '-' || source.id)
    AND (t.version, t.step_ms, t.samples) = (source.version, source.step_ms, source.samples)
    AND devices_type_measures(t.id) = devices_type_measures(source.id)
  ORDER BY t.id LIMIT 1;
  IF found IS NOT NULL THEN RETURN found; END IF;
  INSERT INTO devices_devicetype
    (tenant_id, code, version, manufacturer, name, step_ms, samples, capabilities, created_at)
  SELECT tenant,
    CASE WHEN EXISTS (SELECT FROM devices_devicetype t WHERE t.tenant_id = tenant AND t.code = source.code)
         THEN left(source.code, 40) || '-' || source.id ELSE source.code END,
    source.version, source.manufacturer, source.name, source.step_ms, source.samples,
    source.capabilities, now()
  RETURNING id INTO copy;
  INSERT INTO devices_devicetypechannel
    (tenant_id, device_type_id, number, key, name, quantity, unit, resolution, minimum, maximum, in_total)
  SELECT tenant, copy, c.number, c.key, c.name, c.quantity, c.unit, c.resolution, c.minimum, c.maximum,
    c.in_total
  FROM devices_devicetypechannel c WHERE c.device_type_id = source.id;
  RETURN copy;
END $$""",
        # What hangs on the device is taken off and put back under the new tenant: the foreign keys
        # that keep it in the device's tenant are checked with every statement.
        """CREATE FUNCTION devices_hand_over(device devices_device, tenant bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  channels devices_channel[];
  codes devices_claimcode[];
  channel devices_channel;
  code devices_claimcode;
BEGIN
  SELECT array_agg(c) INTO channels FROM devices_channel c WHERE c.device_id = device.id;
  SELECT array_agg(c) INTO codes FROM devices_claimcode c WHERE c.device_id = device.id;
  DELETE FROM devices_claimcode c WHERE c.device_id = device.id;
  DELETE FROM devices_channel c WHERE c.device_id = device.id;
  DELETE FROM device_cursor c WHERE c.device_id = device.id;
  DELETE FROM device_link l WHERE l.device_id = device.id;
  UPDATE devices_device d SET
    tenant_id = tenant, facility_id = device.facility_id, name = device.name,
    placement = device.placement, device_type_id = devices_type_for(device.device_type_id, tenant)
  WHERE d.id = device.id;
  FOREACH channel IN ARRAY coalesce(channels, '{{}}') LOOP
    channel.tenant_id := tenant;
    INSERT INTO devices_channel SELECT channel.*;
  END LOOP;
  FOREACH code IN ARRAY coalesce(codes, '{{}}') LOOP
    code.tenant_id := tenant;
    INSERT INTO devices_claimcode SELECT code.*;
  END LOOP;
  INSERT INTO device_cursor (device_id, tenant_id) VALUES (device.id, tenant);
  INSERT INTO device_link (device_id, tenant_id) VALUES (device.id, tenant);
END $$""",
        *(
            f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC"
            for name in (
                "devices_is_below(bigint, bigint)",
                "devices_is_fresh(bigint)",
                "devices_type_measures(bigint)",
                "devices_type_for(bigint, bigint)",
                "devices_hand_over(devices_device, bigint)",
            )
        ),
    ],
    [
        "DROP FUNCTION devices_hand_over(devices_device, bigint)",
        "DROP FUNCTION devices_type_for(bigint, bigint)",
        "DROP FUNCTION devices_type_measures(bigint)",
        "DROP FUNCTION devices_is_fresh(bigint)",
        "DROP FUNCTION devices_is_below(bigint, bigint)",
    ],
)

# Who holds a code and acts in the tenant of its device, or in one below, learns what the label says.
# For anybody else the code does not exist.
DOORS = Statements(
    [
        """CREATE FUNCTION door_claim(digest bytea)
RETURNS TABLE (serial text, device_type text, hardware_revision text, placement text,
               tenant_name text, state text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT d.serial::text, ty.name::text, d.hardware_revision::text, d.placement::text, t.name::text,
    CASE WHEN c.used_at IS NOT NULL THEN 'used'
         WHEN c.withdrawn_at IS NOT NULL THEN 'withdrawn'
         WHEN c.expires_at <= now() THEN 'expired'
         WHEN NOT devices_is_fresh(d.id) THEN 'taken'
         ELSE 'open' END,
    c.expires_at
  FROM public.devices_claimcode c
  JOIN public.devices_device d ON d.id = c.device_id
  JOIN public.devices_devicetype ty ON ty.id = d.device_type_id
  JOIN public.tenants_tenant t ON t.id = c.tenant_id
  WHERE c.code_sha256 = digest AND scope_is_open()
    AND EXISTS (SELECT FROM unnest(scope_tenant_ids()) AS mine(id) WHERE devices_is_below(c.tenant_id, mine.id));
END""",
        """CREATE FUNCTION door_claim_device(
  digest bytea, target_facility bigint, new_name text, new_placement text)
RETURNS TABLE (claimed_device bigint, former_tenant bigint, current_tenant bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  code devices_claimcode;
  device devices_device;
  tenant bigint;
  broken text;
BEGIN
  PERFORM scope_is_open();
  -- A second claim of the same code waits here and then finds it used.
  SELECT * INTO code FROM devices_claimcode c WHERE c.code_sha256 = digest FOR UPDATE;
  SELECT f.tenant_id INTO tenant FROM devices_facility f
  WHERE f.id = target_facility AND f.tenant_id = ANY (scope_tenant_ids())
    AND (scope_facility_ids() IS NULL OR f.id = ANY (scope_facility_ids()));
  SELECT * INTO device FROM devices_device d WHERE d.id = code.device_id FOR UPDATE;
  IF tenant IS NULL THEN
    broken := 'devices_claimcode_facility';
  ELSIF code.id IS NULL OR NOT devices_is_below(code.tenant_id, tenant) THEN
    broken := 'devices_claimcode_unknown';
  ELSIF code.used_at IS NOT NULL THEN
    broken := 'devices_claimcode_used';
  ELSIF code.withdrawn_at IS NOT NULL THEN
    broken := 'devices_claimcode_withdrawn';
  ELSIF code.expires_at <= now() THEN
    broken := 'devices_claimcode_expired';
  ELSIF NOT devices_is_fresh(device.id) THEN
    broken := 'devices_claimcode_taken';
  END IF;
  IF broken IS NOT NULL THEN
    RAISE EXCEPTION 'the device cannot be claimed' USING ERRCODE = 'check_violation',
      CONSTRAINT = broken, TABLE = 'devices_claimcode', SCHEMA = 'public';
  END IF;
  UPDATE devices_claimcode c SET used_at = now(), sealed = NULL WHERE c.id = code.id;
  device.facility_id := target_facility;
  device.name := new_name;
  device.placement := new_placement;
  IF tenant <> device.tenant_id THEN
    PERFORM devices_hand_over(device, tenant);
  ELSE
    UPDATE devices_device d
    SET facility_id = device.facility_id, name = device.name, placement = device.placement
    WHERE d.id = device.id;
  END IF;
  UPDATE devices_device d SET state = 'active' WHERE d.id = device.id;
  RETURN QUERY SELECT device.id, code.tenant_id, tenant;
END $$""",
        (
            "REVOKE EXECUTE ON FUNCTION door_claim(bytea),"
            " door_claim_device(bytea, bigint, text, text) FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_claim(bytea),"
            " door_claim_device(bytea, bigint, text, text) TO {app}"
        ),
    ],
    [
        "DROP FUNCTION door_claim_device(bytea, bigint, text, text)",
        "DROP FUNCTION door_claim(bytea)",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("devices", "0004_registry")]

    operations = [
        FOREIGN_KEYS,
        HELPERS,
        DOORS,
        EnableRowSecurity("devices_claimcode", device_column="device_id"),
        # A file lists facilities and devices of the whole tenant.
        EnableRowSecurity("devices_importrun", tenant_wide=True),
        EnableRowSecurity("devices_importrow", tenant_wide=True),
    ]
