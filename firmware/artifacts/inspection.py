"""What a file is: which format, which version it claims, its digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import IO, Final

from devices.versions import Version, VersionError
from firmware.artifacts import mcuboot, swu
from firmware.artifacts.errors import ArtifactError, gettext_noop

_PIECE: Final = 1 << 16
# Longer than any header of a key file with its comments.
_HEAD: Final = 4_096
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
# PKCS#8 of an Ed25519 key (RFC 8410) in DER, without and with the public key.
_PRIVATE_DER: Final = re.compile(
    rb"\A\x30.\x02\x01[\x00\x01]\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file as it was found: `sha256` in hexadecimal, `size` in bytes, `header` as JSON (at least
    `format`; `version` where the format tells one).
    """

    sha256: str
    size: int
    header: dict[str, object]

    @property
    def format(self) -> str:
        """`mcuboot`, `swu` or `raw`."""
        return str(self.header["format"])

    @property
    def version(self) -> str:
        """The version that the file claims; empty where its format tells none."""
        return str(self.header.get("version", ""))


def inspect(file: IO[bytes], *, most: int) -> Inspected:
    """Read a file of at most `most` bytes from its beginning; raises ArtifactError.

    It is read in pieces, twice, whatever its size.
    """
    digest, size, head = _read(file, most)
    if is_private_key(head):
        raise ArtifactError(
            "private_key",
            gettext_noop(
                "This file is a private key, and was not kept. Private keys stay where releases"
                " are signed: whoever has one can sign for your devices."
            ),
        )
    if mcuboot.looks_like(head):
        facts = mcuboot.read_image(file, size).facts()
    elif swu.looks_like(head):
        facts = swu.read_archive(file, size).facts()
    else:
        facts = {"format": "raw"}
    return Inspected(sha256=digest, size=size, header=facts)


def require_version(found: Inspected, wanted: Version) -> None:
    """Raises ArtifactError when the file itself tells of another version.

    MCUboot knows three numbers and a build number, and no pre-releases: these are compared. What
    SWUpdate calls a version is compared as text unless both are semantic versions.
    """
    if not found.version:
        return
    if found.format == "mcuboot":
        told = Version.parse(found.version)
        same = (told.major, told.minor, told.patch) == (wanted.major, wanted.minor, wanted.patch)
        builds = wanted.build if wanted.build.isdigit() else told.build
        same = same and (told.build or "0") == (builds or "0")
    else:
        same = _same_text(found.version, wanted)
    if not same:
        raise ArtifactError(
            "version",
            gettext_noop(
                "The header of the file says version %(told)s, and the release is to be"
                " %(wanted)s. Build the image with this version, or correct the release."
            ),
            told=found.version,
            wanted=wanted,
        )


def _same_text(told: str, wanted: Version) -> bool:
    try:
        return Version.parse(told).key == wanted.key
    except VersionError:
        return told == str(wanted)


def is_private_key(head: bytes) -> bool:
    """Whether a file that begins like this is a private key (PEM, OpenSSH, or Ed25519 in DER)."""
    return _PRIVATE.search(head) is not None or _PRIVATE_DER.match(head) is not None


def _read(file: IO[bytes], most: int) -> tuple[str, int, bytes]:
    file.seek(0)
    digest, size, head = hashlib.sha256(), 0, b""
    while piece := file.read(_PIECE):
        size += len(piece)
        if size > most:
            raise ArtifactError(
                "size",
                gettext_noop(
                    "The file has more than %(most)s bytes, the most that a release may have."
                ),
                most=most,
            )
        if len(head) < _HEAD:
            head = (head + piece)[:_HEAD]
        digest.update(piece)
    if not size:
        raise ArtifactError("size", gettext_noop("The file is empty."))
    return digest.hexdigest(), size, head
