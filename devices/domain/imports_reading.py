"""A CSV file as people save it: UTF-8, UTF-16 or Windows-1252, separated by `;`, `,` or tabs.

Pure: bytes in, lines out. Caps keep a file from filling memory or holding a worker.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import Final

from django.utils.formats import number_format
from django.utils.translation import gettext as _

MAX_BYTES: Final = 5_000_000
MAX_ROWS: Final = 20_000
MAX_COLUMNS: Final = 60
# The longest text of any field has 120 characters; a longer cell is a missing quotation mark.
MAX_CELL: Final = 2_000
SEPARATORS: Final = (";", ",", "\t")

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(Exception):  # noqa: N818 - it reads as what happened
    """The file cannot be read; the message is a sentence for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row; `number` is the line of the file that it begins on."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A file: its header and what follows, empty lines left out; texts are stripped."""

    encoding: str
    separator: str
    header: tuple[str, ...]
    lines: tuple[Line, ...]


def read(content: bytes) -> Table:
    """The table in a file. Raises Unreadable."""
    if len(content) > MAX_BYTES:
        raise Unreadable(
            _("The file has %(size)s MB; at most %(most)d MB can be imported. Split it.")
            % {"size": number_format(len(content) / 1e6, 1), "most": MAX_BYTES // 1_000_000}
        )
    text, encoding = _decode(content)
    if "\0" in text:
        raise Unreadable(
            _("This is no text file. Save the table as CSV in your spreadsheet program first.")
        )
    separator = _separator(text)
    lines = _lines(text, separator)
    if not lines:
        raise Unreadable(_("The file is empty. Its first line must name the columns."))
    header = lines[0].cells
    if len(header) > MAX_COLUMNS:
        raise Unreadable(
            _("The first line has %(count)d columns; at most %(most)d can be imported.")
            % {"count": len(header), "most": MAX_COLUMNS}
        )
    if len(lines) == 1:
        raise Unreadable(_("There is no row below the line that names the columns."))
    return Table(encoding, separator, header, tuple(lines[1:]))


def _decode(content: bytes) -> tuple[str, str]:
    """UTF-8 whenever it is; else what spreadsheet programs write in western Europe."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise Unreadable(_("The file is damaged: its text cannot be read.")) from error
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _separator(text: str) -> str:
    """The separator that the first line has most of outside of quotation marks."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    plain = re.sub(r'"[^"]*"', "", first)
    return max(SEPARATORS, key=plain.count)


def _lines(text: str, separator: str) -> list[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[Line] = []
    before = 0
    try:
        for cells in reader:
            number, before = before + 1, reader.line_num
            stripped = tuple(cell.strip() for cell in cells)
            if not any(stripped):
                continue
            if len(lines) > MAX_ROWS:
                raise Unreadable(
                    _("The file has more than %(most)d rows. Split it and import the parts.")
                    % {"most": MAX_ROWS}
                )
            if any(len(cell) > MAX_CELL for cell in stripped):
                raise Unreadable(
                    _(
                        "Line %(line)d has a cell of more than %(most)d characters. Is a quotation"
                        " mark missing there?"
                    )
                    % {"line": number, "most": MAX_CELL}
                )
            lines.append(Line(number, stripped))
    except csv.Error as error:
        raise Unreadable(
            _("Line %(line)d cannot be read: a quotation mark is missing or stands alone.")
            % {"line": before + 1}
        ) from error
    return lines
