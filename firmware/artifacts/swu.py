"""Update files of SWUpdate: a cpio archive (`newc`, or `crc` with sums) whose first member is
`sw-description`; see SWUpdate's documentation, "SWUpdate: syntax and tags". What the description
says is SWUpdate's to judge on the device, its signature too; here it is whether the archive is
whole, and which version it claims.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, Final

from firmware.artifacts.errors import ArtifactError, gettext_noop

_NEWC: Final = b"070701"
_CRC: Final = b"070702"
_HEADER: Final = 110
_END: Final = "TRAILER!!!"
_DESCRIPTION: Final = "sw-description"
# SWUpdate's own bounds are of this size; a description is a page of text.
_LONGEST_NAME: Final = 255
_LONGEST_DESCRIPTION: Final = 1 << 20
_MOST_MEMBERS: Final = 1_000
_PIECE: Final = 1 << 16
# `version = "1.0";` of libconfig, `"version": "1.0"` of JSON.
_VERSION: Final = re.compile(r"^[\s{]*\"?version\"?\s*[=:]\s*\"([^\"\n]{1,64})\"", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Archive:
    """What is in an update file; `version` is empty where the description names none."""

    version: str
    members: tuple[tuple[str, int], ...]
    signed: bool

    def facts(self) -> dict[str, object]:
        """The same as JSON, for a row of the database."""
        return {
            "format": "swu",
            "version": self.version,
            "members": [list(one) for one in self.members],
            "boot_signature": self.signed,
        }


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    sum: int | None  # of the bytes, modulo 2³²; None in an archive without sums


def looks_like(start: bytes) -> bool:
    """Whether a file that begins like this claims to be such an archive."""
    return start.startswith((_NEWC, _CRC))


def read_archive(file: IO[bytes], size: int) -> Archive:
    """The archive in a file of `size` bytes, its sums verified; raises ArtifactError."""
    file.seek(0)
    members: list[tuple[str, int]] = []
    description = ""
    while (member := _member(file, size)).name != _END:
        if len(members) == _MOST_MEMBERS:
            raise ArtifactError(
                "header",
                gettext_noop("The archive has more than %(most)s members."),
                most=_MOST_MEMBERS,
            )
        if not members:
            description = _description(file, member)
        _skim(file, member)
        members.append((member.name, member.size))
    if not members:
        raise ArtifactError("header", gettext_noop("The SWUpdate file is an empty archive."))
    found = _VERSION.search(description)
    return Archive(
        version=found[1] if found else "",
        members=tuple(members),
        signed=any(name == _DESCRIPTION + ".sig" for name, _size in members),
    )


def _member(file: IO[bytes], size: int) -> _Member:
    head = file.read(_HEADER)
    if len(head) < _HEADER or head[:6] not in (_NEWC, _CRC):
        raise ArtifactError(
            "header",
            gettext_noop(
                "The SWUpdate file is damaged or cut off: a member of its archive is missing."
            ),
        )
    try:
        numbers = [int(head[at : at + 8], 16) for at in range(6, _HEADER, 8)]
    except ValueError:
        raise ArtifactError(
            "header", gettext_noop("A header in the SWUpdate file is damaged.")
        ) from None
    length, name_length, checksum = numbers[6], numbers[11], numbers[12]
    if not 0 < name_length <= _LONGEST_NAME or file.tell() + name_length + length > size:
        raise ArtifactError(
            "header",
            gettext_noop("The SWUpdate file is cut off: its archive tells of more than there is."),
        )
    name = file.read(name_length).rstrip(b"\0").decode("utf-8", "replace")
    _align(file)
    return _Member(name, length, checksum if head[:6] == _CRC else None)


def _align(file: IO[bytes]) -> None:
    file.seek(-file.tell() % 4, 1)


def _description(file: IO[bytes], member: _Member) -> str:
    if member.name != _DESCRIPTION:
        raise ArtifactError(
            "header",
            gettext_noop(
                "The first member of an SWUpdate file is %(description)s; here it is %(name)s."
            ),
            description=_DESCRIPTION,
            name=repr(member.name),
        )
    if member.size > _LONGEST_DESCRIPTION:
        raise ArtifactError(
            "header",
            gettext_noop("%(description)s has more than %(most)s bytes."),
            description=_DESCRIPTION,
            most=_LONGEST_DESCRIPTION,
        )
    start = file.tell()
    text = file.read(member.size).decode("utf-8", "replace")
    file.seek(start)
    return text


def _skim(file: IO[bytes], member: _Member) -> None:
    """Go behind the bytes of a member, and compare their sum."""
    left, total = member.size, 0
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise ArtifactError(
                "header",
                gettext_noop("The SWUpdate file ends within %(name)s."),
                name=repr(member.name),
            )
        if member.sum is not None:
            total += sum(piece)
        left -= len(piece)
    if member.sum is not None and total & 0xFFFFFFFF != member.sum:
        raise ArtifactError(
            "digest",
            gettext_noop("The sum of %(name)s in the SWUpdate file is wrong: it was damaged."),
            name=repr(member.name),
        )
    _align(file)
