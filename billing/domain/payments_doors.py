"""Which tenant a payment service speaks to, before a scope can be opened."""

from __future__ import annotations

from django.db import connection


def secret_of(*, provider: str, tenant: str) -> tuple[int, str] | None:
    """The tenant of a short name, and what the service signs with, sealed; None where the tenant
    does not take payments by it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, sealed_secret FROM door_payment_provider(%s, %s)",
            [provider, tenant],
        )
        row = cursor.fetchone()
    return None if row is None else (int(row[0]), str(row[1]))
