"""Who a tenant is on its bills, and how it bills; each change leaves an audit row.

Needs an open scope that holds the tenant. What is refused is a ValidationError with a sentence at
its field.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import identifiers, refusals
from billing.models import BillingSettings


@dataclass(frozen=True, slots=True)
class SettingsValues:
    """The seller, its bank account, and rules of runs: see `BillingSettings`."""

    legal_name: str
    street: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = ""
    vat_id: str = ""
    tax_number: str = ""
    email: str = ""
    phone: str = ""
    iban: str = ""
    bic: str = ""
    bank_name: str = ""
    footer: str = ""
    currency: str = "EUR"
    mail_bills: bool = True
    second_person: bool = True
    estimate_percent: Decimal = Decimal(20)


@transaction.atomic
def change_settings(
    *, tenant_id: int, values: SettingsValues, actor_id: int | None
) -> BillingSettings:
    """Set everything anew. IBAN, BIC, VAT id, country and currency are kept in canonical form."""
    wanted = _checked(values)
    row = BillingSettings.objects.select_for_update().filter(tenant_id=tenant_id).first()
    if row is None:
        return refusals.insert(
            BillingSettings(tenant_id=tenant_id, **wanted),
            actor_id=actor_id,
            action="billing_settings.set",
        )
    refusals.update(row, wanted, actor_id=actor_id, action="billing_settings.change")
    return row


def _checked(values: SettingsValues) -> dict[str, Any]:
    wanted = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in asdict(values).items()
    }
    wrong: dict[str, list[str]] = {}
    for name, by in (
        ("country", identifiers.checked_country),
        ("vat_id", lambda text: identifiers.checked_vat_id(text, wanted["country"])),
        ("iban", identifiers.checked_iban),
        ("bic", identifiers.checked_bic),
        ("currency", identifiers.checked_currency),
    ):
        identifiers.check(wanted, wrong, name, by)
    if not wanted["legal_name"]:
        wrong["legal_name"] = [_("Say under which name you bill.")]
    if not 0 <= values.estimate_percent <= 100:
        wrong["estimate_percent"] = [_("A part is between 0 and 100 percent.")]
    if wrong:
        raise ValidationError(wrong)
    return wanted
