"""Tariffs of OpenEI's Utility Rate Database (URDB) as documents of ours.

Takes what its API (version 7 and later) and its pages give: period schedules of 12 months by 24
hours of the local wall clock, for weekdays and for Saturday and Sunday, into structures of tiers;
and the same in the field names of its bulk file (`energyRateStrux`, `effectiveDate`). A record may
be one version, a list of versions or the API's answer with `items`.

Rates are the sum of `rate` and `adj`. Days are dates: `startdate` and `enddate` (the last day) as
dates in UTC, as the database itself shows them. URDB knows no public holidays.

Source: https://openei.org/services/doc/rest/util_rates/?version=8
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from billing.tariffs.importing import (
    CannotImportError,
    Dated,
    Fields,
    Imported,
    Note,
    Refused,
    decimal_of,
    parsed,
    written,
)
from billing.tariffs.importing_times import document_of
from billing.tariffs.sentences import sentence
from billing.tariffs.urdb_rates import Rates

WINDOWS: Final = (15, 30, 60)
DEFAULT_WINDOW: Final = 15

DESCRIPTIVE: Final = (
    "approved", "basicinformationcomments", "country", "demandattrs", "demandcomments",
    "demandkeyvals", "description", "eiaid", "energyattrs", "energycomments", "energykeyvals",
    "fixedattrs", "fixedkeyvals", "flatdemandcomments", "is_default", "label",
    "peakkwcapacityhistory", "peakkwcapacitymax", "peakkwcapacitymin", "peakkwhusagehistory",
    "peakkwhusagemax", "peakkwhusagemin", "phasewiring", "revisions", "sector", "servicetype",
    "source", "sourceparent", "supersedes", "uri", "voltagecategory", "voltagemaximum",
    "voltageminimum",
)  # fmt: skip

# Names of the bulk file (in lower case) that differ from those of the API.
BULK_NAMES: Final = {
    "_id": "label", "ratename": "name", "utilityname": "utility", "sourcereference": "source",
    "effectivedate": "startdate", "demandrateunits": "demandrateunit",
    "flatdemandunits": "flatdemandunit", "energyratestrux": "energyratestructure",
    "energyweekdaysched": "energyweekdayschedule", "energyweekendsched": "energyweekendschedule",
    "demandratestrux": "demandratestructure", "demandweekdaysched": "demandweekdayschedule",
    "demandweekendsched": "demandweekendschedule", "flatdemandstrux": "flatdemandstructure",
    "coincidentratestrux": "coincidentratestructure",
    "coincidentsched": "coincidentrateschedule",
}  # fmt: skip
BULK_TIERS: Final = (
    "energyratetiers", "demandratetiers", "flatdemandtiers", "coincidentratetiers",
)  # fmt: skip


def import_urdb(
    source: str | bytes | Mapping[str, Any] | Sequence[Any],
    *,
    currency: str = "USD",
    demand_window_min: int | None = None,
) -> Imported | Refused:
    """The versions of a tariff, in order of their days. `demand_window_min` is used where a record
    does not say over how many minutes demand is the mean; without it, 15 as in most of them.
    """
    try:
        records = _records(source)
        versions = [
            _version(record, f"[{number}]" if len(records) > 1 else "", currency, demand_window_min)
            for number, record in enumerate(records)
        ]
        versions.sort(key=lambda version: version.first or date.min)
        gaps = _gaps(versions)
    except CannotImportError as error:
        return Refused((error.note,))
    notes = [note for version in versions for note in version.notes]
    return Imported(tuple(versions), (*notes, *gaps))


def _records(source: str | bytes | Mapping[str, Any] | Sequence[Any]) -> Sequence[Any]:
    if isinstance(source, str | bytes):
        source = parsed(source)
    if isinstance(source, Mapping):
        source = source.get("items", [source])
    if not isinstance(source, Sequence) or isinstance(source, str | bytes) or not source:
        raise CannotImportError("record", sentence("has no tariff in it."))
    return source


def _gaps(versions: Sequence[Dated]) -> list[Note]:
    """The days between versions. Raises CannotImportError where a day has two, or no version says
    its own.
    """
    gaps = []
    for former, latter in pairwise(versions):
        if former.first is None or latter.first is None:
            raise CannotImportError("startdate", sentence("is missing in one of several versions."))
        if former.first == latter.first or (former.end and former.end > latter.first):
            raise CannotImportError(
                "startdate",
                sentence(
                    "%(first)s has two versions; import one of them alone.", first=latter.first
                ),
            )
        if former.end and former.end < latter.first:
            gaps.append(
                Note(
                    "enddate",
                    sentence(
                        "no version holds from %(end)s to %(first)s.",
                        end=former.end,
                        first=latter.first,
                    ),
                )
            )
    return gaps


def _version(record: Any, path: str, currency: str, demand_window_min: int | None) -> Dated:
    notes: list[Note] = []
    fields = Fields(_api_names(record, path), path, notes)
    fields.describe(DESCRIPTIVE)
    rates = Rates(fields, _window(fields, demand_window_min))
    components = [*_standing(fields), *rates.components()]
    _netting(fields, components)
    _ratchet(fields, components)
    components += _minimum(fields)
    _unsupported(fields)
    name = " – ".join(str(part) for part in (fields.take("utility"), fields.take("name")) if part)
    first, end = _day(fields, "startdate"), _day(fields, "enddate")
    fields.finish()
    used = {component["schedule"] for component in components if "schedule" in component}
    document = document_of(fields, name or "URDB", currency, rates.calendar(used), components)
    return Dated(document, first, end and end + timedelta(days=1), tuple(notes))


def _api_names(record: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise CannotImportError(path or "record", sentence("is no object with named fields."))
    named: dict[str, Any] = {}
    for key, value in record.items():
        lower = str(key).lower()
        name = BULK_NAMES.get(lower, lower)
        if named.get(name) is not None:
            raise CannotImportError(
                str(key), sentence("is there twice, as %(name)s too.", name=name)
            )
        if name.endswith("structure") and isinstance(value, Sequence):
            value = [_tiers_of(period) for period in value]
        named[name] = value
    return named


def _tiers_of(period: Any) -> Any:
    if isinstance(period, Mapping):
        for key, tiers in period.items():
            if str(key).lower() in BULK_TIERS and len(period) == 1:
                return tiers
    return period


def _day(fields: Fields, name: str) -> date | None:
    value = fields.take(name)
    if isinstance(value, Mapping) and set(value) == {"$date"}:
        value = value["$date"]
        if isinstance(value, int):
            value //= 1000
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            day = datetime.fromisoformat(value).date()
        else:
            day = datetime.fromtimestamp(int(value), UTC).date()
    except (ValueError, TypeError, OverflowError, OSError):
        raise CannotImportError(
            fields.name(name), sentence("is no date: %(value)s.", value=repr(value))
        ) from None
    if day == date.max:
        raise CannotImportError(
            fields.name(name), sentence("is no date: %(value)s.", value=repr(value))
        )
    return day


def _window(fields: Fields, given: int | None) -> int:
    if "demandwindow" in fields:
        window = fields.number("demandwindow")
        if window not in WINDOWS:
            raise CannotImportError(
                fields.name("demandwindow"),
                sentence(
                    "is %(window)s minutes; demand is measured over 15, 30 or 60.",
                    window=written(window),
                ),
            )
        return int(window)
    return given or DEFAULT_WINDOW


def _standing(fields: Fields) -> list[dict[str, Any]]:
    units = str(fields.take("fixedchargeunits", "$/month")).lower()
    first, monthly = fields.number("fixedchargefirstmeter", Decimal(0)), Decimal(0)
    if "fixedmonthlycharge" in fields:
        monthly = fields.number("fixedmonthlycharge")
    if first and monthly and (first != monthly or units != "$/month"):
        raise CannotImportError(
            fields.name("fixedmonthlycharge"), sentence("contradicts fixedchargefirstmeter.")
        )
    if not (amount := first or monthly):
        return []
    per = {"$/month": "month", "$/day": "day", "$/year": "year"}.get(units)
    if per is None:
        raise CannotImportError(
            fields.name("fixedchargeunits"),
            sentence("is %(units)s; known are $/day, $/month and $/year.", units=units),
        )
    return [{"name": "fixed", "kind": "standing", "amount": written(amount), "per": per}]


def _minimum(fields: Fields) -> list[dict[str, Any]]:
    units = str(fields.take("minchargeunits", "$/month")).lower()
    plain = fields.number("mincharge", Decimal(0))
    monthly = fields.number("minmonthlycharge", Decimal(0))
    yearly = fields.number("annualmincharge", Decimal(0))
    if plain and units == "$/month":
        monthly = max(monthly, plain)
    elif plain and units == "$/year":
        yearly = max(yearly, plain)
    elif plain:
        raise CannotImportError(
            fields.name("minchargeunits"),
            sentence("is %(units)s; a minimum is an amount per month.", units=units),
        )
    if yearly > 12 * monthly:
        raise CannotImportError(
            fields.name("annualmincharge"),
            sentence(
                "is %(yearly)s a year, which no minimum of a month makes sure of.",
                yearly=written(yearly),
            ),
        )
    if yearly:
        fields.note("annualmincharge", sentence("made sure of by the minimum of each month."))
    if not monthly:
        return []
    return [{"name": "minimum", "kind": "minimum", "amount": written(monthly), "of": "all"}]


def _netting(fields: Fields, components: list[dict[str, Any]]) -> None:
    """Net metering sets what is given in a period of a month against what is drawn in it."""
    rules = str(fields.take("dgrules", "")).strip().lower()
    metered = fields.take("usenetmetering")
    energy = next((one for one in components if one["name"] == "energy"), None)
    if rules == "net metering" or (metered is True and not rules):
        if energy is None:
            return
        if any(one.get("flow") == "export" for one in components):
            raise CannotImportError(
                fields.name("dgrules"),
                sentence("is net metering, and rates have prices to sell at too."),
            )
        energy["flow"] = "net"
        netting = {"name": "netting", "kind": "netting", "within": "month", "carry": "energy"}
        if "schedule" in energy:
            netting |= {"within": "period", "schedule": energy["schedule"]}
        components.append(netting | {"sell_price": "0"})
        fields.note(
            "dgrules",
            sentence("net metering by month and period; a record has no price for what is left."),
        )
    elif rules in ("", "net billing instantaneous"):
        if rules:
            fields.note(
                "dgrules", sentence("what is drawn and what is given have their own prices.")
            )
    else:
        raise CannotImportError(
            fields.name("dgrules"),
            sentence("is %(rules)s, which needs another meter or the grid's hours.", rules=rules),
        )


def _ratchet(fields: Fields, components: list[dict[str, Any]]) -> None:
    """The least demand that is billed: a part of the highest of the months before."""
    if any(decimal_of(one, "demandratchetpercentage") for one in
           fields.listed("demandratchetpercentage")):  # fmt: skip
        raise CannotImportError(
            fields.name("demandratchetpercentage"),
            sentence("does not say of which months the peak counts."),
        )
    percent = fields.number("lookbackpercent", Decimal(0))
    months = int(fields.number("lookbackrange", Decimal(0)))
    of_months = fields.listed("lookbackmonths")
    chosen = [number for number, one in enumerate(of_months, 1) if one]
    if not percent:
        return
    if percent <= 1:
        percent *= 100
    if not months and not chosen:
        raise CannotImportError(
            fields.name("lookbackrange"), sentence("is missing beside lookbackpercent.")
        )
    ratchet: dict[str, Any] = {"percent": written(percent), "months": months or 12}
    if chosen:
        ratchet["of_months"] = chosen
    for component in components:
        if component["kind"] == "demand":
            component["ratchet"] = ratchet


def _unsupported(fields: Fields) -> None:
    """Refuses what has a price that no component can say, and takes it where it is nothing."""
    for name, why in (
        (
            "fixedchargeeaaddl",
            sentence("is a charge for each further meter; add it to agreements with more."),
        ),
        ("demandreactivepowercharge", sentence("is a charge per kvar, which no component has.")),
    ):
        if fields.number(name, Decimal(0)):
            raise CannotImportError(fields.name(name), why)
    for name in ("coincidentratestructure", "coincidentrateschedule", "coincidentrateunit"):
        if fields.take(name):
            raise CannotImportError(
                fields.name(name),
                sentence("prices demand at the peak of the grid, which no meter knows."),
            )
    for name in ("demandunits", "demandrateunit", "flatdemandunit"):
        if str(fields.take(name, "kW")).lower() != "kw":
            raise CannotImportError(
                fields.name(name),
                sentence("is %(name)s; demand is priced per kW and month.", name=fields.take(name)),
            )
