"""The bridge's check of a DATA body: structure, known channels, physical limits.

Most columns are proven harmless from their heads alone: the length of the unary part bounds the
sum of the quotients, and with it how far any value can be from the first. Only a column whose
bound leaves the limits is unpacked.
"""

from collections.abc import Mapping
from typing import NamedTuple

from devices.protocol.layout import (
    CONSTANT,
    DELTA,
    PLAIN,
    BlockLayout,
    ColumnLayout,
    column_values,
    read_layout,
)

UNKNOWN_CHANNEL = "unknown_channel"
LIMIT = "limit"


class Verdict(NamedTuple):
    """Why a well-formed message belongs into quarantine; `value` is the raw integer (`limit`)."""

    reason: str
    channel: int
    value: int | None

    def __str__(self) -> str:
        if self.value is None:
            return f"channel {self.channel} is not a channel of this device type"
        return f"channel {self.channel}: {self.value} is outside the physical limits"


class DataScan(NamedTuple):
    """What the bridge needs to know of a DATA message without unpacking it.

    `start_ms` and `end_ms` are the first and the last time on any axis (both inclusive, ms since
    the Unix epoch); `samples` counts the times of all axes, `values` the values that are present;
    bit c of `channels` is set when channel c is in the message. `verdict` is None when every
    channel is known and every value within its limits, else the first finding.
    """

    sequence: int
    start_ms: int
    end_ms: int
    samples: int
    values: int
    channels: int
    verdict: Verdict | None


def scan_data(body: bytes, limits: Mapping[int, tuple[int, int]]) -> DataScan:
    """Validate a DATA body completely and compare it with the limits of the device type.

    `limits` maps each channel of the device type to its smallest and largest raw integer, both
    allowed. A malformed body raises the ProtocolError that decoding would raise; a body that does
    not raise decodes. An unknown channel or a value outside its limits is a verdict, no error.
    """
    layout = read_layout(body)
    start_ms = layout.blocks[0].start_ms
    end_ms = samples = values = 0
    verdict = None
    for block in layout.blocks:
        start_ms = min(start_ms, block.start_ms)
        end_ms = max(end_ms, _end_ms(body, block))
        samples += block.n
        for channel, column in zip(block.channels, block.columns, strict=True):
            values += column.n
            if verdict is None:
                limit = limits.get(channel)
                if limit is None:
                    verdict = Verdict(UNKNOWN_CHANNEL, channel, None)
                else:
                    verdict = _check(body, channel, column, limit)
    return DataScan(layout.sequence, start_ms, end_ms, samples, values, layout.mask, verdict)


def _end_ms(body: bytes, block: BlockLayout) -> int:
    if block.axis is None:
        return block.start_ms + (block.n - 1) * block.step_ms
    return block.start_ms + column_values(body, block.axis)[-1] * block.step_ms


def _check(
    body: bytes, channel: int, column: ColumnLayout, limit: tuple[int, int]
) -> Verdict | None:
    minimum, maximum = limit
    n, predictor, k, first, second, _, _, _, unary, patches, _ = column
    if predictor == CONSTANT:
        if n == 0 or minimum <= first <= maximum:
            return None
        return Verdict(LIMIT, channel, first)
    # The unary part has one bit per residual and one per unit of quotient.
    residuals = n - predictor
    quotients = unary.bit_length() - residuals
    for _, excess in patches:
        quotients += excess
    if predictor == PLAIN:
        if minimum <= first and first + (quotients << k) + (1 << k) - 1 <= maximum:
            return None
    else:
        # Zigzag: |d| <= (z + 1) / 2, and every z is below (q + 1) << k.
        reach = ((quotients + residuals) << k) + residuals >> 1
        if predictor != DELTA:
            reach = (n - 1) * (abs(second) + reach)
        if minimum <= first - reach and first + reach <= maximum:
            return None
    values = column_values(body, column)
    low, high = min(values), max(values)
    if low < minimum:
        return Verdict(LIMIT, channel, low)
    if high > maximum:
        return Verdict(LIMIT, channel, high)
    return None
