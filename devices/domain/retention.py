"""How long a tenant keeps what: the rules, what a rule would remove, and removing what is over.

Needs an open scope that holds the tenant, but for `drop_over`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.utils.translation import gettext as _

from devices.domain import holds
from devices.models import LEAST_DAYS, DataClass, Retention
from devices.telemetry import retention_store as store
from tenants.domain import audit
from tenants.scope import LONG_STATEMENTS

# Rows of one transaction: a second of work.
AT_ONCE: Final = 20_000
# Segments that a preview counts; of more it says so.
MOST_COUNTED: Final = 500_000
MOST_DAYS: Final = 36_600


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What counts for a class: `days` (None: for ever). `own` says whether the tenant's own rule
    says so, else one above or the default does.
    """

    data_class: DataClass
    days: int | None
    own: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule for readings would remove: all before `before`.

    `is_more`: as many as told and more. `holds` stand, and what they cover stays.
    """

    before: datetime
    readings: int
    devices: int
    since: datetime | None
    is_more: bool
    holds: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a changed rule does to a class: `removes` what is before `over`, `preview` for readings
    says how much that is.
    """

    data_class: DataClass
    days_before: int | None
    days: int | None
    over: datetime | None
    preview: Preview | None = None

    @property
    def removes(self) -> bool:
        """Whether data goes that was kept until now."""
        return self.days is not None and (self.days_before is None or self.days < self.days_before)


class RetentionRefused(ValueError):  # noqa: N818 - it reads as what happened
    """A rule that cannot be made; the message says why and what to do."""

    def __init__(self, data_class: str, text: str) -> None:
        super().__init__(text)
        self.data_class = data_class


@dataclass(frozen=True, slots=True)
class Own:
    """A rule of the tenant itself; `days` None: for ever. `shorter`: although finer data is kept
    for longer.
    """

    days: int | None
    shorter: bool = False


def rules(*, tenant_id: int) -> list[RuleFacts]:
    """What counts for each class of data of a tenant; two queries."""
    own = set(Retention.objects.filter(tenant_id=tenant_id).values_list("data_class", flat=True))
    found = {rule.data_class: rule for rule in store.rules(connection, tenant_id)}
    return [
        RuleFacts(data_class, found[data_class].days, own=data_class.value in own)
        for data_class in DataClass
    ]


def preview(*, tenant_id: int, days: int, now: datetime) -> Preview:
    """What a rule of so many days for readings would remove now; two queries."""
    before = over_before(days, now)
    found = store.readings_before(connection, tenant_id, before, most=MOST_COUNTED)
    standing = holds.count_standing(tenant_id=tenant_id)
    return Preview(before, found.values, found.devices, found.since, found.is_more, standing)


def effects(
    *, tenant_id: int, wanted: Mapping[DataClass, Own | None], now: datetime
) -> list[Effect]:
    """What rules would do, for the classes for which another time would count. Raises
    RetentionRefused.
    """
    before = {rule.data_class: rule.days for rule in rules(tenant_id=tenant_id)}
    # Tried, read and taken back: what counts then also depends on the rules above.
    with transaction.atomic():
        set_rules(tenant_id=tenant_id, wanted=wanted, actor_id=None)
        after = rules(tenant_id=tenant_id)
        transaction.set_rollback(True)
    found = []
    for rule in after:
        if rule.days == before[rule.data_class]:
            continue
        over = None if rule.days is None else over_before(rule.days, now)
        counted = None
        if rule.data_class is DataClass.READINGS and rule.days is not None:
            counted = preview(tenant_id=tenant_id, days=rule.days, now=now)
        effect = Effect(rule.data_class, before[rule.data_class], rule.days, over, counted)
        found.append(effect)
    return found


def over_before(days: int, now: datetime) -> datetime:
    """Before which instant all is over that is kept for some days: whole days (UTC)."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days)


@transaction.atomic
def set_rules(
    *, tenant_id: int, wanted: Mapping[DataClass, Own | None], actor_id: int | None
) -> bool:
    """Make, change or take away (None: what is above counts) the rules of a tenant; returns whether
    anything changed. Raises RetentionRefused.
    """
    kept = {
        row.data_class: row
        for row in Retention.objects.select_for_update().filter(tenant_id=tenant_id)
    }
    changed = False
    for data_class, rule in wanted.items():
        row = kept.get(data_class)
        if rule is None:
            if row is not None:
                audit.delete(row, actor_id=actor_id, action="retention.remove")
                changed = True
            continue
        _check(data_class, rule)
        if row is None:
            row = Retention(
                tenant_id=tenant_id, data_class=data_class, days=rule.days, shorter=rule.shorter
            )
            audit.insert(row, actor_id=actor_id, action="retention.set")
            changed = True
        else:
            values = {"days": rule.days, "shorter": rule.shorter}
            changed |= audit.update(row, values, actor_id=actor_id, action="retention.change")
    _check_order(wanted, {rule.data_class: rule.days for rule in rules(tenant_id=tenant_id)})
    return changed


def _check_order(
    wanted: Mapping[DataClass, Own | None], counts: Mapping[DataClass, int | None]
) -> None:
    """Coarser data is kept as long as finer: what counts is what was asked for."""
    for data_class, rule in wanted.items():
        if rule is not None and counts[data_class] != rule.days:
            raise RetentionRefused(
                data_class,
                _("Finer data is kept for longer: keep this as long at least."),
            )


def _check(data_class: DataClass, rule: Own) -> None:
    if rule.days is not None and not LEAST_DAYS <= rule.days <= MOST_DAYS:
        raise RetentionRefused(
            data_class,
            _("Keep it for %(least)d to %(most)d days, or for ever.")
            % {"least": LEAST_DAYS, "most": MOST_DAYS},
        )


@transaction.atomic
def remove_over(*, tenant_id: int, data_class: DataClass) -> int | None:
    """Remove a bounded part of what is over of a tenant; one transaction. Returns how many rows,
    None when somebody else was at work on them: they have time.
    """
    return store.remove_over(connection, tenant_id, data_class, most=AT_ONCE)


@transaction.atomic
def drop_over(*, data_class: DataClass) -> int | None:
    """Drop one chunk that is over for everybody; one transaction. Returns how many (0 or 1), None
    when somebody else was at work on it. Chunks are everybody's: it needs no scope.
    """
    return store.drop_over(connection, data_class, within=LONG_STATEMENTS)


def tenants_with_rules(*, tenant_ids: Sequence[int], data_class: DataClass) -> list[int]:
    """Those of some tenants of whose data of a class anything can be over."""
    return [
        tenant_id
        for tenant_id in tenant_ids
        for rule in store.rules(connection, tenant_id)
        if rule.data_class == data_class and rule.days is not None
    ]
