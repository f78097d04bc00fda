"""What a device does when it is told to: each kind of command once per id, over restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from devices.protocol import (
    MAX_SAMPLES,
    MAX_STEP_MS,
    Command,
    LogLevel,
    ProtocolError,
    ResultStatus,
)
from devices.protocol.fields import Value
from devices.protocol.layout import MAX_TIME_MS
from devices.protocol.settings import parse_channels, parse_limits
from devices.simulator.client import DeviceClient
from devices.simulator.commands import CommandJournal
from devices.simulator.payg import PaygUnit
from devices.simulator.settings import DISPLAY, MAX_DISPLAY, Switching
from devices.simulator.unit import Unit

MIN_STEP_MS: Final = 100
MAX_LEASE_S: Final = 3_600
MAX_LINES: Final = 10_000
MAX_WATTS: Final = 1_000_000_000

Done = tuple[ResultStatus, str]


class _RejectedError(Exception):
    """Arguments that do not fit; the message is the RESULT's detail."""


class Obedience:
    """Carries out the commands of one start of the device; `reboot` lets an answer leave first."""

    def __init__(
        self,
        unit: Unit,
        client: DeviceClient,
        journal: CommandJournal,
        reboot: Callable[[], None],
        payg: PaygUnit | None = None,
    ) -> None:
        self._payg = payg
        self._reboot_soon = reboot
        self._unit = unit
        self._client = client
        self._journal = journal
        self._kinds: Mapping[str, Callable[[Mapping[str, Value]], Done]] = {
            "set_reporting": self._set_reporting,
            "set_channels": self._set_channels,
            "set_output": self._set_output,
            "set_power_limit": self._set_power_limit,
            "set_display": self._set_display,
            "send_logs": self._send_logs,
            "live": self._live,
            "reboot": self._reboot,
            "identify": self._identify,
            "enter_token": self._enter_token,
        }

    def started(self, boots: int) -> None:
        """Finish the commands that the restart was part of."""
        for command_id, _ in self._journal.accepted():
            detail = f"rebooted, boot {boots}"
            self._journal.remember(command_id, ResultStatus.DONE, detail)
            self._client.append_result(command_id, ResultStatus.DONE, detail)

    def take(self, command: Command) -> None:
        """Carry a command out, unless that was done; answer it in any case."""
        before = self._journal.find(command.command_id)
        if before is not None:
            self._client.append_result(command.command_id, *before)
            return
        if command.expires_ms and self._client.clock.now_ms() > command.expires_ms:
            status, detail = ResultStatus.EXPIRED, "the command came after its expiry"
        else:
            status, detail = self._carry_out(command)
        self._journal.remember(command.command_id, status, detail)
        self._client.append_result(command.command_id, status, detail)
        if status is ResultStatus.ACCEPTED:
            self._reboot_soon()

    def _carry_out(self, command: Command) -> Done:
        carry_out = self._kinds.get(command.kind)
        if carry_out is None:
            return ResultStatus.REJECTED, f"unknown command {command.kind}"
        try:
            return carry_out(command.arguments)
        except _RejectedError as error:
            return ResultStatus.REJECTED, str(error)
        except ProtocolError as error:
            return ResultStatus.REJECTED, f"{command.kind}: {error}"

    def _set_reporting(self, arguments: Mapping[str, Value]) -> Done:
        settings = self._unit.settings
        step_ms = _number(arguments, "step_ms", (MIN_STEP_MS, MAX_STEP_MS), settings.step_ms)
        samples = _number(arguments, "samples", (1, MAX_SAMPLES), settings.samples)
        self._unit.configure(replace(settings, step_ms=step_ms, samples=samples))
        return ResultStatus.DONE, f"{samples} samples every {step_ms} ms"

    def _set_channels(self, arguments: Mapping[str, Value]) -> Done:
        settings, known = self._unit.settings, self._unit.channel_numbers
        channels, limits = settings.channels, settings.limits
        if "channels" in arguments:
            channels = parse_channels(_text(arguments, "channels"))
        if "limits" in arguments:
            limits = parse_limits(_text(arguments, "limits"))
        if known is not None:
            for number in (*(channels or ()), *limits):
                if number not in known:
                    raise _RejectedError(f"this device has no channel {number}")
        self._unit.configure(replace(settings, channels=channels, limits=limits))
        return ResultStatus.DONE, f"{len(channels) if channels else 'all'} channels"

    def _set_output(self, arguments: Mapping[str, Value]) -> Done:
        on = bool(_number(arguments, "output", (0, 1)))
        before = self._unit.settings.output
        if on and self._payg is not None and not self._payg.paid:
            raise _RejectedError("no time is paid for: a token has to be entered")
        self._switch(replace(before, on=on))
        if not on and self._payg is not None:
            self._payg.switched_off()
        if on != before.on:
            self._client.append_event("relay.closed" if on else "relay.opened", {"by": "command"})
        return ResultStatus.DONE, "the output is on" if on else "the output is off"

    def _set_power_limit(self, arguments: Mapping[str, Value]) -> Done:
        watts = _number(arguments, "power_limit_w", (-1, MAX_WATTS))
        self._switch(replace(self._unit.settings.output, limit_w=None if watts < 0 else watts))
        return ResultStatus.DONE, "no limit" if watts < 0 else f"at most {watts} W"

    def _switch(self, switching: Switching) -> None:
        if not self._unit.switchable:
            raise _RejectedError("this device has no output that can be switched")
        before = self._unit.settings
        now = replace(switching, at_ms=self._client.clock.now_ms())
        if (now.on, now.limit_w) != (before.output.on, before.output.limit_w):
            self._unit.configure(before.switched(now))

    def _set_display(self, arguments: Mapping[str, Value]) -> Done:
        for name in arguments:
            if not name.startswith(DISPLAY):
                raise _RejectedError(f"{name} is no field of the display")
        display = {**self._unit.settings.display, **arguments}
        if len(display) > MAX_DISPLAY:
            raise _RejectedError(f"the display has {MAX_DISPLAY} fields, not {len(display)}")
        self._unit.configure(replace(self._unit.settings, display=display))
        return ResultStatus.DONE, f"{len(arguments)} fields shown"

    def _send_logs(self, arguments: Mapping[str, Value]) -> Done:
        found = self._unit.recall(
            level=_number(arguments, "level", (1, 5), LogLevel.DEBUG),
            since_ms=_number(arguments, "since_ms", (0, MAX_TIME_MS), 0),
            lines=_number(arguments, "lines", (1, MAX_LINES), MAX_LINES),
        )
        self._client.append_lines(found)
        return ResultStatus.DONE, f"{len(found)} lines"

    def _live(self, arguments: Mapping[str, Value]) -> Done:
        seconds = _number(arguments, "seconds", (0, MAX_LEASE_S))
        self._client.set_lease(seconds)
        return ResultStatus.DONE, f"every sample at once for {seconds} s"

    def _reboot(self, _: Mapping[str, Value]) -> Done:
        return ResultStatus.ACCEPTED, "rebooting"

    def _enter_token(self, arguments: Mapping[str, Value]) -> Done:
        if self._payg is None:
            raise _RejectedError("this device takes no tokens")
        refused = self._payg.enter(_text(arguments, "token"))
        if refused is not None:
            raise _RejectedError(refused.value)
        return ResultStatus.DONE, self._payg.told()

    def _identify(self, _: Mapping[str, Value]) -> Done:
        self._client.append_event("device.identified", {"serial": self._client.identity.serial})
        return ResultStatus.DONE, "blinking"


def _number(
    arguments: Mapping[str, Value],
    name: str,
    bounds: tuple[int, int],
    default: int | None = None,
) -> int:
    value = arguments.get(name, default)
    low, high = bounds
    if not isinstance(value, int):
        raise _RejectedError(f"{name} is missing" if value is None else f"{name} is no number")
    if not low <= value <= high:
        raise _RejectedError(f"{name} {value} is outside {low} … {high}")
    return value


def _text(arguments: Mapping[str, Value], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise _RejectedError(f"{name} is no text")
    return value
