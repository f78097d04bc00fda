"""Switching off a rule by which something takes two persons: that takes two persons itself.

Else whoever is bound by the rule, and may change settings, would free himself of it for a moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tenants.models import TwoPersonsRule

_NOBODY: Final[dict[str, Any]] = {"off_asked_by_id": None, "off_asked_at": None}


class NeedsPersonError(Exception):
    """Nobody stands behind the caller who could be one of two persons."""


@dataclass(frozen=True, slots=True)
class OffAsked:
    """Who (`by`, a name) has asked when that a rule of two persons be switched off."""

    by: str
    by_id: int
    at: datetime

    @classmethod
    def of(cls, row: TwoPersonsRule | None) -> OffAsked | None:
        """None where nobody has."""
        if row is None or row.off_asked_by is None or row.off_asked_at is None:
            return None
        return cls(row.off_asked_by.get_full_name(), row.off_asked_by.pk, row.off_asked_at)


def turned(
    row: TwoPersonsRule, field: str, *, wanted: bool, by: int | None, system: bool, now: datetime
) -> dict[str, Any]:
    """The values of a rule, whose column is `field`, after somebody wants it on or off.

    On counts at once, and ends a wish for off. Off is asked for by the first who wants it and done
    by the second; for the system at once. Raises NeedsPersonError.
    """
    if wanted or system or not getattr(row, field):
        return {field: wanted, **_NOBODY}
    if by is None:
        raise NeedsPersonError
    if row.off_asked_by_id is None:
        return {"off_asked_by_id": by, "off_asked_at": now}
    return {} if row.off_asked_by_id == by else {field: False, **_NOBODY}
