"""The settings of devices: their keys, their values as they travel, and the commands that set them.

Values are entries of the protocol (docs/protocol.md, section 11.1): integers and texts. What is
wanted of a device and what it reports are mappings of keys to such values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from devices.commands.kinds import FORMS, ArgumentError, Fault, Kind, shown

Value = int | str
Values = Mapping[str, Value]
# A change of what is wanted; None: nobody wants anything of the key any more.
Changes = Mapping[str, Value | None]

MOST_OF_A_KEY: Final = 64
SETTING_KINDS: Final = (
    Kind.SET_REPORTING,
    Kind.SET_CHANNELS,
    Kind.SET_OUTPUT,
    Kind.SET_POWER_LIMIT,
    Kind.SET_DISPLAY,
)
# The settings there are, with the kind of command that sets each.
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {key: kind for kind in SETTING_KINDS for key in FORMS[kind].arguments}
)


def canonical(key: str, value: Any) -> Value:
    """The value in its one form, as it travels; raises ArgumentError."""
    if key not in KINDS:
        raise ArgumentError(key, Fault.UNKNOWN, allowed=", ".join(KINDS))
    return FORMS[KINDS[key]].arguments[key](key, value)


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Value | None]:
    """The changes with their values as they travel; raises ArgumentError.

    None withdraws what is wanted: of a power limit too, which −1 lifts.
    """
    if not changes:
        raise ArgumentError("changes", Fault.ONE_OF, allowed=", ".join(KINDS))
    for key in changes:
        if key not in KINDS:
            raise ArgumentError(
                shown(str(key), MOST_OF_A_KEY), Fault.UNKNOWN, allowed=", ".join(KINDS)
            )
    return {key: None if value is None else canonical(key, value) for key, value in changes.items()}


def told(entries: Values) -> dict[str, Value]:
    """What a device reports, in its one form. A value that cannot be read is kept as it came: it
    equals nothing that anybody can want.
    """
    found: dict[str, Value] = {}
    for key, value in entries.items():
        try:
            found[key] = canonical(key, value)
        except ArgumentError:
            found[key] = value
    return found


def difference(desired: Values, reported: Values) -> tuple[str, ...]:
    """The keys of which something else is wanted than the device reports, in order."""
    return tuple(sorted(key for key, value in desired.items() if reported.get(key) != value))


def kinds_of(keys: Collection[str]) -> tuple[Kind, ...]:
    """The kinds of commands that set the keys, each once, in the order of SETTING_KINDS."""
    return tuple(kind for kind in SETTING_KINDS if any(KINDS[key] is kind for key in keys))


def entries_of(kind: Kind, desired: Values) -> dict[str, Value]:
    """What a command of a kind carries to bring about all that is wanted of what it sets."""
    return {key: desired[key] for key in FORMS[kind].arguments if key in desired}
