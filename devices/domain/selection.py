"""Which devices are meant: all, groups, a rule, single ones; as a value and as a query set.

A selection is stored as JSON and asked again each time, so that a device which comes to satisfy it
later belongs to it. What it finds is never more than the caller's scope holds. Revoked devices are
records of the past: they belong to a selection only when they are named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from django.db import connection
from django.db.models import Count, F, Q, QuerySet, TextField, Value
from django.db.models.functions import Coalesce, NullIf
from django.utils.translation import gettext as _

from devices.commands.kinds import shown
from devices.models import (
    Device,
    DeviceGroup,
    DeviceGroupMember,
    DeviceState,
    Facility,
    FacilityKind,
    Placement,
)
from devices.telemetry import status
from devices.versions import Range, VersionError
from tenants.domain.queries import tenants_below

MAX_CONDITIONS: Final = 12
MAX_VALUES: Final = 200
MAX_TEXT: Final = 80
# Named one by one; more are a group.
MAX_NAMED: Final = 20_000

Json = Any
JsonObject = Mapping[str, Any]


class SelectionRefused(ValueError):  # noqa: N818 - it reads as what happened
    """A selection that is none; `field` is the condition at fault ('' for the whole), the message
    says what is wrong and what to do.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing about a device: `field` (a key of FIELDS) has one of the values; with `negated`, it
    has none of them.
    """

    field: str
    values: tuple[int | str | bool, ...]
    negated: bool = False

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read and check; raises SelectionRefused."""
        if not isinstance(data, Mapping) or not isinstance(data.get("field"), str):
            raise SelectionRefused("", _("A condition names a field and its values."))
        name = data["field"]
        if name not in FIELDS:
            raise SelectionRefused(
                shown(name, MAX_TEXT),
                _("“%(name)s” is no field of devices. There are: %(fields)s.")
                % {"name": shown(name, MAX_TEXT), "fields": ", ".join(FIELDS)},
            )
        values = data.get("values")
        if not isinstance(values, list | tuple) or not 1 <= len(values) <= MAX_VALUES:
            raise SelectionRefused(
                name,
                _("Give “%(name)s” at least one value, and at most %(most)d.")
                % {"name": name, "most": MAX_VALUES},
            )
        negated = data.get("negated", False)
        if not isinstance(negated, bool):
            raise SelectionRefused(name, _("“negated” is true or false."))
        checked = dict.fromkeys(FIELDS[name].check(name, value) for value in values)
        return cls(name, tuple(checked), negated)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        data: dict[str, Any] = {"field": self.field, "values": list(self.values)}
        return {**data, "negated": True} if self.negated else data


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that a device must satisfy, all of them."""

    conditions: tuple[Condition, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read and check; raises SelectionRefused."""
        conditions = data.get("conditions") if isinstance(data, Mapping) else None
        if not isinstance(conditions, list | tuple) or not 1 <= len(conditions) <= MAX_CONDITIONS:
            raise SelectionRefused(
                "",
                _("A rule has at least one condition, and at most %(most)d.")
                % {"most": MAX_CONDITIONS},
            )
        return cls(tuple(Condition.from_json(condition) for condition in conditions))

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        return {"conditions": [condition.to_json() for condition in self.conditions]}

    @property
    def groups(self) -> frozenset[int]:
        """The groups that it asks for."""
        named = (c.values for c in self.conditions if c.field == "group")
        return frozenset(int(value) for values in named for value in values)


@dataclass(frozen=True, slots=True)
class Selection:
    """Devices that are in one of the groups, satisfy the rule, or are named; or all of them."""

    everything: bool = False
    groups: tuple[int, ...] = ()
    rule: Rule | None = None
    devices: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read and check; raises SelectionRefused."""
        if not isinstance(data, Mapping) or set(data) - {"everything", "groups", "rule", "devices"}:
            raise SelectionRefused(
                "", _("A selection has: everything, groups, rule, devices; nothing else.")
            )
        everything = data.get("everything", False)
        if not isinstance(everything, bool):
            raise SelectionRefused("everything", _("“everything” is true or false."))
        rule = data.get("rule")
        found = cls(
            everything=everything,
            groups=_ids("groups", data.get("groups", ()), MAX_VALUES),
            rule=None if rule is None else Rule.from_json(rule),
            devices=_ids("devices", data.get("devices", ()), MAX_NAMED),
        )
        if found == cls():
            raise SelectionRefused(
                "", _("Say which devices: everything, a group, a rule, or single ones.")
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The form that is stored: what says something."""
        data: dict[str, Any] = {}
        if self.everything:
            data["everything"] = True
        if self.groups:
            data["groups"] = list(self.groups)
        if self.rule is not None:
            data["rule"] = self.rule.to_json()
        if self.devices:
            data["devices"] = list(self.devices)
        return data


