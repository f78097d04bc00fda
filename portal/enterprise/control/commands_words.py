"""Commands in words: what they ask for, where they are, and how they came there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.commands.kinds import Kind
from devices.commands.states import OPEN, State, Step
from devices.domain.commands_queries import (
    BatchEntry,
    CommandDetail,
    CommandEntry,
    StepEntry,
    cause_in_words,
)
from devices.domain.commands_targets import Foreseen
from devices.domain.commands_texts import why_refused
from devices.domain.control_queries import Control, OutputFacts
from devices.models import CommandOrigin, CommandState
from portal.enterprise.control import settings_words
from portal.enterprise.registry import texts
from portal.frame.quantities import number

KINDS: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        Kind.SET_OUTPUT: gettext_lazy("Switch the output"),
        Kind.SET_POWER_LIMIT: gettext_lazy("Limit the power"),
        Kind.SET_REPORTING: gettext_lazy("Change how it reports"),
        Kind.SET_CHANNELS: gettext_lazy("Choose channels and limits"),
        Kind.SET_DISPLAY: gettext_lazy("Write to the display"),
        Kind.REBOOT: gettext_lazy("Restart"),
        Kind.SEND_LOGS: gettext_lazy("Send log lines"),
        Kind.LIVE: gettext_lazy("Report live"),
        Kind.IDENTIFY: gettext_lazy("Show itself"),
        Kind.ENTER_TOKEN: gettext_lazy("Enter a token"),
    }
)
# What happens where the device is, before somebody asks for it.
CONSEQUENCES: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        Kind.SET_OUTPUT: gettext_lazy(
            "Off means dark: whatever hangs on the output loses its supply until it is switched on"
            " again. Off needs a reason, and where your role or your organisation demands it"
            " somebody else's approval."
        ),
        Kind.SET_POWER_LIMIT: gettext_lazy(
            "The unit gives or draws no more than this until the limit is taken away."
        ),
        Kind.SET_REPORTING: gettext_lazy(
            "More samples in a frame cost less data and come later. Readings that are on their way"
            " are not lost."
        ),
        Kind.SET_DISPLAY: gettext_lazy("People at the place read it on the in-home display."),
        Kind.REBOOT: gettext_lazy(
            "The device is away for a moment. Samples of that moment are not measured; what waits"
            " in its buffer stays."
        ),
        Kind.SEND_LOGS: gettext_lazy(
            "The lines appear in the firmware's log of the device. Over a thin link this takes"
            " data volume."
        ),
        Kind.LIVE: gettext_lazy(
            "Every sample is sent at once for so long; this takes much more data volume."
        ),
        Kind.IDENTIFY: gettext_lazy("A lamp blinks, so that somebody beside it finds it."),
        Kind.ENTER_TOKEN: gettext_lazy(
            "The unit takes the token as if it had been typed in on its keypad. It does so once,"
            " and no other unit takes it."
        ),
    }
)
STATES: Final = dict(CommandState.choices)
TONES: Final = {
    State.AWAITING_APPROVAL: "warn",
    State.QUEUED: "accent",
    State.SENT: "accent",
    State.ACKNOWLEDGED: "accent",
    State.SUCCEEDED: "good",
    State.FAILED: "bad",
    State.EXPIRED: "warn",
    State.CANCELLED: "",
}
_STEPS: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        Step.ASKED: gettext_lazy("Asked for"),
        Step.APPROVED: gettext_lazy("Approved"),
        Step.REFUSED: gettext_lazy("Refused"),
        Step.SENT: gettext_lazy("Sent"),
        Step.ACKNOWLEDGED: gettext_lazy("The device is at it"),
        Step.SUCCEEDED: gettext_lazy("Succeeded"),
        Step.FAILED: gettext_lazy("Failed"),
        Step.EXPIRED: gettext_lazy("Expired"),
        Step.CANCELLED: gettext_lazy("Cancelled"),
        Step.REPEATED: gettext_lazy("The device said so again"),
        Step.CONTRADICTED: gettext_lazy("The device said something else afterwards"),
        Step.REPORTED: gettext_lazy("The device told its settings"),
    }
)
_OWN: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        "seconds": gettext_lazy("For (s)"),
        "since_ms": gettext_lazy("Since"),
        "lines": gettext_lazy("Lines at most"),
        "level": gettext_lazy("Level at least"),
        "token": gettext_lazy("Token"),
    }
)


def kind(code: str) -> str:
    """What a command asks for; one of a newer version is told by its code."""
    return str(KINDS.get(code, code))


def arguments(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """The arguments of a command, each with its name."""
    return [{"label": _label(key), "value": _value(key, value)} for key, value in told.items()]


def summary(code: str, told: Mapping[str, Any]) -> str:
    """A command in one line."""
    if code == Kind.SET_OUTPUT:
        return _("Switch the output off") if told.get("output") == 0 else _("Switch the output on")
    values = ", ".join(f"{one['label']}: {one['value']}" for one in arguments(told))
    return f"{kind(code)} ({values})" if values else kind(code)


def step(code: str) -> str:
    """What happened to a command; a step of a newer version is told by its code."""
    return str(_STEPS.get(code, code))


def _label(key: str) -> str:
    return str(_OWN[key]) if key in _OWN else settings_words.label(key)


def _value(key: str, value: Any) -> str:
    if key == "token":
        return str(value)
    if key in _OWN:
        return number(int(value))
    return settings_words.value(key, value, ())


def state(code: str) -> dict[str, str]:
    """A state with its tone."""
    return {"label": str(STATES.get(code, code)), "tone": TONES.get(State(code), "")}


def command(found: CommandEntry, zone: str) -> dict[str, Any]:
    """A command as lists and pages show it."""
    return {
        "pk": found.command_id,
        "summary": summary(found.kind, found.arguments),
        "device": {"pk": found.device_id, "name": found.device_name, "serial": found.serial},
        "state": state(found.state),
        "open": State(found.state) in OPEN,
        # What the device has taken cannot be taken back.
        "cancellable": State(found.state) in OPEN - {State.ACKNOWLEDGED},
        "awaiting": found.state == State.AWAITING_APPROVAL,
        "why": cause_in_words(found.cause),
        "detail": found.detail,
        "reason": found.reason,
        "asker": asker(found.asked_by, found.origin),
        "asked": texts.instant(found.asked_at, zone),
        "asked_by_id": found.asked_by_id,
        "expires": texts.instant(found.expires_at, zone),
        "approver": found.approved_by,
        "attempts": found.attempts,
        "next": found.next_at and texts.instant(found.next_at, zone),
        "batch": found.batch_id,
        "uid": found.uid,
    }


def detail(found: CommandDetail, zone: str) -> dict[str, Any]:
    """A command with its history."""
    return {
        "command": command(found.command, zone),
        "arguments": arguments(found.command.arguments),
        "steps": [_step(one, zone) for one in found.history],
    }


def _step(found: StepEntry, zone: str) -> dict[str, Any]:
    label = step(found.step)
    if found.step == Step.SENT and found.attempt > 1:
        label = _("Sent, attempt %(n)d") % {"n": found.attempt}
    return {
        "at": _precise(found.at, zone),
        "label": label,
        "tone": TONES.get(State(found.state), ""),
        "why": cause_in_words(found.cause),
        "detail": found.detail,
        "by": found.by,
    }


def _precise(at: datetime, zone: str) -> str:
    """With seconds: what follows each other within a minute is told apart."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{date_format(local, 'SHORT_DATE_FORMAT')} {local:%H:%M:%S} {local.tzname()}"


