"""The dry run: what each row of a file would do, and why not.

Pure: the rows, what there is, and what was chosen go in; a plan for every row comes out. An empty
cell leaves what is there; a column that no field was chosen for is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.utils.translation import gettext as _

from devices.domain.imports_columns import labels
from devices.domain.imports_reading import Line
from devices.domain.imports_values import BadCell, Problem, device_values, facility_values
from devices.domain.registry_queries import PATH_SEPARATOR
from devices.models import DeviceState, FacilityKind, ImportKind, Outcome, Placement

# A place as the names from the top to itself.
Path = tuple[str, ...]

_LABEL: Final = 200


@dataclass(frozen=True, slots=True)
class Options:
    """What was chosen for the whole file; see `portal/enterprise/registry/forms.py`.

    `lifetime_days` is that of claim codes, which planned devices get with `claim_codes`.
    """

    kind: str = FacilityKind.SITE.value
    time_zone: str = "UTC"
    facility_id: int | None = None
    device_type_id: int | None = None
    state: str = DeviceState.PLANNED.value
    claim_codes: bool = True
    lifetime_days: int = 365


@dataclass(frozen=True, slots=True)
class Planned:
    """What a row would do. `changes`: (field, before, after); `values` are for doing it."""

    line: int
    label: str
    outcome: Outcome
    values: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[tuple[str, Any, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    subject_id: int | None = None


@dataclass(frozen=True, slots=True)
class Existing:
    """A facility or device that there is; `fixed`: its facility is final."""

    pk: int
    values: Mapping[str, Any]
    fixed: bool = False
    state: str = ""


class Places:
    """Facilities by path, and by name where only one has it."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths: set[Path] = set()
        self._by_name: dict[str, set[Path]] = {}
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """One more."""
        self._paths.add(path)
        self._by_name.setdefault(path[-1], set()).add(path)

    def named(self, name: str) -> frozenset[Path]:
        """Those of a name, wherever they lie."""
        return frozenset(self._by_name.get(name, ()))

    def find(self, text: str) -> Path:
        """The place that a cell names, by path or by a name of its own; raises BadCell."""
        path = tuple(part.strip() for part in text.replace(">", "›").split("›"))
        if path in self._paths and len(path) > 1:
            return path
        found = self.named(text)
        if len(found) == 1:
            return next(iter(found))
        if len(found) > 1:
            paths = ", ".join(sorted(PATH_SEPARATOR.join(one) for one in found)[:3])
            raise BadCell(
                _("Several facilities are named “%(name)s”. Write the path: %(paths)s.")
                % {"name": text[:80], "paths": paths}
            )
        raise BadCell(
            _("There is no facility “%(name)s” here. A new one must stand in an earlier line.")
            % {"name": text[:80]}
        )


def plan_facilities(
    lines: Sequence[Line],
    columns: Sequence[str],
    options: Options,
    existing: Mapping[Path, Existing],
) -> list[Planned]:
    """What each row of a list of facilities would do."""
    places = Places(existing)
    met: dict[Path, int] = {}
    plan = []
    for line in lines:
        cells, problems = _cells(line, columns)
        values, found = facility_values(cells)
        problems += found
        path, at = _facility_path(values, places, has_parent="parent" in columns)
        problems += at
        if path in met:
            text = _("Line %(line)d names the same facility.") % {"line": met[path]}
            problems.append(Problem("name", text))
        label = PATH_SEPARATOR.join(path)[:_LABEL]
        if problems:
            plan.append(Planned(line.number, label, Outcome.REFUSE, problems=tuple(problems)))
            continue
        met[path] = line.number
        places.add(path)
        plan.append(_facility(line.number, label, path, values, options, existing.get(path)))
    return plan


def _facility_path(
    values: Mapping[str, Any], places: Places, *, has_parent: bool
) -> tuple[Path, list[Problem]]:
    name = values.get("name", "")
    if values.get("parent"):
        try:
            return (*places.find(values["parent"]), name), []
        except BadCell as error:
            return (name,), [Problem("parent", str(error))]
    alike = places.named(name)
    # A file without a column for it means the facility of the name, wherever it lies.
    if not has_parent and len(alike) == 1:
        return next(iter(alike)), []
    return (name,), []


def _facility(
    line: int,
    label: str,
    path: Path,
    values: Mapping[str, Any],
    options: Options,
    found: Existing | None,
) -> Planned:
    given = {
        name: value
        for name, value in values.items()
        if name not in {"name", "parent"} and value not in ("", None)
    }
    if found is not None:
        return _compared(line, label, given, found)
    made = {"kind": options.kind, "time_zone": options.time_zone, **given}
    return Planned(line, label, Outcome.CREATE, {**made, "path": list(path)})


