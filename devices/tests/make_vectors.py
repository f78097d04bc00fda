"""Writes the golden vectors of the protocol: `python -m devices.tests.make_vectors`.

The DATA bodies are built by a second, deliberately slow encoder on strings of bits that follows
docs/protocol.md word by word and shares nothing with the product's encoder. The files are read by
the Python and the JavaScript tests; regenerate them only when the format itself changes.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.protocol import (
    Block,
    MessageReader,
    MessageType,
    ProtocolError,
    RawMessage,
    decode_data,
    decode_message,
    encode_data,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER = Path(__file__).parent / "vectors"
SAFE_INTEGER = (1 << 53) - 1
U64 = (1 << 64) - 1

Json = dict[str, object]


def uvarint(value: int) -> bytes:
    groups = []
    while True:
        groups.append(value % 128)
        value //= 128
        if value == 0:
            break
    return bytes([group + 128 for group in groups[:-1]] + groups[-1:])


def zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def svarint(value: int) -> bytes:
    return uvarint(zigzag(value))


def signed(value: int) -> int:
    value %= 1 << 64
    return value - (1 << 64) if value >> 63 else value


def bits_to_bytes(bits: str) -> bytes:
    """Bits in the order of the stream; the first becomes the least significant of byte 0."""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


def column(values: Sequence[int], predictor: int, k: int = 0, patched: Sequence[int] = ()) -> bytes:
    """A column of at least two values; `patched` are indices of residuals sent as patches."""
    if predictor == 3:
        return bytes([3 << 6]) + svarint(values[0])
    differences = [signed(b - a) for a, b in itertools.pairwise(values)]
    second = [signed(b - a) for a, b in itertools.pairwise(differences)]
    if predictor == 0:
        head = svarint(min(values))
        residuals = [value - min(values) for value in values]
    elif predictor == 1:
        head = svarint(values[0])
        residuals = [zigzag(difference) for difference in differences]
    else:
        head = svarint(values[0]) + svarint(differences[0])
        residuals = [zigzag(difference) for difference in second]
    low = "".join(
        format(residual % (1 << k), f"0{k}b")[::-1] if k else "" for residual in residuals
    )
    unary = "".join(
        "0" * (0 if index in patched else residual >> k) + "1"
        for index, residual in enumerate(residuals)
    )
    patches = b""
    if patched:
        patches = uvarint(len(patched))
        previous = -1
        for index in patched:
            patches += uvarint(index - previous - 1) + uvarint(residuals[index] >> k)
            previous = index
    quotients = bits_to_bytes(unary)
    tail = uvarint(len(quotients) * 2 + (1 if patched else 0))
    return bytes([predictor * 64 + k]) + head + tail + bits_to_bytes(low) + quotients + patches


def body(sequence: int, start_ms: int, *blocks: bytes) -> bytes:
    return uvarint(sequence) + uvarint(start_ms) + uvarint(len(blocks)) + b"".join(blocks)


def block(
    n: int,
    columns: Sequence[bytes],
    step_ms: int = 2_000,
    offset_ms: int = 0,
    axis: bytes | None = None,
    mask: bytes | None = None,
    sparse: bool = False,
) -> bytes:
    flags = (axis is not None) + 2 * (mask is not None) + 4 * (offset_ms > 0) + 8 * sparse
    out = bytes([flags])
    if offset_ms:
        out += uvarint(offset_ms)
    out += uvarint(n)
    if n > 1:
        out += uvarint(step_ms) + (axis or b"")
    out += bytes([len(columns)]) if mask is None else bytes([len(mask)]) + mask
    return out + b"".join(columns)


START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
VOLTS = [2301, 2302, 2302, 2300, 2299, 2301, 2304, 2303, 2303, 2302]
WATTS = [412, 415, 413, 413, 2390, 2385, 2387, 414, 412, 411]
REGISTER = [918_273_645, 918_273_647, 918_273_649, 918_273_651, 918_273_653, 918_273_656]
WRAPPING = [(1 << 63) - 3, (1 << 63) - 1, -(1 << 63) + 1, -(1 << 63) + 4]
WIDE = [-(1 << 63), (1 << 63) - 1, 0, -1, 1]
LONG = [(7 * i * i) % 23 + (90_000 if i == 150 else 0) for i in range(200)]


def data_bodies() -> list[tuple[str, bytes]]:
    seconds = column([0, 6, 12, 19, 25, 31, 37, 44, 50, 56], 2)
    mask = bytes([0b0000_1010, 0, 0, 0b1000_0000])
    all_channels = bytes([255] * 32)
    sparse = [
        b"\x00" + column(VOLTS, 1, 1),
        b"\x01" + bytes([0b1110_0111, 0b11]) + column(VOLTS[:3] + VOLTS[5:], 1, 1),
        b"\x01" + bytes([0, 0]),
        b"\x01" + bytes([0, 0b10]) + svarint(-5),
        b"\x01" + bytes([0b0000_0001, 0b10]) + column([7, 7], 3),
        b"\x01" + bytes([255, 3]) + column(VOLTS, 0, 1),
    ]
    return [
        ("one sample of one channel", body(1, START, block(1, [svarint(2301)]))),
        (
            "one sample of eight channels",
            body(2, START, block(1, [svarint(v) for v in (0, -1, 63, -64, 64, 8192, 230, 1)])),
        ),
        (
            "one sample, the ends of 64 bits",
            body(3, START, block(1, [svarint(-(1 << 63)), svarint((1 << 63) - 1)])),
        ),
        (
            "one sample, channels 1, 3 and 31",
            body(4, START, block(1, [svarint(v) for v in (5, 6, 7)], mask=mask)),
        ),
        (
            "one sample of all 256 channels",
            body(5, START, block(1, [svarint(v) for v in range(256)], mask=all_channels)),
        ),
        ("one sample at time zero", body(6, 0, block(1, [svarint(0)]))),
        ("largest sequence and time", body((1 << 63) - 1, 1 << 48, block(1, [svarint(1)]))),
        ("plain, k = 0", body(10, START, block(10, [column([5, 4, 5, 6, 5, 4, 5, 5, 4, 4], 0)]))),
        ("plain, k = 3", body(11, START, block(10, [column(VOLTS, 0, 3)]))),
        ("plain, negative minimum", body(12, START, block(4, [column([-9, -7, -9, -3], 0, 2)]))),
        ("plain, k = 63, residuals of 64 bits", body(13, START, block(5, [column(WIDE, 0, 63)]))),
        ("delta, k = 0", body(20, START, block(4, [column([1, 1, 2, 1], 1)]))),
        ("delta, k = 2", body(21, START, block(10, [column(VOLTS, 1, 2)]))),
        ("delta of two values", body(22, START, block(2, [column([7, 9], 1, 1)]))),
        ("delta, k = 63, wrapping", body(23, START, block(5, [column(WIDE, 1, 63)]))),
        ("delta, a register that wraps at 2^63", body(24, START, block(4, [column(WRAPPING, 1)]))),
        ("delta of delta, k = 0", body(30, START, block(6, [column(REGISTER, 2)]))),
        ("delta of delta of three values", body(31, START, block(3, [column([1, 2, 4], 2, 1)]))),
        ("delta of delta, k = 63, wrapping", body(32, START, block(5, [column(WIDE, 2, 63)]))),
        ("delta of delta across 2^63", body(33, START, block(4, [column(WRAPPING, 2)]))),
        ("constant", body(40, START, block(10, [column([0] * 10, 3), column([-40] * 10, 3)]))),
        ("constant, 100 samples", body(41, START, block(100, [column([230] * 100, 3)]))),
        ("patches, delta", body(50, START, block(10, [column(WATTS, 1, 2, (3, 6))]))),
        ("patches, plain", body(51, START, block(10, [column(WATTS, 0, 2, (4, 5, 6))]))),
        (
            "patches, first and last residual",
            body(52, START, block(4, [column([0, 99, 98, 0], 1, 1, (0, 2))])),
        ),
        ("patch beyond index 127", body(53, START, block(200, [column(LONG, 0, 4, (150,))]))),
        ("missing samples", body(60, START, block(10, sparse, sparse=True))),
        (
            "irregular axis in seconds",
            body(70, START, block(10, [column(VOLTS, 1, 2)], 1_000, axis=seconds)),
        ),
        (
            "irregular axis with equal times",
            body(
                71, START, block(4, [column([1, 1, 2, 1], 1)], 1, axis=column([0, 0, 7, 7], 1, 2))
            ),
        ),
        (
            "irregular axis, all at one time",
            body(72, START, block(3, [column([1, 2, 3], 1)], 1, axis=column([0, 0, 0], 3))),
        ),
        (
            "three blocks with times of their own",
            body(
                80,
                START,
                block(10, [column(VOLTS, 1, 2)], mask=bytes([0b0001])),
                block(1, [svarint(815)], offset_ms=1_500, mask=bytes([0b0100])),
                block(10, [column(WATTS, 1, 2, (3, 6))], 1_000, 6_000, seconds, bytes([0b1000])),
            ),
        ),
        ("longest step", body(81, START, block(2, [column([7, 9], 1, 1)], 86_400_000))),
        (
            "padding bits of the low part are ignored",
            body(90, START, block(3, [bytes([0x42, 0x00, 0x02, 0b1111_0000 | 0b1001, 0b11])])),
        ),
        (
            "a patch adds to the quotient in the unary part",
            body(91, START, block(2, [bytes([0x40, 0x02, 0x03, 0b100, 1, 0, 6])])),
        ),
        (
            "residuals are taken modulo 2^64",
            body(
                92,
                START,
                block(2, [bytes([0x7F, 0x00, 0x03]) + bytes(7) + b"\x40\x01\x01\x00\x03"]),
            ),
        ),
        (
            "a sum of a minimum and a residual wraps",
            body(93, START, block(2, [b"\x00" + svarint((1 << 63) - 1) + b"\x02\x05"])),
        ),
    ]


def broken_bodies() -> list[tuple[str, bytes]]:
    """DATA bodies that must be refused; the code is added from what the product says."""
    good = block(10, [column(VOLTS, 1, 2)])
    head = uvarint(1) + uvarint(START)
    one = block(1, [svarint(5)])
    delta = bytes([0x40, 0x00])  # descriptor and first value of a column of two values
    two = block(2, [])[:-1] + b"\x01"
    cases = [
        ("empty body", b""),
        ("sequence 0", body(0, START, one)),
        ("sequence 2^63", body(1 << 63, START, one)),
        ("sequence padded with a zero byte", b"\x81\x00" + uvarint(START) + b"\x01" + one),
        ("sequence longer than ten bytes", b"\xff" * 11 + b"\x01"),
        ("sequence above 64 bits", b"\xff" * 9 + b"\x02" + uvarint(START) + b"\x01" + one),
        ("start beyond 2^48", body(1, (1 << 48) + 1, one)),
        ("no block", head + b"\x00"),
        ("65 blocks", head + bytes([65])),
        ("block missing", head + b"\x01"),
        ("undefined flag", head + b"\x01" + bytes([0x10]) + one[1:]),
        ("irregular block of one sample", head + b"\x01" + bytes([0x01]) + one[1:]),
        ("missing samples in a block of one", head + b"\x01" + bytes([0x08]) + one[1:]),
        ("no sample", head + b"\x01\x00\x00"),
        ("3601 samples", head + b"\x01\x00" + uvarint(3601)),
        ("step 0", head + b"\x01\x00\x02\x00\x01"),
        ("step above a day", body(1, START, block(2, [delta], 86_400_001))),
        ("offset beyond 2^48", body(1, 1 << 48, block(1, [svarint(5)], offset_ms=1))),
        ("regular axis beyond 2^48", body(1, 1 << 48, block(2, [column([1, 2], 1)], 1))),
        ("no channel", head + b"\x01\x00\x01\x00"),
        ("mask of no byte", head + b"\x01\x02\x01\x00"),
        ("mask of 33 bytes", head + b"\x01\x02\x01" + bytes([33]) + b"\x01" * 33),
        ("empty mask", head + b"\x01\x02\x01\x01\x00"),
        ("mask cut off", head + b"\x01\x02\x01\x04\x01"),
        ("channel in two blocks", body(1, START, one, one)),
        (
            "more than 65536 values",
            head + b"\x01\x00" + uvarint(3600) + uvarint(1000) + bytes([19]) + b"\xc0\x00" * 19,
        ),
        ("value missing", head + b"\x01\x00\x01\x02\x05"),
        ("byte after the last block", body(1, START, one) + b"\x00"),
        ("constant column with k = 1", body(1, START, two + b"\xc1\x00")),
        ("second differences of two values", body(1, START, two + b"\x80\x00\x00\x00")),
        ("no quotient", body(1, START, two + delta + b"\x00")),
        ("two quotients for one residual", body(1, START, two + delta + b"\x02\x03")),
        ("unary part padded with a zero byte", body(1, START, two + delta + b"\x04\x01\x00")),
        ("unary part of zeros", body(1, START, two + delta + b"\x02\x00")),
        ("unary part cut off", body(1, START, two + delta + b"\x08\x01")),
        ("unary part longer than any message", body(1, START, two + delta + uvarint(1 << 63))),
        ("low part cut off", body(1, START, two + b"\x7f\x00\x02\x01")),
        ("no patch", body(1, START, two + delta + b"\x03\x01\x00")),
        ("more patches than residuals", body(1, START, two + delta + b"\x03\x01\x02\x00\x01")),
        ("patch beyond the last residual", body(1, START, two + delta + b"\x03\x01\x01\x01\x05")),
        ("patch cut off", body(1, START, two + delta + b"\x03\x01\x01\x00")),
        ("mark of missing samples 2", body(1, START, block(2, [b"\x02"], sparse=True))),
        ("bitmap beyond the last sample", body(1, START, block(2, [b"\x01\x04"], sparse=True))),
        ("bitmap cut off", body(1, START, block(9, [b"\x01\xff"], sparse=True))),
        (
            "irregular axis that does not begin at 0",
            body(1, START, block(2, [column([1, 2], 1)], 1, axis=column([1, 2], 1))),
        ),
        (
            "irregular axis that runs backwards",
            body(1, START, block(3, [column([1, 2, 3], 1)], 1, axis=column([0, 2, 1], 1))),
        ),
        (
            "irregular axis that wraps to negative times",
            body(1, START, block(2, [column([1, 2], 1)], 1, axis=column([0, -(1 << 63)], 1, 63))),
        ),
        (
            "irregular axis beyond 2^48",
            body(
                1,
                START,
                block(2, [column([1, 2], 1)], 86_400_000, axis=column([0, 1 << 40], 1, 40)),
            ),
        ),
    ]
    whole = body(1, START, good)
    cases += [(f"cut off after {size} bytes", whole[:size]) for size in range(1, len(whole))]
    return cases


def message(message_type: int, content: bytes, version: int = 1) -> bytes:
    start = bytes([version, message_type]) + len(content).to_bytes(2, "little") + content
    return start + int(google_crc32c.value(start)).to_bytes(4, "little")


def text(value: str) -> bytes:
    return uvarint(len(value.encode())) + value.encode()


HELLO = (
    b"\x01\x01"
    + text("WL-3F-000042")
    + uvarint(32)
    + bytes(range(32))
    + text("three-phase-meter")
    + text("rev C")
    + text("1.4.2")
    + uvarint(7)
    + uvarint(START)
    + uvarint(90_211)
    + uvarint(90_150)
    + uvarint(3)
)
COMMAND_ID = bytes.fromhex("0123456789abcdef0123456789abcdef")

UPDATE_ID = bytes.fromhex("00112233445566778899aabbccddeeff")
IMAGE = bytes(range(224, 256))
LAST = uvarint((1 << 32) - 1)
# The secret key of test 1 of RFC 8032, section 7.1; its public key is in the vectors.
SIGNING_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")


def manifest(hardware: Sequence[str] = ("rev C", "rev D"), version: str = "1.5.0") -> bytes:
    revisions = b"".join(map(text, hardware))
    head = text("three-phase-meter") + uvarint(len(hardware)) + revisions + text(version)
    return head + IMAGE + uvarint(262_144)


def signature_of(content: bytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(SIGNING_KEY)
    return key.sign(b"wattline-firmware-1\0" + content)


def offer(
    kind: int = 0,
    base: bytes = b"\x00",
    pace: bytes = uvarint(0) + uvarint(4_096),
    flags: int = 0,
    url: str = "",
) -> bytes:
    content = manifest()
    return (
        UPDATE_ID
        + uvarint(len(content))
        + content
        + signature_of(content)
        + bytes([kind])
        + bytes(range(32))
        + uvarint(262_144)
        + base
        + pace
        + uvarint(600)
        + uvarint(flags)
        + text(url)
    )


def manifests() -> list[Json]:
    """Manifests, their fields, and the signature by the key of RFC 8032's first test."""
    key = Ed25519PrivateKey.from_private_bytes(SIGNING_KEY).public_key().public_bytes_raw().hex()
    return [
        {
            "name": name,
            "hex": content.hex(),
            "fields": {
                "device_type": "three-phase-meter",
                "hardware": list(hardware),
                "version": version,
                "image_sha256": IMAGE.hex(),
                "image_size": 262_144,
            },
            "public_key": key,
            "signature": signature_of(content).hex(),
        }
        for name, hardware, version, content in (
            ("for two revisions", ("rev C", "rev D"), "1.5.0", manifest()),
            ("for every revision", (), "2.0.0-rc.1+5", manifest((), "2.0.0-rc.1+5")),
            (
                "with a field of a later version",
                ("rev C", "rev D"),
                "1.5.0",
                manifest() + b"\x2a",
            ),
        )
    ]


