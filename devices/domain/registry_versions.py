"""Optimistic locking: an edit says what it is based on, and is refused when that has changed.

The version of a row are its values themselves. No counter has to be kept by every writer, and who
is refused learns which field changed from what to what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from tenants.domain.audit import snapshot

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field whose value is not what it was; JSON values, ids for relations."""

    field: str
    before: Any
    after: Any


class ChangedMeanwhile(Exception):  # noqa: N818 - it reads as what happened
    """Somebody else has changed the row since the edit began; `changes` says what."""

    def __init__(self, changes: Sequence[FieldChange], current: Values) -> None:
        super().__init__(f"changed meanwhile: {', '.join(change.field for change in changes)}")
        self.changes = tuple(changes)
        self.current = dict(current)


def values_of(row: models.Model, fields: Sequence[str]) -> dict[str, Any]:
    """The values of some fields as they come back from JSON."""
    found = snapshot(row)
    chosen = {name: found[name] for name in fields}
    plain: dict[str, Any] = json.loads(json.dumps(chosen, cls=DjangoJSONEncoder))
    return plain


def differences(before: Values, after: Values) -> tuple[FieldChange, ...]:
    """The fields of `before` that have another value in `after`."""
    return tuple(
        FieldChange(name, value, after.get(name))
        for name, value in before.items()
        if value != after.get(name)
    )


def require_unchanged(row: models.Model, based_on: Values | None) -> None:
    """Raises ChangedMeanwhile when `row` (locked) differs from what the edit is based on.

    None asks for no check: an import states what shall be, whatever was.
    """
    if based_on is None:
        return
    current = values_of(row, list(based_on))
    if changes := differences(based_on, current):
        raise ChangedMeanwhile(changes, current)
