"""Retention and legal holds in the database: their SQL, which a migration of this app runs.

As with frames (`schema.py`): what a released migration ran stays as it is here.

What is over is removed by two doors alone, which read the rules and the holds themselves: no fault
of the application can remove what a rule keeps or a hold covers. They write what they have removed
into `retention_removal`, which nobody else may write.
"""

from __future__ import annotations

from typing import Final

# Who rolls up or moves what is old holds it shared until the commit; who removes holds it alone.
# So nobody computes from readings of which a part has just been removed.
LOCK: Final = 0x77_6C_72_74

# `kept`: [device or null for all, from, to] of what was held, and so not removed.
_REMOVAL = """CREATE TABLE retention_removal (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT retention_removal_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  data_class text NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  first_device bigint NOT NULL,
  last_device bigint NOT NULL,
  removed_at timestamptz NOT NULL,
  days integer NOT NULL,
  rule_tenant bigint NOT NULL,
  kept jsonb NOT NULL
)"""

# What a class is kept in: a hypertable (or a table, by its time), and how long a row lasts.
TABLES = """CREATE FUNCTION retention_tables()
RETURNS TABLE (data_class text, relation text, at text, lasts interval)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
VALUES ('readings', 'telemetry_segment', 'starts_at', interval '1 hour'),
  ('logs', 'device_log', 'received_at', interval '0'),
  ('events', 'device_event', 'received_at', interval '0'),
  ('quarantine', 'telemetry_quarantine', 'received_at', interval '0')
$$"""

# The rule of the tenant itself or of the nearest above that has one; a quarantine that nobody has
# made a rule for is kept for 90 days, all else for ever (days NULL).
_OWN_RULE = """CREATE FUNCTION retention_own_rule(of_tenant bigint, of_class text)
RETURNS TABLE (days integer, rule_tenant bigint, shorter boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
WITH RECURSIVE above(id, parent_id, distance) AS (
  SELECT t.id, t.parent_id, 0 FROM tenants_tenant t WHERE t.id = of_tenant
  UNION ALL
  SELECT t.id, t.parent_id, above.distance + 1 FROM above JOIN tenants_tenant t
    ON t.id = above.parent_id
)
SELECT rule.days, rule.tenant_id, rule.shorter FROM (
  SELECT r.days, r.tenant_id, r.shorter, above.distance
  FROM above JOIN devices_retention r ON r.tenant_id = above.id AND r.data_class = of_class
  UNION ALL
  SELECT CASE of_class WHEN 'quarantine' THEN 90 END, NULL, false, 1000000
) rule ORDER BY rule.distance LIMIT 1
$$"""

# Coarser classes are kept as long as finer ones at least, unless their rule says otherwise.
_RULE = """CREATE FUNCTION retention_rule(of_tenant bigint, of_class text)
RETURNS TABLE (days integer, rule_tenant bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
SELECT rule.days, rule.rule_tenant FROM (
  SELECT 0 AS coarseness, own.* FROM retention_own_rule(of_tenant, of_class) own
  UNION ALL
  SELECT finer.coarseness, other.* FROM (VALUES ('quarters', 'readings', 1),
    ('days', 'quarters', 1), ('days', 'readings', 2)) AS finer(data_class, name, coarseness)
  CROSS JOIN LATERAL retention_own_rule(of_tenant, finer.name) other
  WHERE finer.data_class = of_class
    AND NOT (SELECT own.shorter FROM retention_own_rule(of_tenant, of_class) own)
) rule ORDER BY rule.days DESC NULLS FIRST, rule.coarseness LIMIT 1
$$"""

# What is held of a tenant in a period, device by device (NULL: all). A hold of a facility holds the
# devices that it had and those that it has, areas included.
_HELD = """CREATE FUNCTION retention_held(of_tenant bigint, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (device_id bigint, starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
WITH RECURSIVE hold AS (
  SELECT * FROM devices_hold h WHERE h.tenant_id = of_tenant AND h.released_at IS NULL
    AND h.starts_at < to_at AND coalesce(h.ends_at, 'infinity') > from_at
), place(hold_id, facility_id) AS (
  SELECT hold.id, hold.facility_id FROM hold
  WHERE hold.facility_id IS NOT NULL AND hold.device_id IS NULL
  UNION
  SELECT place.hold_id, f.id FROM place JOIN devices_facility f ON f.parent_id = place.facility_id
), held AS (
  SELECT hold.id, NULL::bigint AS device_id FROM hold
  WHERE hold.facility_id IS NULL AND hold.device_id IS NULL
  UNION
  SELECT hold.id, hold.device_id FROM hold WHERE hold.device_id IS NOT NULL
  UNION
  SELECT hold.id, unnest(hold.devices) FROM hold
  UNION
  SELECT place.hold_id, d.id FROM place JOIN devices_device d ON d.facility_id = place.facility_id
)
SELECT held.device_id, hold.starts_at, coalesce(hold.ends_at, 'infinity')
FROM held JOIN hold ON hold.id = held.id
$$"""

_KEPT = """CREATE FUNCTION retention_kept(of_tenant bigint, from_at timestamptz, to_at timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
SELECT coalesce(jsonb_agg(jsonb_build_array(h.device_id,
  floor(extract(epoch FROM greatest(h.starts_at, from_at)) * 1000)::bigint,
  ceil(extract(epoch FROM least(h.ends_at, to_at)) * 1000)::bigint)), '[]')
FROM retention_held(of_tenant, from_at, to_at) h
$$"""

