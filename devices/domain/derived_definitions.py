"""What derived channels are computed by: their formulas, dated, and everything that they use.

Needs an open scope, and sees what it holds. A formula whose inputs are not all there (in another
facility, behind the wall, gone) has no values, as if its inputs had none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from devices.formulas.errors import FormulaError
from devices.formulas.formula import Formula
from devices.models import Channel, FormulaVersion
from devices.telemetry.rollup_samples import reach_ms
from devices.telemetry.segment_store import milliseconds

# Derived channels may use derived ones, so many deep.
MAX_CHAIN: Final = 8
FOR_EVER_MS: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Part:
    """A channel, as far as formulas need to know it.

    `step_ms`: how far apart its readings usually are; of a derived channel that of its inputs.
    """

    channel_id: int
    tenant_id: int
    device_id: int
    facility_id: int
    number: int
    quantity: str
    unit: str
    resolution: Decimal
    minimum: Decimal
    maximum: Decimal
    in_total: bool
    derived: bool
    step_ms: int
    zone: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A formula and the time [start_ms, end_ms) of readings that it holds for.

    `inputs`: ids of channels by the names of the formula; `step_ms` and `reach_ms`: how far apart
    its values usually are, and how far from a value a reading may lie and still matter to it.
    """

    version_id: int
    start_ms: int
    end_ms: int
    formula: Formula
    inputs: Mapping[str, int]
    step_ms: int
    reach_ms: int


@dataclass(frozen=True, slots=True)
class Definitions:
    """Derived channels with all that they use.

    `parts` by channel id; `stretches` of each derived one, rising; `order`: the derived ones, each
    after those that it uses.
    """

    parts: Mapping[int, Part]
    stretches: Mapping[int, Sequence[Stretch]]
    order: Sequence[int]

    def reach_of(self, channel_id: int) -> int:
        """How far from a reading of a measured channel a value may lie that it matters to, in ms;
        0 for what has no formula.
        """
        reaches: dict[int, int] = {}
        for one in self.order:
            reaches[one] = max(
                (
                    stretch.reach_ms + max(reaches.get(each, 0) for each in stretch.inputs.values())
                    for stretch in self.stretches[one]
                ),
                default=0,
            )
        return reaches.get(channel_id, 0)

    def remembers(self, channel_id: int) -> bool:
        """Whether a formula of a channel remembers what came before."""
        return any(one.formula.memories for one in self.stretches.get(channel_id, ()))

    def measured_of(self, channel_ids: Iterable[int]) -> set[int]:
        """The ids of the measured channels that some channels are computed from."""
        found = set(channel_ids)
        for one in reversed(self.order):
            if one in found:
                for stretch in self.stretches[one]:
                    found.update(stretch.inputs.values())
        return {one for one in found if not self.parts[one].derived}

    def text_at(self, channel_id: int, at_ms: int) -> str:
        """The formula that holds for readings of an instant; empty where none does."""
        for stretch in self.stretches.get(channel_id, ()):
            if stretch.start_ms <= at_ms < stretch.end_ms:
                return stretch.formula.text
        return ""


def definitions_of(channel_ids: Collection[int], *, as_of: datetime | None = None) -> Definitions:
    """The derived ones of some channels, as they were known at `as_of` (None: now).

    Two queries, and two more for each further level of derived channels that use derived ones.
    """
    versions: dict[int, list[FormulaVersion]] = {}
    parts: dict[int, Part] = {}
    wanted = set(channel_ids)
    for _ in range(MAX_CHAIN):
        if not wanted:
            break
        parts |= _parts(wanted)
        derived = {one for one in wanted if one in parts and parts[one].derived}
        found = _versions(derived, as_of)
        versions |= found
        wanted = {
            each for group in found.values() for version in group for each in version.inputs
        } - parts.keys()
    return _assembled(parts, versions)


def _parts(channel_ids: Iterable[int]) -> dict[int, Part]:
    rows = Channel.objects.filter(pk__in=list(channel_ids)).values_list(
        "pk", "tenant_id", "device_id", "device__facility_id", "number", "quantity", "unit",
        "resolution", "minimum", "maximum", "in_total", "derived", "device__device_type__step_ms",
        "device__facility__time_zone",
    )  # fmt: skip
    return {row[0]: Part(*row) for row in rows}


def _versions(
    channel_ids: Collection[int], as_of: datetime | None
) -> dict[int, list[FormulaVersion]]:
    """The versions that count, of each channel by `valid_from`."""
    if not channel_ids:
        return {}
    rows = FormulaVersion.objects.filter(channel_id__in=list(channel_ids))
    if as_of is not None:
        rows = rows.filter(known_at__lte=as_of)
    found: dict[int, dict[datetime, FormulaVersion]] = {}
    for row in rows.order_by("known_at", "pk"):
        found.setdefault(row.channel_id, {})[row.valid_from] = row
    return {channel_id: [dated[at] for at in sorted(dated)] for channel_id, dated in found.items()}


def _assembled(
    parts: dict[int, Part], versions: Mapping[int, Sequence[FormulaVersion]]
) -> Definitions:
    stretches: dict[int, list[Stretch]] = {}
    order: list[int] = []
    for channel_id in _ordered(versions):
        own = parts[channel_id]
        made = list(_stretches(own, versions[channel_id], parts))
        stretches[channel_id] = made
        order.append(channel_id)
        if made:
            parts[channel_id] = replace(own, step_ms=made[-1].step_ms)
    for channel_id, part in parts.items():
        if part.derived and channel_id not in stretches:
            stretches[channel_id] = []
            order.append(channel_id)
    return Definitions(parts, stretches, order)


def _ordered(versions: Mapping[int, Sequence[FormulaVersion]]) -> list[int]:
    """Each after those that it uses. Circles are refused when they are written; where two people
    have closed one all the same, what lies on it comes in any order and finds its inputs missing.
    """
    needs = {
        channel_id: {each for version in group for each in version.inputs if each in versions}
        for channel_id, group in versions.items()
    }
    order: dict[int, None] = {}
    while len(order) < len(needs):
        ready = sorted(one for one in needs if one not in order and needs[one] <= order.keys())
        if not ready:
            break
        order |= dict.fromkeys(ready)
    return list(order)


def _stretches(
    own: Part, versions: Sequence[FormulaVersion], parts: Mapping[int, Part]
) -> Iterable[Stretch]:
    for place, version in enumerate(versions):
        used = [parts.get(each) for each in version.inputs]
        inputs = [each for each in used if each is not None and each.facility_id == own.facility_id]
        if not version.text or len(inputs) < len(used):
            continue
        units = tuple((name, each.unit) for name, each in zip(version.names, inputs, strict=True))
        formula = _formula(version.text, units, own.unit)
        if formula is None:
            continue
        last = place + 1 == len(versions)
        yield Stretch(
            version_id=version.pk,
            start_ms=milliseconds(version.valid_from),
            end_ms=FOR_EVER_MS if last else milliseconds(versions[place + 1].valid_from),
            formula=formula,
            inputs=dict(zip(version.names, version.inputs, strict=True)),
            step_ms=min(each.step_ms for each in inputs),
            reach_ms=formula.levels * reach_ms(max(each.step_ms for each in inputs)),
        )


@lru_cache(maxsize=4096)
def _formula(text: str, units: tuple[tuple[str, str], ...], unit: str) -> Formula | None:
    """A formula that was checked when it was written; None where its inputs are others by now: a
    device that has never reported may have been given another type.
    """
    try:
        return Formula.parse(text, dict(units), unit)
    except FormulaError:
        return None
