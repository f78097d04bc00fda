"""The meter tree: who lies behind whom, what each measured, and nothing counted twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.domain import meters, meters_operations, operations, registry_operations, rollups
from devices.domain.operations import ChannelSpec
from devices.domain.queries import DeviceNotFound, FacilityNotFound
from devices.domain.registry_operations import DeviceValues
from devices.domain.registry_versions import ChangedMeanwhile
from devices.models import Device, DeviceType, Facility, Placement
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START
HOUR = timedelta(hours=1)
POWER = ChannelSpec(
    0, "power", "Power", "active_power", Decimal(1), Decimal(-99_999), Decimal(99_999)
)
WARMTH = ChannelSpec(0, "warmth", "Warmth", "temperature", Decimal(1), Decimal(-40), Decimal(90))


class _Place:
    """A facility whose meters draw steady power for an hour."""

    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.at: Facility = factories.facility(self.of)
            self.kind = self._kind(POWER)
        self.names: dict[int, str] = {}

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    def _kind(self, channel: ChannelSpec) -> DeviceType:
        return operations.create_device_type(
            tenant_id=self.of.pk,
            code=f"kind-{factories.number()}",
            name="Kind",
            channels=[channel],
            actor_id=None,
        )

    def meter(
        self,
        name: str,
        watts: int | None,
        placement: Placement = Placement.SUBMETER,
        at: Facility | None = None,
        kind: DeviceType | None = None,
    ) -> Device:
        with open_scope(self.scope):
            device = factories.device(at or self.at, kind or self.kind, placement=placement).device
            Device.objects.filter(pk=device.pk).update(name=name)
        self.names[device.pk] = name
        if watts is not None:
            for minute in range(60):
                started = START + minute * timedelta(minutes=1)
                factories.store_frame(device, minute + 1, started, [[watts] * 30])
        return device

    def roll(self) -> None:
        with open_scope(self.scope):
            rollups.roll_up()

    def arrange(self, *pairs: tuple[Device, Device | None]) -> int:
        with open_scope(self.scope):
            return meters_operations.arrange(
                facility_id=self.at.pk,
                behind={one.pk: None if over is None else over.pk for one, over in pairs},
                based_on=None,
                actor_id=None,
            )

    def tree(self) -> meters.MeterTree:
        with open_scope(self.scope):
            return meters.meter_tree(facility_id=self.at.pk, start=START, end=START + HOUR)

    def lines(self) -> list[tuple[int, str, float | None, float | None]]:
        """Depth, name, energy and rest of each meter, whole watt-hours."""
        return [
            (one.depth, one.name, _whole(one.net_wh), _whole(one.rest_wh))
            for one in self.tree().meters
        ]

    def total(self, *devices: Device) -> meters.MeterSum:
        with open_scope(self.scope):
            return meters.read_sum(
                device_ids=[one.pk for one in devices], start=START, end=START + HOUR
            )


def _whole(wh: float | None) -> float | None:
    return None if wh is None else round(wh)


def test_a_tree_has_energy_rests_and_shares() -> None:
    place = _Place()
    mains = place.meter("Mains", 10_000, Placement.MAINS)
    kitchen, oven = place.meter("Kitchen", 4_000), place.meter("Oven", 3_000)
    cold = place.meter("Cold store", 5_000)
    place.meter("Roof", 2_000, Placement.GENERATION)
    place.roll()
    assert place.arrange((oven, kitchen), (cold, mains)) == 2
    assert place.lines() == [
        (0, "Mains", 10_000, None),
        (1, "Cold store", 5_000, None),
        (1, "Kitchen", 4_000, 1_000),
        (2, "Oven", 3_000, None),
        (1, "Roof", -2_000, None),
    ]
    tree = place.tree()
    # 10 from the grid and 2 from the roof, 9 of it measured.
    assert (_whole(tree.mains_wh), _whole(tree.rest_wh)) == (10_000, 3_000)
    shares = {one.name: one.share for one in tree.meters}
    assert shares["Oven"] == pytest.approx(0.75)
    assert shares["Cold store"] == pytest.approx(0.5)
    assert shares["Mains"] is None
    assert all(one.coverage == pytest.approx(1.0) for one in tree.meters)


def test_what_is_not_known_is_not_made_up() -> None:
    place = _Place()
    place.meter("Mains", 10_000, Placement.MAINS)
    place.meter("New", None)
    with open_scope(place.scope):
        kind = place._kind(WARMTH)
    place.meter("Warmth", 20, Placement.SENSOR, kind=kind)
    place.roll()
    # A sensor is no meter, and a meter without a figure leaves the rest unknown.
    assert place.lines() == [(0, "Mains", 10_000, None), (1, "New", None, None)]
    assert place.tree().rest_wh is None


def test_several_mains_and_none() -> None:
    place = _Place()
    alone = place.meter("Alone", 1_000)
    place.roll()
    assert place.lines() == [(0, "Alone", 1_000, None)]
    assert place.tree().mains_wh is None
    first = place.meter("Mains 1", 3_000, Placement.MAINS)
    second = place.meter("Mains 2", 4_000, Placement.MAINS)
    place.roll()
    assert [line[:3] for line in place.lines()] == [
        (0, "Mains 1", 3_000),
        (0, "Mains 2", 4_000),
        (1, "Alone", 1_000),
    ]
    assert _whole(place.tree().rest_wh) == 6_000
    # Behind one of two mains it may be or not: only both contain it for certain.
    assert place.total(first, alone).contained == ()
    assert place.total(first, second, alone).contained == (alone.pk,)
    place.arrange((alone, first))
    assert place.total(first, alone).contained == (alone.pk,)


def test_sums_count_nothing_twice() -> None:
    place = _Place()
    mains = place.meter("Mains", 10_000, Placement.MAINS)
    kitchen, oven, hood = (place.meter(name, 1_000) for name in ("Kitchen", "Oven", "Hood"))
    with open_scope(place.scope):
        area = factories.facility(place.of, parent=place.at)
    inside = place.meter("Area", 2_000, Placement.MAINS, at=area)
    shelf = place.meter("Shelf", 500, at=area)
    silent = place.meter("Silent", None)
    place.roll()
    place.arrange((oven, kitchen), (hood, oven))
    found = place.total(mains, kitchen, oven, hood, inside, shelf)
    assert _whole(found.net_wh) == 10_000
    assert found.counted == (mains.pk,)
    assert found.contained == tuple(sorted([kitchen.pk, oven.pk, hood.pk, inside.pk, shelf.pk]))
    # A meter between that was not chosen is looked through.
    assert _whole(place.total(kitchen, hood, shelf).net_wh) == 1_500
    assert _whole(place.total(inside, shelf, oven).net_wh) == 3_000
    found = place.total(silent, oven)
    assert (_whole(found.net_wh), found.unknown) == (1_000, (silent.pk,))
    assert place.total(silent).net_wh is None


def test_a_tree_takes_the_same_queries_for_one_and_for_many() -> None:
    place = _Place()
    place.meter("Mains", 10_000, Placement.MAINS)
    place.roll()

    def queries() -> int:
        with open_scope(place.scope), CaptureQueriesContext(connections["default"]) as seen:
            meters.meter_tree(facility_id=place.at.pk, start=START, end=START + HOUR)
        return len(seen)

    few = queries()
    for number in range(6):
        place.meter(f"Meter {number}", None)
    assert queries() == few


# --- Arranging --------------------------------------------------------------------------------


def test_circles_mains_and_strangers_are_refused() -> None:
    place, other = _Place(), _Place()
    mains = place.meter("Mains", None, Placement.MAINS)
    one, two, three = (place.meter(name, None) for name in ("One", "Two", "Three"))
    far = other.meter("Far", None)
    for pairs, named, word in (
        ([(one, two), (two, three), (three, one)], one, "behind each other"),
        ([(one, one)], one, "behind each other"),
        ([(mains, one)], mains, "mains"),
        ([(one, far)], one, "no such device"),
        ([(far, one)], far, "no such device"),
    ):
        with pytest.raises(ValidationError, match=word) as refused:
            place.arrange(*pairs)
        assert str(named.pk) in refused.value.message_dict
    chain = [place.meter(f"Link {number}", None) for number in range(14)]
    with pytest.raises(ValidationError, match="At most"):
        place.arrange(*zip(chain[1:], chain, strict=False))
    with open_scope(place.scope):
        assert not Device.objects.filter(behind__isnull=False).exists()


def test_an_arrangement_is_told_and_not_overwritten() -> None:
    place = _Place()
    one, two, three = (place.meter(name, None) for name in ("One", "Two", "Three"))
    seen = {str(device.pk): None for device in (one, two, three)}
    assert place.arrange((one, two)) == 1
    assert place.arrange((one, two)) == 0
    with open_scope(place.scope):
        entry = AuditEntry.objects.filter(action="device.arrange").get()
        assert (entry.after or {})["behind"] == two.pk
        with pytest.raises(ChangedMeanwhile) as refused:
            meters_operations.arrange(
                facility_id=place.at.pk,
                behind={three.pk: two.pk},
                based_on=seen,
                actor_id=None,
            )
    assert [change.field for change in refused.value.changes] == [str(one.pk)]


def test_a_meter_with_others_behind_it_keeps_its_facility_and_placement() -> None:
    place = _Place()
    one, two = place.meter("One", None), place.meter("Two", None)
    with open_scope(place.scope):
        elsewhere = factories.facility(place.of)
    place.arrange((one, two))

    def change(device: Device, facility: Facility, placement: Placement) -> None:
        with open_scope(place.scope):
            registry_operations.update_device(
                device_id=device.pk,
                values=DeviceValues(
                    facility_id=facility.pk,
                    device_type_id=device.device_type_id,
                    serial=device.serial,
                    name=device.name,
                    placement=placement,
                ),
                based_on=None,
                actor_id=None,
            )

    for device in (one, two):
        with pytest.raises(ValidationError) as refused:
            change(device, elsewhere, Placement.SUBMETER)
        assert "facility" in refused.value.message_dict
    with pytest.raises(ValidationError) as refused:
        change(one, place.at, Placement.MAINS)
    assert "placement" in refused.value.message_dict
    place.arrange((one, None))
    change(one, place.at, Placement.MAINS)
    change(two, elsewhere, Placement.SUBMETER)


def test_the_database_refuses_what_the_operation_would() -> None:
    place, other = _Place(), _Place()
    one, far = place.meter("One", None), other.meter("Far", None)
    for over in (one, far):
        with pytest.raises(IntegrityError), transaction.atomic("owner"):
            Device.objects.using("owner").filter(pk=one.pk).update(behind=over)


def test_nobody_reads_or_arranges_what_is_not_theirs() -> None:
    place, other = _Place(), _Place()
    one, two = place.meter("One", None), place.meter("Two", None)
    with open_scope(place.scope):
        elsewhere = factories.facility(place.of)
    for scope in (other.scope, Scope((place.of.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            with pytest.raises(FacilityNotFound):
                meters.meter_tree(facility_id=place.at.pk, start=START, end=START + HOUR)
            with pytest.raises(DeviceNotFound):
                meters.read_sum(device_ids=[one.pk], start=START, end=START + HOUR)
            with pytest.raises(FacilityNotFound):
                meters_operations.arrange(
                    facility_id=place.at.pk, behind={one.pk: two.pk}, based_on=None, actor_id=None
                )


# --- Any tree ---------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_outermost_of_any_choice_are_counted(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    # A forest: each device lies behind an earlier one, or behind none.
    behind = {
        number: data.draw(st.none() | st.integers(1, number - 1)) if number > 1 else None
        for number in range(1, count + 1)
    }
    chosen = data.draw(st.sets(st.integers(1, count)))
    rows = [
        meters.Row(number, 1, str(number), Placement.SUBMETER, over)
        for number, over in behind.items()
    ]

    def lies_behind(one: int) -> bool:
        over = behind[one]
        return over is not None and (over in chosen or lies_behind(over))

    found = meters.contained(chosen, rows, {1: None})
    assert found == {one for one in chosen if lies_behind(one)}