def asker(name: str, origin: str) -> str:
    """Who asked: the person, else what did it."""
    if name:
        return name
    return str(dict(CommandOrigin.choices).get(origin, origin))


def batch(found: BatchEntry) -> dict[str, Any]:
    """A batch with its counts; states without a command are left out."""
    counts = [
        {"code": code, "count": count, **state(code)}
        for code, count in found.counts.items()
        if count
    ]
    return {
        "pk": found.batch_id,
        "summary": summary(found.kind, found.arguments),
        "reason": found.reason,
        "asker": asker(found.asked_by, found.origin),
        "asked_at": found.asked_at,
        "devices": found.devices,
        "counts": counts,
        "causes": [
            {"label": cause_in_words(code), "count": count}
            for code, count in sorted(found.causes.items())
            if cause_in_words(code)
        ],
        "refused": [{"reason": one.reason, "count": len(one.device_ids)} for one in found.refused],
        "refused_count": sum(len(one.device_ids) for one in found.refused),
        "open": found.open,
        "unsent": bool(found.counts.get("queued") or found.counts.get("awaiting_approval")),
        "awaiting": found.counts.get("awaiting_approval", 0),
        "failed": found.counts.get("failed", 0) + found.counts.get("expired", 0),
        "done": sum(c for code, c in found.counts.items() if State(code) not in OPEN),
        "retry_of": found.retry_of,
    }


def foreseen(found: Foreseen, told: str) -> dict[str, Any]:
    """Who would get a command, and who cannot."""
    return {
        "summary": told,
        "able": len(found.able),
        "refused": [
            {"reason": why_refused(code), "count": len(ids)}
            for code, ids in sorted(found.refused.items())
        ],
    }


def output(found: OutputFacts, zone: str) -> dict[str, Any] | None:
    """The output: how it is, since when, by whom and why; None where nobody ever spoke of it."""
    if found.wanted is None and found.reported is None:
        return None
    return {
        "off": found.off,
        "confirmed": found.confirmed,
        "reported": found.reported,
        "wanted": found.wanted,
        "reported_at": found.reported_at and texts.instant(found.reported_at, zone),
        "command": found.command and command(found.command, zone),
    }


def control(found: Control) -> dict[str, Any]:
    """What the control page of a device shows."""
    zone = found.device.facility.time_zone
    return {
        "device": {"pk": found.device.pk, "name": found.device.name},
        "facility": {"pk": found.device.facility_id, "name": found.device.facility.name},
        "connected": found.connected,
        "refused": found.refused,
        "output": output(found.output, zone),
        "recent": [command(one, zone) for one in found.recent],
        "more": found.more,
        "waiting": found.waiting,
    }
