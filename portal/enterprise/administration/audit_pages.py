"""What the audit log shows, prepared: entries in words, what changed from what to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import models
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from portal.enterprise.administration import words
from tenants.domain.audit_queries import (
    Cursor,
    EntryFacts,
    Names,
    PersonFacts,
    column,
    related_model,
)
from tenants.models import AuditChannel
from tenants.permissions import ACCESS_SCOPES

NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Change:
    """One column of a change; `kind`: changed, added (nothing before) or removed."""

    label: str
    before: str
    after: str
    kind: str


def entry(facts: EntryFacts, *, names: Names, zone: ZoneInfo) -> dict[str, Any]:
    """One entry as the page shows it."""
    at = localtime(facts.at, zone)
    return {
        "id": facts.id,
        "at": facts.at,
        "day": date_format(at, "DATE_FORMAT"),
        "time": date_format(at, "H:i:s"),
        "actor": _person(facts.actor),
        "impersonator": _person(facts.impersonator) if facts.impersonator else None,
        "reason": facts.reason,
        "action": words.action_in_words(facts.action),
        "code": facts.action,
        "subject": facts.subject_name,
        "subject_kind": words.subject_in_words(facts.subject_type) if facts.subject_type else "",
        "subject_url": _page(facts),
        "history": _history(facts),
        "tenant": facts.tenant_name,
        "channel": AuditChannel(facts.channel).label,
        "address": facts.address or "",
        "changes": changes(facts, names=names, zone=zone),
    }


def by_day(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries under the days on which they were made."""
    days: list[dict[str, Any]] = []
    for one in entries:
        if not days or days[-1]["day"] != one["day"]:
            days.append({"day": one["day"], "entries": []})
        days[-1]["entries"].append(one)
    return days


def changes(facts: EntryFacts, *, names: Names, zone: ZoneInfo) -> list[Change]:
    """What differs between before and after, by column; all of it where there is one of them."""
    before, after = facts.before or {}, facts.after or {}
    both = facts.before is not None and facts.after is not None
    found = []
    for name in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(name), after.get(name)
        if (both and old == new) or name == "id" or (not both and _is_empty(old, new)):
            continue
        texts = [_value(facts.subject_type, name, value, names, zone) for value in (old, new)]
        kind = "changed" if both else "added" if facts.before is None else "removed"
        found.append(Change(words.field_in_words(name), texts[0], texts[1], kind))
    return found


def _is_empty(old: Any, new: Any) -> bool:
    return all(value is None or value in ("", [], {}) for value in (old, new))


def _person(person: PersonFacts | None) -> dict[str, str]:
    if person is None:
        return {"name": _("System"), "email": ""}
    return {"name": person.name, "email": person.email if person.email != person.name else ""}


def _page(facts: EntryFacts) -> str:
    name = words.SUBJECT_PAGES.get(facts.subject_type)
    return reverse(name, args=[facts.subject_id]) if name and facts.subject_id else ""


def _history(facts: EntryFacts) -> str:
    if not facts.subject_type or facts.subject_id is None:
        return ""
    return f"{reverse('audit')}?subject={facts.subject_type}:{facts.subject_id}"


def _value(label: str, name: str, value: Any, names: Names, zone: ZoneInfo) -> str:
    """A value of a column in words."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        if [type(part) for part in value] == [int, str]:
            return str(value[1])  # a key with the name that the row had then
        return ", ".join(_value(label, name, one, names, zone) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    related = related_model(label, name)
    if related and isinstance(value, int):
        return names.get((related, value), f"{words.subject_in_words(related)} {value}")
    if name in ("scopes", "allowed_scopes") and value in ACCESS_SCOPES:
        return str(ACCESS_SCOPES[value].label)
    field = column(label, name)
    if isinstance(field, models.DateTimeField) and (at := parse_datetime(str(value))):
        return moment(at, zone)
    choices = dict(getattr(field, "flatchoices", None) or ())
    return str(choices.get(value, value))


def moment(at: datetime, zone: ZoneInfo) -> str:
    """An instant in the reader's zone and format."""
    return date_format(localtime(at, zone), "SHORT_DATETIME_FORMAT")


# --- cursors in addresses -----------------------------------------


def cursor_text(cursor: Cursor) -> str:
    """A place in the trail as a query parameter."""
    return f"{cursor.at.isoformat()}_{cursor.id}"


def cursor_of(text: str) -> Cursor | None:
    """The place that a query parameter names; None for anything else."""
    moment_text, _separator, key = text.partition("_")
    try:
        at, found = datetime.fromisoformat(moment_text), UUID(key)
    except ValueError:
        return None
    return Cursor(at, found) if at.tzinfo is not None else None
