"""What the telemetry gate says, as sentences with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from firmware.gate.judging import LEAST_CONTROL, LEAST_PLACES
from firmware.gate.limits import GateLimitsError
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict

NAMES: Final[Mapping[Metric, Promise]] = {
    Metric.MISSING: gettext_lazy("Missing readings"),
    Metric.GAPS: gettext_lazy("Gaps"),
    Metric.RESETS: gettext_lazy("Resets"),
    Metric.RECONNECTS: gettext_lazy("Connections"),
    Metric.ERRORS: gettext_lazy("Errors in the log"),
    Metric.SHAPE: gettext_lazy("Load shape"),
    Metric.DRAIN: gettext_lazy("Battery drain"),
}
# In which its rates are told.
UNITS: Final[Mapping[Metric, Promise]] = {
    Metric.MISSING: gettext_lazy("minutes without readings a day"),
    Metric.GAPS: gettext_lazy("quarters of an hour with a gap a day"),
    Metric.RESETS: gettext_lazy("resets a day"),
    Metric.RECONNECTS: gettext_lazy("connections a day"),
    Metric.ERRORS: gettext_lazy("minutes with errors a day"),
    Metric.SHAPE: gettext_lazy("departure from the usual course, as a part of the load"),
    Metric.DRAIN: gettext_lazy("percentage points of charge lost a day"),
}
_BLIND: Final[Mapping[str, Callable[[], str]]] = {
    "not_measured": lambda: _("Not measured by these devices."),
    "silent": lambda: _(
        "The updated devices reported this before the update, and do not report it any more."
    ),
    "no_past": lambda: _(
        "Nothing is known of the updated devices from before the roll-out: there is nothing to"
        " compare them with."
    ),
    "no_control": lambda: _(
        "No devices of this type were left without the update: there is nobody to compare with."
    ),
    "few_control": lambda: _(
        "Only %(control)d devices were left without the update; at least %(least)d are needed to"
        " know how much sound devices vary."
    ),
    "few_places": lambda: _(
        "The updated devices stand in only %(places)d places; with fewer than %(least)d, what"
        " happens to a place looks like the firmware's doing."
    ),
}
_STATES: Final[Mapping[str, Callable[[], str]]] = {
    "fail": lambda: _(
        "%(ratio)s × the control group's (95 %%: %(range)s), beyond the limit of %(limit)s"
    ),
    "pass": lambda: _(
        "%(ratio)s × the control group's (95 %%: %(range)s), within the limit of %(limit)s"
    ),
    "open": lambda: _(
        "%(ratio)s × the control group's (95 %%: %(range)s); whether the limit of %(limit)s is kept"
        " cannot be told yet"
    ),
}
_LIMITS: Final[Mapping[str, Callable[[], str]]] = {
    "object": lambda: _("The limits of the gate are an object of settings."),
    "unknown": lambda: _("The gate has no setting “%(name)s”."),
    "nothing": lambda: _("The gate looks at nothing: set a limit for one metric at least."),
    "ratios": lambda: _("Give the limits as an object: a number for each metric."),
    "metric": lambda: _("The gate has no metric “%(name)s”. It has: %(known)s."),
    "number": lambda: _("“%(name)s” is a number."),
    "whole": lambda: _("“%(name)s” is a whole number."),
    "ratio": lambda: _(
        "The limit of “%(name)s” is a multiple of the control group's, from %(least)s to %(most)s."
    ),
    "range": lambda: _("“%(name)s” lies between %(least)s and %(most)s."),
    "inconclusive": lambda: _("“inconclusive” is “person” or “pass”."),
}


def metric_sentence(one: MetricVerdict) -> str:
    """What is said of one metric, without its name."""
    if one.state == "blind" or one.ratio is None:
        return _BLIND[one.reason]() % {
            "control": one.control,
            "places": one.places,
            "least": LEAST_CONTROL if one.reason == "few_control" else LEAST_PLACES,
        }
    return _STATES[one.state]() % {
        "ratio": number(one.ratio),
        "range": _range(one),
        "limit": number(one.limit),
    }


def rates_sentence(one: MetricVerdict) -> str:
    """The means of both groups, now and before, and how many devices they are of; "" for none."""
    if one.updated_rate is None or one.control_rate is None:
        return ""
    told = _(
        "Updated: %(updated)s, before %(updated_past)s (%(devices)d devices). Control group:"
        " %(control)s, before %(control_past)s (%(others)d devices). Unit: %(unit)s."
    ) % {
        "updated": number(one.updated_rate),
        "updated_past": number(one.updated_past or 0),
        "devices": one.updated,
        "control": number(one.control_rate),
        "control_past": number(one.control_past or 0),
        "others": one.control,
        "unit": UNITS[one.metric],
    }
    if not one.no_past:
        return told
    left_out = ngettext(
        "%(count)d updated device without a past is left out.",
        "%(count)d updated devices without a past are left out.",
        one.no_past,
    ) % {"count": one.no_past}
    return f"{told} {left_out}"


def verdict_sentence(verdict: GateVerdict) -> str:
    """What is said of the wave in all."""
    if verdict.outcome == "fail":
        failed = [str(NAMES[one.metric]) for one in verdict.metrics if one.state == "fail"]
        return _("The updated devices do worse than the limits allow: %(metrics)s.") % {
            "metrics": ", ".join(failed)
        }
    if verdict.settled:
        return _(
            "Nothing was found to be worse. What could not be decided by look %(look)d passes, as"
            " the limits say."
        ) % {"look": verdict.look}
    if verdict.outcome == "pass":
        return _("The updated devices keep every limit.")
    if verdict.needs_person:
        return _("The gate cannot decide this: a person has to.")
    return _("Not decided yet: look %(look)d of %(looks)d.") % {
        "look": verdict.look,
        "looks": verdict.looks,
    }


def limits_problem(error: GateLimitsError) -> str:
    """What is wrong with limits, and what would be right."""
    return _LIMITS[error.problem]() % error.values


def number(value: float) -> str:
    """A ratio or a rate, with as many digits as mean something."""
    return number_format(value, decimal_pos=2 if abs(value) < 10 else 1, use_l10n=True)


def _range(one: MetricVerdict) -> str:
    if one.high is None:
        return _("%(low)s or more") % {"low": number(one.low or 0)}
    return f"{number(one.low or 0)}–{number(one.high)}"
