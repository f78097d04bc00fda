"""Which form a record of a tariff has, and its import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from billing.tariffs.australian import import_network, import_retail
from billing.tariffs.importing import CannotImportError, Imported, Note, Refused, parsed
from billing.tariffs.published import import_plan
from billing.tariffs.sentences import sentence
from billing.tariffs.urdb import import_urdb

# Stops a file from filling memory; a tariff with all its versions has a tenth of it.
MAX_BYTES: Final = 4 * 1024 * 1024
NETWORK_PARTS: Final = frozenset({"NUOS", "DUOS", "TUOS", "JUOS", "DTUOS"})


class Form(StrEnum):
    """A form that tariffs are published in."""

    URDB = "urdb"
    PLAN = "open-energy-tariffs"
    RETAIL = "au-retail"
    NETWORK = "au-network"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a record may leave open: its currency and demand window (URDB), which part of a network
    tariff, and of a file of many tariffs which one, by its name or id.
    """

    currency: str = "USD"
    demand_window_min: int | None = None
    part: str = "NUOS"
    name: str = ""


def import_any(content: str | bytes, wishes: Wishes | None = None) -> Imported | Refused:
    """A tariff in any known form; refused with the reason if there is none, or more than one."""
    wishes = wishes or Wishes()
    try:
        if len(content) > MAX_BYTES:
            raise CannotImportError(
                "record",
                sentence("is longer than %(max_bytes)s MiB.", max_bytes=MAX_BYTES // 1024**2),
            )
        record = _chosen(parsed(content), wishes.name)
    except CannotImportError as error:
        return Refused((error.note,))
    match form_of(record):
        case Form.PLAN:
            return import_plan(record)
        case Form.RETAIL:
            return import_retail(record)
        case Form.NETWORK:
            return import_network(record, part=wishes.part)
        case Form.URDB:
            return import_urdb(
                record, currency=wishes.currency, demand_window_min=wishes.demand_window_min
            )
    return Refused((Note("record", sentence("is no tariff in a form that this import knows.")),))


def form_of(record: Any) -> Form | None:
    """The form of a record, or of the versions in a list."""
    if isinstance(record, Mapping):
        if "meta" in record and "tariff" in record:
            return Form.PLAN
        if isinstance(parameters := record.get("Parameters"), Mapping):
            return Form.NETWORK if NETWORK_PARTS & parameters.keys() else Form.RETAIL
        record = record.get("items", [record])
    if not isinstance(record, Sequence) or isinstance(record, str) or not record:
        return None
    if not all(isinstance(one, Mapping) for one in record):
        return None
    known = {"energyratestructure", "energyratestrux", "flatdemandstructure", "fixedchargeunits"}
    if all(known & {str(key).lower() for key in one} for one in record):
        return Form.URDB
    return None


def _chosen(record: Any, name: str) -> Any:
    """The one tariff meant: of several in a file the one of a name or id. Versions of one tariff
    of the Utility Rate Database are one.
    """
    if not isinstance(record, list) or form_of(record) is Form.URDB:
        return record
    found = [one for one in record if not name or name in _names(one)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotImportError("record", sentence("has no tariff “%(name)s”.", name=name))
    some = ", ".join(sorted({one for each in found[:5] for one in _names(each)[:1]}))
    raise CannotImportError(
        "record",
        sentence("has %(found)s tariffs: name one, such as %(some)s.", found=len(found), some=some),
    )


def _names(record: Any) -> list[str]:
    if not isinstance(record, Mapping):
        return []
    meta = record.get("meta")
    inner = meta if isinstance(meta, Mapping) else record
    keys = ("id", "Tariff ID", "plan", "Name")
    return [str(inner[key]) for key in keys if isinstance(inner.get(key), str)]
