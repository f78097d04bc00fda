"""Firmware images of simulated devices: MCUboot's container around a payload that says how it acts.

An image is what MCUboot runs (docs/design.md of MCUboot, "Image format"): a header of 32 bytes
with the version, the payload, and an area of type-length-value entries with the SHA-256 of both.
The payload of a simulated device begins with a `Behaviour`; the rest stands for machine code: it is
the same in all images of a device type but for places that change with the version, so that patches
between versions are as small as those between real builds.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

import numpy as np

HEADER_MAGIC: Final = 0x96F3B83D
TLV_MAGIC: Final = 0x6907
TLV_SHA256: Final = 0x10
HEADER_BYTES: Final = 32
_HEADER: Final = struct.Struct("<IIHHIIBBHII")
_TLV: Final = struct.Struct("<HH")
_PAYLOAD: Final = struct.Struct("<4sI")
_PAYLOAD_MAGIC: Final = b"WLFW"
_CORE: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")
_CHANGED_PLACES: Final = 24  # spots of the code that a version changes …
_CHANGED_BYTES: Final = 48  # … of so many bytes
DEFAULT_SIZE: Final = 24 * 1024


class ImageError(Exception):
    """Bytes are no image that can be run; the message says why."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a firmware acts; the defaults are those of a good one.

    `version` is what it says of itself. `gaps`: the share of samples that it loses. `resets_s`:
    mean time between restarts, `reconnects_s` between breaks of its link (0: never). `errors_s`:
    mean time between error lines in its log. `drain`: how many times as fast as usual a battery
    empties. `self_test`: whether it finds itself sound; `hangs`: whether it stands still until its
    watchdog bites.
    """

    version: str = ""
    gaps: float = 0.0
    resets_s: float = 0.0
    reconnects_s: float = 0.0
    errors_s: float = 0.0
    drain: float = 1.0
    self_test: bool = True
    hangs: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.gaps < 1:
            raise ValueError(f"gaps of {self.gaps}: a share lies in 0 … 1")
        for name in ("resets_s", "reconnects_s", "errors_s", "drain"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it cannot be negative")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `build_image` wrote; unknown names are left out, raises ImageError."""
        if not isinstance(value, dict):
            raise ImageError("the behaviour is no JSON object")
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: found for name, found in value.items() if name in known})
        except (TypeError, ValueError) as error:
            raise ImageError(f"the behaviour cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Image:
    """What an image's header and payload say.

    `core` is the header's version (major, minor, patch), None where there is no MCUboot header.
    """

    core: tuple[int, int, int] | None
    behaviour: Behaviour


def core_of(version: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of a semantic version; None when it is none."""
    found = _CORE.fullmatch(version)
    if found is None:
        return None
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def build_image(
    version: str,
    *,
    device_type: str,
    behaviour: Behaviour | None = None,
    size: int = DEFAULT_SIZE,
) -> bytes:
    """An image of about `size` bytes; raises ImageError for a version that is not semantic.

    Two images of one type differ in their behaviour and in a few places, as builds do. With a
    `behaviour` that names another version, the firmware lies.
    """
    core = core_of(version)
    if core is None or core[0] > 0xFF or core[1] > 0xFF or core[2] > 0xFFFF:
        raise ImageError(f"{version} fits no MCUboot header: give it as 1.2.3, up to 255.255.65535")
    behaviour = behaviour or Behaviour(version=version)
    stated = {**asdict(behaviour), "version": behaviour.version or version}
    text = json.dumps(stated, sort_keys=True).encode()
    head = _PAYLOAD.pack(_PAYLOAD_MAGIC, len(text)) + text
    room = max(256, size - HEADER_BYTES - len(head) - 40)
    payload = head + _code(version, device_type, room)
    header = _HEADER.pack(HEADER_MAGIC, 0, HEADER_BYTES, 0, len(payload), 0, *core, 0, 0)
    digest = hashlib.sha256(header + payload).digest()
    tlvs = _TLV.pack(TLV_SHA256, len(digest)) + digest
    return header + payload + _TLV.pack(TLV_MAGIC, _TLV.size + len(tlvs)) + tlvs


def read_image(data: bytes) -> Image:
    """What an image says; raises ImageError when a MCUboot image is damaged.

    Bytes without MCUboot's header are somebody else's program: they are run as a good firmware
    that says what its manifest says.
    """
    if len(data) < HEADER_BYTES or int.from_bytes(data[:4], "little") != HEADER_MAGIC:
        return Image(None, Behaviour())
    _, _, header, protected, size, _, major, minor, patch, _, _ = _HEADER.unpack_from(data)
    end = header + size
    if header < HEADER_BYTES or end + protected + _TLV.size > len(data):
        raise ImageError("the image is shorter than its header says")
    _check_digest(data, end + protected)
    return Image((major, minor, patch), _behaviour(data[header:end]))


def _check_digest(data: bytes, end: int) -> None:
    """`end`: behind what is hashed, where the unprotected entries begin."""
    magic, total = _TLV.unpack_from(data, end)
    if magic != TLV_MAGIC or end + total > len(data):
        raise ImageError("the image has no area of entries behind its payload")
    at = end + _TLV.size
    while at + _TLV.size <= end + total:
        kind, length = _TLV.unpack_from(data, at)
        value = data[at + _TLV.size : at + _TLV.size + length]
        if kind == TLV_SHA256:
            if value != hashlib.sha256(data[:end]).digest():
                raise ImageError("the image does not have the SHA-256 that it names")
            return
        at += _TLV.size + length
    raise ImageError("the image names no SHA-256")


def _behaviour(payload: bytes) -> Behaviour:
    if not payload.startswith(_PAYLOAD_MAGIC) or len(payload) < _PAYLOAD.size:
        return Behaviour()
    _, length = _PAYLOAD.unpack_from(payload)
    try:
        return Behaviour.from_json(json.loads(payload[_PAYLOAD.size : _PAYLOAD.size + length]))
    except ValueError as error:
        raise ImageError(f"the behaviour cannot be read: {error}") from error


def _code(version: str, device_type: str, size: int) -> bytes:
    """Bytes as of a program: alike for one type, with a few places of the version's own."""
    common = np.random.default_rng(zlib.crc32(device_type.encode()))
    # Few distinct instructions, many operands: compresses about as thumb code does.
    words = common.integers(0, 1 << 16, 512, dtype=np.uint16)
    code = words[common.integers(0, len(words), (size + 1) // 2)]
    own = np.random.default_rng(zlib.crc32(version.encode()))
    for _ in range(_CHANGED_PLACES):
        at = int(own.integers(0, max(1, len(code) - _CHANGED_BYTES // 2)))
        part = code[at : at + _CHANGED_BYTES // 2]
        code[at : at + len(part)] = own.integers(0, 1 << 16, len(part), dtype=np.uint16)
    return code.tobytes()[:size]
