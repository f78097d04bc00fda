"""Reading the audit trail: pages by key, quick however long the trail is.

Who, action and subject are found by an index. Text and address are not: under row-level security no
index may be asked for a part of a text, because such a comparison could tell of rows that are
walled off. They are looked for in at most `SCANNED` entries at a time, from the newest on, and the
page says how far it has looked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.db import models
from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from tenants.models import AuditEntry, User
from tenants.scope import index_order, require_scope

PAGE_ENTRIES: Final = 50
# Entries that one page looks through for a text or an address (measured: 0.2 s).
SCANNED: Final = 20_000
# Up to so many tenants are asked one by one, each by its own index; more are found by time.
MERGED_TENANTS: Final = 64
# People whose name or address contains what was typed; more are not looked for.
MAX_PEOPLE: Final = 32
# Columns that hold keys without being foreign keys of the ORM.
_KEY_LISTS: Final = {"facility_ids": "devices.facility", "facilities": "devices.facility"}
# The columns that a row is known by, the first that it has.
_NAMING: Final = ("email", "name", "serial")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place behind an entry in the trail, which is sorted from new to old."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for; what is None or empty is not asked.

    `person` is a part of the name or e-mail address of who acted or really acted, `actor_id` that
    person's key. `since` <= at < `until`. `text` is looked for in the subject's name, the values
    before and after, and the reason. `tenant_id` is one of the scope's.
    """

    person: str = ""
    actor_id: int | None = None
    impersonated: bool = False
    actions: tuple[str, ...] = ()
    subject: tuple[str, int] | None = None
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    network: IPv4Network | IPv6Network | None = None
    tenant_id: int | None = None

    @property
    def scans(self) -> bool:
        """Whether entries have to be looked through."""
        return bool(self.text or self.network)


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """Who acted."""

    user_id: int
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """One entry of the trail; `actor` None: the system itself."""

    id: UUID
    at: datetime
    tenant_id: int
    tenant_name: str
    actor: PersonFacts | None
    impersonator: PersonFacts | None
    reason: str
    channel: str
    address: str | None
    action: str
    subject_type: str
    subject_id: int | None
    subject_name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def cursor(self) -> Cursor:
        """The place behind this entry."""
        return Cursor(self.at, self.id)


# (label of a model, key) -> what the row is called.
Names = Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class Page:
    """Entries from new to old.

    `older` leads to the next page, None at the end. `looked_back_to` says how far was looked when
    the page is short because of that alone. `names` are those of the rows that the values refer to
    by key.
    """

    entries: tuple[EntryFacts, ...]
    older: Cursor | None
    looked_back_to: datetime | None
    names: Names = field(default_factory=dict)


def page(*, wanted: AuditFilter, limit: int, behind: Cursor | None = None) -> Page:
    """One page of the trail of the scope, behind a cursor or from the newest entry on.

    At most six queries. Needs an open scope.
    """
    parts = _parts(wanted, _people(wanted))
    condition = _condition(wanted, behind)
    with index_order():
        # The place where looking through entries ends, when there are so many.
        ends = _newest(parts, condition, offset=SCANNED - 1, limit=1) if wanted.scans else []
        lowest = ends[0] if ends else None
        keys = _newest(parts, condition & _looked_for(wanted, lowest), offset=0, limit=limit + 1)
    entries = _entries([key.id for key in keys[:limit]])
    if len(keys) > limit:
        return Page(entries, entries[-1].cursor, None)
    return Page(entries, lowest, lowest.at if lowest else None)


def named_page(*, wanted: AuditFilter, behind: Cursor | None = None) -> Page:
    """`page`, with the names of what the entries refer to: one query more."""
    found = page(wanted=wanted, behind=behind, limit=PAGE_ENTRIES)
    keys: dict[str, set[int]] = {}
    for entry in found.entries:
        for name, value in [*(entry.before or {}).items(), *(entry.after or {}).items()]:
            if label := related_model(entry.subject_type, name):
                values = value if isinstance(value, list) else [value]
                keys.setdefault(label, set()).update(v for v in values if isinstance(v, int))
    return replace(found, names=_names_of(keys))


def column(label: str, name: str) -> models.Field[Any, Any] | None:
    """The column of a model that an entry tells of; None for what is none (any more)."""
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    columns = {found.name: found for found in model._meta.concrete_fields}  # noqa: SLF001
    return columns.get(name)


def related_model(label: str, name: str) -> str | None:
    """The label of the model whose keys a column holds; None for a column without keys."""
    if name in _KEY_LISTS:
        return _KEY_LISTS[name]
    found = column(label, name)
    model = found.related_model if found is not None else None
    if model is None or isinstance(model, str):
        return None
    return str(model._meta.label_lower)  # noqa: SLF001


def _names_of(keys: Mapping[str, Collection[int]]) -> dict[tuple[str, int], str]:
    """What rows of the scope are called; what is gone or lies outside is left out. One query."""
    parts = []
    for label, ids in sorted(keys.items()):
        model = apps.get_model(label)
        shown = next((name for name in _NAMING if column(label, name) is not None), None)
        if shown is not None and ids:
            rows = model._default_manager.filter(pk__in=ids).order_by()  # noqa: SLF001
            parts.append(
                rows.annotate(label=Value(label), shown=Cast(shown, TextField())).values_list(
                    "label", "pk", "shown"
                )
            )
    if not parts:
        return {}
    found = parts[0].union(*parts[1:], all=True) if len(parts) > 1 else parts[0]
    return {(label, key): shown for label, key, shown in found}


