"""What people say of payments by the numbers that they have before them. Needs an open scope."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import payments_operations
from billing.domain.payments_operations import PaymentNotFound
from billing.models import Agreement, Bill, Payment


@transaction.atomic
def assign_by_number(*, payment_id: int, number: str, now: datetime, actor_id: int) -> Payment:
    """Say whose a payment is, by the number of the agreement or of one of its bills.

    Raises PaymentNotFound, and ValidationError at `number` or for what `assign` refuses.
    """
    tenant_id = Payment.objects.filter(pk=payment_id).values_list("tenant_id", flat=True).first()
    if tenant_id is None:
        raise PaymentNotFound(f"payment {payment_id}")
    number = number.strip()
    agreements = Agreement.objects.filter(tenant=tenant_id, number=number)
    bills = Bill.objects.filter(tenant=tenant_id, number=number).exclude(number="")
    found = agreements.values_list("pk", flat=True).first()
    found = found or bills.values_list("agreement_id", flat=True).first()
    if found is None:
        raise ValidationError({"number": [_("No agreement and no bill has this number.")]})
    return payments_operations.assign(
        payment_id=payment_id, agreement_id=found, now=now, actor_id=actor_id
    )
