"""Numbers of customers and agreements whose maker gave none."""

from __future__ import annotations

from collections.abc import Callable

from billing.models import NumberSeries


def next_reference(*, tenant_id: int, code: str, prefix: str, taken: Callable[[str], bool]) -> str:
    """The next number of a series such as `K00001` that is not `taken`; call it in the transaction
    that uses it. Gaps do not matter here: only documents have none.
    """
    NumberSeries.objects.get_or_create(tenant_id=tenant_id, code=code, defaults={"prefix": prefix})
    row = NumberSeries.objects.select_for_update().get(tenant_id=tenant_id, code=code)
    while True:
        text = f"{row.prefix}{row.next_number:05}"
        row.next_number += 1
        if not taken(text):
            row.save(update_fields=["next_number"])
            return text
