"""Cutting a stream of samples into frames: N samples each, or one at a time while leased live."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from devices.protocol import MAX_BODY, Block, Welcome
from devices.simulator.client import DeviceClient

# A frame of this many values fits the longest body even when nothing in it can be compressed.
MAX_FRAME_VALUES: Final = 4_096
MAX_FRAME_SAMPLES: Final = 600
MAX_AHEAD: Final = 1_000  # frames of an accelerated replay that wait for their acknowledgement
# A correction that puts the clock further back than this is believed, and samples repeat a time;
# below, the device waits until its clock has caught up.
BACK_STEP_MS: Final = 60_000
_LONGEST_SLEEP_S: Final = 60.0  # a clock may be corrected while the reporter sleeps


class Source(Protocol):
    """What a device measures: samples at instants (ms since the Unix epoch) of its time axis."""

    channel_count: int

    def due(self, after_ms: int, samples: int, step_ms: int) -> int | None:
        """When the `samples`-th sample after `after_ms` is taken, or the last one before a break.

        None when no sample follows.
        """

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        """The samples in (`after_ms`, `until_ms`] up to the next break; empty without one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a source's time axis runs against the clock: at `now_ms` it stands at `axis_ms`."""

    now_ms: int
    axis_ms: int
    speed: float = 1

    def at(self, now_ms: int) -> int:
        """Where on the axis a source is at a time."""
        return self.axis_ms + int((now_ms - self.now_ms) * self.speed)


REAL_TIME = Pace(0, 0)


@dataclass(frozen=True, slots=True)
class Thinning:
    """What a device without a link keeps of its past: before `until_ms` a sample every `step_ms`,
    in frames of `samples`.
    """

    until_ms: int
    step_ms: int = 60_000
    samples: int = 120


class Reporter:
    """Reads a source in time and hands frames to the client.

    While nobody watches, a frame has `samples` samples and ends at a point of the grid that is the
    device's own, so that the frames of a park do not arrive all at once. A live lease first sends
    what has been gathered, then every sample at once. The link plays no part: frames are made at
    the same times whether it is up or not.
    """

    def __init__(
        self,
        client: DeviceClient,
        source: Source,
        *,
        pace: Pace = REAL_TIME,
        begin_ms: int | None = None,
        thinning: Thinning | None = None,
        step_ms: int = 2_000,
        samples: int = 30,
        shape: Callable[[tuple[Block, ...]], tuple[Block, ...]] | None = None,
    ) -> None:
        """`shape` makes of the readings that were taken those that are reported."""
        self._shape = shape
        self._thinning = thinning
        self.step_ms = step_ms
        self.samples = samples
        self._client = client
        self._source = source
        self._pace = pace
        self._wake = asyncio.Event()
        self._phase = zlib.crc32(client.identity.serial.encode())
        # Samples taken before the clock was ever set are stamped when it is.
        self._started_device_ms = client.clock.device_ms()
        # With `begin_ms` the first sample is the one there, however late the device starts.
        self._last_ms: int | None = None if begin_ms is None else begin_ms - 1
        self._waiting_for_time = True
        self._finished = False
        client.on_live = lambda _: self._wake.set()

    def take_welcome(self, welcome: Welcome) -> None:
        """Report as the server asks."""
        self.set_reporting(step_ms=welcome.step_ms, samples=welcome.samples)
        if self._waiting_for_time:
            self._wake.set()

    def set_reporting(self, *, step_ms: int, samples: int) -> None:
        """Change the time between samples and the number of samples in a frame."""
        if (step_ms, samples) != (self.step_ms, self.samples):
            self.step_ms = step_ms
            self.samples = samples
            self._wake.set()

    async def run(self) -> None:
        """Report until `finish` or until the source has no more samples."""
        clock = self._client.clock
        while not clock.known and not self._finished:
            await self._sleep(_LONGEST_SLEEP_S)
        self._waiting_for_time = False
        if self._last_ms is None:
            self._last_ms = self._pace.at(self._started_device_ms + (clock.offset_ms or 0))
        while not self._finished:
            axis_ms = self._pace.at(clock.now_ms())
            if (self._last_ms - axis_ms) / self._pace.speed > BACK_STEP_MS:
                self._last_ms = axis_ms
            if self._thinning is not None and not self._report_past(self._thinning):
                await asyncio.sleep(0)
                continue
            due_ms = self._source.due(self._last_ms, self._samples_wanted(), self.step_ms)
            if due_ms is None:
                return
            if due_ms <= axis_ms:
                self._report(axis_ms)
                # A source that is far behind must not keep the link from its turn, and one that
                # runs faster than time must not overflow the buffer.
                await asyncio.sleep(0)
                while self._pace.speed > 1 and len(self._client.buffer) >= MAX_AHEAD:
                    await self._client.drain(1)
            elif await self._sleep((due_ms - axis_ms) / self._pace.speed / 1_000):
                self.flush()

    def finish(self) -> None:
        """Make a last frame of what has been gathered, and end `run`."""
        self.flush()
        self._finished = True
        self._wake.set()

    def flush(self) -> None:
        """Make a frame of what has been gathered so far."""
        if self._last_ms is not None:
            self._report(self._pace.at(self._client.clock.now_ms()))

    def _report_past(self, thinning: Thinning) -> bool:
        """One frame of the thinned past; returns whether there is no more of it."""
        assert self._last_ms is not None
        if self._last_ms < thinning.until_ms:
            samples = min(thinning.samples, self._most_samples())
            due_ms = self._source.due(self._last_ms, samples, thinning.step_ms)
            until_ms = thinning.until_ms if due_ms is None else min(due_ms, thinning.until_ms)
            blocks = self._source.read(self._last_ms, until_ms, thinning.step_ms)
            if blocks:
                self._keep(blocks)
                return False
        self._thinning = None
        return True

    def _report(self, axis_ms: int) -> None:
        assert self._last_ms is not None
        cap_ms = self._source.due(self._last_ms, self._most_samples(), self.step_ms)
        until_ms = axis_ms if cap_ms is None else min(axis_ms, cap_ms)
        blocks = self._source.read(self._last_ms, until_ms, self.step_ms)
        if blocks:
            self._keep(blocks)

    def _keep(self, blocks: tuple[Block, ...]) -> None:
        """Make a frame of what was taken, as far as it is reported."""
        self._last_ms = max(int(block.times[-1]) for block in blocks)
        reported = self._shape(blocks) if self._shape else blocks
        if reported:
            self._client.append_data(*reported)

    def _samples_wanted(self) -> int:
        if self._client.live or self.samples == 1:
            return 1
        assert self._last_ms is not None
        position = (self._last_ms // self.step_ms - self._phase) % self.samples
        return self.samples - position

    def _most_samples(self) -> int:
        body = min(self._client.max_body, MAX_BODY)
        values = min(MAX_FRAME_VALUES, body // 12)  # no value takes more than ten bytes and a bit
        return max(1, min(MAX_FRAME_SAMPLES, values // self._source.channel_count))

    async def _sleep(self, seconds: float) -> bool:
        """Sleep until then or until something changed; returns whether something changed."""
        try:
            await asyncio.wait_for(self._wake.wait(), min(seconds, _LONGEST_SLEEP_S))
        except TimeoutError:
            return False
        self._wake.clear()
        return True
