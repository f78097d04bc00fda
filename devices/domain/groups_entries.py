"""Groups as the API changes them: with JSON in, and what became of it out. Needs an open scope.

What is refused is a ValidationError at its field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from devices.domain import groups_operations as operations
from devices.domain import groups_queries as queries
from devices.domain.groups_operations import GroupValues
from devices.domain.groups_queries import GroupFacts, Held
from devices.domain.selection import Rule, SelectionRefused


def create_entry(
    *,
    tenant_id: int,
    name: str,
    description: str,
    rule: Any,
    device_ids: Sequence[int],
    actor_id: int | None,
) -> GroupFacts:
    """`groups_operations.create_group`; `rule` is the JSON of a `Rule`, None for members."""
    made = operations.create_group(
        tenant_id=tenant_id,
        values=_values(name, description, rule),
        device_ids=device_ids,
        actor_id=actor_id,
    )
    return queries.group(group_id=made.pk)


def change_entry(
    *, group_id: int, name: str, description: str, rule: Any, actor_id: int | None
) -> GroupFacts:
    """`groups_operations.change_group`."""
    operations.change_group(
        group_id=group_id, values=_values(name, description, rule), actor_id=actor_id
    )
    return queries.group(group_id=group_id)


def move_entry(
    *, group_id: int, add: Sequence[int], remove: Sequence[int], actor_id: int | None
) -> GroupFacts:
    """`groups_operations.add_members` and `remove_members`, in this order."""
    if add:
        operations.add_members(group_id=group_id, device_ids=add, actor_id=actor_id)
    if remove:
        operations.remove_members(group_id=group_id, device_ids=remove, actor_id=actor_id)
    return queries.group(group_id=group_id)


def preview_entry(*, tenant_id: int, rule: Any) -> Held:
    """`groups_queries.would_hold`."""
    try:
        return queries.would_hold(tenant_id=tenant_id, rule=Rule.from_json(rule))
    except SelectionRefused as error:
        raise ValidationError({"rule": [str(error)]}) from error


def _values(name: str, description: str, rule: Any) -> GroupValues:
    try:
        return GroupValues(name, description, None if rule is None else Rule.from_json(rule))
    except SelectionRefused as error:
        raise ValidationError({"rule": [str(error)]}) from error
