"""Changes to customers; each leaves an audit row.

Needs an open scope that holds the tenant; customers concern the tenant as a whole, so that a scope
narrowed to facilities has none. What is refused is a ValidationError with a sentence at its field.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import dunning_operations, identifiers, refusals, wallet_operations
from billing.domain.customers_queries import CustomerNotFound
from billing.domain.references import next_reference
from billing.models import Agreement, Customer, CustomerKind
from tenants.domain import audit
from tenants.models import Membership


@dataclass(frozen=True, slots=True)
class CustomerValues:
    """Who is billed: see `Customer`. Without a `number` the next one is drawn. `user_id`: the
    account of a member, who sees the bills as a consumer.
    """

    name: str
    number: str = ""
    kind: CustomerKind = CustomerKind.PERSON
    email: str = ""
    phone: str = ""
    language: str = "en"
    street: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = ""
    vat_id: str = ""
    buyer_reference: str = ""
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Protection:
    """Whether somebody must not be cut off, why or why no longer, and until when if that is known
    (from then on no more).
    """

    protected: bool
    reason: str
    until: date | None = None


@transaction.atomic
def create_customer(*, tenant_id: int, values: CustomerValues, actor_id: int | None) -> Customer:
    """A new customer."""
    wanted = _checked(tenant_id, values)
    if not wanted["number"]:
        wanted["number"] = next_reference(
            tenant_id=tenant_id,
            code="customer",
            prefix="C",
            taken=lambda text: Customer.objects.filter(tenant_id=tenant_id, number=text).exists(),
        )
    row = Customer(tenant_id=tenant_id, **wanted)
    return refusals.insert(row, actor_id=actor_id, action="customer.create")


@transaction.atomic
def change_customer(*, customer_id: int, values: CustomerValues, actor_id: int | None) -> Customer:
    """Set everything anew but the protection; an empty number stays the one it was. Final bills
    keep whom they were made out to. With another account the agreements are that one's from now on.
    """
    row = _locked(customer_id)
    wanted = _checked(row.tenant_id, values)
    if not wanted["number"]:
        wanted["number"] = row.number
    if refusals.update(row, wanted, actor_id=actor_id, action="customer.change"):
        Agreement.objects.filter(customer=row).update(user_id=row.user_id)
    return row


@transaction.atomic
def protect_customer(
    *,
    customer_id: int,
    reason: str,
    until: date | None = None,
    now: datetime | None = None,
    actor_id: int | None,
) -> Customer:
    """Never cut this customer off, for a reason, until a day where one is known (from then on no
    more). What is cut is given back in the same transaction.
    """
    if not reason.strip():
        raise ValidationError({"reason": [_("Say why this customer must not be cut off.")]})
    wanted = {"protected": True, "protected_reason": reason.strip(), "protected_until": until}
    row = _locked(customer_id)
    refusals.update(row, wanted, actor_id=actor_id, action="customer.protect")
    _give_back(row, now or datetime.now(UTC))
    return row


def _give_back(row: Customer, now: datetime) -> None:
    """Have dunning and wallets see the protection at once, and not at their next look."""
    agreements = list(Agreement.objects.filter(customer=row).values_list("pk", flat=True))
    dunning_operations.review(agreement_ids=agreements, now=now)
    wallet_operations.follow(agreement_ids=agreements, now=now)


@transaction.atomic
def unprotect_customer(*, customer_id: int, reason: str, actor_id: int | None) -> Customer:
    """End the protection, for a reason, which the audit log keeps."""
    if not reason.strip():
        raise ValidationError({"reason": [_("Say why the protection ends.")]})
    row = _locked(customer_id)
    if not row.protected:
        raise ValidationError(_("The customer is not protected."))
    before = audit.snapshot(row)
    row.protected, row.protected_reason, row.protected_until = False, "", None
    row.save(update_fields=["protected", "protected_reason", "protected_until"])
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="customer.unprotect",
        subject=row,
        before=before,
        after=audit.snapshot(row) | {"reason": reason.strip()},
    )
    return row


def set_protection(*, customer_id: int, wanted: Protection, actor_id: int | None) -> Customer:
    """Protect a customer, or end the protection."""
    if not wanted.protected:
        return unprotect_customer(customer_id=customer_id, reason=wanted.reason, actor_id=actor_id)
    return protect_customer(
        customer_id=customer_id, reason=wanted.reason, until=wanted.until, actor_id=actor_id
    )


def _locked(customer_id: int) -> Customer:
    row = Customer.objects.select_for_update(no_key=True).filter(pk=customer_id).first()
    if row is None:
        raise CustomerNotFound(f"customer {customer_id}")
    return row


def _checked(tenant_id: int, values: CustomerValues) -> dict[str, Any]:
    wanted = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in asdict(values).items()
    }
    wrong: dict[str, list[str]] = {}
    if not wanted["name"]:
        wrong["name"] = [_("Give the customer a name.")]
    identifiers.check(wanted, wrong, "country", identifiers.checked_country)
    identifiers.check(
        wanted, wrong, "vat_id", lambda text: identifiers.checked_vat_id(text, wanted["country"])
    )
    user_id = values.user_id
    if user_id is not None and not _is_member(tenant_id, user_id):
        wrong["user"] = [_("This account is no member of the organisation: invite it first.")]
    if wrong:
        raise ValidationError(wrong)
    return wanted


def _is_member(tenant_id: int, user_id: int) -> bool:
    return Membership.objects.filter(tenant_id=tenant_id, user_id=user_id).exists()
