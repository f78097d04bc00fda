"""Retention of roll-ups: the SQL by which a migration of this app adds them to what is removed.

`retention_schema.py` tells of the whole. Sums of facilities are kept as long as days are: what a
year amounted to rests on them.
"""

from __future__ import annotations

from typing import Final

from devices.telemetry.retention_schema import DOOR_CHUNK, DOOR_ROWS, LOCK, TABLES

_TABLES = """CREATE OR REPLACE FUNCTION retention_tables()
RETURNS TABLE (data_class text, relation text, at text, lasts interval)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
VALUES ('readings', 'telemetry_segment', 'starts_at', interval '1 hour'),
  ('quarters', 'rollup_15m', 'starts_at', interval '15 minutes'),
  ('quarters', 'rollup_packed', 'starts_at', interval '1 day'),
  ('days', 'rollup_1d', 'starts_at', interval '25 hours'),
  ('days', 'facility_15m', 'starts_at', interval '15 minutes'),
  ('logs', 'device_log', 'received_at', interval '0'),
  ('events', 'device_event', 'received_at', interval '0'),
  ('quarantine', 'telemetry_quarantine', 'received_at', interval '0')
$$"""

# The first and last device of a record are facilities where sums of facilities are told of.
_RECORDED = """CREATE OR REPLACE FUNCTION retention_recorded(of_class text, relation text)
RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
SELECT CASE relation WHEN 'facility_15m' THEN 'facilities' ELSE of_class END
$$"""

_DOOR_ROWS = """CREATE OR REPLACE FUNCTION
  door_remove_over(of_tenant bigint, of_class text, most integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  rule record;
  target record;
  chunk record;
  over timestamptz;
  first_device bigint;
  last_device bigint;
  removed integer;
  unheld text;
  owner text;
BEGIN
  IF NOT of_tenant = ANY (scope_tenant_ids()) THEN
    RAISE EXCEPTION 'tenant % is not in the scope', of_tenant USING ERRCODE = '42501';
  END IF;
  PERFORM set_config('lock_timeout', '2s', true);
  PERFORM pg_advisory_xact_lock(LOCK_KEY);
  LOCK TABLE devices_hold, devices_retention IN SHARE MODE;
  SELECT * INTO rule FROM retention_rule(of_tenant, of_class);
  IF rule.days IS NULL THEN
    RETURN 0;
  END IF;
  over := retention_over(rule.days);
  FOR target IN SELECT * FROM retention_tables() t WHERE t.data_class = of_class LOOP
    owner := CASE target.relation WHEN 'facility_15m' THEN 'facility_id' ELSE 'device_id' END;
    unheld := format('SELECT s.%2$I AS owner FROM %%s s WHERE s.tenant_id = $1 AND s.%1$I < $4'
      ' AND NOT EXISTS (SELECT FROM retention_held($1, $2, $3) h WHERE (h.device_id IS NULL OR '
      || CASE owner WHEN 'device_id' THEN 'h.device_id = s.device_id' ELSE 'h.device_id IN'
        ' (SELECT d.id FROM devices_device d WHERE d.facility_id = s.facility_id)' END
      || ') AND (h.starts_at < s.%1$I + $5 OR h.starts_at <= s.%1$I) AND h.ends_at > s.%1$I)'
      ' AND s.%2$I IN (SELECT o.id FROM %3$I o WHERE o.tenant_id = $1)', target.at, owner,
      CASE owner WHEN 'device_id' THEN 'devices_device' ELSE 'devices_facility' END);
    FOR chunk IN
      SELECT format('%I.%I', c.chunk_schema, c.chunk_name) AS name, c.range_start, c.range_end
      FROM timescaledb_information.chunks c
      WHERE c.hypertable_schema = 'public' AND c.hypertable_name = target.relation
        AND c.range_end <= over
      UNION ALL
      SELECT format('public.%I', target.relation), '-infinity', over
      WHERE NOT EXISTS (SELECT FROM timescaledb_information.hypertables t
        WHERE t.hypertable_schema = 'public' AND t.hypertable_name = target.relation)
      ORDER BY 3
    LOOP
      EXECUTE format('SELECT min(o.owner), max(o.owner) FROM (' || unheld
        || ' ORDER BY 1 LIMIT $6) o', chunk.name)
        INTO first_device, last_device
        USING of_tenant, chunk.range_start, chunk.range_end, over, target.lasts, most;
      CONTINUE WHEN first_device IS NULL;
      EXECUTE format('DELETE FROM %s d WHERE d.ctid IN (' || replace(unheld,
        format('s.%I AS owner', owner), 's.ctid') || format(' AND s.%I BETWEEN $6 AND $7)', owner),
        chunk.name, chunk.name)
        USING of_tenant, chunk.range_start, chunk.range_end, over, target.lasts, first_device,
          last_device;
      GET DIAGNOSTICS removed = ROW_COUNT;
      INSERT INTO retention_removal (tenant_id, data_class, starts_at, ends_at, first_device,
        last_device, removed_at, days, rule_tenant, kept)
      SELECT of_tenant, retention_recorded(of_class, target.relation), chunk.range_start,
        chunk.range_end, first_device, last_device,
        now(), rule.days, coalesce(rule.rule_tenant, of_tenant), retention_kept(of_tenant,
          chunk.range_start, chunk.range_end);
      RETURN removed;
    END LOOP;
  END LOOP;
  RETURN 0;
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END $$""".replace("LOCK_KEY", str(LOCK))

