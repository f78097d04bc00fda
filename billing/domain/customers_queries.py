"""Customers as pages and the API read them.

Needs an open scope and sees what it holds: one narrowed to facilities sees no customers.
"""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing.domain.paging import page_of
from billing.models import Customer
from devices.domain.catalogue import Page


class CustomerNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such customer in the scope."""


def customer_rows(*, search: str = "") -> QuerySet[Customer]:
    """Customers by name, perhaps those with a text in their number, name, address or e-mail."""
    rows = Customer.objects.order_by("name", "pk")
    for word in search.split():
        rows = rows.filter(
            Q(number__icontains=word)
            | Q(name__icontains=word)
            | Q(email__icontains=word)
            | Q(street__icontains=word)
            | Q(city__icontains=word)
            | Q(postal_code__istartswith=word)
        )
    return rows


def customer_page(
    *, limit: int, after: int = 0, search: str = "", number: str | None = None
) -> Page[Customer]:
    """Customers by id; one query."""
    rows = customer_rows(search=search)
    return page_of(rows, limit=limit, after=after, wanted={"number": number})


def customer(*, customer_id: int) -> Customer:
    """One customer; one query. Raises CustomerNotFound."""
    found = Customer.objects.filter(pk=customer_id).first()
    if found is None:
        raise CustomerNotFound(f"customer {customer_id}")
    return found
