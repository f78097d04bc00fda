"""What agreements used: from roll-ups to whole milliwatt-hours, shared, estimated, or missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.meters import WHOLE, Stretch, part_of
from billing.domain.usage import usage_of
from billing.models import Agreement, Flow
from billing.tariffs.values import Quality, Usage
from billing.tests import factories
from billing.tests.readings import meter, power, quarters
from devices.domain.operations import ChannelSpec, create_device_type
from devices.models import Channel, Facility
from devices.tests.factories import device, facility, number
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

FIRST, END = factories.FIRST, factories.END
# March begins in Berlin an hour before it does in UTC, and has 743 hours there.
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
LENGTH = 743 * 4
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    channel: Channel


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        yield Here(of, at, power(at))


def _agreement(at: Facility, **fields: Any) -> Agreement:
    return factories.agreement(at, **fields)


def _usage(of: Agreement, **options: Any) -> Usage:
    return usage_of([of.pk], first=FIRST, end=END, **options)[of.pk]


def test_a_month_has_every_quarter_of_its_local_days(here: Here) -> None:
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    # Half a milliwatt-hour goes to the even one; what is measured outside the month is not counted.
    quarters(here.channel, BEGIN - QUARTER, [9.0, 100.0005, 100.0015, *[250.0] * LENGTH])
    usage = _usage(agreement)
    assert (usage.step_s, len(usage.starts)) == (900, LENGTH)
    assert usage.starts[0] == BEGIN.timestamp()
    assert usage.imported[:3].tolist() == [100_000, 100_002, 250_000]
    assert int(usage.imported.sum()) == 200_002 + (LENGTH - 2) * 250_000
    assert not usage.quality.any()
    assert not usage.exported.any()
    assert usage.reactive is None


def test_of_a_power_import_and_export_are_told_apart(here: Here) -> None:
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    meter(agreement, here.channel, BEGIN, flow=Flow.EXPORT)
    # 30 Wh were drawn and 50 given back: together -20.
    quarters(here.channel, BEGIN, [-20.0, 40.0], returned=[50.0, 0.0])
    usage = _usage(agreement, estimate=False)
    assert usage.imported[:2].tolist() == [30_000, 40_000]
    assert usage.exported[:2].tolist() == [50_000, 0]


def test_what_is_not_measured_is_missing_and_its_part_counts(here: Here) -> None:
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    quarters(here.channel, BEGIN, [100.0, 40.0, 100.0], coverage=[1.0, 0.4, 1.0])
    usage = _usage(agreement, estimate=False)
    missing, measured = Quality.MISSING, Quality.MEASURED
    assert usage.quality[:4].tolist() == [measured, missing, measured, missing]
    assert usage.imported[:4].tolist() == [100_000, 40_000, 100_000, 0]


def test_a_short_gap_is_estimated_and_says_so(here: Here) -> None:
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    quarters(here.channel, BEGIN, [100.0] * LENGTH)
    quarters(here.channel, BEGIN + 8 * QUARTER, [40.0], coverage=0.4)
    usage = _usage(agreement)
    assert np.flatnonzero(usage.quality).tolist() == [8]
    assert usage.quality[8] == Quality.ESTIMATED
    assert usage.imported[7:10].tolist() == [100_000] * 3


def test_a_gap_without_history_stays_missing(here: Here) -> None:
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    quarters(here.channel, BEGIN, [100.0] * 96)
    usage = _usage(agreement)
    assert np.count_nonzero(usage.quality == Quality.MISSING) == LENGTH - 96 - sum(
        usage.quality == Quality.ESTIMATED
    )
    assert usage.quality[96] == Quality.MISSING


def test_days_before_and_after_an_agreement_are_not_its_own(here: Here) -> None:
    agreement = _agreement(here.facility, starts_on=date(2026, 3, 10), ends_on=date(2026, 3, 12))
    meter(agreement, here.channel, BEGIN)
    quarters(here.channel, BEGIN, [100.0] * LENGTH)
    usage = _usage(agreement)
    assert usage.starts[0] == datetime(2026, 3, 9, 23, tzinfo=UTC).timestamp()
    assert len(usage.starts) == 2 * 96
    assert usage_of([agreement.pk], first=date(2026, 3, 12), end=END) == {}


def test_a_meter_is_changed_at_a_quarter(here: Here) -> None:
    agreement, new = _agreement(here.facility), power(here.facility)
    change = BEGIN + 100 * QUARTER
    meter(agreement, here.channel, BEGIN, ends_at=change)
    meter(agreement, new, change + QUARTER)
    quarters(here.channel, BEGIN, [100.0] * LENGTH)
    quarters(new, BEGIN, [7.0] * LENGTH)
    usage = _usage(agreement)
    assert usage.imported[98:103].tolist() == [100_000, 100_000, 0, 7_000, 7_000]
    # Between both no meter counted.
    assert np.flatnonzero(usage.quality).tolist() == [100]


def test_shares_of_a_meter_make_up_the_whole(here: Here) -> None:
    shares = ("0.33333333", "0.33333333", "0.33333334")
    tenants = [_agreement(here.facility) for _ in shares]
    for one, share in zip(tenants, shares, strict=True):
        meter(one, here.channel, BEGIN, share=share)
    energies = np.random.default_rng(1).uniform(0, 300, LENGTH)
    quarters(here.channel, BEGIN, energies.tolist())
    alone = [_usage(one).imported for one in tenants]
    together = usage_of([one.pk for one in tenants], first=FIRST, end=END)
    assert np.array_equal(np.sum(alone, axis=0), np.rint(energies * 1000).astype(np.int64))
    for one, own in zip(tenants, alone, strict=True):
        assert (together[one.pk].imported == own).all()


def test_a_sub_meter_of_somebody_else_is_taken_off(here: Here) -> None:
    agreement, sub = _agreement(here.facility), power(here.facility)
    meter(agreement, here.channel, BEGIN)
    meter(agreement, sub, BEGIN, share="-1")
    quarters(here.channel, BEGIN, [100.0] * LENGTH)
    quarters(sub, BEGIN, [30.0] * LENGTH)
    assert _usage(agreement).imported.tolist() == [70_000] * LENGTH


def test_reactive_energy_of_a_register_is_what_it_counted(here: Here) -> None:
    kind = create_device_type(
        tenant_id=here.tenant.pk,
        code=f"kvar-{number()}",
        name="Meter",
        channels=[
            ChannelSpec(
                number=0,
                key="reactive_energy",
                name="Reactive energy",
                quantity="reactive_energy",
                resolution=Decimal(1),
                minimum=Decimal(0),
                maximum=Decimal(10**9),
            )
        ],
        actor_id=None,
    )
    register = device(here.facility, kind).device.channels.get()
    agreement = _agreement(here.facility)
    meter(agreement, here.channel, BEGIN)
    meter(agreement, register, BEGIN, flow=Flow.REACTIVE)
    quarters(here.channel, BEGIN, [100.0] * LENGTH)
    # `last` of these roll-ups is four times their energy: 4000, 4020, 4060, then set anew.
    quarters(register, BEGIN - QUARTER, [1000.0, 1005.0, 1015.0, 2.0])
    usage = _usage(agreement)
    assert usage.reactive is not None
    assert usage.reactive[:4].tolist() == [20_000, 40_000, 0, 0]
    assert not usage.quality.any()


def test_use_of_many_agreements_takes_as_many_queries_as_of_one(here: Here) -> None:
    agreements = [_agreement(here.facility) for _ in range(3)]
    for one in agreements:
        meter(one, power(here.facility), BEGIN)
    with CaptureQueriesContext(
        connection,
    ) as one_query:
        usage_of([agreements[0].pk], first=FIRST, end=END, estimate=False)
    with CaptureQueriesContext(connection) as three:
        usage_of([one.pk for one in agreements], first=FIRST, end=END, estimate=False)
    assert len(one_query) == len(three) == 3


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
    st.lists(st.integers(1, WHOLE - 1), max_size=6, unique=True),
)
def test_parts_of_whole_numbers_add_up(values: list[int], cuts: list[int]) -> None:
    whole = np.array(values, np.int64)
    edges = [0, *sorted(cuts), WHOLE]
    parts = [
        part_of(whole, Stretch(0, 1, low, high, negative=False)) for low, high in pairwise(edges)
    ]
    assert np.array_equal(np.sum(parts, axis=0), whole)
    for part, (low, high) in zip(parts, pairwise(edges), strict=True):
        for own, value in zip(part.tolist(), values, strict=True):
            assert abs(own - Decimal(value) * (high - low) / WHOLE) <= 1
