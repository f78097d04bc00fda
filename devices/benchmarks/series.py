"""The seeded physical series that benchmarks send: what a shop's meter measures."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.protocol import Block, encode_blocks

# Frames in a row that are encoded; every device goes through them from a place of its own.
POOL: Final = 240


class ChannelKind(NamedTuple):
    """A channel of the benchmark's device type; the physical limits are in its unit."""

    key: str
    quantity: str
    resolution: str
    minimum: int
    maximum: int


CHANNELS: Final = (
    ChannelKind("active_power", "active_power", "0.1", -100_000, 100_000),
    ChannelKind("reactive_power", "reactive_power", "0.1", -100_000, 100_000),
    ChannelKind("voltage", "voltage", "0.1", 0, 500),
    ChannelKind("current", "current", "0.001", 0, 500),
    ChannelKind("frequency", "frequency", "0.001", 40, 70),
    ChannelKind("power_factor", "power_factor", "0.001", -1, 1),
    ChannelKind("temperature", "temperature", "0.1", -60, 120),
    ChannelKind("energy_import", "energy_import", "1", 0, 10**12),
)


def series(seed: int, n: int, step_s: float) -> NDArray[np.int64]:
    """A shop's meter as raw integers, shape (len(CHANNELS), n): compressors, ovens, mains noise."""
    random = np.random.default_rng(seed)
    time_s = np.arange(n) * step_s

    def wander(scale: float, keep: float) -> NDArray[np.float64]:
        noise = random.normal(0, scale, n)
        for i in range(1, n):
            noise[i] += keep * noise[i - 1]
        return noise

    compressor = 900 * ((time_s / 60) % 23 < 9)
    oven = 4_000 * ((time_s / 60) % 41 < 13) * ((time_s % 30) < 18)
    power = 1_200 + compressor + oven + wander(4, 0.9) + random.normal(0, 2, n)
    reactive = 0.25 * power + 180 * (compressor > 0) + random.normal(0, 2, n)
    voltage = 231 - power / 4_000 + wander(0.05, 0.98)
    apparent = np.hypot(power, reactive)
    columns = (
        power * 10,
        reactive * 10,
        voltage * 10,
        apparent / voltage * 1_000,
        (50 + wander(0.002, 0.97)) * 1_000,
        power / apparent * 1_000,
        (4 + wander(0.01, 0.99)) * 10,
        1_234_567 + np.cumsum(power) * step_s / 3_600,
    )
    return np.rint(np.array(columns)).astype(np.int64)


def encode_pool(seed: int, channels: int, samples: int, step_ms: int) -> list[bytes]:
    """Blocks of POOL frames in a row: a DATA body without its sequence number and start."""
    values = series(seed, POOL * samples, step_ms / 1_000)[:channels]
    times = np.arange(samples) * step_ms
    return [
        encode_blocks(0, [Block(times, tuple(range(channels)), values[:, at : at + samples])])
        for at in range(0, POOL * samples, samples)
    ]
