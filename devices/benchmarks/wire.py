"""`manage.py bench wire`: bytes a value on the wire, measured on recordings of real meters.

Every recording is cut into frames as a device would send them, each frame is encoded, decoded and
compared: one bit of difference and the benchmark fails. `payload` counts whole messages (head,
sequence number and checksum included), `wire` adds what carries them when every message travels in
a TLS record and a TCP segment of its own.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.protocol import (
    MAX_BLOCKS,
    Block,
    MessageReader,
    MessageType,
    decode_data,
    encode_data,
    seal,
)
from devices.simulator.recordings import Group, NotARecording, RecordedDevice, read_recording

SAMPLES = (1, 10, 30, 60)
# Record header, content type and authentication tag (RFC 8446, 5.2); TCP and IPv4 without options.
TLS_BYTES = 5 + 1 + 16
TCP_IP_BYTES = 20 + 20
# Coarser than a minute is interval data: it comes as files for billing, never as device frames.
COARSEST_RECORDING_S = 60
COARSEST_INTERVAL_S = 3_600
# Frames measured of one file at one number of samples, spread evenly over it.
FRAMES_PER_FILE = 300
# A device has at most 256 channels; a wider file is measured as several devices.
CHANNELS_PER_DEVICE = 255

Report = dict[str, dict[str, float]]


class LossyError(RuntimeError):
    """A frame did not decode to what was encoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """A device cut into frames: frame i has the rows [edges[g][i], edges[g][i + 1]) of group g."""

    device: RecordedDevice
    edges: tuple[NDArray[np.intp], ...]

    def __len__(self) -> int:
        return len(self.edges[0]) - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench wire`."""
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        help="folder of recordings (CSV or CSV.gz, searched with its sub-folders); "
        "default: the environment variable WATTLINE_DATA, else ../shared/data",
    )


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure every recording below the folder; raises LossyError when a frame is not lossless.

    `recordings` and `intervals` map a file to its bytes a value by samples a frame, `mean` and
    `intervals_mean` are their plain means, `skipped` tells why a file is neither.
    """
    folder = folder_of(options.data)
    recordings: dict[str, Report] = {}
    intervals: dict[str, Report] = {}
    skipped: dict[str, str] = {}
    for path in sorted({*folder.rglob("*.csv"), *folder.rglob("*.csv.gz")}):
        name = path.relative_to(folder).as_posix().removesuffix(".gz").removesuffix(".csv")
        try:
            devices = read_recording(path)
        except NotARecording as reason:
            skipped[name] = str(reason)
            continue
        # To whole seconds: a logger that sleeps a minute between readings takes 60.1 s a round.
        step_s = round(float(np.median([device.step_ms for device in devices])) / 1000)
        if not 0 < step_s <= COARSEST_INTERVAL_S:
            skipped[name] = f"a median step of {step_s} s is no series of a meter"
            continue
        target = recordings if step_s <= COARSEST_RECORDING_S else intervals
        target[name] = _measure_file([part for device in devices for part in narrow(device)])
    return {
        "data": str(folder),
        "frames_per_file_at_most": FRAMES_PER_FILE,
        "recordings": recordings,
        "mean": _mean(recordings),
        "intervals": intervals,
        "intervals_mean": _mean(intervals),
        "skipped": skipped,
    }


def folder_of(given: Path | None) -> Path:
    """The folder of recordings that is given or found; FileNotFoundError when there is none."""
    root = Path(__file__).resolve().parents[2]
    folder = given or Path(os.environ.get("WATTLINE_DATA") or root / "../shared/data")
    folder = folder.resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of recordings at {folder}: name one with --data or WATTLINE_DATA"
        )
    return folder


def narrow(device: RecordedDevice) -> Iterator[RecordedDevice]:
    """The device in parts of at most `CHANNELS_PER_DEVICE` channels."""
    groups: list[Group] = []
    channels = 0
    for group in device.groups:
        for at in range(0, len(group.names), CHANNELS_PER_DEVICE):
            part = _channels(group, at, at + CHANNELS_PER_DEVICE)
            if channels + len(part.names) > CHANNELS_PER_DEVICE:
                yield RecordedDevice(device.name, tuple(groups))
                groups, channels = [], 0
            groups.append(_renumbered(part, channels))
            channels += len(part.names)
    yield RecordedDevice(device.name, tuple(groups))


def _channels(group: Group, start: int, end: int) -> Group:
    return Group(
        group.names[start:end],
        group.numbers[start:end],
        group.resolutions[start:end],
        group.times,
        group.values[start:end],
        None if group.present is None else group.present[start:end],
    )


def _renumbered(group: Group, first: int) -> Group:
    numbers = tuple(range(first, first + len(group.names)))
    return Group(group.names, numbers, group.resolutions, group.times, group.values, group.present)


def _measure_file(devices: Sequence[RecordedDevice]) -> Report:
    report: Report = {}
    for samples in SAMPLES:
        cuts = [cut(device, samples) for device in devices]
        total = sum(map(len, cuts))
        if not total:
            continue
        chosen = np.linspace(0, total - 1, min(total, FRAMES_PER_FILE)).astype(int)
        size = values = messages = 0
        for sequence, blocks in messages_of(cuts, chosen.tolist()):
            size += _measure_message(sequence, blocks)
            values += sum(count_values(block) for block in blocks)
            messages += 1
        report[str(samples)] = {
            "payload": round(size / values, 4),
            "wire": round((size + messages * (TLS_BYTES + TCP_IP_BYTES)) / values, 4),
            "messages": messages,
            "frames_in_file": total,
        }
    return report


def cut(device: RecordedDevice, samples: int) -> Cuts:
    """Whole frames of `samples` samples a channel.

    Channels with times of their own have no common rows: their frame is what came within the time
    of `samples` median steps.
    """
    if len(device.groups) == 1:
        rows = len(device.groups[0].times)
        return Cuts(device, (np.arange(0, rows + 1, samples),))
    first = min(int(group.times[0]) for group in device.groups)
    last = max(int(group.times[-1]) for group in device.groups)
    bounds = np.arange(first, last + 1, samples * device.step_ms)
    return Cuts(device, tuple(np.searchsorted(group.times, bounds) for group in device.groups))


def messages_of(cuts: Sequence[Cuts], chosen: Sequence[int]) -> Iterator[tuple[int, list[Block]]]:
    """Sequence number and blocks of the messages that carry the chosen frames."""
    begins = np.cumsum([0, *map(len, cuts)])
    for index in chosen:
        which = int(np.searchsorted(begins, index, side="right")) - 1
        frame = index - int(begins[which])
        blocks = _blocks(cuts[which], frame)
        for at in range(0, len(blocks), MAX_BLOCKS):
            yield frame + 1, blocks[at : at + MAX_BLOCKS]


def _blocks(cuts: Cuts, frame: int) -> list[Block]:
    blocks: list[Block] = []
    for group, edges in zip(cuts.device.groups, cuts.edges, strict=True):
        rows = slice(int(edges[frame]), int(edges[frame + 1]))
        times = group.times[rows]
        present = np.ones_like(group.values[:, rows], np.bool_)
        if group.present is not None:
            present = group.present[:, rows]
        channels = np.flatnonzero(present.any(axis=1))
        if not len(channels):
            continue
        block = Block(
            times,
            tuple(group.numbers[channel] for channel in channels.tolist()),
            group.values[channels, rows],
            None if present[channels].all() else present[channels],
        )
        twin = next((other for other in blocks if _same_axis(other, block)), None)
        if twin is None:
            blocks.append(block)
        else:
            blocks[blocks.index(twin)] = _joined(twin, block)
    return blocks


def _same_axis(one: Block, other: Block) -> bool:
    complete = one.present is None and other.present is None
    return complete and np.array_equal(one.times, other.times)


def _joined(one: Block, other: Block) -> Block:
    channels = one.channels + other.channels
    return Block(one.times, channels, np.concatenate((one.values, other.values)))


def _measure_message(sequence: int, blocks: Sequence[Block]) -> int:
    """The bytes of one message, after it has been decoded again and compared."""
    message = seal(MessageType.DATA, encode_data(sequence, blocks))
    reader = MessageReader()
    reader.feed(message)
    (received,) = reader
    decoded = decode_data(received.body)
    same = decoded.sequence == sequence and len(decoded.blocks) == len(blocks)
    if not same or not all(map(_equal, decoded.blocks, blocks)):
        raise LossyError(f"frame {sequence} of a recording did not decode to its readings")
    return len(message)


def _equal(one: Block, other: Block) -> bool:
    here = _presence(one)
    return (
        one.channels == other.channels
        and np.array_equal(one.times, other.times)
        and np.array_equal(here, _presence(other))
        and np.array_equal(one.values[here], other.values[here])
    )


def _presence(block: Block) -> NDArray[np.bool_]:
    return np.ones(block.values.shape, np.bool_) if block.present is None else block.present


def count_values(block: Block) -> int:
    """How many readings a block has."""
    return block.values.size if block.present is None else int(block.present.sum())


def _mean(reports: dict[str, Report]) -> Report:
    """The plain mean over the recordings, each counting once, by samples a frame."""
    means: Report = {}
    for samples in map(str, SAMPLES):
        rows = [report[samples] for report in reports.values() if samples in report]
        if rows:
            means[samples] = {
                key: round(sum(row[key] for row in rows) / len(rows), 4)
                for key in ("payload", "wire")
            }
    return means
