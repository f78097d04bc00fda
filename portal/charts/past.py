"""What `static/js/history/main.js` needs of a page to go back in time: periods and texts."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def presets() -> dict[str, str]:
    """The periods to choose from, by the names that `static/js/history/calendar.js` has."""
    return {
        "hour": _("Last hour"),
        "today": _("Today"),
        "yesterday": _("Yesterday"),
        "7d": _("7 days"),
        "30d": _("30 days"),
        "month": _("This month"),
        "last-month": _("Last month"),
        "year": _("This year"),
        "last-year": _("Last year"),
    }


def words(*, address: str, title: str) -> dict[str, Any]:
    """Texts and the address that answers (`portal.charts.history`), ready for JSON."""
    return {
        "address": address,
        "title": title,
        "presets": presets(),
        "resolutions": {
            "raw": _("each reading"),
            "quarter": _("by quarter of an hour"),
            "hour": _("by hour"),
            "day": _("by day"),
            "month": _("by month"),
        },
        "paused": _("Paused at %s"),
        "replay": _("Replay %s×"),
        "values_of": _("values of %s"),
        "now": pgettext("time", "now"),
        "before": _("before"),
        "mean": _("mean"),
        "least": _("least"),
        "most": _("most"),
        "time": _("Time"),
        "from": _("From"),
        "to": _("To"),
        "measured": _("%s measured"),
        "nothing": _("No readings in this period"),
        "more_rows": _("%s earlier rows are in the CSV file."),
        "no_connection": _("The past cannot be reached at the moment: it is tried again."),
        "no_time": _("Give both times with date, hour and minute."),
        "empty_period": _("The end must be after the beginning."),
    }
