"""The cells of a row as values: what is written in them, in whose words, and what is wrong.

Pure: texts in, values and problems out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import override

from devices.domain.imports_columns import labels, plain
from devices.models import Device, Facility, FacilityKind, ImportKind, Placement
from devices.models.device_type import SERIAL_PATTERN
from tenants import time_zones

_LANGUAGES: Final = ("en", "de")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in one column of a row; `field` '' for the row as a whole."""

    field: str
    text: str


class BadCell(ValueError):  # noqa: N818 - it reads as what happened
    """A cell has no value of its field; the message is a sentence."""


def facility_values(cells: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a facility's row by field, as JSON holds them; absent columns are left out."""
    values, problems = _read(
        cells,
        {
            "name": _text(Facility, "name"),
            "parent": lambda text: text,
            "kind": lambda text: _choice(text, FacilityKind),
            "street": _text(Facility, "street"),
            "postal_code": _text(Facility, "postal_code"),
            "city": _text(Facility, "city"),
            "region": _text(Facility, "region"),
            "country": _country,
            "latitude": lambda text: _degrees(text, 90),
            "longitude": lambda text: _degrees(text, 180),
            "time_zone": _time_zone,
        },
    )
    if not values.get("name"):
        problems.append(_missing(ImportKind.FACILITIES, "name"))
    read = not any(one.field in {"latitude", "longitude"} for one in problems)
    if read and (values.get("latitude") is None) != (values.get("longitude") is None):
        problems.append(Problem("latitude", _("Give both latitude and longitude, or neither.")))
    return values, problems


def device_values(cells: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a device's row by field, as JSON holds them; absent columns are left out."""
    values, problems = _read(
        cells,
        {
            "serial": _serial,
            "name": _text(Device, "name"),
            "facility": lambda text: text,
            "device_type": lambda text: text,
            "placement": lambda text: _choice(text, Placement),
            "hardware_revision": _text(Device, "hardware_revision"),
            "secret_sha256": _fingerprint,
        },
    )
    if not values.get("serial") and not any(one.field == "serial" for one in problems):
        problems.append(_missing(ImportKind.DEVICES, "serial"))
    return values, problems


def _read(
    cells: Mapping[str, str], readers: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for field, text in cells.items():
        try:
            values[field] = readers[field](text)
        except BadCell as error:
            problems.append(Problem(field, str(error)))
    return values, problems


def _missing(kind: ImportKind, field: str) -> Problem:
    text = _("“%(column)s” is empty: every row needs it.")
    return Problem(field, text % {"column": labels(kind)[field]})


def _text(model: type[Facility | Device], field: str) -> Any:
    longest = getattr(model._meta.get_field(field), "max_length", None)  # noqa: SLF001 - documented

    def read(text: str) -> str:
        if longest is not None and len(text) > longest:
            raise BadCell(
                _("The text has %(length)d characters; at most %(most)d fit.")
                % {"length": len(text), "most": longest}
            )
        return text

    return read


def _choice(text: str, choices: type[TextChoices]) -> str:
    """A code, or its name in a language of the portal; '' stays for the default."""
    if not text:
        return ""
    if code := _codes(choices).get(plain(text)):
        return code
    known = ", ".join(str(member.label) for member in choices)
    raise BadCell(
        _("“%(text)s” is not known here. Choose one of: %(known)s.")
        % {"text": text[:40], "known": known}
    )


@cache
def _codes(choices: type[TextChoices]) -> dict[str, str]:
    """What may be written for each code: itself, and its name in each language."""
    codes = {plain(member.value): str(member.value) for member in choices}
    for language in _LANGUAGES:
        with override(language):
            codes |= {plain(str(member.label)): str(member.value) for member in choices}
    return codes


def _country(text: str) -> str:
    code = text.upper()
    if code and not re.fullmatch(r"[A-Z]{2}", code):
        raise BadCell(_("A country is written as two letters, for example DE."))
    return code


def _degrees(text: str, most: int) -> str | None:
    """Degrees with a decimal point or comma, as text with six decimals; None when empty."""
    if not text:
        return None
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadCell(
            _("“%(text)s” is not a number of degrees, such as 49.4094.") % {"text": text[:40]}
        )
    if abs(number) > most:
        raise BadCell(_("The degrees must lie between −%(most)d and %(most)d.") % {"most": most})
    return str(round(number, 6).quantize(Decimal("0.000001")))


def _time_zone(text: str) -> str:
    if text and text not in time_zones.known():
        raise BadCell(
            _("“%(text)s” is not a time zone: use an IANA name such as Europe/Berlin.")
            % {"text": text[:40]}
        )
    return text


def _serial(text: str) -> str:
    if text and not re.fullmatch(SERIAL_PATTERN, text):
        raise BadCell(
            _(
                "A serial number begins with a letter or digit and has letters, digits, dots,"
                " hyphens and underscores, at most 64 of them."
            )
        )
    return text


def _fingerprint(text: str) -> str:
    digits = re.sub(r"[\s:]", "", text).lower()
    if digits and not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise BadCell(_("A fingerprint has 64 hexadecimal digits (SHA-256 of the secret)."))
    return digits
