"""What the pages of tariffs show, prepared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final

import yaml
from django.utils.formats import date_format

from billing.domain.pages_queries import TariffPage
from billing.domain.tariffs_checks import Checked
from billing.models import TariffVersion, VersionState
from billing.tariffs import document
from portal.enterprise.billing import words
from portal.enterprise.billing.source_lines import line_of, lines_of
from portal.enterprise.billing.summary import summary

WIDTH: Final = 1000
# The time line reaches a while beyond today and the last version.
_BEYOND: Final = timedelta(days=180)


def tariff(found: TariffPage, *, today: date) -> dict[str, Any]:
    """The page of a tariff."""
    current = found.in_force
    return {
        "tariff": found.tariff,
        "in_force": current,
        "agreement_count": found.agreement_count,
        "timeline": timeline(found.versions, today=today),
        "versions": [
            {
                "row": one,
                "from": date_format(one.valid_from, "SHORT_DATE_FORMAT"),
                "state": words.VERSION_STATES[one.state],
                "tone": words.VERSION_TONES[one.state],
                "current": current is not None and one.pk == current.pk,
                "by": one.published_by or one.created_by,
                "at": one.published_at or one.created_at,
            }
            for one in reversed(found.versions)
        ],
    }


def timeline(versions: tuple[TariffVersion, ...], *, today: date) -> dict[str, Any] | None:
    """When which published version holds, as parts of WIDTH, drafts as marks; None without any.

    Of versions of the same date the one with the highest revision is shown.
    """
    held = {one.valid_from: one for one in versions if one.state == VersionState.PUBLISHED}
    drafts = [one for one in versions if one.state == VersionState.DRAFT]
    begins = sorted({*held, *(one.valid_from for one in drafts)})
    if not begins:
        return None
    # What began long ago would push the rest together.
    first = max(begins[0], min(today, begins[-1]) - timedelta(days=3 * 365))
    end = max(today, begins[-1]) + _BEYOND
    scale = WIDTH / (end - first).days

    def place(day: date) -> float:
        return max(0, (day - first).days) * scale

    edges = [*sorted(held), end]
    return {
        "width": WIDTH,
        "today": round(place(today), 1),
        "parts": [
            {
                "x": round(place(begin), 1),
                "width": round(place(until) - place(begin), 1),
                "label": date_format(begin, "SHORT_DATE_FORMAT"),
                "revision": held[begin].revision,
                "current": begin <= today < until,
                "pk": held[begin].pk,
            }
            for begin, until in pairwise(edges)
            if until > first
        ],
        "drafts": [
            {
                "x": round(place(one.valid_from), 1),
                "label": date_format(one.valid_from, "SHORT_DATE_FORMAT"),
                "pk": one.pk,
            }
            for one in drafts
        ],
        "first": date_format(first, "M Y"),
        "end": date_format(end, "M Y"),
    }


@dataclass(frozen=True, slots=True)
class ProblemLine:
    """What is wrong with a source: a sentence, and where."""

    sentence: str
    path: str
    line: int | None


def check(checked: Checked, source: str) -> dict[str, Any]:
    """What stands beside a source: what it says, and what is wrong with it."""
    lines = lines_of(source)
    told = [
        ProblemLine(one.sentence, one.path or one.zone, line_of(lines, one.path))
        for one in checked.problems
    ]
    return {
        "problems": told,
        "summary": summary(checked.tariff) if checked.tariff else None,
        "sound": checked.tariff is not None and not told,
        "zones": ", ".join(checked.zones),
        "until": checked.end,
    }


def version(row: TariffVersion) -> dict[str, Any]:
    """The page of a version."""
    try:
        read = document.read(row.document)
    except document.TariffError:
        read = None
    return {
        "version": row,
        "tariff": row.tariff,
        "tone": words.VERSION_TONES[row.state],
        "draft": row.state == VersionState.DRAFT,
        "summary": summary(read) if read else None,
        "source": source_of(row),
    }


def source_of(row: TariffVersion) -> str:
    """A version as it was written; what came from elsewhere as YAML."""
    if row.source:
        return row.source
    return yaml.safe_dump(row.document, allow_unicode=True, sort_keys=False, width=100)


def quoted(text: str) -> str:
    """A text as YAML writes it in one line."""
    return json.dumps(text, ensure_ascii=False)
