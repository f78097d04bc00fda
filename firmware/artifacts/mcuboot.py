"""Images for the boot loader MCUboot: header, TLVs and hash.

The format is that of MCUboot's `docs/design.md`, "Image format": a header of 32 bytes, filled up to
the length that it names; the firmware; perhaps protected TLVs; TLVs. All numbers are little-endian.
The SHA-256 among the TLVs is over everything before the unprotected TLVs. Signatures among the TLVs
are the boot loader's affair: it has keys of its own.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import IO, Final

from firmware.artifacts.errors import ArtifactError, gettext_noop

MAGIC: Final = 0x96F3B83D
MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")
INFO_MAGIC: Final = 0x6907
PROTECTED_MAGIC: Final = 0x6908
# magic, load address, header size, size of the protected TLVs, image size, flags, version (major,
# minor, revision, build), padding.
_HEADER: Final = struct.Struct("<IIHHIIBBHII")
_INFO: Final = struct.Struct("<HH")
_ENTRY: Final = struct.Struct("<HH")
# imgtool fills the header up to the vector table's alignment; nobody needs more than this.
_LONGEST_HEADER: Final = 65_535
# TLVs have a 16-bit length in all; signatures, keys and dependencies together are a few hundred.
_MOST_ENTRIES: Final = 256
_PIECE: Final = 1 << 16


class Flag(IntFlag):
    """Flags of the header that matter here."""

    ENCRYPTED_AES128 = 0x04
    ENCRYPTED_AES256 = 0x08
    NON_BOOTABLE = 0x10


class Tlv(IntEnum):
    """Types of TLVs that are given names; others are listed by number."""

    KEYHASH = 0x01
    PUBKEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048 = 0x20
    ECDSA_SIGNATURE = 0x22
    RSA3072 = 0x23
    ED25519 = 0x24
    DEPENDENCY = 0x40
    SECURITY_COUNTER = 0x50
    BOOT_RECORD = 0x60


_ENCRYPTED: Final = Flag.ENCRYPTED_AES128 | Flag.ENCRYPTED_AES256


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says about itself. `version` is `major.minor.revision`, with `+build` unless
    the build number is 0; sizes are in bytes; `tlvs` are types and lengths, the protected first.
    """

    version: str
    header_size: int
    image_size: int
    load_address: int
    flags: int
    tlvs: tuple[tuple[int, int], ...]
    sha256: bytes
    encrypted: bool

    @property
    def signed(self) -> bool:
        """Whether there is a signature for the boot loader among the TLVs."""
        kinds = {Tlv.RSA2048, Tlv.ECDSA_SIGNATURE, Tlv.RSA3072, Tlv.ED25519}
        return any(kind in kinds for kind, _length in self.tlvs)

    def facts(self) -> dict[str, object]:
        """The same as JSON, for a row of the database."""
        return {
            "format": "mcuboot",
            "version": self.version,
            "header_size": self.header_size,
            "image_size": self.image_size,
            "load_address": self.load_address,
            "flags": self.flags,
            "tlvs": [list(one) for one in self.tlvs],
            "sha256": self.sha256.hex(),
            "boot_signature": self.signed,
            "encrypted": self.encrypted,
        }


def looks_like(start: bytes) -> bool:
    """Whether a file that begins like this claims to be such an image."""
    return start.startswith(MAGIC_BYTES)


@dataclass(frozen=True, slots=True)
class _Head:
    """The fixed fields of a header; `version` as the image's."""

    load_address: int
    size: int
    protected: int
    image_size: int
    flags: int
    version: str


def read_image(file: IO[bytes], size: int) -> Image:
    """The image in a file of `size` bytes, its hash verified; raises ArtifactError.

    The file is read from its beginning, in pieces. An encrypted image's hash is over what only the
    device can read; it is not compared.
    """
    file.seek(0)
    head = _head(file.read(_HEADER.size), size)
    body = head.size + head.image_size
    file.seek(body)
    trailer = file.read(head.protected + 0xFFFF + 1)
    tlvs, end = _all_entries(trailer, head.protected)
    if body + end != size:
        raise ArtifactError(
            "trailing",
            gettext_noop(
                "%(extra)s bytes follow the MCUboot image. Make it with imgtool's `sign`"
                " and without --pad: what fills the slot is not to be sent to devices."
            ),
            extra=size - body - end,
        )
    encrypted = bool(head.flags & _ENCRYPTED)
    told = _sha256_of(tlvs)
    if not encrypted and _digest(file, body + head.protected) != told:
        raise ArtifactError(
            "digest",
            gettext_noop(
                "The SHA-256 in the MCUboot image is not that of its bytes: the file was damaged"
                " or changed after imgtool made it."
            ),
        )
    return Image(
        version=head.version,
        header_size=head.size,
        image_size=head.image_size,
        load_address=head.load_address,
        flags=head.flags,
        tlvs=tuple((kind, len(value)) for kind, value in tlvs),
        sha256=told,
        encrypted=encrypted,
    )


