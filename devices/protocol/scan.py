"""The bridge's check of a DATA body: structure, known channels, physical limits.

Most columns are proven harmless from their heads alone: the length of the unary part bounds the
sum of the quotients, and with it how far any value can be from the first. Only a column whose
bound leaves the limits is unpacked. Limits with a margin keep that rare: a meter that rests at 0 W
with a minimum of 0 sits on its limit, and every column of it must be unpacked.
"""

from collections.abc import Mapping
from typing import NamedTuple

from devices.protocol.columns import MARGIN, unpack_columns
from devices.protocol.layout import (
    CONSTANT,
    DELTA_OF_DELTA,
    PLAIN,
    ColumnLayout,
    column_values,
    read_layout,
)

UNKNOWN_CHANNEL = "unknown_channel"
LIMIT = "limit"

# Up to so many values plain Python unpacks quicker than the fixed cost of array operations.
_FEW_VALUES = 128

_Suspect = tuple[int, ColumnLayout, tuple[int, int]]


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
    verdict: Verdict | None = None
    for block in layout.blocks:
        start_ms = min(start_ms, block.start_ms)
        end_ms = max(end_ms, block.end_ms)
        samples += block.n
        finding: Verdict | None = verdict
        suspects: list[_Suspect] = []
        for channel, column in zip(block.channels, block.columns, strict=True):
            values += column.n
            if finding is not None:
                continue
            limit = limits.get(channel)
            if limit is None:
                finding = Verdict(UNKNOWN_CHANNEL, channel, None)
            elif column.predictor == CONSTANT:
                if column.n and not limit[0] <= column.first <= limit[1]:
                    finding = Verdict(LIMIT, channel, column.first)
            elif not _surely_within(column, *limit):
                suspects.append((channel, column, limit))
        # The suspects stand before the finding, at which the loop stopped looking.
        verdict = verdict or (_first_outside(body, suspects) if suspects else None) or finding
    return DataScan(layout.sequence, start_ms, end_ms, samples, values, layout.mask, verdict)


def _surely_within(column: ColumnLayout, minimum: int, maximum: int) -> bool:
    """Whether the head of a column proves that all its values lie within the limits."""
    n, predictor, k, first, second, _, _, _, unary, patches, _ = column
    # The unary part has one bit per residual and one per unit of quotient.
    residuals = n - predictor
    quotients = unary.bit_length() - residuals
    for _, excess in patches:
        quotients += excess
    if predictor == PLAIN:
        return minimum <= first and first + ((quotients + 1) << k) <= maximum
    # Zigzag: |d| <= (z + 1) / 2, and z + 1 <= (q + 1) << k.
    reach = (quotients + residuals) << k >> 1
    if predictor == DELTA_OF_DELTA:
        reach = (n - 1) * (abs(second) + reach)
    return minimum <= first - reach and first + reach <= maximum


def _first_outside(body: bytes, suspects: list[_Suspect]) -> Verdict | None:
    """Unpack the columns that may leave their limits; the first that does."""
    if sum(column.n for _, column, _ in suspects) <= _FEW_VALUES:
        extremes = []
        for _, column, _ in suspects:
            values = column_values(body, column)
            extremes.append((min(values), max(values)))
    else:
        columns = [column for _, column, _ in suspects]
        widest = max(column.n for column in columns)
        padded = b"".join((bytes(MARGIN), body, bytes(MARGIN)))
        rows = unpack_columns(padded, [MARGIN] * len(columns), columns, widest)
        extremes = [
            (int(row[: column.n].min()), int(row[: column.n].max()))
            for row, column in zip(rows, columns, strict=True)
        ]
    for (channel, _, (minimum, maximum)), (low, high) in zip(suspects, extremes, strict=True):
        if low < minimum:
            return Verdict(LIMIT, channel, low)
        if high > maximum:
            return Verdict(LIMIT, channel, high)
    return None
