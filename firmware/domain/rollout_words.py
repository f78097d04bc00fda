"""The codes of roll-outs as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.rollout.strategy import BadStrategyError

# Why a device of the selection gets nothing.
SKIPPED: Final[Mapping[str, Promise]] = {
    "state": gettext_lazy("It is not active."),
    "type": gettext_lazy("It is of another device type."),
    "medium": gettext_lazy("It cannot be updated: neither over the device protocol nor by DDI."),
    "hardware": gettext_lazy("The release is not for its hardware revision."),
    "already": gettext_lazy("It runs this version already."),
    "older": gettext_lazy("It runs a later version."),
    "from_version": gettext_lazy("The release may not follow the version that it runs."),
    "no_release": gettext_lazy("What it ran before is not known here as a release."),
    "changed": gettext_lazy("It has been given another version since."),
}
# Why an update failed, or was called off.
FAILED: Final[Mapping[str, Promise]] = {
    "type": gettext_lazy("The device says that it is of another type."),
    "hardware": gettext_lazy("The device says that its hardware is another one."),
    "version": gettext_lazy("The device does not take this version."),
    "signature": gettext_lazy("The device does not accept the signature."),
    "digest": gettext_lazy("What arrived is not what was signed."),
    "base": gettext_lazy("The patch does not fit what the device runs."),
    "space": gettext_lazy("The device has no room for it."),
    "flash": gettext_lazy("The device could not write it."),
    "battery": gettext_lazy("The battery is too low."),
    "busy": gettext_lazy("The device is busy."),
    "download": gettext_lazy("The download failed."),
    "self_test": gettext_lazy("The self-test failed: the device has gone back by itself."),
    "timeout": gettext_lazy("It took too long."),
    "power": gettext_lazy("The power failed."),
    "withdrawn": gettext_lazy("The device was told to stop."),
    "other": gettext_lazy("The device gave no reason."),
    "untrue": gettext_lazy("The device said that it runs the release, and runs something else."),
    "aborted": gettext_lazy("The roll-out was aborted."),
    "away": gettext_lazy("The device was away for too long."),
    "held": gettext_lazy("Another roll-out had the device for too long."),
}
# Why a roll-out is paused, aborted or waits.
_REASONS: Final[Mapping[str, Callable[[], str]]] = {
    "person": lambda: _("By a person: %(note)s"),
    "error_count": lambda: _("%(failures)d devices failed; the limit is %(limit)d."),
    "error_percent": lambda: _(
        "In wave %(wave)d, %(failures)d of %(devices)d devices failed; the limit is %(limit)g %%."
    ),
    "success_percent": lambda: _(
        "In wave %(wave)d, %(succeeded)d of %(devices)d devices are updated, and the others cannot"
        " bring it to %(limit)g %% any more."
    ),
    "nobody": lambda: _("No device of wave %(wave)d was updated."),
    "gate": lambda: _("After wave %(wave)d, the updated devices do worse than their limits allow."),
    "gate_undecided": lambda: _(
        "Whether the devices of wave %(wave)d do worse cannot be told: a person has to decide."
    ),
    "approval": lambda: _("Wave %(wave)d is done. The next one begins when somebody approves."),
    "rollback": lambda: _("It is being rolled back."),
}
_PROBLEMS: Final[Mapping[str, Callable[[], str]]] = {
    "object": lambda: _("A strategy is an object of settings."),
    "unknown": lambda: _("There is no such setting."),
    "whole": lambda: _("Give a whole number from %(low)d to %(high)d."),
    "share": lambda: _("Give a percentage from 0 to 100."),
    "flag": lambda: _("Say true or false."),
    "waves": lambda: _("Give at least one wave, and at most %(most)d."),
    "waves_grow": lambda: _(
        "Waves say how many devices have been reached in all: each must reach more than the one"
        " before."
    ),
    "wave": lambda: _("A wave has a count of devices, or a percentage above 0."),
    "on_error": lambda: _("Choose what happens then: pause, abort or rollback."),
    "windows": lambda: _("Give at most %(most)d windows."),
    "window": lambda: _("A window has weekdays, a start and an end."),
    "weekdays": lambda: _("Weekdays are numbers from 0 (Monday) to 6."),
    "clock": lambda: _("Write a time as HH:MM, for example 22:30."),
    "retries": lambda: _("A retry has a known code of failure, a limit and a delay in seconds."),
}


def reason(code: str, data: Mapping[str, Any]) -> str:
    """The sentence of `Rollout.state_reason` with its numbers; '' without a reason."""
    if code not in _REASONS:
        return ""
    text = _REASONS[code]()
    if code == "person" and not data.get("note"):
        return _("By a person.")
    return text % data


def skipped(code: str) -> str:
    """Why a device gets nothing."""
    return str(SKIPPED.get(code, code))


def failed(code: str) -> str:
    """Why an update failed or was called off."""
    return str(FAILED.get(code, code))


def strategy_problem(error: BadStrategyError) -> str:
    """What is wrong with a setting of a strategy, and what to do."""
    return _PROBLEMS[error.problem]() % error.values
