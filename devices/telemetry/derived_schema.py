"""The tables of derived channels outside the ORM: their SQL, which a migration of this app runs.

As with frames (`schema.py`): what a released migration ran stays as it is here.
"""

from __future__ import annotations

from typing import Final

# Periods of derived channels whose roll-ups have to be computed again.
_DUE = """CREATE TABLE formula_due (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT formula_due_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  channel_id bigint NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  CONSTRAINT formula_due_not_empty CHECK (starts_at < ends_at),
  CONSTRAINT formula_due_channel_same_tenant FOREIGN KEY (tenant_id, channel_id)
    REFERENCES devices_channel (tenant_id, id) ON DELETE CASCADE
)"""
_DUE_INDEX = "CREATE INDEX formula_due_channel ON formula_due (channel_id)"

# What a formula remembers at the beginning of an hour (UTC), as it was found at `known_at`.
_STATE = """CREATE TABLE formula_state (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT formula_state_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  channel_id bigint NOT NULL,
  version_id bigint NOT NULL,
  hour timestamptz NOT NULL,
  known_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  state jsonb NOT NULL,
  CONSTRAINT formula_state_channel_same_tenant FOREIGN KEY (tenant_id, channel_id)
    REFERENCES devices_channel (tenant_id, id) ON DELETE CASCADE
)"""
_STATE_INDEX = "CREATE INDEX formula_state_hour ON formula_state (version_id, hour DESC, id DESC)"

# A version goes with its channel: both are gone when a device that has never reported is given
# another type.
_VERSION = (
    (
        "ALTER TABLE devices_formulaversion ADD CONSTRAINT"
        " devices_formulaversion_channel_same_tenant FOREIGN KEY (tenant_id, channel_id)"
        " REFERENCES devices_channel (tenant_id, id) ON DELETE CASCADE"
    ),
    (
        "ALTER TABLE devices_formulaversion ADD CONSTRAINT devices_formulaversion_inputs_named"
        " CHECK (cardinality(names) = cardinality(inputs))"
    ),
    # Versions are never changed: what was known at an instant can be told for ever.
    "REVOKE UPDATE, DELETE ON devices_formulaversion FROM {app}",
    "REVOKE UPDATE, DELETE ON formula_state FROM {app}",
)

CREATE: Final = [_DUE, _DUE_INDEX, _STATE, _STATE_INDEX, *_VERSION]
DROP: Final = ["DROP TABLE formula_state", "DROP TABLE formula_due"]

# As in `schema.py`, without what the device cannot report because it is computed.
_CREDENTIAL = """CREATE OR REPLACE VIEW devices_credential AS
SELECT d.id AS device_id, d.tenant_id, d.serial, d.secret_sha256, d.certificate_sha256, d.state,
  t.code AS device_type, coalesce(c.committed, 0) AS committed, t.step_ms, t.samples,
  (SELECT coalesce(
     array_agg(ARRAY[ch.number::bigint, ceil(ch.minimum / ch.resolution)::bigint,
                     floor(ch.maximum / ch.resolution)::bigint] ORDER BY ch.number),
     '{{}}'::bigint[])
   FROM devices_channel ch WHERE ch.device_id = d.id{measured}) AS channels
FROM devices_device d
JOIN devices_devicetype t ON t.id = d.device_type_id
LEFT JOIN device_cursor c ON c.device_id = d.id"""
CREDENTIAL: Final = _CREDENTIAL.replace("{measured}", " AND NOT ch.derived")
FORMER_CREDENTIAL: Final = _CREDENTIAL.replace("{measured}", "")

# The function of migration 0008 with the versions of formulas, which go with the channels.
_HAND_OVER = """CREATE OR REPLACE FUNCTION
devices_hand_over(device devices_device, tenant bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  channels devices_channel[];
  codes devices_claimcode[];
  channel devices_channel;
  code devices_claimcode;
{declared}BEGIN
  SELECT array_agg(c) INTO channels FROM devices_channel c WHERE c.device_id = device.id;
  SELECT array_agg(c) INTO codes FROM devices_claimcode c WHERE c.device_id = device.id;
{taken}  DELETE FROM devices_claimcode c WHERE c.device_id = device.id;
  DELETE FROM devices_channel c WHERE c.device_id = device.id;
  DELETE FROM device_cursor c WHERE c.device_id = device.id;
  DELETE FROM device_link l WHERE l.device_id = device.id;
  DELETE FROM rollup_progress p WHERE p.device_id = device.id;
  DELETE FROM devices_devicepower p WHERE p.device_id = device.id;
{forgotten}  UPDATE devices_device d SET
    tenant_id = tenant, facility_id = device.facility_id, name = device.name,
    placement = device.placement, device_type_id = devices_type_for(device.device_type_id, tenant)
  WHERE d.id = device.id;
  FOREACH channel IN ARRAY coalesce(channels, '{{}}') LOOP
    channel.tenant_id := tenant;
    INSERT INTO devices_channel SELECT channel.*;
  END LOOP;
{given}  FOREACH code IN ARRAY coalesce(codes, '{{}}') LOOP
    code.tenant_id := tenant;
    INSERT INTO devices_claimcode SELECT code.*;
  END LOOP;
  INSERT INTO device_cursor (device_id, tenant_id) VALUES (device.id, tenant);
  INSERT INTO device_link (device_id, tenant_id) VALUES (device.id, tenant);
END $$"""
_DECLARED = """  versions devices_formulaversion[];
  version devices_formulaversion;
"""
_TAKEN = """
  -- What uses other devices, which stay behind, has nothing to be computed from any more.
  SELECT array_agg(v ORDER BY v.id) INTO versions FROM devices_formulaversion v
    WHERE v.device_id = device.id AND v.devices <@ ARRAY[device.id];
"""
_GIVEN = """  FOREACH version IN ARRAY coalesce(versions, '{{}}') LOOP
    version.tenant_id := tenant;
    INSERT INTO devices_formulaversion SELECT version.*;
  END LOOP;
"""


_FORGOTTEN = """  DELETE FROM rollup_redo r WHERE r.device_id = device.id;
  -- The meters around it stay where they are.
  UPDATE devices_device d SET behind_id = NULL
    WHERE d.behind_id IS NOT NULL AND device.id IN (d.id, d.behind_id);
"""


def _hand_over(declared: str, taken: str, forgotten: str, given: str) -> str:
    text = _HAND_OVER.replace("{declared}", declared).replace("{forgotten}", forgotten)
    return text.replace("{taken}", taken).replace("{given}", given)


# With the versions of formulas, and without them as before.
HAND_OVER: Final = _hand_over(_DECLARED, _TAKEN, _FORGOTTEN, _GIVEN)
FORMER_HAND_OVER: Final = _hand_over("", "", "", "")