def devices_of(selection: Selection) -> QuerySet[Device]:
    """The devices of the selection in the open scope, by id; at most five queries before its own.

    A group or a facility that is not there (any more) matches nothing, also where it is negated: a
    rule that has lost what it was made of must not begin to match everything.
    """
    named = Q(pk__in=selection.devices)
    if selection.everything:
        wanted = Q()
    else:
        rules = () if selection.rule is None else (selection.rule,)
        world = _World.around(rules=rules, groups=selection.groups)
        wanted = world.groups_any(selection.groups)
        if selection.rule is not None:
            wanted |= world.rule(selection.rule)
    living = ~Q(state=DeviceState.REVOKED)
    return _annotated().filter(named | (living & wanted)).order_by("pk")


def group_devices(group: DeviceGroup) -> QuerySet[Device]:
    """The devices of one group in the open scope, by id."""
    return devices_of(Selection(groups=(group.pk,)))


def group_counts(group_ids: Sequence[int]) -> dict[int, int]:
    """How many devices each of the groups holds in the open scope; at most six queries."""
    if not group_ids:
        return {}
    world = _World.around(groups=group_ids)
    counted = {
        f"in_{pk}": Count("pk", filter=world.groups_any([pk]) & ~Q(state=DeviceState.REVOKED))
        for pk in group_ids
    }
    found = _annotated().aggregate(**counted)
    return {pk: found[f"in_{pk}"] for pk in group_ids}


def rule_devices(rule: Rule, *, tenant_id: int) -> QuerySet[Device]:
    """What a group of the tenant with this rule would hold, in the open scope, by id."""
    world = _World.around(rules=[rule])
    below = _below([tenant_id])[tenant_id]
    living = ~Q(state=DeviceState.REVOKED) & Q(tenant_id__in=below)
    return _annotated().filter(living & world.rule(rule)).order_by("pk")


def _annotated() -> QuerySet[Device]:
    # As aliases: they cost nothing where no condition names them.
    told_hardware = NullIf(status.hardware_revision(F("pk")), Value(""), output_field=TextField())
    return Device.objects.alias(
        # What the device says counts before what somebody has entered.
        told_hardware=Coalesce(told_hardware, F("hardware_revision"), output_field=TextField()),
        told_connected=Coalesce(status.connected(F("pk")), False),
        told_firmware=Coalesce(
            status.firmware_version(F("pk")), Value(""), output_field=TextField()
        ),
    )


@dataclass(frozen=True, slots=True)
class _World:
    """What conditions are compared with: the groups with the tenants that each covers, the
    facilities by the one around them, and the versions that devices run.
    """

    groups: Mapping[int, DeviceGroup]
    covered: Mapping[int, frozenset[int]]
    parents: Mapping[int, int | None]
    versions: frozenset[str]

    @classmethod
    def around(cls, *, rules: Sequence[Rule] = (), groups: Iterable[int] = ()) -> Self:
        """What rules and groups need; at most five queries."""
        wanted = {*groups, *(pk for rule in rules for pk in rule.groups)}
        found = _groups(wanted)
        ruled = [Rule.from_json(group.rule) for group in found.values() if group.rule is not None]
        # Rules of groups name static groups alone, so this is the last step.
        found |= _groups({pk for rule in ruled for pk in rule.groups} - set(found))
        asked = {c.field for rule in (*rules, *ruled) for c in rule.conditions}
        return cls(
            groups=found,
            covered=_below({group.tenant_id for group in found.values()}),
            parents=dict(Facility.objects.values_list("pk", "parent_id"))
            if "facility" in asked
            else {},
            versions=status.firmware_versions(connection) if "firmware" in asked else frozenset(),
        )

    def rule(self, rule: Rule) -> Q:
        """The devices that satisfy all conditions."""
        wanted = Q()
        for condition in rule.conditions:
            found = FIELDS[condition.field].find(self, condition.values)
            if found is None:
                return _NOBODY
            wanted &= ~found if condition.negated else found
        return wanted

    def groups_any(self, group_ids: Iterable[int]) -> Q:
        """The devices that are in one of the groups."""
        wanted = _NOBODY
        for group_id in group_ids:
            if group_id in self.groups:
                wanted |= self.group(self.groups[group_id])
        return wanted

    def group(self, group: DeviceGroup) -> Q:
        """The devices of a group: of its tenant and those below."""
        if group.rule is None:
            inside = Q(pk__in=DeviceGroupMember.objects.filter(group=group).values("device_id"))
        else:
            inside = self.rule(Rule.from_json(group.rule))
        return Q(tenant_id__in=self.covered[group.tenant_id]) & inside

    def inside(self, facility_ids: Collection[int]) -> set[int]:
        """Those facilities with all areas in them."""
        found = {pk for pk in facility_ids if pk in self.parents}
        size = 0
        while size < len(found):
            size = len(found)
            found |= {pk for pk, parent_id in self.parents.items() if parent_id in found}
        return found


