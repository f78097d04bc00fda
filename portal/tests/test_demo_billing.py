"""The demo's billing: what the meters counted before, runs, a late correction, wallet and unit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections
from pytest_django.fixtures import Settings

from billing.domain import ledger_queries, restatement_steps, runs_steps
from billing.models import (
    Agreement,
    AgreementMeter,
    Bill,
    BillingSettings,
    BillRun,
    BillState,
    Customer,
    Mode,
    PaygToken,
    PaygUnit,
    Payment,
    PriceValue,
    Restatement,
    RestatementState,
    RunState,
    Tariff,
    TariffVersion,
    Wallet,
)
from devices import tasks
from devices.domain.series import read_series
from devices.models import Channel, Command, Correction, Device, HistoryImport, KeptFile
from devices.simulator import keyring, payg
from devices.simulator.park import CHAIN, FACILITIES, HOUSEHOLDS, UTILITY
from devices.simulator.payg import PaygKeys, PaygState
from devices.telemetry.periods import Resolution
from devices.tests import factories
from portal.management import demo_billing, demo_contracts, demo_history, demo_tariffs
from portal.management.demo_billing import (
    BILLING,
    HISTORY,
    Billed,
    BillingAct,
    Corrected,
    Opening,
    Settled,
    pasts,
)
from portal.management.demo_contracts import CONTRACTS, DISPUTED
from portal.management.demo_history import Counter, Past, Timeline
from portal.management.demo_people import APPROVER, UPLOADER, user_id
from portal.management.demo_prepaid import PaidByDay, Wallets
from portal.management.demo_story import REFUSALS, STORY, perform
from tenants.domain.queries import all_tenant_ids
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

EPOCH = datetime(2026, 4, 2, tzinfo=UTC)
NOW = EPOCH + timedelta(days=2, hours=12)
AT = Timeline(round(EPOCH.timestamp()))
# One household is enough to see each step.
ALONE = (DISPUTED,)
OPENING = Opening("opening", UTILITY, ALONE)
BEFORE = Billed("before", UTILITY, ALONE, 0)
MONTH = Billed("month", UTILITY, ALONE, 1)


@pytest.fixture
def demo(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo, begun at EPOCH, without recordings; its devices have not been heard of."""
    settings.HOME = tmp_path
    settings.SEALING_KEYS_DIR = tmp_path / "sealing"
    settings.CELERY_TASK_ALWAYS_EAGER = True
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]
    monkeypatch.setenv("WATTLINE_DATA", str(tmp_path / "data"))
    (tmp_path / "demo.json").write_text(json.dumps({"epoch_s": AT.epoch_s}))
    call_command("demo", stdout=io.StringIO(), stderr=io.StringIO())
    yield
    cache.clear()
    factories.remove_everything()


def everything() -> Scope:
    return Scope(all_tenant_ids())


def tenant_of(slug: str) -> Tenant:
    with open_scope(everything()):
        return Tenant.objects.get(slug=slug)


def connect(serial: str) -> None:
    with open_scope(everything()):
        device_id = Device.objects.get(serial=serial).pk
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET connected = true, connection = 1 WHERE device_id = %s",
            [device_id],
        )


def made() -> dict[str, Any]:
    """All that the acts make."""
    models = (
        BillingSettings, Customer, TariffVersion, PriceValue, Agreement, AgreementMeter, BillRun,
        Bill, Payment, Correction, HistoryImport, KeptFile, Wallet, PaygUnit, PaygToken, AuditEntry,
    )  # fmt: skip
    with open_scope(everything()):
        return {model.__name__: model.objects.count() for model in models}


def bring_on() -> None:
    """What follows by itself."""
    tasks.redo_rollups()
    for tenant_id, run_id in runs_steps.moving():
        runs_steps.work(tenant_id=tenant_id, run_id=run_id, go_on=lambda: True, clock=lambda: NOW)


def until_done(act: BillingAct) -> int:
    """How many attempts it took."""
    for attempt in range(1, 8):
        if perform(act, NOW):
            return attempt
        bring_on()
    raise AssertionError(f"{act.name} does not come to its end")


def test_months_are_the_two_before_the_first_reading() -> None:
    assert AT.months == (date(2026, 2, 1), date(2026, 3, 1))
    assert datetime.fromtimestamp(AT.first_s, UTC) == datetime(2026, 1, 31, tzinfo=UTC)
    assert AT.today == date(2026, 4, 3)


