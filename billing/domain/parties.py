"""Who bills whom for what, as bills keep it. Needs an open scope that sees customers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billing.documents.values import Address, Buyer, Parties, Seller, Supply
from billing.models import Agreement, BillingSettings, CustomerKind
from tenants.models import Tenant


def parties_of(agreement_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Seller, customer and supply of agreements as they are now (`Parties.as_json`), by agreement;
    three queries.
    """
    rows = Agreement.objects.filter(pk__in=set(agreement_ids)).order_by("pk")
    found = list(rows.select_related("customer", "facility"))
    sellers = _sellers({one.tenant_id for one in found})
    return {
        one.pk: Parties(sellers[one.tenant_id], _buyer(one), _supply(one)).as_json()
        for one in found
    }


def _sellers(tenant_ids: set[int]) -> dict[int, Seller]:
    names = Tenant.objects.filter(pk__in=tenant_ids).values_list("pk", "name")
    found = {pk: Seller(name=name) for pk, name in names}
    for row in BillingSettings.objects.filter(tenant_id__in=tenant_ids):
        found[row.tenant_id] = Seller(
            name=row.legal_name,
            address=Address(row.street, row.postal_code, row.city, row.country),
            vat_id=row.vat_id,
            tax_number=row.tax_number,
            email=row.email,
            phone=row.phone,
            iban=row.iban,
            bic=row.bic,
            bank_name=row.bank_name,
            footer=row.footer,
        )
    return found


def _buyer(of: Agreement) -> Buyer:
    customer = of.customer
    return Buyer(
        name=customer.name,
        number=customer.number,
        company=customer.kind == CustomerKind.COMPANY,
        address=Address(customer.street, customer.postal_code, customer.city, customer.country),
        vat_id=customer.vat_id,
        reference=customer.buyer_reference,
        email=customer.email,
        language=customer.language,
    )


def _supply(of: Agreement) -> Supply:
    at = of.facility
    return Supply(
        agreement=of.number,
        facility=at.name,
        address=Address(at.street, at.postal_code, at.city, at.country),
        cost_centre=of.cost_centre,
    )