def _people(wanted: AuditFilter) -> list[int] | None:
    """The keys of the people who are asked for; None when nobody is."""
    if wanted.actor_id is not None:
        return [wanted.actor_id]
    if not wanted.person:
        return None
    named = Q(email__icontains=wanted.person) | Q(name__icontains=wanted.person)
    found = User.objects.filter(named).order_by("pk").values_list("pk", flat=True)
    return list(found[:MAX_PEOPLE])


def _parts(wanted: AuditFilter, people: list[int] | None) -> list[QuerySet[AuditEntry]]:
    """The entries that are asked for as parts, each of which lies in order in one index.

    A scope of few tenants asks each for its newest: found by time alone, the entries of a quiet
    tenant would lie behind all those of the busy ones.
    """
    rows = AuditEntry.objects.order_by("-at", "-id")
    tenant_ids: Sequence[int] = require_scope().tenant_ids
    if wanted.tenant_id is not None:
        tenant_ids = [key for key in tenant_ids if key == wanted.tenant_id]
        rows = rows.filter(tenant_id=wanted.tenant_id)
    if wanted.actions and (people is not None or wanted.subject):
        rows = rows.filter(action__in=wanted.actions)
    if people is not None:
        if wanted.subject:
            rows = _of_subject(rows, wanted.subject)
        # Nobody may impersonate oneself, so that no entry is in two parts of one person.
        acted = [rows.filter(actor=key) for key in people]
        return acted + [rows.filter(impersonator=key).exclude(actor__in=people) for key in people]
    if wanted.subject:
        return [_of_subject(rows, wanted.subject)]
    if wanted.actions:
        return [rows.filter(action=action) for action in wanted.actions]
    if len(tenant_ids) <= MERGED_TENANTS:
        return [rows.filter(tenant_id=tenant_id) for tenant_id in tenant_ids]
    return [rows]


def _of_subject(rows: QuerySet[AuditEntry], subject: tuple[str, int]) -> QuerySet[AuditEntry]:
    return rows.filter(subject_type=subject[0], subject_id=subject[1])


def _condition(wanted: AuditFilter, behind: Cursor | None) -> Q:
    """What narrows every part to a stretch of its index."""
    condition = Q()
    if wanted.impersonated:
        condition &= Q(impersonator__isnull=False)
    if wanted.since is not None:
        condition &= Q(at__gte=wanted.since)
    if wanted.until is not None:
        condition &= Q(at__lt=wanted.until)
    if behind is not None:
        # The first condition is what the index is entered by.
        condition &= Q(at__lte=behind.at) & (Q(at__lt=behind.at) | Q(id__lt=behind.id))
    return condition


def _looked_for(wanted: AuditFilter, lowest: Cursor | None) -> Q:
    """What entries are looked through for, and down to which of them."""
    condition = Q()
    if lowest is not None:
        condition &= Q(at__gte=lowest.at) & (Q(at__gt=lowest.at) | Q(id__gte=lowest.id))
    if wanted.network is not None:
        condition &= Q(address__in_network=str(wanted.network))
    if wanted.text:
        condition &= (
            Q(subject_name__icontains=wanted.text)
            | Q(before_text__icontains=wanted.text)
            | Q(after_text__icontains=wanted.text)
            | Q(reason__icontains=wanted.text)
        )
    return condition


def _newest(
    parts: Sequence[QuerySet[AuditEntry]], condition: Q, *, offset: int, limit: int
) -> list[Cursor]:
    """The keys of the newest entries of all parts together."""
    found = [
        part.alias(before_text=Cast("before", TextField()), after_text=Cast("after", TextField()))
        .filter(condition)
        .values_list("at", "id")[: offset + limit]
        for part in parts
    ]
    if not found:
        return []
    if len(found) == 1:
        return [Cursor(*row) for row in found[0][offset:]]
    merged = found[0].union(*found[1:], all=True).order_by("-at", "-id")
    return [Cursor(*row) for row in merged[offset : offset + limit]]


def _entries(keys: Iterable[UUID]) -> tuple[EntryFacts, ...]:
    rows = AuditEntry.objects.select_related("tenant", "actor", "impersonator")
    return tuple(_facts(row) for row in rows.filter(pk__in=list(keys)).order_by("-at", "-id"))


def _facts(row: AuditEntry) -> EntryFacts:
    return EntryFacts(
        id=row.pk,
        at=row.at,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant.name,
        actor=_person(row.actor),
        impersonator=_person(row.impersonator),
        reason=row.reason,
        channel=row.channel,
        address=row.address,
        action=row.action,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        subject_name=row.subject_name,
        before=row.before,
        after=row.after,
    )


def _person(user: User | None) -> PersonFacts | None:
    return None if user is None else PersonFacts(user.pk, user.get_full_name(), user.email)