@pytest.mark.parametrize("serial", ["FR05-MAINS", "AE001-METER"])
def test_registers_go_on_at_the_epoch_without_a_step(serial: str) -> None:
    facility = next(one for one in FACILITIES if one.devices[0].serial == serial)
    counters = [Counter(serial, key) for key in ("energy_import", "energy_export")]
    found = demo_history.counted(
        facility, counters, first_s=AT.epoch_s - 30 * 3_600, epoch_s=AT.epoch_s
    )
    present = facility.site(AT.epoch_s).hour(AT.epoch_s // 3_600)["mains"]
    for one, readings in found.items():
        assert len(readings) == 30 * 60
        assert (np.diff(readings) >= 0).all()
        assert readings[0] < readings[-1]
        first = present[facility.devices[0].type.number(one.key), 0]
        # The minute before the first reading: no more than 60 kW can count in it.
        assert 0 <= first - readings[-1] <= 1_000


def test_what_a_register_cannot_have_counted_is_no_reading() -> None:
    readings = np.array([-1, -1, 5, 6], np.int64)
    one = Counter("AE001-METER", "energy_import")
    file = demo_history.file_of({one: readings}, first_s=AT.first_s)
    table = pq.read_table(io.BytesIO(file)).to_pydict()
    assert table["AE001-METER energy_import (Wh)"] == [None, None, 5, 6]
    minutes = [datetime(2026, 1, 31, 0, minute, tzinfo=UTC) for minute in range(4)]
    assert table["time"] == minutes


def test_prices_of_the_market_are_the_same_each_time_and_fall_below_zero() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    prices = demo_tariffs.market(begin, begin + timedelta(days=30))
    assert prices == demo_tariffs.market(begin, begin + timedelta(days=30))
    assert len(prices) == 720
    assert min(one.price for one in prices) < 0 < max(one.price for one in prices)


def test_both_tenants_begin_to_bill_once(demo: None) -> None:
    for _ in range(2):
        for act in BILLING:
            if isinstance(act, Opening):
                assert perform(act, NOW)
        told = made()
    assert (told["BillingSettings"], told["TariffVersion"]) == (2, 5)
    postpaid = [one for one in CONTRACTS if one.mode == Mode.POSTPAID]
    assert told["Agreement"] == told["Customer"] == len(postpaid)
    assert told["AgreementMeter"] == sum(len(one.meters) for one in postpaid)
    with open_scope(everything()):
        shares = AgreementMeter.objects.filter(channel__device__serial="FR03-HVAC")
        assert sorted(shares.values_list("share", flat=True)) == [Decimal("0.3"), Decimal("0.7")]
        assert Agreement.objects.get(number="AE-V-001").user is not None
        # Customers compare what is on offer.
        offered = Tariff.objects.filter(offered=True).values_list("name", flat=True)
        assert set(offered) == {one.name for one in demo_tariffs.TARIFFS if one.offered}
        assert len(offered) == 4
        assert set(Agreement.objects.values_list("starts_on", flat=True)) == {AT.months[0]}
    before = made()
    for act in BILLING:
        if isinstance(act, Opening):
            perform(act, NOW + timedelta(days=9))
    assert made() == before


def test_a_month_is_billed_paid_and_restated_after_a_late_correction(demo: None) -> None:
    perform(OPENING, NOW)
    assert not perform(BEFORE, NOW)  # nothing is known yet
    assert made()["BillRun"] == 0
    past = Past(HISTORY[UTILITY], UTILITY, _uploader, (DISPUTED.meters[0].counter,), HOUSEHOLDS)
    while not past.go_on(NOW):
        assert not perform(BEFORE, NOW)
    assert not perform(MONTH, NOW)
    until_done(BEFORE)
    until_done(MONTH)
    tenant = tenant_of(UTILITY)
    with open_scope(Scope((tenant.pk,))):
        run, last = BillRun.objects.order_by("first_on")
        assert (run.first_on, last.first_on) == AT.months
        for one in (run, last):
            assert one.state == RunState.FINISHED
            assert one.asked_by_id == user_id(UPLOADER)
            assert one.approved_by_id == user_id(APPROVER)
        assert run.items.get().reason == demo_billing._ACCEPTED
        bills = list(Bill.objects.order_by("first_on"))
        assert [(one.state, bool(one.number)) for one in bills] == [(BillState.FINAL, True)] * 2
        # What was billed is what the register counted from midnight to midnight.
        channel = Channel.objects.get(device__serial="AE002-METER", key="energy_import")
        month = read_series(
            channels=[channel.pk],
            start=datetime(2026, 2, 28, 23, tzinfo=UTC),
            end=datetime(2026, 3, 31, 22, tzinfo=UTC),
            resolution=Resolution.MONTH,
        )
        periods = month.channels[0].periods
        assert periods is not None
        billed = sum(line.quantity for line in bills[1].lines.filter(component="energy"))
        assert float(billed) == pytest.approx(periods.energy.sum() / 1000, abs=1e-3)
        assert KeptFile.objects.count() == 1
    settled = Settled("paid", UTILITY, ALONE, DISPUTED)
    corrected = Corrected("late", UTILITY, DISPUTED)
    assert perform(settled, NOW)
    assert perform(corrected, NOW)
    bring_on()
    restatement_steps.work(tenant_id=tenant.pk, now=NOW)
    with open_scope(Scope((tenant.pk,))):
        waiting = Restatement.objects.get()
        assert waiting.state == RestatementState.DRAFTED
        assert waiting.bill_id == bills[1].pk
        assert [cause["code"] for cause in waiting.causes] == ["correction"]
        assert waiting.difference < 0
        agreement = Agreement.objects.get()
        balances = ledger_queries.balances(agreement_ids=[agreement.pk], on=NOW.date())
        assert balances[agreement.pk].balance == bills[1].total
    told = made()
    for act in (OPENING, BEFORE, MONTH, settled, corrected):
        assert perform(act, NOW + timedelta(days=1))
    assert past.go_on(NOW + timedelta(days=1))
    assert replace(past).go_on(NOW + timedelta(days=1))
    assert made() == told


def test_past_that_is_stopped_goes_on_with_the_next_start(demo: None) -> None:
    answers = iter([False, False, True])
    counter = DISPUTED.meters[0].counter
    past = Past("stopped", UTILITY, _uploader, (counter,), HOUSEHOLDS, lambda: next(answers))
    assert not past.go_on(NOW)
    assert past._made == {}
    assert list(answers) == []
    assert made()["HistoryImport"] == 0


def test_what_is_not_there_is_told_in_a_sentence(demo: None) -> None:
    facility = HOUSEHOLDS[1]
    device = replace(facility.devices[0], serial="AE777-METER")
    other = replace(facility, devices=(device,))
    counter = Counter("AE777-METER", "energy_import")
    past = Past("other", UTILITY, _uploader, (counter,), (other,))
    past._made[counter] = np.arange(5, dtype=np.int64)
    with pytest.raises(REFUSALS, match="There is no device “AE777-METER”"):
        past.go_on(NOW)
    assert made()["HistoryImport"] == 0


def test_a_wallet_is_topped_up_once(demo: None) -> None:
    perform(OPENING, NOW)
    act = next(act for act in BILLING if isinstance(act, Wallets))
    assert not perform(act, EPOCH)  # the devices have not told a day yet
    for _ in range(2):
        assert perform(act, NOW)
    with open_scope(everything()):
        wallet = Wallet.objects.get()
        assert (wallet.balance, wallet.currency) == (Decimal(40), "EUR")
        assert wallet.agreement.starts_on == AT.today
        assert wallet.agreement.user_id == user_id("prepaid@auental-energie.example")
        assert Payment.objects.count() == 1


def test_a_unit_that_sells_its_output_takes_the_token_that_was_paid(
    demo: None, settings: Settings
) -> None:
    perform(OPENING, NOW)
    act = next(act for act in BILLING if isinstance(act, PaidByDay))
    assert not perform(act, NOW)
    connect(act.contract.serial)
    for _ in range(2):
        assert perform(act, NOW)
    entry = keyring.load(settings.HOME / "demo.json")["devices"][act.contract.serial]
    keys = PaygKeys.of(entry["payg"])
    assert keys is not None
    with open_scope(everything()):
        token = PaygToken.objects.get()
        sent = Command.objects.get(device__serial=act.contract.serial)
        assert (sent.kind, sent.arguments) == ("enter_token", {"token": token.token})
    now_ms = round(NOW.timestamp() * 1000)
    state = payg.enter(keys, PaygState(), token.token, now_ms=now_ms)
    assert isinstance(state, PaygState)
    assert state.paid_until_ms == now_ms + 30 * payg.DAY_MS


def test_without_a_demo_nothing_is_done(tmp_path: Path, settings: Settings) -> None:
    settings.HOME = tmp_path
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        assert all(act.act(tenant, NOW) for act in BILLING)
        assert Agreement.objects.count() == 0
    assert all(past.go_on(NOW) for past in pasts())
    factories.remove_everything()


def test_every_act_has_a_name_of_its_own_and_every_meter_its_history() -> None:
    names = [act.name for act in (*STORY, *BILLING)] + [past.name for past in pasts()]
    assert len(set(names)) == len(names)
    serials = {device.serial for facility in FACILITIES for device in facility.devices}
    for past in pasts():
        assert {one.serial for one in past.counters} <= serials
        assert set(past.counters) == {
            metered.counter
            for one in demo_contracts.contracts_of(past.tenant)
            for metered in one.meters
        }
    assert {one.tenant for one in CONTRACTS} == {CHAIN, UTILITY}


def test_a_refused_tariff_is_told(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(demo_tariffs.HOUSEHOLD, source="tariff: 2")
    monkeypatch.setattr(demo_tariffs, "TARIFFS", (broken,))
    with pytest.raises(ValidationError):
        perform(OPENING, NOW)
    assert made()["TariffVersion"] == 0


def _uploader() -> int:
    return user_id(UPLOADER)
