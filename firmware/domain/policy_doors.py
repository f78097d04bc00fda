"""The door to what a tenant and those above it demand of roll-outs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import BooleanField, Expression, F, Func

_DEMANDED: Final = (
    "(SELECT d.own_second OR d.above_second FROM door_firmware_policy(%(expressions)s) d)"
)


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of roll-outs: a second person, downloads at once, bytes per second of all
    together; None: no limit.
    """

    second_person: bool = False
    max_downloads: int | None = None
    bytes_per_s: int | None = None

    def with_(self, other: Demands) -> Demands:
        """Both of them."""
        return Demands(
            self.second_person or other.second_person,
            _narrower(self.max_downloads, other.max_downloads),
            _narrower(self.bytes_per_s, other.bytes_per_s),
        )


def demands_of(tenant_id: int) -> tuple[Demands, Demands]:
    """Those of the tenant, and of all above it together; one query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_firmware_policy(%s)", [tenant_id])
        row = cursor.fetchone()
    assert row is not None, "it aggregates"
    return Demands(*row[:3]), Demands(*row[3:])


def demands_second_person(tenant_id: Expression | F) -> Func:
    """For a query set of rows in the scope: whether somebody else has to approve."""
    return Func(tenant_id, template=_DEMANDED, output_field=BooleanField())


def _narrower(one: int | None, other: int | None) -> int | None:
    given = [limit for limit in (one, other) if limit is not None]
    return min(given, default=None)
