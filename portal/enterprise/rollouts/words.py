"""Roll-outs in words: states, events, strategies, selections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from firmware.domain import gate_words
from firmware.gate.limits import GateLimits
from firmware.models import RolloutState, TargetState, WaveState
from firmware.rollout.strategy import OnError, Strategy, WaveSize, Window
from portal.enterprise.rollouts.durations import written
from portal.frame.quantities import number

STATE_TONES: Final = {
    RolloutState.DRAFT: "",
    RolloutState.RUNNING: "accent",
    RolloutState.PAUSED: "warn",
    RolloutState.AWAITING_APPROVAL: "warn",
    RolloutState.COMPLETED: "good",
    RolloutState.ABORTED: "bad",
}
WAVE_TONES: Final = {
    WaveState.RUNNING: "accent",
    WaveState.SOAKING: "accent",
    WaveState.JUDGED: "warn",
    WaveState.DONE: "good",
}
TARGET_TONES: Final = {
    TargetState.WAITING: "warn",
    TargetState.OFFERED: "accent",
    TargetState.DOWNLOADING: "accent",
    TargetState.INSTALLING: "accent",
    TargetState.SUCCEEDED: "good",
    TargetState.FAILED: "bad",
}
ON_ERROR: Final[Mapping[str, Promise]] = {
    OnError.PAUSE: gettext_lazy("Pause, and wait for a person"),
    OnError.ABORT: gettext_lazy("Abort: nothing new is offered"),
    OnError.ROLLBACK: gettext_lazy("Abort, and give updated devices back what they ran"),
}
DAYS: Final = (
    (0, gettext_lazy("Mon")),
    (1, gettext_lazy("Tue")),
    (2, gettext_lazy("Wed")),
    (3, gettext_lazy("Thu")),
    (4, gettext_lazy("Fri")),
    (5, gettext_lazy("Sat")),
    (6, gettext_lazy("Sun")),
)
# What happened to a device in a roll-out, with the tone of it.
EVENTS: Final[Mapping[str, tuple[Promise, str]]] = {
    "claimed": (gettext_lazy("Its turn has come"), ""),
    "offered": (gettext_lazy("Offered"), "accent"),
    "resent": (gettext_lazy("Offered again"), ""),
    "accepted": (gettext_lazy("Accepted by the device"), "accent"),
    "progress": (gettext_lazy("Downloading"), ""),
    "downloaded": (gettext_lazy("Downloaded"), "accent"),
    "installing": (gettext_lazy("Installing"), "accent"),
    "confirmed": (gettext_lazy("Confirmed by the device"), "good"),
    "reverted": (gettext_lazy("Went back by itself"), "bad"),
    "rejected": (gettext_lazy("Refused by the device"), "bad"),
    "withdrawn": (gettext_lazy("Withdrawn"), "warn"),
    "timeout": (gettext_lazy("Took too long"), "warn"),
    "retry": (gettext_lazy("Is tried again"), "warn"),
    "released": (gettext_lazy("Left to another roll-out"), ""),
    "succeeded": (gettext_lazy("Updated"), "good"),
    "failed": (gettext_lazy("Failed"), "bad"),
    "cancelled": (gettext_lazy("Cancelled"), "warn"),
    "skipped": (gettext_lazy("Left out"), ""),
    "late": (gettext_lazy("Said late, of an attempt that was over"), ""),
    "ignored": (gettext_lazy("Said out of turn, and not believed"), "warn"),
}


def wave_size(size: WaveSize) -> str:
    """To how many devices in all a wave goes."""
    return str(size.count) if size.count is not None else f"{size.percent:g} %"


def window(of: Window) -> str:
    """When offers go out."""
    days = [str(name) for number, name in DAYS if number in of.weekdays]
    shown = _("daily") if len(days) == len(DAYS) else ", ".join(days)
    return _("%(days)s %(start)s–%(end)s") % {"days": shown, "start": of.start, "end": of.end}


def strategy(of: Strategy) -> list[tuple[str, str]]:
    """The settings that decide how it goes, as lines."""
    return [
        (_("Waves"), " → ".join(wave_size(one) for one in of.waves)),
        (_("Rest after each wave"), written(of.soak_s)),
        (_("Between waves"), _("a person approves") if of.approval_between else _("by itself")),
        (_("A wave needs"), _("%(share)s %% updated") % {"share": f"{of.success_percent:g}"}),
        (_("It stops at"), _stops(of)),
        (_("Then"), str(ON_ERROR[of.on_error])),
        (_("When"), "; ".join(window(one) for one in of.windows) or _("at any time")),
        (_("At once"), _limits(of)),
        (_("Devices that are away may join for"), _days(of.join_days)),
        (_("Telemetry gate"), _gate(of)),
    ]


def _stops(of: Strategy) -> str:
    share = _("more than %(share)s %% of a wave failed") % {"share": f"{of.error_percent:g}"}
    if of.error_count is None:
        return share
    return _("%(share)s, or %(count)d devices in all") % {"share": share, "count": of.error_count}


def _limits(of: Strategy) -> str:
    parts = []
    if of.max_downloads is not None:
        parts.append(
            ngettext("%(n)d download", "%(n)d downloads", of.max_downloads)
            % {"n": of.max_downloads}
        )
    if of.bytes_per_s is not None:
        parts.append(rate(of.bytes_per_s))
    return ", ".join(parts) or _("no limit of its own")


def _days(count: int) -> str:
    return ngettext("%(n)d day", "%(n)d days", count) % {"n": count}


def _gate(of: Strategy) -> str:
    if of.gate is None:
        return _("not asked")
    if len(of.waves) == 1:
        return _("never asked: no wave follows the only one")
    ratios = GateLimits.from_json(of.gate).ratios
    return ", ".join(
        f"{gate_words.NAMES[metric]} ≤ {gate_words.number(ratio)} ×"
        for metric, ratio in ratios.items()
    )


def size(count: int) -> str:
    """Bytes for people."""
    if count >= 10_000_000:
        return f"{number(count / 1_000_000, 1)} MB"
    return f"{number(count / 1000, 1)} kB" if count >= 10_000 else f"{number(count)} B"


def rate(bytes_per_s: float) -> str:
    """A speed for people."""
    return f"{size(round(bytes_per_s))}/s"


def in_order(counts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    """Codes with their counts, the most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