_NOBODY: Final = Q(pk__in=())


def _groups(ids: Collection[int]) -> dict[int, DeviceGroup]:
    return {group.pk: group for group in DeviceGroup.objects.filter(pk__in=ids)} if ids else {}


def _below(tenant_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """Each of the tenants with all below it."""
    if not tenant_ids:
        return {}
    found = tenants_below(tenant_ids=sorted(tenant_ids))
    return {root: frozenset(facts.tenant_id for facts in below) for root, below in found.items()}


def _ids(field: str, values: Json, most: int) -> tuple[int, ...]:
    """Numbers of rows, each once, in their order."""
    if not isinstance(values, list | tuple) or len(values) > most:
        raise SelectionRefused(
            field, _("“%(name)s” is a list of at most %(most)d.") % {"name": field, "most": most}
        )
    return tuple(dict.fromkeys(_id(field, value) for value in values))


def _id(field: str, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise SelectionRefused(
            field, _("“%(name)s” names rows by their numbers.") % {"name": field}
        )
    return value


def _text(field: str, value: Json) -> str:
    text = value.strip() if isinstance(value, str) else ""
    # What the database cannot store is nothing that a device could have either.
    if not text or len(text) > MAX_TEXT or "\0" in text or text != shown(text, MAX_TEXT):
        raise SelectionRefused(
            field,
            _("“%(name)s” is compared with text of 1 to %(most)d characters.")
            % {"name": field, "most": MAX_TEXT},
        )
    return text


def _country(field: str, value: Json) -> str:
    text = _text(field, value).upper()
    if len(text) != 2 or not text.isascii() or not text.isalpha():
        raise SelectionRefused(field, _("Write a country as its two letters, for example DE."))
    return text


def _range(field: str, value: Json) -> str:
    text = _text(field, value)
    try:
        return str(Range.parse(text)) or "*"
    except VersionError:
        raise SelectionRefused(
            field,
            _(
                "“%(text)s” is no range of versions: join comparisons by commas, for example"
                " >=1.2,<2 or =1.4.0."
            )
            % {"text": text},
        ) from None


def _truth(field: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise SelectionRefused(field, _("“%(name)s” is true or false.") % {"name": field})
    return value


def _code(known: Collection[str]) -> Callable[[str, Json], str]:
    def check(field: str, value: Json) -> str:
        if not isinstance(value, str) or value not in known:
            raise SelectionRefused(
                field,
                _("“%(name)s” is one of: %(known)s.")
                % {"name": field, "known": ", ".join(sorted(known))},
            )
        return value

    return check


@dataclass(frozen=True, slots=True)
class Field:
    """A field of devices that conditions may name.

    `check` turns a value of JSON into one to keep; `find` gives the devices that have one of the
    values, None where what it would be compared with is not there.
    """

    check: Callable[[str, Json], int | str | bool]
    find: Callable[[_World, tuple[Any, ...]], Q | None]


def _in(lookup: str) -> Callable[[_World, tuple[Any, ...]], Q]:
    return lambda _world, values: Q(**{f"{lookup}__in": values})


def _in_facilities(world: _World, values: tuple[Any, ...]) -> Q | None:
    found = world.inside(values)
    return Q(facility_id__in=found) if found else None


def _running(world: _World, values: tuple[Any, ...]) -> Q:
    ranges = [Range.parse(value) for value in values]
    told = [text for text in world.versions if any(one.holds_text(text) for one in ranges)]
    return Q(told_firmware__in=told)


def _in_groups(world: _World, values: tuple[Any, ...]) -> Q | None:
    return world.groups_any(values) if all(value in world.groups for value in values) else None


FIELDS: Final[Mapping[str, Field]] = {
    "device_type": Field(_id, _in("device_type_id")),
    "facility": Field(_id, _in_facilities),
    "placement": Field(_code(Placement.values), _in("placement")),
    "facility_kind": Field(_code(FacilityKind.values), _in("facility__kind")),
    "country": Field(_country, _in("facility__country")),
    "region": Field(_text, _in("facility__region")),
    "firmware": Field(_range, _running),
    "hardware": Field(_text, _in("told_hardware")),
    "state": Field(_code(DeviceState.values), _in("state")),
    "connected": Field(_truth, _in("told_connected")),
    "group": Field(_id, _in_groups),
}
