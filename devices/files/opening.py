"""The bytes and the text in a file: gzip and zip unpacked, with limits."""

from __future__ import annotations

import codecs
import io
import struct
import zipfile
import zlib
from typing import Final

from devices.files.problems import NotAMeterFileError

# Ten years of six registers in 5-minute intervals are about 40 MB as NEM12.
MAX_BYTES: Final = 64_000_000
# As many values (an interval takes 25 bytes once read, and twice that meanwhile).
MAX_VALUES: Final = 4_000_000

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_STEP: Final = 1 << 20


def unpacked(data: bytes) -> bytes:
    """What is in a file, unpacked once where it is gzip or zip. Raises NotAMeterFileError."""
    if data.startswith(b"\x1f\x8b"):
        data = _gunzipped(data)
    elif data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        data = _unzipped(data)
    if len(data) > MAX_BYTES:
        raise _too_large()
    return data


def check_count(count: int) -> None:
    """Raises NotAMeterFileError when a file has too many values."""
    if count > MAX_VALUES:
        raise NotAMeterFileError(
            "too_many_values",
            f"The file has more than {MAX_VALUES:,} values. Split it and read the parts.",
        )


def text_of(data: bytes) -> str:
    """UTF-8 whenever it is; else what spreadsheet programs write in western Europe. Raises
    NotAMeterFileError.
    """
    text = _decoded(data)
    if "\0" in text:
        raise NotAMeterFileError(
            "not_text",
            "This is neither NEM12, NEM13, Green Button nor a table: it is no text. Save a"
            " spreadsheet as CSV first.",
        )
    return text


def _decoded(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise NotAMeterFileError(
                    "damaged", "The file is damaged: its text cannot be read. Ask for it again."
                ) from error
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _gunzipped(data: bytes) -> bytes:
    """All members of a gzip file, never more than MAX_BYTES of them: a bomb ends here."""
    out = bytearray()
    rest = data
    while rest:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            while not unpacker.eof:
                out += unpacker.decompress(rest, _STEP)
                if len(out) > MAX_BYTES:
                    raise _too_large()
                rest = unpacker.unconsumed_tail
                if not rest and not unpacker.eof:
                    # What is left inside after the last input is less than a step.
                    out += unpacker.flush()
                    break
        except zlib.error as error:
            raise _damaged("gzip") from error
        if not unpacker.eof:
            raise _damaged("gzip")
        # Some programs fill the last block with zeros.
        rest = unpacker.unused_data.lstrip(b"\0")
    return bytes(out)


def _unzipped(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise NotAMeterFileError(
                    "archive",
                    f"The zip file has {len(members)} files in it; it must have one. Send the"
                    " others by themselves.",
                )
            (member,) = members
            if member.flag_bits & 1 or member.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise NotAMeterFileError(
                    "archive",
                    "The zip file is encrypted or packed in a way that is not read. Unpack it"
                    " first.",
                )
            with archive.open(member) as file:
                # Never more than the limit, whatever size the archive says it has.
                return file.read(MAX_BYTES + 1)
    except NotAMeterFileError:
        raise
    except (
        # The library has no one exception for nonsense: a wrong offset is a ValueError, an empty
        # name an IndexError.
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ArithmeticError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _damaged("zip") from error


def _damaged(kind: str) -> NotAMeterFileError:
    return NotAMeterFileError(
        "damaged", f"The {kind} file is damaged or incomplete. Ask for it again."
    )


def _too_large() -> NotAMeterFileError:
    return NotAMeterFileError(
        "too_large",
        f"The file has more than {MAX_BYTES // 1_000_000} MB unpacked. Split it and read the"
        " parts.",
    )
