"""The audit log as a file: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from portal.enterprise.administration.words import action_in_words
from portal.frame.exporting import harmless
from portal.frame.streaming import Chunks
from tenants.domain import audit_queries
from tenants.domain.audit_queries import AuditFilter, Cursor, EntryFacts
from tenants.scope import Scope, open_scope

# Entries that are read and written at once.
CHUNK: Final = 1000
COLUMNS: Final = (
    "at",
    "tenant",
    "actor",
    "actor_email",
    "impersonator",
    "impersonator_email",
    "reason",
    "channel",
    "address",
    "action",
    "action_in_words",
    "subject_type",
    "subject_id",
    "subject_name",
    "before",
    "after",
)
CONTENT_TYPES: Final[Mapping[str, str]] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Place:
    """How far the file has come: behind which entry, and whether any has been written."""

    behind: Cursor
    begun: bool


def chunks(*, kind: str, scope: Scope, wanted: AuditFilter) -> Chunks[Place]:
    """The file, read in `scope` chunk by chunk; `kind` is csv or json."""

    def read(place: Place | None) -> tuple[str, Place | None]:
        with open_scope(scope):
            found = audit_queries.page(
                wanted=wanted, behind=place.behind if place else None, limit=CHUNK
            )
        begun = place is not None and place.begun
        if kind == "json":
            text = _json(found.entries, begun=begun)
            text = ("[\n" if place is None else "") + text + ("" if found.older else "\n]\n")
        else:
            text = _csv(found.entries, head=place is None)
        return text, Place(found.older, begun or bool(found.entries)) if found.older else None

    return Chunks(read)


def _csv(entries: Sequence[EntryFacts], *, head: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    if head:
        text.write("\N{BYTE ORDER MARK}")
        writer.writerow(COLUMNS)
    for entry in entries:
        row = _row(entry)
        for name in ("before", "after"):
            row[name] = "" if row[name] is None else json.dumps(row[name], ensure_ascii=False)
        writer.writerow(harmless(row[name]) for name in COLUMNS)
    return text.getvalue()


def _json(entries: Sequence[EntryFacts], *, begun: bool) -> str:
    lines = [json.dumps(_row(entry), ensure_ascii=False) for entry in entries]
    return (",\n" if begun and lines else "") + ",\n".join(lines)


def _row(entry: EntryFacts) -> dict[str, Any]:
    return {
        "at": entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "tenant": entry.tenant_name,
        "actor": entry.actor.name if entry.actor else "",
        "actor_email": entry.actor.email if entry.actor else "",
        "impersonator": entry.impersonator.name if entry.impersonator else "",
        "impersonator_email": entry.impersonator.email if entry.impersonator else "",
        "reason": entry.reason,
        "channel": entry.channel,
        "address": entry.address or "",
        "action": entry.action,
        "action_in_words": action_in_words(entry.action),
        "subject_type": entry.subject_type,
        "subject_id": entry.subject_id,
        "subject_name": entry.subject_name,
        "before": entry.before,
        "after": entry.after,
    }