# What an administrator sees before a rule is made, and what counts now.
_DOOR_RULES = """CREATE FUNCTION door_retention_of(of_tenant bigint)
RETURNS TABLE (data_class text, days integer, rule_tenant bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
SELECT known.data_class, rule.days, rule.rule_tenant
FROM (SELECT DISTINCT t.data_class FROM retention_tables() t) known
CROSS JOIN LATERAL retention_rule(of_tenant, known.data_class) rule
WHERE of_tenant = ANY (scope_tenant_ids())
$$"""

# What is older than a number of days is over: whole days (UTC).
_OVER = """CREATE FUNCTION retention_over(days integer) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
SELECT date_trunc('day', now() AT TIME ZONE 'UTC' - days * interval '1 day') AT TIME ZONE 'UTC'
$$"""

# One bounded step: the rows of one tenant in the oldest chunk that is over for it. The last device
# is done with, so that the record says exactly what is gone. NULL: somebody is at work, later.
DOOR_ROWS = """CREATE FUNCTION door_remove_over(of_tenant bigint, of_class text, most integer)
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
    unheld := format('SELECT s.device_id FROM %%s s WHERE s.tenant_id = $1 AND s.%1$I < $4'
      ' AND NOT EXISTS (SELECT FROM retention_held($1, $2, $3) h'
      ' WHERE (h.device_id IS NULL OR h.device_id = s.device_id)'
      ' AND (h.starts_at < s.%1$I + $5 OR h.starts_at <= s.%1$I) AND h.ends_at > s.%1$I)'
      ' AND s.device_id IN (SELECT d.id FROM devices_device d WHERE d.tenant_id = $1)', target.at);
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
      EXECUTE format('SELECT min(o.device_id), max(o.device_id) FROM (' || unheld
        || ' ORDER BY s.device_id LIMIT $6) o', chunk.name)
        INTO first_device, last_device
        USING of_tenant, chunk.range_start, chunk.range_end, over, target.lasts, most;
      CONTINUE WHEN first_device IS NULL;
      EXECUTE format('DELETE FROM %s d WHERE d.ctid IN (' || replace(unheld, 's.device_id FROM',
        's.ctid FROM') || ' AND s.device_id BETWEEN $6 AND $7)', chunk.name, chunk.name)
        USING of_tenant, chunk.range_start, chunk.range_end, over, target.lasts, first_device,
          last_device;
      GET DIAGNOSTICS removed = ROW_COUNT;
      INSERT INTO retention_removal (tenant_id, data_class, starts_at, ends_at, first_device,
        last_device, removed_at, days, rule_tenant, kept)
      SELECT of_tenant, of_class, chunk.range_start, chunk.range_end, first_device, last_device,
        now(), rule.days, coalesce(rule.rule_tenant, of_tenant), retention_kept(of_tenant,
          chunk.range_start, chunk.range_end);
      RETURN removed;
    END LOOP;
  END LOOP;
  RETURN 0;
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END $$""".replace("LOCK_KEY", str(LOCK))

# One chunk that is over for every tenant with rows in it, and of which nothing is held, as a whole.
# Writers wait while it is looked at, readers only while it is dropped. The application asks for it
# without a scope: chunks are everybody's.
DOOR_CHUNK = """CREATE FUNCTION door_drop_over(of_class text) RETURNS integer
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
      USING of_class, chunk.range_start, chunk.range_end, tenants, days, rule_tenants;
    PERFORM drop_chunks(format('public.%I', chunk.hypertable_name)::regclass,
      older_than => chunk.range_end, newer_than => chunk.range_start);
    RETURN 1;
  END LOOP;
  RETURN 0;
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END $$""".replace("LOCK_KEY", str(LOCK))

# The rules and holds are rows of the ORM: who may change them is asked there.
_FUNCTIONS: Final = (
    "retention_tables()",
    "retention_over(integer)",
    "retention_own_rule(bigint, text)",
    "retention_rule(bigint, text)",
    "retention_held(bigint, timestamptz, timestamptz)",
    "retention_kept(bigint, timestamptz, timestamptz)",
)
_DOORS: Final = (
    "door_retention_of(bigint)",
    "door_remove_over(bigint, text, integer)",
    "door_drop_over(text)",
)

CREATE: Final = [
    _REMOVAL,
    "CREATE INDEX retention_removal_period ON retention_removal (tenant_id, data_class, ends_at)",
    "REVOKE INSERT, UPDATE, DELETE ON retention_removal FROM {app}",
    TABLES,
    _OWN_RULE,
    _RULE,
    _HELD,
    _KEPT,
    _OVER,
    _DOOR_RULES,
    DOOR_ROWS,
    DOOR_CHUNK,
    f"REVOKE ALL ON FUNCTION {', '.join((*_FUNCTIONS, *_DOORS))} FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {', '.join(_DOORS)} TO {{app}}",
    # Only the doors take it away: the task that did it before asked nobody for a hold.
    "REVOKE DELETE ON telemetry_quarantine FROM {app}",
]
DROP: Final = [
    "GRANT DELETE ON telemetry_quarantine TO {app}",
    *(f"DROP FUNCTION {name}" for name in reversed((*_FUNCTIONS, *_DOORS))),
    "DROP TABLE retention_removal",
]