def messages() -> list[tuple[str, bytes]]:
    welcome = b"\x01" + uvarint(START + 1500) + svarint(1500) + uvarint(90_180) + uvarint(64)
    welcome += uvarint(65_535) + uvarint(60) + uvarint(30) + uvarint(2_000) + uvarint(30)
    entries = (
        b"\x02"
        + text("phase")
        + b"\x00"
        + svarint(-2)
        + text("cause")
        + b"\x01"
        + text("übertemperatur")
    )
    return [
        ("hello", message(0x01, HELLO)),
        ("hello with the digest of its image", message(0x01, HELLO + uvarint(32) + IMAGE)),
        ("hello with a field of a later version", message(0x01, HELLO + b"\x00\x2a")),
        ("hello of a device that speaks versions 1 to 3", message(0x01, b"\x01\x03" + HELLO[2:])),
        ("welcome", message(0x02, welcome)),
        (
            "welcome, clock of the device ahead",
            message(0x02, welcome.replace(svarint(1500), svarint(-700), 1)),
        ),
        (
            "refuse: again in 20 s",
            message(0x03, b"\x00" + uvarint(20) + b"\x00" + text("the bridge restarts")),
        ),
        (
            "refuse: malformed message 90211",
            message(
                0x03, b"\x80\x00" + uvarint(90_211) + text("unary: 2 quotients for 1 residuals")
            ),
        ),
        ("refuse with a code of a later version", message(0x03, b"\x2a\x05\x00\x00")),
        ("ping of a device", message(0x04, uvarint(9) + uvarint(90_211) + uvarint(90_150))),
        ("ping of a server", message(0x04, uvarint((1 << 64) - 1) + b"\x00\x00")),
        ("pong", message(0x05, uvarint(9) + uvarint(START))),
        ("ack", message(0x06, uvarint(90_180))),
        ("ack of nothing", message(0x06, b"\x00")),
        ("rewind", message(0x07, uvarint(90_181))),
        (
            "data",
            message(0x10, body(1, START, block(10, [column(VOLTS, 1, 1), column([0] * 10, 3)]))),
        ),
        ("gap", message(0x11, uvarint(90_100) + uvarint(90_149) + b"\x01")),
        ("the longest gap", message(0x11, uvarint(5) + uvarint(4 + (1 << 32)) + b"\x01")),
        ("gap of one message", message(0x11, uvarint(5) + uvarint(5) + b"\x04")),
        (
            "log",
            message(
                0x20,
                uvarint(7)
                + b"\x02"
                + uvarint(START)
                + b"\x02"
                + text("relay closed")
                + uvarint(START + 5)
                + b"\x04"
                + text(""),
            ),
        ),
        ("event", message(0x21, uvarint(8) + uvarint(START) + text("phase.lost") + entries)),
        ("event without data", message(0x21, uvarint(9) + uvarint(START) + text("door") + b"\x00")),
        (
            "result",
            message(
                0x22, uvarint(10) + COMMAND_ID + uvarint(START) + b"\x00" + text("relay 1 open")
            ),
        ),
        (
            "command",
            message(
                0x30,
                COMMAND_ID
                + text("relay.open")
                + uvarint(START + 60_000)
                + b"\x01"
                + text("relay")
                + b"\x00"
                + svarint(1),
            ),
        ),
        (
            "command with a pay-as-you-go token",
            message(
                0x30,
                COMMAND_ID
                + text("enter_token")
                + b"\x00\x01"
                + text("token")
                + b"\x01"
                + text("123456789"),
            ),
        ),
        ("live for 30 s", message(0x31, uvarint(30))),
        ("end of live", message(0x31, b"\x00")),
        ("offer of an image", message(0x40, offer())),
        (
            "offer of a delta for slow links, back to a lower version",
            message(
                0x40,
                offer(
                    kind=1,
                    base=uvarint(32) + bytes(range(32, 64)),
                    pace=uvarint(1_000) + uvarint(256),
                    flags=1,
                    url="https://portal.example/firmware/artifacts/x.y",
                ),
            ),
        ),
        ("offer with a field of a later version", message(0x40, offer() + b"\x2a")),
        ("fetch of the first chunk", message(0x41, UPDATE_ID + b"\x00" + uvarint(4_096))),
        ("fetch of the last bytes there can be", message(0x41, UPDATE_ID + LAST + b"\x01")),
        (
            "chunk",
            message(0x42, UPDATE_ID + b"\x00" + uvarint(4_096) + b"\x00\x05" + b"\x7fELF\x00"),
        ),
        ("chunk: not now, again in 30 s", message(0x42, UPDATE_ID + b"\x01\x00\x1e\x00")),
        ("chunk: gone", message(0x42, UPDATE_ID + b"\x02\x80\x20\x00\x00")),
        ("chunk: beyond the end", message(0x42, UPDATE_ID + b"\x03" + LAST + b"\x00\x00")),
        ("withdraw", message(0x43, UPDATE_ID + text("the roll-out was aborted"))),
        ("firmware message of a later version, opaque", message(0x4F, b"\x01\x02\x03")),
    ]


