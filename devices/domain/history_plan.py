"""Where the streams of a meter data file go: pure, from what is there and what is wished.

Intervals and reads go to devices whose readings come from files; a meter that is not there yet is
taken in as a new one, named as the file names it. Plain readings go to channels that are there.
What cannot be kept exactly is refused with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from devices.files import steps
from devices.files.content import Content, Instants, Intervals, Reads, Stream
from devices.files.figures import label_of
from devices.files.steps import NotExactError

# Registers are read every few months; in which step they are kept matters to no energy, but one of
# five minutes leaves room for intervals of the same meter.
REGISTER_STEP_MS: Final = 300_000
# Of a meter that is taken in, W: what its largest value may grow by, and at least a megawatt.
_HEADROOM: Final = 10
_LEAST_LIMIT: Final = Decimal(1_000_000)
_DECIMALS: Final = 9
MAX_CHANNEL_NUMBER: Final = 255
QUALITY_KEY: Final = "_quality"
_QUALITY_OF: Final = 40 - len(QUALITY_KEY)
_NOT_KEY: Final = re.compile(r"[^a-z0-9]+")
_NOT_SERIAL: Final = re.compile(r"[^A-Za-z0-9._-]+")
# “WL-000042 active_power (W)”: what an export calls a column.
_HEADING: Final = re.compile(r"(?P<serial>\S+) (?P<key>[a-z][a-z0-9_]*)(?: \(\S+\))?")


@dataclass(frozen=True, slots=True)
class KnownChannel:
    """A channel that is there; limits in its unit."""

    number: int
    key: str
    quantity: str
    unit: str
    resolution: Decimal
    minimum: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that is there; `from_files`: it never connects itself."""

    device_id: int
    serial: str
    facility_id: int
    step_ms: int
    from_files: bool
    channels: tuple[KnownChannel, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody wants of an import. `placement` is that of new meters; `serials` maps meters of
    the file to serial numbers other than their own; `left_out` are meters that are not taken in.
    """

    placement: str = "mains"
    serials: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream goes. `device_id` None: a meter that is taken in. `energy`, `negative`: see
    `steps.samples_of`. `refused` says why it goes nowhere.
    """

    meter: str
    register: str
    suffix: str
    stream_serial: str
    label: str
    unit: str
    serial: str
    device_id: int | None = None
    number: int | None = None
    quality_number: int | None = None
    key: str = ""
    name: str = ""
    quantity: str = ""
    channel_unit: str = ""
    resolution: str = "1"
    minimum: str = "0"
    maximum: str = "0"
    step_ms: int = 0
    energy: bool = False
    negative: bool = False
    refused: str = ""

    def is_for(self, stream: Stream) -> bool:
        """Whether it is the target of a stream."""
        return (self.meter, self.register, self.suffix, self.stream_serial, self.unit) == (
            stream.meter, stream.register, stream.suffix, stream.serial, stream.unit,
        )  # fmt: skip

    def document(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


def serial_of(meter: str) -> str:
    """A meter's name as a serial number; '' where nothing of it may stand in one."""
    return _NOT_SERIAL.sub("-", meter).strip("-._")[:64]


def serials_of(streams: Iterable[Stream], wishes: Wishes) -> set[str]:
    """The serial numbers of all devices that a file may be about."""
    found = set()
    for stream in streams:
        found.add(_serial(stream, wishes))
        heading = _HEADING.fullmatch(stream.register)
        if heading is not None:
            found.add(heading["serial"])
    return found - {""}


def plan(
    streams: Mapping[Stream, Content], known: Mapping[str, KnownDevice], wishes: Wishes
) -> list[Target]:
    """The targets of all streams that are wanted; `known` devices by serial number."""
    found: list[Target] = []
    by_serial: dict[str, list[tuple[Stream, Content]]] = {}
    for stream, content in streams.items():
        if stream.meter in wishes.left_out:
            continue
        if isinstance(content, Instants):
            found.append(_of_readings(stream, content, known, wishes))
        else:
            by_serial.setdefault(_serial(stream, wishes), []).append((stream, content))
    for serial, members in by_serial.items():
        found += _of_meter(serial, members, known.get(serial))
    return found


def _serial(stream: Stream, wishes: Wishes) -> str:
    return wishes.serials.get(stream.meter) or serial_of(stream.meter)


def _target(stream: Stream, serial: str) -> Target:
    return Target(
        meter=stream.meter,
        register=stream.register,
        suffix=stream.suffix,
        stream_serial=stream.serial,
        label=label_of(stream),
        unit=stream.unit,
        serial=serial,
    )


def _of_readings(
    stream: Stream, content: Instants, known: Mapping[str, KnownDevice], wishes: Wishes
) -> Target:
    """Plain readings go to the channel that the heading names, else to that of the meter."""
    heading = _HEADING.fullmatch(stream.register)
    serial, key = _serial(stream, wishes), ""
    if heading is not None:
        serial, key = heading["serial"], heading["key"]
    target = _target(stream, serial)
    device = known.get(serial)
    if device is None:
        return replace(
            target,
            refused=f"There is no device “{serial}” for column “{stream.register}”. Head the column"
            " with serial number and key of a channel, for example “WL-000042 voltage (V)”.",
        )
    channels = [
        one
        for one in device.channels
        if (one.key == key if key else one.unit == stream.unit and not _is_quality(one.key))
    ]
    if len(channels) != 1:
        return replace(
            target,
            refused=f"Device “{serial}” has {'no' if not channels else 'more than one'} channel for"
            f" column “{stream.register}”. Head the column with serial number and key of the"
            f" channel: {', '.join(one.key for one in device.channels)}.",
        )
    (channel,) = channels
    if channel.unit != stream.unit:
        return replace(
            target,
            refused=f"Channel “{channel.key}” of device “{serial}” is in {channel.unit}, the column"
            f" in {stream.unit}. Correct the unit.",
        )
    target = _into(target, device, channel)
    return _tried(target, content)


def _of_meter(
    serial: str, members: Sequence[tuple[Stream, Content]], device: KnownDevice | None
) -> list[Target]:
    targets = [(_target(stream, serial), stream, content) for stream, content in members]
    if not serial:
        sentence = (
            "The file does not say which meter it is of. Say it in the mapping (“meter”), or give a"
            " serial number for it."
        )
        return [replace(target, refused=sentence) for target, _, _ in targets]
    if device is not None and not device.from_files:
        sentence = (
            f"Device “{serial}” reports itself, and interval values cannot be mixed with its"
            " readings. Give the meter of the file another serial number."
        )
        return [replace(target, refused=sentence) for target, _, _ in targets]
    try:
        step = device.step_ms if device is not None else _step([one for _, _, one in targets])
    except NotExactError as error:
        return [replace(target, refused=str(error)) for target, _, _ in targets]
    channels = {one.key: one for one in device.channels} if device is not None else {}
    used = {one.number for one in channels.values()}
    found: list[Target] = []
    made: dict[str, Target] = {}
    for target, stream, content in targets:
        target = _shaped(target, stream, content, step)
        if not target.refused:
            target = _placed(target, device, channels, made, used)
            target = _tried(target, content)
        if not target.refused:
            made[target.key] = target
        found.append(target)
    return found


def _step(contents: Sequence[Content]) -> int:
    lengths = [
        length
        for content in contents
        if isinstance(content, Intervals)
        for length in steps.lengths_of(content, energy=True)
    ]
    return steps.common_step(lengths) if lengths else REGISTER_STEP_MS


def _shaped(target: Target, stream: Stream, content: Content, step_ms: int) -> Target:
    """With what its channel would be, were it made: quantity, resolution and limits."""
    negative = stream.direction == "export"
    key = _key(stream)
    name = (stream.suffix or stream.register or stream.unit)[:60]
    if isinstance(content, Reads):
        quantity = stream.quantity
        if quantity is None or stream.unit not in ("Wh", "varh"):
            return replace(target, refused=f"No register of {stream.unit} can be kept.")
        largest = max(int(content.previous.max()), int(content.current.max()))
        limit = _limit(largest * content.resolution)
        return replace(
            target, key=key, name=name, quantity=quantity, channel_unit=stream.unit,
            resolution=_plain(content.resolution), maximum=_plain(limit), step_ms=step_ms,
        )  # fmt: skip
    assert isinstance(content, Intervals)
    energy = stream.unit in steps.POWER_OF
    resolution = content.resolution
    largest_value = max(abs(int(content.raw.max())), abs(int(content.raw.min()))) * resolution
    if energy:
        quantity, unit = steps.POWER_OF[stream.unit]
        shortest = int(content.length_ms.min())
        largest_value = largest_value * steps.HOUR_MS / shortest
        resolution = steps.power_resolution(resolution, step_ms)
    elif stream.quantity is None:
        return replace(target, refused=f"Values in {stream.unit} belong to no known quantity.")
    else:
        quantity, unit = stream.quantity, stream.unit
    limit = _limit(largest_value)
    return replace(
        target, key=key, name=name, quantity=quantity, channel_unit=unit,
        resolution=_plain(resolution), minimum=_plain(-limit), maximum=_plain(limit),
        step_ms=step_ms, energy=energy, negative=negative and energy,
    )  # fmt: skip


def _placed(
    target: Target,
    device: KnownDevice | None,
    channels: Mapping[str, KnownChannel],
    made: Mapping[str, Target],
    used: set[int],
) -> Target:
    """With the numbers of its channels: of those that are there, of those that another stream of
    the file makes, else free ones.
    """
    key = target.key
    if device is not None:
        target = replace(target, device_id=device.device_id)
    if key in made:
        before = made[key]
        if before.quantity != target.quantity:
            return replace(target, refused=f"The file has two kinds of values called “{key}”.")
        return replace(
            target, number=before.number, quality_number=before.quality_number,
            resolution=before.resolution, minimum=before.minimum, maximum=before.maximum,
        )  # fmt: skip
    channel = channels.get(key)
    if channel is not None:
        if (channel.quantity, channel.unit) != (target.quantity, target.channel_unit):
            return replace(
                target,
                refused=f"Channel “{key}” of meter “{target.serial}” measures {channel.quantity} in"
                f" {channel.unit}, not what this stream says. Give the meter another serial"
                " number.",
            )
        target = _limits(replace(target, number=channel.number), channel)
    else:
        target = replace(target, number=_free(used))
    quality = channels.get(quality_key(key))
    number = _free(used) if quality is None else quality.number
    if target.number is None or number is None:
        most = MAX_CHANNEL_NUMBER + 1
        return replace(target, refused=f"Meter “{target.serial}” has {most} channels already.")
    return replace(target, quality_number=number)


def _into(target: Target, device: KnownDevice, channel: KnownChannel) -> Target:
    target = replace(
        target, device_id=device.device_id, number=channel.number, key=channel.key,
        name=channel.key, quantity=channel.quantity, channel_unit=channel.unit,
        step_ms=device.step_ms,
    )  # fmt: skip
    return _limits(target, channel)


def _limits(target: Target, channel: KnownChannel) -> Target:
    return replace(
        target,
        resolution=_plain(channel.resolution),
        minimum=_plain(channel.minimum),
        maximum=_plain(channel.maximum),
    )


def _tried(target: Target, content: Content) -> Target:
    """Refused where its values cannot be kept exactly."""
    if target.refused:
        return target
    if Decimal(target.resolution) % Decimal(1).scaleb(-_DECIMALS):
        return replace(target, refused=f"Its values have more than {_DECIMALS} decimals.")
    try:
        samples_for(target, content)
    except NotExactError as error:
        return replace(target, refused=str(error))
    return target


def samples_for(target: Target, content: Content) -> steps.Samples:
    """The readings of a stream for its channel. Raises NotExactError."""
    resolution = Decimal(target.resolution)
    if isinstance(content, Reads):
        return steps.register_samples(content, resolution)[0]
    if isinstance(content, Instants):
        return steps.instant_samples(content, resolution)
    return steps.samples_of(
        content,
        energy=target.energy,
        negative=target.negative,
        resolution=resolution,
        step_ms=target.step_ms,
    )


def quality_key(key: str) -> str:
    """The key of the channel that keeps the quality of another one's readings."""
    return key[:_QUALITY_OF] + QUALITY_KEY


def _is_quality(key: str) -> bool:
    return key.endswith(QUALITY_KEY)


def _key(stream: Stream) -> str:
    text = _NOT_KEY.sub("_", (stream.suffix or stream.register or stream.unit).lower()).strip("_")
    if not text or not text[0].isalpha():
        text = f"r_{text}".strip("_")
    return text[:_QUALITY_OF].strip("_")


def _free(used: set[int]) -> int | None:
    number = next((one for one in range(MAX_CHANNEL_NUMBER + 1) if one not in used), None)
    if number is not None:
        used.add(number)
    return number


def _limit(largest: Decimal) -> Decimal:
    wanted = max(largest * _HEADROOM, _LEAST_LIMIT)
    return Decimal(10) ** (wanted.adjusted() + (0 if wanted == _power_below(wanted) else 1))


def _power_below(value: Decimal) -> Decimal:
    return Decimal(10) ** value.adjusted()


def _plain(value: Decimal) -> str:
    return f"{value:f}"
