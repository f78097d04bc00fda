"""Billing behind the wall: rows of one tenant and facility belong together, what is final stays."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

_TENANT_WIDE = (
    "billing_tariff",
    "billing_tariffversion",
    "billing_priceseries",
    "billing_pricevalue",
    "billing_customer",
    "billing_billingsettings",
    "billing_numberseries",
    "billing_billrun",
    "billing_payment",
)
_OF_FACILITY = (
    "billing_agreement",
    "billing_agreementmeter",
    "billing_agreementtariff",
    "billing_billrunitem",
    "billing_bill",
    "billing_billline",
    "billing_billevidence",
    "billing_accountentry",
    "billing_allocation",
)
# Table, its columns, the table and columns that they name.
_TOGETHER = (
    ("billing_tariffversion", ("tariff",), "billing_tariff", ()),
    ("billing_pricevalue", ("series",), "billing_priceseries", ()),
    ("billing_agreement", ("customer",), "billing_customer", ()),
    ("billing_agreement", ("facility",), "devices_facility", ()),
    ("billing_agreementmeter", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_agreementmeter", ("channel",), "devices_channel", ()),
    ("billing_agreementtariff", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_agreementtariff", ("tariff",), "billing_tariff", ()),
    ("billing_billrunitem", ("run",), "billing_billrun", ()),
    ("billing_billrunitem", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_bill", ("run",), "billing_billrun", ()),
    ("billing_bill", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_bill", ("corrects",), "billing_bill", ("facility_id",)),
    ("billing_billline", ("bill",), "billing_bill", ("facility_id",)),
    ("billing_billevidence", ("bill",), "billing_bill", ("facility_id",)),
    ("billing_payment", ("refunds",), "billing_payment", ()),
    ("billing_accountentry", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_accountentry", ("bill",), "billing_bill", ("facility_id",)),
    ("billing_accountentry", ("payment",), "billing_payment", ()),
    ("billing_allocation", ("agreement",), "billing_agreement", ("facility_id",)),
    ("billing_allocation", ("debit",), "billing_accountentry", ("agreement_id",)),
    ("billing_allocation", ("credit",), "billing_accountentry", ("agreement_id",)),
)


def _name(table: str, column: str) -> str:
    return f"{table}_{column}_same_tenant"


FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE {table} ADD CONSTRAINT {_name(table, column)} FOREIGN KEY"
        f" ({', '.join(('tenant_id', *others, column + '_id'))})"
        f" REFERENCES {target} ({', '.join(('tenant_id', *others, 'id'))})"
        for table, (column,), target, others in _TOGETHER
    ],
    [
        f"ALTER TABLE {table} DROP CONSTRAINT {_name(table, column)}"
        for table, (column,), _target, _others in reversed(_TOGETHER)
    ],
)

_REFUSAL = """USING ERRCODE = 'check_violation', CONSTRAINT = '{name}',
      TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA"""

FINAL = Statements(
    [
        # Of a final bill only this may change: that a credit note has taken it back.
        f"""CREATE FUNCTION billing_keep_bill() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.state = 'draft' THEN
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.state = 'final' AND NEW.state = 'void' THEN
    NEW.voided_at := coalesce(NEW.voided_at, now());
    IF to_jsonb(NEW) - 'state' - 'voided_at' = to_jsonb(OLD) - 'state' - 'voided_at' THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'bill % is % and stays as it is', OLD.id, OLD.state
    {_REFUSAL.format(name="billing_bill_final")};
END $$""",
        (
            "CREATE TRIGGER billing_bill_final BEFORE UPDATE OR DELETE ON billing_bill"
            " FOR EACH ROW EXECUTE FUNCTION billing_keep_bill()"
        ),
        f"""CREATE FUNCTION billing_keep_parts() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM touched t JOIN billing_bill b ON b.id = t.bill_id
             WHERE b.state <> 'draft') THEN
    RAISE EXCEPTION 'the bill is final: its lines and evidence stay as they are'
      {_REFUSAL.format(name="billing_bill_final")};
  END IF;
  RETURN NULL;
END $$""",
        *(
            f"CREATE TRIGGER {table}_{verb.lower()} AFTER {verb} ON {table}"
            f" REFERENCING {rows} TABLE AS touched"
            " FOR EACH STATEMENT EXECUTE FUNCTION billing_keep_parts()"
            for table in ("billing_billline", "billing_billevidence")
            for verb, rows in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))
        ),
        f"""CREATE FUNCTION billing_keep_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.state = 'published' THEN
    RAISE EXCEPTION 'version % is published and stays as it is', OLD.id
      {_REFUSAL.format(name="billing_tariffversion_final")};
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$""",
        (
            "CREATE TRIGGER billing_tariffversion_final BEFORE UPDATE OR DELETE"
            " ON billing_tariffversion FOR EACH ROW EXECUTE FUNCTION billing_keep_version()"
        ),
        # Whose a payment is may become known later.
        (
            "REVOKE UPDATE, DELETE ON billing_pricevalue, billing_accountentry, billing_allocation,"
            " billing_payment FROM {app}"
        ),
        "GRANT UPDATE (agreement_id) ON billing_payment TO {app}",
        "REVOKE DELETE ON billing_billrun, billing_numberseries FROM {app}",
    ],
    [
        "GRANT DELETE ON billing_billrun, billing_numberseries TO {app}",
        (
            "GRANT UPDATE, DELETE ON billing_pricevalue, billing_accountentry, billing_allocation,"
            " billing_payment TO {app}"
        ),
        "DROP TRIGGER billing_tariffversion_final ON billing_tariffversion",
        "DROP FUNCTION billing_keep_version()",
        *(
            f"DROP TRIGGER {table}_{verb} ON {table}"
            for table in ("billing_billline", "billing_billevidence")
            for verb in ("insert", "update", "delete")
        ),
        "DROP FUNCTION billing_keep_parts()",
        "DROP TRIGGER billing_bill_final ON billing_bill",
        "DROP FUNCTION billing_keep_bill()",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_tables"), ("devices", "0034_looks")]

    operations = [
        FOREIGN_KEYS,
        FINAL,
        *(EnableRowSecurity(table, tenant_wide=True) for table in _TENANT_WIDE),
        *(EnableRowSecurity(table, facility_column="facility_id") for table in _OF_FACILITY),
    ]
