"""The columns of an import: what they fill, and how a header is recognised."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from devices.models import ImportKind


@dataclass(frozen=True, slots=True)
class Column:
    """A field that a column of a file can fill.

    `words` are headers that it is recognised by, plain (see `plain`); `example` stands in the
    template file.
    """

    field: str
    label: str | Promise
    words: tuple[str, ...]
    example: str
    required: bool = False
    text: str | Promise = ""


_FACILITY: Final = (
    Column(
        "name",
        _("Name"),
        ("name", "facility", "site", "standort", "liegenschaft", "bezeichnung", "objekt"),
        "Market 14",
        required=True,
    ),
    Column(
        "parent",
        _("Part of"),
        ("parent", "partof", "parentfacility", "uebergeordnet", "teilvon", "gehoertzu"),
        "",
        text=_("The facility that it lies in, by name or path (“Campus › House A”)."),
    ),
    Column(
        "kind",
        _("Kind"),
        ("kind", "type", "art", "typ"),
        "shop",
        text=_("Site, building, area, shop, fuel station, household or generating plant."),
    ),
    Column("street", _("Street"), ("street", "address", "strasse", "adresse"), "Lindenallee 3"),
    Column("postal_code", _("Postal code"), ("postalcode", "zip", "zipcode", "plz"), "69117"),
    Column("city", _("City"), ("city", "town", "ort", "stadt"), "Heidelberg"),
    Column("region", _("Region"), ("region", "state", "bundesland"), ""),
    Column(
        "country",
        _("Country"),
        ("country", "countrycode", "land", "staat", "laendercode", "laenderkuerzel"),
        "DE",
        text=_("Two letters, for example DE."),
    ),
    Column("latitude", _("Latitude"), ("latitude", "lat", "breite", "breitengrad"), "49.4094"),
    Column(
        "longitude", _("Longitude"), ("longitude", "lon", "lng", "laenge", "laengengrad"), "8.6944"
    ),
    Column(
        "time_zone",
        _("Time zone"),
        ("timezone", "tz", "zeitzone"),
        "Europe/Berlin",
        text=_("An IANA name, for example Europe/Berlin; else the one chosen below."),
    ),
)

_DEVICE: Final = (
    Column(
        "serial",
        _("Serial"),
        ("serial", "serialnumber", "serialno", "sn", "seriennummer", "geraetenummer"),
        "WL-2600-0001",
        required=True,
    ),
    Column(
        "name",
        _("Name"),
        ("name", "device", "devicename", "bezeichnung", "geraet", "geraetename"),
        "Mains",
        text=_("Without one, the device is named by its serial."),
    ),
    Column(
        "facility",
        _("Facility"),
        ("facility", "site", "location", "standort", "liegenschaft", "objekt"),
        "Market 14",
        text=_("By name or path; without one, the facility chosen below."),
    ),
    Column(
        "device_type",
        _("Device type"),
        ("devicetype", "type", "model", "typ", "geraetetyp", "modell"),
        "METER-3P",
        text=_("By its code; without one, the type chosen below."),
    ),
    Column(
        "placement",
        _("Placement"),
        ("placement", "position", "einbauort", "messstelle", "platzierung"),
        "mains",
        text=_("Mains, sub-meter, generation, storage or sensor."),
    ),
    Column(
        "hardware_revision",
        _("Hardware revision"),
        ("hardwarerevision", "hardware", "revision", "hw", "hwrev"),
        "B",
    ),
    Column(
        "secret_sha256",
        _("Fingerprint of the secret"),
        ("secretsha256", "sha256", "fingerprint", "secretfingerprint", "fingerabdruck"),
        "",
        text=_(
            "SHA-256 of the secret that is in the device, 64 hexadecimal digits. Without one, a new"
            " secret is drawn and stands in the result file."
        ),
    ),
)

COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = MappingProxyType(
    {ImportKind.FACILITIES.value: _FACILITY, ImportKind.DEVICES.value: _DEVICE}
)

_SPELLED_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


def plain(text: str) -> str:
    """A header without case, accents and everything but letters and digits."""
    spelled = unicodedata.normalize("NFC", text).casefold().translate(_SPELLED_OUT)
    base = unicodedata.normalize("NFKD", spelled)
    return re.sub(r"[^a-z0-9]", "", base)


def guess(kind: str, header: Sequence[str]) -> list[str]:
    """For each column of a file the field that it fills by its name, or ''; each field once."""
    taken: set[str] = set()
    guessed = []
    for name in map(plain, header):
        field = next(
            (
                column.field
                for column in COLUMNS[kind]
                if column.field not in taken
                and name in {plain(column.field), plain(str(column.label)), *column.words}
            ),
            "",
        )
        taken.add(field)
        guessed.append(field)
    return guessed


def labels(kind: str) -> dict[str, str]:
    """The fields of a kind with their labels."""
    return {column.field: str(column.label) for column in COLUMNS[kind]}
