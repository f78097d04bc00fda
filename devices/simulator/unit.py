"""What a device is told to be and remembers: its settings, its output, its log's last lines."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final

from devices.protocol import LogLevel, LogLine, Welcome
from devices.simulator.acting import Acting, Switchable
from devices.simulator.catalogue import METER_TYPES
from devices.simulator.client import DeviceClient
from devices.simulator.image import Behaviour
from devices.simulator.payg import PaygKeys, PaygUnit
from devices.simulator.reporter import Reporter, Source
from devices.simulator.settings import DeviceSettings, SettingsStore

REMEMBERED_LINES: Final = 500


class Unit:
    """The part of a device that commands act on; lasts over its restarts.

    Between `attach` and `detach` there is a firmware that runs.
    """

    def __init__(self, source: Source, folder: Path, device_type: str) -> None:
        self._source = source
        self._folder = folder
        self._device_type = device_type
        self._lines: deque[LogLine] = deque(maxlen=REMEMBERED_LINES)
        self._store: SettingsStore | None = None
        self._client: DeviceClient | None = None
        self._reporter: Reporter | None = None
        self._announced = False

    @property
    def settings(self) -> DeviceSettings:
        """What commands and WELCOME have set."""
        return self._store.settings if self._store else DeviceSettings()

    @property
    def switchable(self) -> bool:
        """Whether the unit has an output that can be switched and limited."""
        return isinstance(self._source, Switchable)

    @property
    def channel_numbers(self) -> frozenset[int] | None:
        """The channels of a unit of the model; a recording may have any."""
        return frozenset(range(self._source.channel_count)) if self.switchable else None

    def power_up(self) -> None:
        """Read the settings, before anything is measured."""
        self._store = SettingsStore(self._folder)
        self._announced = False
        self._switch()

    def attach(self, client: DeviceClient, reporter: Reporter) -> None:
        """A firmware runs."""
        self._client, self._reporter = client, reporter

    def detach(self) -> None:
        """The power is off."""
        self._client = self._reporter = None

    def acting(self, client: DeviceClient, behaviour: Behaviour) -> Acting:
        """How a firmware reports what the unit measures."""
        meter = METER_TYPES.get(self._device_type)
        charges = [
            channel.number
            for channel in (meter.channels if meter else ())
            if channel.quantity == "state_of_charge"
        ]

        def tell_limit(channel: int, value: int, side: str) -> None:
            entries: dict[str, int | str] = {"channel": channel, "value": value, "side": side}
            client.append_event("channel.limit", entries)

        return Acting(
            lambda: self.settings,
            behaviour,
            drained=charges[0] if charges else None,
            tell_limit=tell_limit,
        )

    def welcomed(self, welcome: Welcome) -> None:
        """What WELCOME says counts like a command."""
        self.configure(replace(self.settings, step_ms=welcome.step_ms, samples=welcome.samples))

    def configure(self, settings: DeviceSettings) -> None:
        """Take settings over, remember them, and tell the server."""
        assert self._store is not None
        if not self._store.keep(settings):
            return
        if self._reporter is not None and settings.step_ms and settings.samples:
            self._reporter.set_reporting(step_ms=settings.step_ms, samples=settings.samples)
        self._switch()
        if self._announced:
            self.report()

    def report(self) -> None:
        """Tell all settings: once a start, and after each change from then on."""
        self._announced = True
        known = self.channel_numbers
        entries = self.settings.entries(
            switchable=self.switchable, channel_count=len(known) if known else None
        )
        if self._client is not None:
            self._client.append_event("config.reported", entries)

    def note(self, level: LogLevel, text: str) -> None:
        """Write a line into the log; what is no detail goes to the server at once."""
        if self._client is None:
            return
        self._lines.append(LogLine(self._client.clock.now_ms(), level, text))
        if level >= LogLevel.INFO:
            self._client.append_log(level, text)

    def recall(self, *, level: int, since_ms: int, lines: int) -> list[LogLine]:
        """The last lines of the log of at least a level, oldest first."""
        found = [line for line in self._lines if line.level >= level and line.time_ms >= since_ms]
        return found[-lines:]

    def selling(self, keys: PaygKeys, client: DeviceClient) -> PaygUnit:
        """The part of the unit that sells its output by time, of a firmware that runs."""

        def switch(on: bool) -> None:
            output = replace(self.settings.output, on=on, at_ms=client.clock.now_ms())
            self.configure(self.settings.switched(output))
            client.append_event("relay.closed" if on else "relay.opened", {"by": "payg"})

        return PaygUnit(
            keys,
            self._folder,
            now_ms=client.clock.now_ms,
            output=lambda: self.settings.output.on,
            switch=switch,
            tell=client.append_event,
        )

    def _switch(self) -> None:
        if isinstance(self._source, Switchable):
            self._source.control(self.settings.switchings)
