"""The use of a home by day, week, month and year, in the calendar of its facility."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.domain import home_use
from devices.domain.home_use import Span, Use
from devices.domain.queries import FacilityNotFound
from devices.models import Facility
from devices.tests import factories
from devices.tests.factories import Park
from portal.consumer import use as page_of
from portal.tests import home
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 18, 13, 20, tzinfo=BERLIN)  # a Wednesday


@pytest.fixture
def park() -> Park:
    return factories.park()


@pytest.fixture
def facility(park: Park) -> Facility:
    """The home of the first consumer."""
    return park.branches[0].facility


def _count(at: Facility, energies: Mapping[datetime, float]) -> None:
    """What was drawn in quarters of an hour (Wh)."""
    with open_scope(Scope((at.tenant_id,))), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO facility_15m (starts_at, tenant_id, facility_id, covered, import_wh)"
            " VALUES (%s, %s, %s, 1, %s)",
            [[start, at.tenant_id, at.pk, energy] for start, energy in energies.items()],
        )


def _use(at: Facility, span: Span, of: date | None = None) -> Use:
    with open_scope(Scope((at.tenant_id,))):
        return home_use.use(facility_id=at.pk, span=span, of=of, now=NOW)


def _local(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def test_a_week_has_its_days_and_as_much_of_the_week_before(facility: Facility) -> None:
    _count(
        facility,
        {
            _local(11, 16, 8): 500,  # Monday
            _local(11, 16, 23, 45): 250,
            _local(11, 18, 12): 1_000,
            _local(11, 9): 400,  # Monday before
            _local(11, 11, 13): 100,  # Wednesday before, earlier than now
            _local(11, 11, 14): 9_000,  # and later
            _local(11, 23): 7_000,  # Monday after
        },
    )
    found = _use(facility, Span.WEEK)
    assert (found.first, found.following, found.previous) == (
        date(2026, 11, 16), date(2026, 11, 23), date(2026, 11, 9),
    )  # fmt: skip
    assert [(part.starts_at, part.used_wh) for part in found.parts] == [
        (_local(11, 16), 750), (_local(11, 18), 1_000),
    ]  # fmt: skip
    assert (found.used_wh, found.compared_wh, found.is_last) == (1_750, 500, True)


def test_a_span_that_is_over_is_compared_with_all_of_the_one_before(facility: Facility) -> None:
    _count(facility, {_local(10, 31, 23): 1, _local(10, 1): 2, _local(9, 30, 23, 45): 40})
    found = _use(facility, Span.MONTH, date(2026, 10, 14))
    assert (found.used_wh, found.compared_wh, found.is_last) == (3, 40, False)
    assert (found.first, found.following) == (date(2026, 10, 1), date(2026, 11, 1))


def test_a_day_of_25_hours_has_25_bars_and_all_of_its_energy(facility: Facility) -> None:
    midnight = _local(10, 25)
    hours = [midnight + timedelta(hours=number) for number in range(25)]
    _count(facility, {hour: 100 + number for number, hour in enumerate(hours)})
    found = _use(facility, Span.DAY, date(2026, 10, 25))
    assert [part.starts_at for part in found.parts] == hours
    assert found.used_wh == sum(100 + number for number in range(25))
    shown = page_of.page(found)
    assert len(shown["chart"]["bars"]) == 25
    labels = [row["label"] for row in shown["rows"]]
    assert labels[1:5] == ["01:00", "02:00", "02:00", "03:00"]


def test_a_year_has_its_months(facility: Facility) -> None:
    _count(facility, {_local(1, 1): 10, _local(1, 31, 23): 5, _local(11, 2): 7})
    found = _use(facility, Span.YEAR)
    months = {part.starts_at: part.used_wh for part in found.parts}
    # The readings of the park itself are of March.
    assert set(months) == {_local(1, 1), _local(3, 1), _local(11, 1)}
    assert (months[_local(1, 1)], months[_local(11, 1)]) == (15, 7)
    assert (found.first, found.following) == (date(2026, 1, 1), date(2027, 1, 1))
    assert len(page_of.page(found)["chart"]["bars"]) == 3


def test_dates_that_have_not_come_are_today(facility: Facility) -> None:
    assert _use(facility, Span.DAY, date(2031, 5, 5)).first == date(2026, 11, 18)
    assert _use(facility, Span.DAY, date(1066, 10, 14)).first == home_use.FIRST
    assert _use(facility, Span.DAY).parts == ()


def test_a_home_takes_a_fixed_number_of_queries(facility: Facility) -> None:
    with open_scope(Scope((facility.tenant_id,))), CaptureQueriesContext(connection) as queries:
        home_use.use(facility_id=facility.pk, span=Span.YEAR, of=None, now=NOW)
    assert len(queries) == 7


def test_another_facility_is_not_found(park: Park, facility: Facility) -> None:
    scope = Scope((park.tenant.pk,), facility_ids=(park.branches[1].facility.pk,))
    with open_scope(scope), pytest.raises(FacilityNotFound):
        home_use.use(facility_id=facility.pk, span=Span.DAY, of=None, now=NOW)


def test_a_consumer_goes_through_the_use_of_the_own_home(park: Park, facility: Facility) -> None:
    _count(facility, {_local(11, 16, 8): 500, _local(11, 10): 1_200})
    browser = home.signed_in(park.consumer(0))
    with time_machine.travel(NOW, tick=True):
        browser = home.signed_in(park.consumer(0))
        answer = browser.get(f"/home/facilities/{facility.pk}/use/")
        text = answer.content.decode()
        assert answer.status_code == 200
        assert "16 November – 22 November 2026" in text
        assert "0.50" in text
        assert "0.70\N{NO-BREAK SPACE}kWh less than in the one before" in text
        back = re.findall(r'<a href="([^"]+)" aria-label="Period before">', text)
        assert [one.replace("&amp;", "&") for one in back] == [
            f"/home/facilities/{facility.pk}/use/?span=week&of=2026-11-09"
        ]
        broken = browser.get(f"/home/facilities/{facility.pk}/use/?span=aeon&of=never")
        assert "16 November – 22 November 2026" in broken.content.decode()
        other = browser.get(f"/home/facilities/{park.branches[1].facility.pk}/use/")
        assert other.status_code == 404


def test_nothing_measured_is_said(park: Park, facility: Facility) -> None:
    browser = home.signed_in(park.consumer(0))
    text = browser.get(
        f"/home/facilities/{facility.pk}/use/?span=day&of=2024-02-29"
    ).content.decode()
    assert "Nothing has been measured in this period." in text
    assert "Thursday, 29 February 2024" in text
