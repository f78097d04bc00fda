"""What the tables of corrections need besides their columns; a migration of this app runs it.

As with frames (`schema.py`): what a released migration ran stays as it is here.
"""

from __future__ import annotations

from typing import Final

_TABLES: Final = ("devices_correction", "devices_correctionwithdrawal")

# Reads as of an instant see what was known by then, and have to see it ever after: so the second
# lies behind the commit. Set anew when the transaction ends, with one second to spare for the
# commit itself: what was asked as of that second or later was asked after it.
_SECOND: Final = """CREATE FUNCTION devices_correction_second() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN to_timestamp(ceil(extract(epoch FROM clock_timestamp())) + 1)"""
_KNOWN: Final = """CREATE FUNCTION devices_correction_known() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  EXECUTE format('UPDATE public.%I SET known_at = public.devices_correction_second()'
    ' WHERE id = $1 AND known_at < public.devices_correction_second()', TG_TABLE_NAME)
  USING NEW.id;
  RETURN NULL;
END $$"""
# The second alone may be set later, and only by the function above.
_ONLY_ADDED: Final = """CREATE FUNCTION devices_correction_only_added() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1
    AND to_jsonb(NEW) - 'known_at' = to_jsonb(OLD) - 'known_at' AND NEW.known_at > OLD.known_at
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'corrections are only added: % is refused', TG_OP;
END $$"""

FUNCTIONS: Final = [_SECOND]
NO_FUNCTIONS: Final = ["DROP FUNCTION devices_correction_second()"]

CREATE: Final = [
    _KNOWN,
    _ONLY_ADDED,
    *(
        statement.format(table=table)
        for table in _TABLES
        for statement in (
            (
                "CREATE CONSTRAINT TRIGGER {table}_known AFTER INSERT ON {table}"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
                " EXECUTE FUNCTION devices_correction_known()"
            ),
            (
                "CREATE TRIGGER {table}_only_added BEFORE UPDATE OR DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION devices_correction_only_added()"
            ),
            "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_only_added",
            "REVOKE UPDATE, DELETE ON {table} FROM {{app}}",
        )
    ),
    "REVOKE EXECUTE ON FUNCTION devices_correction_known() FROM PUBLIC",
    "ALTER TABLE devices_correction ALTER COLUMN readings SET STORAGE EXTERNAL",
    # A correction stays with a device of its tenant, and its withdrawal with both.
    (
        "ALTER TABLE devices_correction ADD CONSTRAINT devices_correction_whole"
        " UNIQUE (tenant_id, device_id, id)"
    ),
    (
        "ALTER TABLE devices_correctionwithdrawal"
        " ADD CONSTRAINT devices_correctionwithdrawal_same_device"
        " FOREIGN KEY (tenant_id, device_id, correction_id)"
        " REFERENCES devices_correction (tenant_id, device_id, id)"
    ),
]
DROP: Final = [
    (
        "ALTER TABLE devices_correctionwithdrawal DROP CONSTRAINT"
        " devices_correctionwithdrawal_same_device"
    ),
    "ALTER TABLE devices_correction DROP CONSTRAINT devices_correction_whole",
    *(
        f"DROP TRIGGER {table}_{name} ON {table}"
        for table in _TABLES
        for name in ("known", "only_added")
    ),
    "DROP FUNCTION devices_correction_only_added()",
    "DROP FUNCTION devices_correction_known()",
]

# Who reads a channel that was never corrected does not ask for its corrections.
_MARK: Final = """CREATE FUNCTION devices_correction_mark() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE public.devices_channel SET corrected = true
  WHERE device_id = NEW.device_id AND number = NEW.channel AND NOT corrected;
  RETURN NULL;
END $$"""
MARKING: Final = [
    _MARK,
    (
        "CREATE TRIGGER devices_correction_mark AFTER INSERT ON devices_correction"
        " FOR EACH ROW EXECUTE FUNCTION devices_correction_mark()"
    ),
    "REVOKE EXECUTE ON FUNCTION devices_correction_mark() FROM PUBLIC",
    (
        "UPDATE devices_channel ch SET corrected = true FROM devices_correction c"
        " WHERE c.device_id = ch.device_id AND c.channel = ch.number"
    ),
]
NO_MARKING: Final = [
    "DROP TRIGGER devices_correction_mark ON devices_correction",
    "DROP FUNCTION devices_correction_mark()",
]