def broken_messages() -> list[tuple[str, bytes]]:
    ack = message(0x06, uvarint(90_180))
    return [
        ("version 2", message(0x06, b"\x01", version=2)),
        ("checksum off by one bit", ack[:-1] + bytes([ack[-1] ^ 1])),
        ("body changed", ack[:4] + bytes([ack[4] ^ 1]) + ack[5:]),
        ("type 0x00", message(0x00, b"")),
        ("type 0x12", message(0x12, b"\x01")),
        ("type 0xff", message(0xFF, b"")),
        ("hello with an empty serial", message(0x01, b"\x01\x01\x00" + HELLO[15:])),
        (
            "hello with a secret of 8 bytes",
            message(0x01, b"\x01\x01" + text("a") + uvarint(8) + bytes(8)),
        ),
        ("hello with versions 3 to 1", message(0x01, b"\x03\x01" + HELLO[2:])),
        (
            "hello with a serial that is not UTF-8",
            message(0x01, b"\x01\x01\x02\xc3\x28" + HELLO[15:]),
        ),
        ("hello cut off", message(0x01, HELLO[:40])),
        (
            "hello that holds more than it made",
            message(0x01, HELLO[:-7] + uvarint(5) + uvarint(6) + b"\x00"),
        ),
        (
            "refuse with a text of 1025 bytes",
            message(0x03, b"\x00\x00\x00" + uvarint(1025) + b"x" * 1025),
        ),
        ("ack above 2^63-1", message(0x06, uvarint(1 << 63))),
        ("ack of nothing at all", message(0x06, b"")),
        ("rewind to 0", message(0x07, b"\x00")),
        ("gap that ends before it begins", message(0x11, uvarint(9) + uvarint(8) + b"\x01")),
        (
            "gap of 2^32 + 1 messages",
            message(0x11, uvarint(9) + uvarint(9 + (1 << 32)) + b"\x01"),
        ),
        ("log without a line", message(0x20, uvarint(7) + b"\x00")),
        ("log of 65 lines", message(0x20, uvarint(7) + uvarint(65))),
        (
            "event with data of an unknown kind",
            message(0x21, b"\x01\x01" + text("a") + b"\x01" + text("b") + b"\x02\x00"),
        ),
        ("event with 33 entries", message(0x21, b"\x01\x01" + text("a") + uvarint(33))),
        ("command with a short id", message(0x30, b"\x01" * 15)),
        ("live above an hour", message(0x31, uvarint(3_601))),
        ("hello with a digest of 31 bytes", message(0x01, HELLO + uvarint(31) + IMAGE[1:])),
        ("offer cut off within its signature", message(0x40, offer()[:100])),
        ("offer cut off within its url", message(0x40, offer(url="https://a")[:-1])),
        ("offer without a manifest", message(0x40, UPDATE_ID + b"\x00" + bytes(200))),
        (
            "offer with a manifest of 2049 bytes",
            message(0x40, UPDATE_ID + uvarint(2_049) + bytes(3_000)),
        ),
        ("offer for a base of 16 bytes", message(0x40, offer(base=b"\x10" + bytes(16)))),
        (
            "offer in chunks of 63 bytes",
            message(0x40, offer(pace=uvarint(0) + uvarint(63))),
        ),
        (
            "offer in chunks of 32769 bytes",
            message(0x40, offer(pace=uvarint(0) + uvarint(32_769))),
        ),
        ("offer with a url of 1025 bytes", message(0x40, offer(url="x" * 1_025))),
        ("fetch of nothing", message(0x41, UPDATE_ID + b"\x00\x00")),
        ("fetch of 32769 bytes", message(0x41, UPDATE_ID + b"\x00" + uvarint(32_769))),
        ("fetch beyond 2^32-1", message(0x41, UPDATE_ID + uvarint(1 << 32) + b"\x01")),
        ("fetch with a short id", message(0x41, UPDATE_ID[1:])),
        (
            "chunk of 32769 bytes",
            message(0x42, UPDATE_ID + b"\x00\x00\x00" + uvarint(32_769)),
        ),
        ("chunk cut off within its data", message(0x42, UPDATE_ID + b"\x00\x00\x00\x05abcd")),
        ("withdraw with a text that is not UTF-8", message(0x43, UPDATE_ID + b"\x02\xc3\x28")),
        ("data with a broken body", message(0x10, body(0, START, block(1, [svarint(5)])))),
    ]


