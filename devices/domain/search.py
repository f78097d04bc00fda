"""Finding facilities, devices and people by a few letters, for the search of the portal.

Every word must occur in one of the fields of a row. What begins with the words comes first. Needs
an open scope and sees what it holds.

No index serves this on purpose: row-level security lets PostgreSQL use an index for a condition
only when its operator is leakproof, which LIKE and the trigram operators are not. The rows of the
scope are read and compared: with 10 000 devices a search of all kinds takes 7 to 15 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from devices.models import Device, Facility
from tenants.models import Membership

# Longer input is cut: nobody types it, and every word costs a comparison a row.
MAX_WORDS: Final = 6


class Kind(StrEnum):
    """What can be found."""

    FACILITY = "facility"
    DEVICE = "device"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that was found; `row_id` is of the facility, the device or the membership."""

    kind: Kind
    row_id: int
    title: str
    detail: str


_FIELDS: Final = {
    Kind.FACILITY: ("name", "city", "street"),
    Kind.DEVICE: ("name", "serial", "facility__name"),
    Kind.PERSON: ("user__name", "user__email"),
}


def words_of(text: str) -> tuple[str, ...]:
    """The words that are searched for."""
    return tuple(text.split()[:MAX_WORDS])


def find(*, text: str, kinds: frozenset[Kind], limit: int) -> dict[Kind, tuple[Hit, ...]]:
    """At most `limit` hits of each of `kinds`, best first; one query a kind, none for no words."""
    words = words_of(text)
    if not words:
        return dict.fromkeys(kinds, ())
    return {kind: _READERS[kind](words, limit) for kind in Kind if kind in kinds}


def _matching(rows: QuerySet[Any], kind: Kind, words: tuple[str, ...]) -> QuerySet[Any]:
    """The rows that have all words: those that begin with the words first, then by name."""
    fields = _FIELDS[kind]
    for word in words:
        found = Q()
        for field in fields:
            found |= Q(**{f"{field}__icontains": word})
        rows = rows.filter(found)
    together = " ".join(words)
    begins = Q()
    for field in fields[:2]:
        begins |= Q(**{f"{field}__istartswith": together})
    rank = Case(When(begins, then=Value(0)), default=Value(1), output_field=IntegerField())
    return rows.order_by(rank, fields[0], "pk")


def _facilities(words: tuple[str, ...], limit: int) -> tuple[Hit, ...]:
    rows = _matching(Facility.objects.all(), Kind.FACILITY, words)
    return tuple(
        Hit(Kind.FACILITY, pk, name, city)
        for pk, name, city in rows.values_list("pk", "name", "city")[:limit]
    )


def _devices(words: tuple[str, ...], limit: int) -> tuple[Hit, ...]:
    rows = _matching(Device.objects.all(), Kind.DEVICE, words)
    columns = ("pk", "name", "serial", "facility__name")
    return tuple(
        Hit(Kind.DEVICE, pk, name, f"{facility} · {serial}")
        for pk, name, serial, facility in rows.values_list(*columns)[:limit]
    )


def _people(words: tuple[str, ...], limit: int) -> tuple[Hit, ...]:
    rows = _matching(Membership.objects.all(), Kind.PERSON, words)
    return tuple(
        Hit(Kind.PERSON, pk, name or email, email)
        for pk, name, email in rows.values_list("pk", "user__name", "user__email")[:limit]
    )


_READERS: Final = {
    Kind.FACILITY: _facilities,
    Kind.DEVICE: _devices,
    Kind.PERSON: _people,
}
