"""What is wrong with a command, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from devices.commands.kinds import ArgumentError, Fault
from devices.commands.states import State

# Why a device cannot be given a command: the codes of `CommandBatch.refused`.
NOT_ACTIVE: Final = "not_active"
NO_COMMANDS: Final = "no_commands"
NO_LIVE: Final = "no_live"

_FAULTS: Final[dict[Fault, Callable[[], str]]] = {
    Fault.UNKNOWN_KIND: lambda: _("There is no such command. There are: %(kinds)s."),
    Fault.UNKNOWN: lambda: _("This command has no such argument. It has: %(allowed)s."),
    Fault.MISSING: lambda: _("The command needs this argument."),
    Fault.NO_NUMBER: lambda: _("Give an integer."),
    Fault.RANGE: lambda: _("Give a number from %(least)s to %(most)s."),
    Fault.NO_TEXT: lambda: _("Give a text."),
    Fault.TOO_LONG: lambda: _("Give a text of at most %(most)s bytes."),
    Fault.FORM: lambda: _("This is not in the right form. An example: %(example)s"),
    Fault.ONE_OF: lambda: _("Give at least one of these: %(allowed)s."),
}
_REASONS: Final[dict[str, Callable[[], str]]] = {
    NOT_ACTIVE: lambda: _("The device is not active: only an active one can be given commands."),
    NO_COMMANDS: lambda: _(
        "The device has said that it takes no commands: a newer firmware may be able to."
    ),
    NO_LIVE: lambda: _("The device has said that it cannot report live."),
}
_STATES: Final[dict[State, Callable[[], str]]] = {
    State.AWAITING_APPROVAL: lambda: _("The command still awaits approval."),
    State.QUEUED: lambda: _("The command is queued already."),
    State.SENT: lambda: _("The command has been sent already."),
    State.ACKNOWLEDGED: lambda: _("The device has taken the command and is at it."),
    State.SUCCEEDED: lambda: _("The command has succeeded already."),
    State.FAILED: lambda: _("The command has failed already."),
    State.EXPIRED: lambda: _("The command has expired."),
    State.CANCELLED: lambda: _("The command has been cancelled already."),
}


def argument_refused(error: ArgumentError) -> ValidationError:
    """The sentence at the argument at fault."""
    return ValidationError({error.field: [_FAULTS[error.fault]() % error.facts]})


def why_refused(code: str) -> str:
    """Why a device cannot be given a command."""
    return _REASONS[code]()


def why_not_possible(state: State) -> str:
    """Why something cannot be done with a command in this state."""
    return _STATES[state]()
