"""What a device can be asked to do, and with which arguments.

Arguments are the entries of COMMAND (docs/protocol.md, sections 11.1 and 11.2), so what is checked
here is what is stored and what travels. People and programs may give them more loosely: a truth
value for `output`, nothing for no power limit, lists of channels, limits by channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from devices.protocol.codes import Capability
from devices.protocol.errors import ProtocolError
from devices.protocol.fields import MAX_TEXT, Value
from devices.protocol.layout import MAX_SAMPLES, MAX_STEP_MS
from devices.protocol.settings import (
    channels_text,
    limits_text,
    parse_channels,
    parse_limits,
)

MAX_WATTS: Final = 1_000_000_000
NO_POWER_LIMIT: Final = -1
MAX_LIVE_S: Final = 3_600
MAX_IDENTIFY_S: Final = 600
MAX_LINES: Final = 10_000
MAX_AMOUNT: Final = 16
MAX_MESSAGE: Final = 160
LEAST_LIFETIME_S: Final = 10
MOST_LIFETIME_S: Final = 30 * 86_400
_DIGITS: Final = re.compile(r"\A[0-9]{9,20}\Z")
_DAY_S: Final = 86_400
_LARGEST: Final = (1 << 63) - 1


class Kind(StrEnum):
    """What a device can be asked to do; the codes travel."""

    SET_REPORTING = "set_reporting"
    SET_CHANNELS = "set_channels"
    SET_OUTPUT = "set_output"
    SET_POWER_LIMIT = "set_power_limit"
    SET_DISPLAY = "set_display"
    REBOOT = "reboot"
    SEND_LOGS = "send_logs"
    LIVE = "live"
    IDENTIFY = "identify"
    ENTER_TOKEN = "enter_token"  # noqa: S105 (a kind of command, no secret)


class Fault(StrEnum):
    """What is wrong with an argument."""

    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN = "unknown"
    MISSING = "missing"
    NO_NUMBER = "no_number"
    RANGE = "range"
    NO_TEXT = "no_text"
    TOO_LONG = "too_long"
    FORM = "form"
    ONE_OF = "one_of"


class ArgumentError(ValueError):
    """An argument that does not do: `field`, `fault`, and what the sentence about it needs."""

    def __init__(self, field: str, fault: Fault, **facts: object) -> None:
        super().__init__(f"{field}: {fault} {facts or ''}".rstrip())
        self.field = field
        self.fault = fault
        self.facts = facts


def shown(text: str, most: int = MAX_TEXT) -> str:
    """What was given, so that an answer can name it: no halves of surrogate pairs, not too long."""
    return text[:most].encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checked command: `arguments` as they travel, `subjects` what it sets (see `Command`).

    `off` tells that it ends a supply. `capabilities`: what a device must be able to do.
    """

    kind: Kind
    arguments: Mapping[str, Value]
    subjects: tuple[str, ...]
    capabilities: Capability
    lifetime_s: int

    @property
    def off(self) -> bool:
        """Whether it switches the output off."""
        return self.kind == Kind.SET_OUTPUT and self.arguments["output"] == 0


Check = Callable[[str, Any], Value]


@dataclass(frozen=True, slots=True)
class Form:
    """The arguments of a kind: each with its check, and whether it must be given."""

    arguments: Mapping[str, Check]
    required: frozenset[str] = frozenset()
    # At least one of the arguments has to be there.
    something: bool = False
    # What it sets, where that is not what its arguments are called.
    subjects: tuple[str, ...] | None = None
    capabilities: Capability = Capability.COMMANDS
    lifetime_s: int = _DAY_S


def _integer(least: int, most: int) -> Check:
    def check(field: str, value: Any) -> int:
        if type(value) is not int:
            raise ArgumentError(field, Fault.NO_NUMBER)
        if not least <= value <= most:
            raise ArgumentError(field, Fault.RANGE, least=least, most=most)
        return value

    return check