def number(value: int) -> int | str:
    """JSON numbers lose integers beyond 2^53 in JavaScript; those travel as strings."""
    return value if abs(value) <= SAFE_INTEGER else str(value)


def describe_data(content: bytes) -> Json:
    data = decode_data(content)
    blocks: list[Json] = []
    for item in data.blocks:
        rows: list[list[int | str | None]] = [
            list(map(number, row)) for row in item.values.tolist()
        ]
        if item.present is not None:
            rows = [
                [value if here else None for value, here in zip(row, mask, strict=True)]
                for row, mask in zip(rows, item.present.tolist(), strict=True)
            ]
        blocks.append(
            {"times": item.times.tolist(), "channels": list(item.channels), "values": rows}
        )
    return {"sequence": number(data.sequence), "blocks": blocks}


def blocks_of(described: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks that `describe_data` described."""
    blocks = []
    for item in described["blocks"]:
        rows = [[0 if cell is None else int(cell) for cell in row] for row in item["values"]]
        present = np.array([[cell is not None for cell in row] for row in item["values"]])
        blocks.append(
            Block(
                np.array(item["times"], dtype=np.int64),
                tuple(item["channels"]),
                np.array(rows, dtype=np.int64),
                None if present.all() else present,
            )
        )
    return tuple(blocks)


def describe_message(wire: bytes) -> Json:
    reader = MessageReader()
    reader.feed(wire)
    (raw,) = reader
    if raw.type == MessageType.DATA:
        return describe_data(raw.body)
    decoded = decode_message(raw.type, raw.body)
    if isinstance(decoded, RawMessage):
        return {"body": decoded.body.hex()}
    return _described(decoded)


def _described(value: "DataclassInstance") -> Json:
    return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_described(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return number(int(value)) if isinstance(value, int) else value


def error_code(wire: bytes) -> str:
    """What reading a message says; empty when it is sound."""
    reader = MessageReader()
    reader.feed(wire)
    try:
        for raw in reader:
            decode_message(raw.type, raw.body)
    except ProtocolError as error:
        return error.code
    return ""


def main() -> None:
    """Write the four files of vectors beside this module."""
    data = []
    for name, content in data_bodies():
        decoded = decode_data(content)
        encoded = encode_data(decoded.sequence, decoded.blocks)
        data.append(
            {
                "name": name,
                "hex": content.hex(),
                "encoded": encoded.hex(),
                **describe_data(content),
            }
        )
    sound = []
    for name, wire in messages():
        sound.append(
            {"name": name, "hex": wire.hex(), "type": wire[1], "fields": describe_message(wire)}
        )
    errors = [
        {"name": name, "hex": wire.hex(), "code": error_code(wire)}
        for name, wire in [
            *broken_messages(),
            *((name, message(0x10, content)) for name, content in broken_bodies()),
        ]
    ]
    files = (("data", data), ("messages", sound), ("errors", errors), ("manifests", manifests()))
    for file, entries in files:
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        (FOLDER / f"{file}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