def plan_devices(
    lines: Sequence[Line],
    columns: Sequence[str],
    options: Options,
    existing: Mapping[str, Existing],
    places: Mapping[Path, int],
    types: Mapping[str, int],
) -> list[Planned]:
    """What each row of a list of devices would do; `types` are ids by code."""
    planner = _Devices(options, existing, Places(places), places, types)
    return [planner.plan(line, columns) for line in lines]


class _Devices:
    """The devices of one file; remembers which serials it has met."""

    def __init__(
        self,
        options: Options,
        existing: Mapping[str, Existing],
        places: Places,
        ids: Mapping[Path, int],
        types: Mapping[str, int],
    ) -> None:
        self._options = options
        self._existing = existing
        self._places = places
        self._ids = ids
        self._types = types
        self._met: dict[str, int] = {}

    def plan(self, line: Line, columns: Sequence[str]) -> Planned:
        """What one row would do."""
        cells, problems = _cells(line, columns)
        values, found = device_values(cells)
        problems += found
        serial = values.get("serial", "")
        if serial and (before := self._met.setdefault(serial, line.number)) != line.number:
            text = _("Line %(line)d has the same serial number.") % {"line": before}
            problems.append(Problem("serial", text))
        given = {name: value for name, value in values.items() if value}
        problems += self._resolve(given, given.pop("facility", ""), given.pop("device_type", ""))
        known = self._existing.get(serial)
        if not problems:
            problems += _fixed(given, known) if known else self._complete(given)
        if problems:
            return Planned(line.number, serial, Outcome.REFUSE, problems=tuple(problems))
        if known is not None:
            given.pop("serial")
            given.pop("secret_sha256", "")
            return _compared(line.number, serial, given, known)
        return Planned(line.number, serial, Outcome.CREATE, given)

    def _resolve(self, given: dict[str, Any], facility: str, device_type: str) -> list[Problem]:
        """Names of facility and type become ids in `given`."""
        problems = []
        if facility:
            try:
                given["facility"] = self._ids[self._places.find(facility)]
            except BadCell as error:
                problems.append(Problem("facility", str(error)))
        if device_type:
            if device_type in self._types:
                given["device_type"] = self._types[device_type]
            else:
                text = _("There is no device type with the code “%(code)s” here.")
                problems.append(Problem("device_type", text % {"code": device_type[:40]}))
        return problems

    def _complete(self, given: dict[str, Any]) -> list[Problem]:
        """A new device takes from the options what its row leaves open."""
        given.setdefault("name", given["serial"])
        given.setdefault("placement", Placement.SUBMETER.value)
        given.setdefault("facility", self._options.facility_id)
        given.setdefault("device_type", self._options.device_type_id)
        problems = []
        if given["facility"] is None:
            text = _("No facility is given, and none is chosen for all rows.")
            problems.append(Problem("facility", text))
        if given["device_type"] is None:
            text = _("No device type is given, and none is chosen for all rows.")
            problems.append(Problem("device_type", text))
        return problems


def _fixed(given: Mapping[str, Any], known: Existing) -> list[Problem]:
    """What an import cannot change of a device."""
    differs = {name for name in given if given[name] != known.values.get(name)}
    if known.state == DeviceState.REVOKED and differs - {"secret_sha256"}:
        return [Problem("", _("The device is revoked: its record is not changed any more."))]
    problems = []
    if "device_type" in differs:
        text = _("The device is registered with another type. Change it on the device’s page.")
        problems.append(Problem("device_type", text))
    if "facility" in differs and known.fixed:
        text = _(
            "The device has reported or is allocated, so it keeps its facility. If it was moved,"
            " register it anew."
        )
        problems.append(Problem("facility", text))
    if "secret_sha256" in differs:
        text = _("The device has another secret. Give it a new one on the device’s page.")
        problems.append(Problem("secret_sha256", text))
    return problems


def _compared(line: int, label: str, given: Mapping[str, Any], found: Existing) -> Planned:
    changes = tuple(
        (name, found.values.get(name), value)
        for name, value in given.items()
        if found.values.get(name) != value
    )
    outcome = Outcome.CHANGE if changes else Outcome.LEAVE
    changed = {name: after for name, _before, after in changes}
    return Planned(line, label, outcome, changed, changes, (), found.pk)


def _cells(line: Line, columns: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """The cells of the row by field; cells beyond the header are a misplaced separator."""
    problems = []
    if any(line.cells[len(columns) :]):
        text = _("The row has %(found)d cells, the first line %(named)d. Is a separator misplaced?")
        values = {"found": len(line.cells), "named": len(columns)}
        problems.append(Problem("", text % values))
    padded = (*line.cells, *[""] * (len(columns) - len(line.cells)))
    cells = {name: cell for name, cell in zip(columns, padded, strict=False) if name}
    return cells, problems


def problem_text(kind: ImportKind | str, problem: Problem) -> str:
    """The problem with its column, in one line."""
    column = labels(kind).get(problem.field)
    return f"{column}: {problem.text}" if column else problem.text