def _head(data: bytes, size: int) -> _Head:
    """The header at the beginning of a file of `size` bytes, which has room for all it tells of."""
    if len(data) < _HEADER.size:
        raise ArtifactError(
            "header", gettext_noop("The file ends within the header of the MCUboot image.")
        )
    magic, load, header_size, protected, image_size, flags, *version, _pad = _HEADER.unpack(data)
    if magic != MAGIC:
        raise ArtifactError(
            "header", gettext_noop("The file does not begin as an MCUboot image does.")
        )
    if not _HEADER.size <= header_size <= _LONGEST_HEADER:
        raise ArtifactError(
            "header",
            gettext_noop(
                "The MCUboot header is damaged: it says that it has %(header_size)s bytes, and one"
                " has at least %(least)s."
            ),
            header_size=header_size,
            least=_HEADER.size,
        )
    if image_size == 0 or header_size + image_size + protected + _INFO.size > size:
        raise _cut_off(header_size, image_size, size)
    major, minor, revision, build = version
    told = f"{major}.{minor}.{revision}" + (f"+{build}" if build else "")
    return _Head(load, header_size, protected, image_size, flags, told)


def _cut_off(header_size: int, image_size: int, size: int) -> ArtifactError:
    return ArtifactError(
        "header",
        gettext_noop(
            "The MCUboot header tells of %(image_size)s bytes of firmware behind a header of"
            " %(header_size)s, and the file has %(size)s bytes: it was cut off, or its header"
            " is damaged."
        ),
        image_size=image_size,
        header_size=header_size,
        size=size,
    )


Entry = tuple[int, bytes]


def _all_entries(trailer: bytes, protected: int) -> tuple[list[Entry], int]:
    """The TLVs behind the firmware, and the bytes that they take."""
    found: list[Entry] = []
    at = 0
    if protected:
        entries, at = _entries(trailer, 0, PROTECTED_MAGIC)
        if at != protected:
            raise ArtifactError(
                "tlv",
                gettext_noop(
                    "The protected TLVs of the MCUboot image have %(at)s bytes, and its header"
                    " says %(protected)s."
                ),
                at=at,
                protected=protected,
            )
        found += entries
    entries, at = _entries(trailer, at, INFO_MAGIC)
    return found + entries, at


def _entries(trailer: bytes, start: int, magic: int) -> tuple[list[Entry], int]:
    if len(trailer) < start + _INFO.size:
        raise ArtifactError("tlv", gettext_noop("The MCUboot image ends before its TLVs."))
    found_magic, total = _INFO.unpack_from(trailer, start)
    if found_magic != magic:
        raise ArtifactError(
            "tlv",
            gettext_noop(
                "Behind the firmware there are no TLVs of an MCUboot image: the file was cut off,"
                " or was not made by imgtool's `sign`."
            ),
        )
    end = start + total
    if total < _INFO.size or end > len(trailer):
        raise ArtifactError(
            "tlv", gettext_noop("The TLVs of the MCUboot image go beyond the end of the file.")
        )
    found: list[Entry] = []
    at = start + _INFO.size
    while at < end:
        if len(found) == _MOST_ENTRIES or at + _ENTRY.size > end:
            raise ArtifactError("tlv", gettext_noop("The TLVs of the MCUboot image are damaged."))
        kind, length = _ENTRY.unpack_from(trailer, at)
        at += _ENTRY.size
        if at + length > end:
            raise ArtifactError(
                "tlv", gettext_noop("A TLV of the MCUboot image goes beyond their end.")
            )
        found.append((kind, trailer[at : at + length]))
        at += length
    return found, end


def _sha256_of(tlvs: list[Entry]) -> bytes:
    found = [value for kind, value in tlvs if kind == Tlv.SHA256]
    if len(found) != 1 or len(found[0]) != hashlib.sha256().digest_size:
        raise ArtifactError(
            "tlv",
            gettext_noop(
                "The MCUboot image has no SHA-256 among its TLVs: have imgtool make it with --sha"
                " 256."
            ),
        )
    return found[0]


def _digest(file: IO[bytes], count: int) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    while count and (piece := file.read(min(count, _PIECE))):
        digest.update(piece)
        count -= len(piece)
    return digest.digest()