def _text(most: int) -> Check:
    def check(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ArgumentError(field, Fault.NO_TEXT)
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ArgumentError(field, Fault.NO_TEXT) from None
        if size > most or "\0" in value:
            raise ArgumentError(field, Fault.TOO_LONG, most=most)
        return value

    return check


def _token(field: str, value: Any) -> str:
    """Digits, however they are grouped for reading."""
    if not isinstance(value, str):
        raise ArgumentError(field, Fault.NO_TEXT)
    digits = "".join(value.split())
    if not _DIGITS.match(digits):
        raise ArgumentError(field, Fault.FORM, example="123 456 789")
    return digits


def _switch(field: str, value: Any) -> int:
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return int(value)
    raise ArgumentError(field, Fault.FORM, example="true, false")


def _power_limit(field: str, value: Any) -> int:
    if value is None:
        return NO_POWER_LIMIT
    return int(_integer(NO_POWER_LIMIT, MAX_WATTS)(field, value))


def _channels(field: str, value: Any) -> str:
    try:
        if isinstance(value, str):
            return channels_text(parse_channels(value))
        if isinstance(value, list | tuple) and all(type(one) is int for one in value):
            return channels_text(value)
    except ProtocolError as error:
        raise ArgumentError(field, Fault.FORM, example="0-3,7") from error
    raise ArgumentError(field, Fault.FORM, example="0-3,7")


def _limits(field: str, value: Any) -> str:
    try:
        if isinstance(value, str):
            return limits_text(parse_limits(value))
        if isinstance(value, Mapping):
            return limits_text({int(key): _pair(field, two) for key, two in value.items()})
    except (ProtocolError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(field, Fault.FORM, example="0:-500:12000,3::4000") from error
    raise ArgumentError(field, Fault.FORM, example="0:-500:12000,3::4000")


def _pair(field: str, value: Any) -> tuple[int | None, int | None]:
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(one is None or type(one) is int for one in value)
    ):
        return value[0], value[1]
    raise ArgumentError(field, Fault.FORM, example="0:-500:12000,3::4000")


FORMS: Final[Mapping[Kind, Form]] = MappingProxyType(
    {
        Kind.SET_REPORTING: Form(
            {"step_ms": _integer(1, MAX_STEP_MS), "samples": _integer(1, MAX_SAMPLES)},
            something=True,
        ),
        Kind.SET_CHANNELS: Form({"channels": _channels, "limits": _limits}, something=True),
        Kind.SET_OUTPUT: Form({"output": _switch}, frozenset({"output"})),
        Kind.SET_POWER_LIMIT: Form({"power_limit_w": _power_limit}, frozenset({"power_limit_w"})),
        Kind.SET_DISPLAY: Form(
            {
                "display.price": _text(MAX_AMOUNT),
                "display.currency": _text(MAX_AMOUNT),
                "display.month_use_wh": _integer(-_LARGEST, _LARGEST),
                "display.month_cost": _text(MAX_AMOUNT),
                "display.message": _text(MAX_MESSAGE),
            },
            something=True,
        ),
        Kind.REBOOT: Form({}, subjects=("reboot",)),
        # Each answers a question of its own: none takes the place of another.
        Kind.SEND_LOGS: Form(
            {
                "since_ms": _integer(0, _LARGEST),
                "lines": _integer(1, MAX_LINES),
                "level": _integer(1, 5),
            },
            subjects=(),
        ),
        Kind.LIVE: Form(
            {"seconds": _integer(1, MAX_LIVE_S)},
            frozenset({"seconds"}),
            subjects=("live",),
            capabilities=Capability.COMMANDS | Capability.LIVE,
            lifetime_s=120,
        ),
        Kind.IDENTIFY: Form(
            {"seconds": _integer(1, MAX_IDENTIFY_S)}, subjects=("identify",), lifetime_s=600
        ),
        # Each is worth money: none takes the place of another, and they may wait for weeks.
        Kind.ENTER_TOKEN: Form(
            {"token": _token},
            frozenset({"token"}),
            subjects=(),
            lifetime_s=MOST_LIFETIME_S,
        ),
    }
)


def checked(kind: str, arguments: Mapping[str, Any], lifetime_s: int | None = None) -> Wanted:
    """The command with its arguments as they travel; raises ArgumentError.

    `lifetime_s`: how long it may wait for the device; the usual of the kind, unless given.
    """
    try:
        known = Kind(kind)
    except ValueError:
        raise ArgumentError("kind", Fault.UNKNOWN_KIND, kinds=", ".join(Kind)) from None
    form = FORMS[known]
    for name in arguments:
        if name not in form.arguments:
            allowed = ", ".join(form.arguments)
            raise ArgumentError(shown(str(name)), Fault.UNKNOWN, allowed=allowed)
    for name in sorted(form.required):
        if name not in arguments:
            raise ArgumentError(name, Fault.MISSING)
    if form.something and not arguments:
        raise ArgumentError("arguments", Fault.ONE_OF, allowed=", ".join(form.arguments))
    travelling = {
        name: check(name, arguments[name])
        for name, check in form.arguments.items()
        if name in arguments
    }
    lasting = form.lifetime_s if lifetime_s is None else lifetime_s
    _integer(LEAST_LIFETIME_S, MOST_LIFETIME_S)("expires_in_s", lasting)
    subjects = tuple(sorted(travelling)) if form.subjects is None else form.subjects
    return Wanted(known, travelling, subjects, form.capabilities, lasting)