_DOOR_CHUNK = """CREATE OR REPLACE FUNCTION door_drop_over(of_class text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  tenants bigint[];
  days integer[];
  rule_tenants bigint[];
  keepers bigint[];
  chunk record;
  found boolean;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  PERFORM pg_advisory_xact_lock(LOCK_KEY);
  LOCK TABLE devices_hold, devices_retention IN SHARE MODE;
  SELECT array_agg(t.id), array_agg(rule.days), array_agg(coalesce(rule.rule_tenant, t.id))
    INTO tenants, days, rule_tenants
    FROM tenants_tenant t CROSS JOIN LATERAL retention_rule(t.id, of_class) rule;
  FOR chunk IN
    SELECT format('%I.%I', c.chunk_schema, c.chunk_name) AS name, c.range_start, c.range_end,
      c.hypertable_name
    FROM retention_tables() t JOIN timescaledb_information.chunks c
      ON c.hypertable_schema = 'public' AND c.hypertable_name = t.relation
    WHERE t.data_class = of_class
      AND c.range_end <= (SELECT max(retention_over(d)) FROM unnest(days) d)
    ORDER BY c.range_end
  LOOP
    keepers := ARRAY(
      SELECT r.tenant FROM unnest(tenants, days) AS r(tenant, kept)
      WHERE r.kept IS NULL OR retention_over(r.kept) < chunk.range_end
      UNION
      SELECT h.tenant_id FROM devices_hold h WHERE h.released_at IS NULL
        AND h.starts_at < chunk.range_end AND coalesce(h.ends_at, 'infinity') > chunk.range_start);
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE tenant_id = ANY ($1))', chunk.name)
      INTO found USING keepers;
    CONTINUE WHEN found;
    EXECUTE format('LOCK TABLE %s IN SHARE MODE', chunk.name);
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE tenant_id = ANY ($1))', chunk.name)
      INTO found USING keepers;
    CONTINUE WHEN found;
    EXECUTE format('INSERT INTO retention_removal (tenant_id, data_class, starts_at, ends_at,'
      ' first_device, last_device, removed_at, days, rule_tenant, kept)'
      ' SELECT r.tenant, $1, $2, $3, 0, 9223372036854775807, now(), r.kept, r.of, %L'
      ' FROM unnest($4, $5, $6) AS r(tenant, kept, of)'
      ' WHERE r.tenant IN (SELECT s.tenant_id FROM %s s)', '[]', chunk.name)
      USING retention_recorded(of_class, chunk.hypertable_name), chunk.range_start,
        chunk.range_end, tenants, days, rule_tenants;
    PERFORM drop_chunks(format('public.%I', chunk.hypertable_name)::regclass,
      older_than => chunk.range_end, newer_than => chunk.range_start);
    RETURN 1;
  END LOOP;
  RETURN 0;
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END $$""".replace("LOCK_KEY", str(LOCK))

CREATE: Final = [
    _TABLES,
    _RECORDED,
    "REVOKE ALL ON FUNCTION retention_recorded(text, text) FROM PUBLIC",
    _DOOR_ROWS,
    _DOOR_CHUNK,
]
DROP: Final = [
    *(
        statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        for statement in (TABLES, DOOR_ROWS, DOOR_CHUNK)
    ),
    "DROP FUNCTION retention_recorded(text, text)",
]
