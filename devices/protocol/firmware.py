"""Firmware updates on the wire: what is offered, asked for, sent and withdrawn (family 4).

None of these is sequenced. What a device makes of an offer it says by events (docs/protocol.md,
"Firmware updates"), which are sequenced and buffered like everything that must not be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from devices.protocol import fields
from devices.protocol.codes import ChunkStatus, MessageType, OfferFlag, PayloadKind
from devices.protocol.errors import TextError
from devices.protocol.fields import MAX_RETRY_S, MAX_TEXT, FieldReader
from devices.protocol.varint import uvarint

UPDATE_ID_BYTES: Final = 16
SHA256_BYTES: Final = 32
# Ed25519 (RFC 8032).
SIGNATURE_BYTES: Final = 64
# A manifest with all its lists full; nobody stores more before it has checked the signature.
MAX_MANIFEST: Final = 2_048
# More than any device of this kind has flash; it keeps offsets within 32 bits.
MAX_PAYLOAD: Final = (1 << 32) - 1
# What a device holds in memory at once, and what one answer may take of a shared link.
MIN_CHUNK: Final = 64
MAX_CHUNK: Final = 32_768
MAX_RATE: Final = 1 << 40
MAX_CONFIRM_S: Final = 604_800
MAX_URL: Final = 1_024
NO_FLAG: Final = OfferFlag(0)


@dataclass(frozen=True, slots=True)
class Offer:
    """There is a firmware for you: what it is, who has signed it, and how to get it.

    `manifest` are the bytes that were signed (`manifest.Manifest`), `signature` the 64 bytes over
    `manifest.signed_bytes`. The payload (`PayloadKind`) has `payload_size` bytes with the digest
    `payload_sha256`; a delta fits the image with the digest `base_sha256` alone. `rate` (bytes/s,
    0: as fast as it goes) is kept by the server; a device asks for `chunk` bytes at a time and
    has `confirm_within_s` from its restart to confirm. `url`: where to get the payload over HTTP.
    """

    type: ClassVar[MessageType] = MessageType.OFFER
    update_id: bytes
    manifest: bytes
    signature: bytes
    payload_sha256: bytes
    payload_size: int
    payload_kind: int = PayloadKind.IMAGE
    base_sha256: bytes = b""
    rate: int = 0
    chunk: int = 4_096
    confirm_within_s: int = 600
    flags: OfferFlag = NO_FLAG
    url: str = ""

    def body(self) -> bytes:
        return b"".join(
            (
                fields.exactly(self.update_id, UPDATE_ID_BYTES, "an update id"),
                fields.blob(self.manifest, 1, MAX_MANIFEST),
                fields.exactly(self.signature, SIGNATURE_BYTES, "a signature"),
                fields.byte(self.payload_kind),
                fields.exactly(self.payload_sha256, SHA256_BYTES, "a SHA-256"),
                fields.number(self.payload_size, MAX_PAYLOAD, 1),
                digest_or_none(self.base_sha256),
                fields.number(self.rate, MAX_RATE),
                fields.number(self.chunk, MAX_CHUNK, MIN_CHUNK),
                fields.number(self.confirm_within_s, MAX_CONFIRM_S, 1),
                uvarint(self.flags),
                fields.text(self.url, 0, MAX_URL),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        update_id = read.raw(UPDATE_ID_BYTES)
        manifest = read.blob(1, MAX_MANIFEST)
        signature = read.raw(SIGNATURE_BYTES)
        payload_kind = read.byte()
        payload_sha256 = read.raw(SHA256_BYTES)
        payload_size = read.number(MAX_PAYLOAD, 1)
        return cls(
            update_id,
            manifest,
            signature,
            payload_sha256,
            payload_size,
            payload_kind,
            read_digest_or_none(read),
            read.number(MAX_RATE),
            read.number(MAX_CHUNK, MIN_CHUNK),
            read.number(MAX_CONFIRM_S, 1),
            OfferFlag(read.number()),
            read.text(0, MAX_URL),
        )


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send me `length` bytes of the payload from `offset` on."""

    type: ClassVar[MessageType] = MessageType.FETCH
    update_id: bytes
    offset: int
    length: int

    def body(self) -> bytes:
        return (
            fields.exactly(self.update_id, UPDATE_ID_BYTES, "an update id")
            + fields.number(self.offset, MAX_PAYLOAD)
            + fields.number(self.length, MAX_CHUNK, 1)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(read.raw(UPDATE_ID_BYTES), read.number(MAX_PAYLOAD), read.number(MAX_CHUNK, 1))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The answer to one FETCH; `status` is a `ChunkStatus`, `offset` that of the FETCH.

    DATA carries what was asked for, less only where the payload ends. NOT_NOW: ask again after
    `retry_after_s`.
    """

    type: ClassVar[MessageType] = MessageType.CHUNK
    update_id: bytes
    status: int
    offset: int
    retry_after_s: int = 0
    data: bytes = b""

    def body(self) -> bytes:
        return b"".join(
            (
                fields.exactly(self.update_id, UPDATE_ID_BYTES, "an update id"),
                fields.byte(self.status),
                fields.number(self.offset, MAX_PAYLOAD),
                fields.number(self.retry_after_s, MAX_RETRY_S),
                fields.blob(self.data, 0, MAX_CHUNK),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(
            read.raw(UPDATE_ID_BYTES),
            read.byte(),
            read.number(MAX_PAYLOAD),
            read.number(MAX_RETRY_S),
            read.blob(0, MAX_CHUNK),
        )

    @property
    def name(self) -> str:
        """The status in words, e.g. `not_now`; `status 9` for one that is not known here."""
        try:
            return ChunkStatus(self.status).name.lower()
        except ValueError:
            return f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The offer no longer stands; `text` says why, for the device's log."""

    type: ClassVar[MessageType] = MessageType.WITHDRAW
    update_id: bytes
    text: str = ""

    def body(self) -> bytes:
        return fields.exactly(self.update_id, UPDATE_ID_BYTES, "an update id") + fields.text(
            self.text, 0, MAX_TEXT
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(read.raw(UPDATE_ID_BYTES), read.text(0, MAX_TEXT))


def digest_or_none(value: bytes) -> bytes:
    """A SHA-256 with its length in front, or the length 0."""
    if len(value) not in (0, SHA256_BYTES):
        raise TextError(f"a SHA-256 of {len(value)} bytes: it has {SHA256_BYTES}, or 0 for none")
    return fields.blob(value, 0, SHA256_BYTES)


def read_digest_or_none(read: FieldReader) -> bytes:
    """What `digest_or_none` wrote."""
    value = read.blob(0, SHA256_BYTES)
    if len(value) not in (0, SHA256_BYTES):
        raise TextError(f"a SHA-256 of {len(value)} bytes: it has {SHA256_BYTES}, or 0 for none")
    return value
