"""`manage.py bench codec`: what one frame of eight channels costs in Python, in microseconds.

The frames are seeded random walks, as power and voltage are. Each figure is the best of several
rounds: the cost of the code, not of what else the machine does.
"""

import argparse
import timeit
from collections.abc import Callable

import numpy as np

from devices.protocol import (
    Block,
    MessageReader,
    MessageType,
    decode_data,
    decode_many,
    encode_data,
    encode_sample,
    scan_data,
    seal,
)

CHANNELS = 8
SAMPLES = (1, 30, 60, 1_800)
START_MS = 1_767_225_600_000
STEP_MS = 2_000
BATCH = 20
ROUNDS = 5
SECONDS_A_ROUND = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench codec`."""
    parser.add_argument("--seed", type=int, default=1, help="seed of the random walks")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Microseconds a frame by samples a frame.

    `scan`: the bridge's check when the limits have a margin; `scan_exact`: when every column sits
    on its limits and must be unpacked; `decode_batch`: one of 20 frames decoded at once; `read`:
    cutting a message out of the stream, checksum included.
    """
    rng = np.random.default_rng(options.seed)
    return {str(samples): _measure(rng, samples) for samples in SAMPLES}


def _measure(rng: np.random.Generator, samples: int) -> dict[str, float]:
    walk = np.cumsum(rng.normal(0, 6, (CHANNELS, samples)), axis=1)
    values = walk.astype(np.int64) + 20_000
    channels = tuple(range(CHANNELS))
    block = Block(START_MS + np.arange(samples) * STEP_MS, channels, values)
    body = encode_data(1, [block])
    wide = dict.fromkeys(channels, (-1_000_000, 1_000_000))
    tight = {c: (int(values[c].min()), int(values[c].max())) for c in channels}
    stream = seal(MessageType.DATA, body) * BATCH
    numbers = values[:, 0].tolist()
    encode = (
        (lambda: encode_sample(1, START_MS, channels, numbers))
        if samples == 1
        else (lambda: encode_data(1, [block]))
    )
    return {
        "bytes": len(body),
        "encode": _microseconds(encode),
        "decode": _microseconds(lambda: decode_data(body)),
        "decode_batch": _microseconds(lambda: decode_many([body] * BATCH), BATCH),
        "scan": _microseconds(lambda: scan_data(body, wide)),
        "scan_exact": _microseconds(lambda: scan_data(body, tight)),
        "read": _microseconds(lambda: _read(stream), BATCH),
    }


def _read(stream: bytes) -> int:
    reader = MessageReader()
    reader.feed(stream)
    return sum(len(message.body) for message in reader)


def _microseconds(work: Callable[[], object], frames: int = 1) -> float:
    timer = timeit.Timer(work)
    once = min(timer.repeat(ROUNDS, 1))
    number = max(1, int(SECONDS_A_ROUND / max(once, 1e-7)))
    return round(min(timer.repeat(ROUNDS, number)) / number / frames * 1e6, 2)
