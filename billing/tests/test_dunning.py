"""Dunning in the database: steps, units, payments, plans, notices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from pytest_django import DjangoAssertNumQueries

from billing.domain import (
    agreements_operations,
    customers_operations,
    dunning_driver,
    dunning_notices,
    dunning_opening_operations,
    dunning_operations,
    dunning_queries,
    dunning_settings,
    ledger_timeline,
)
from billing.domain.agreements_values import Successor
from billing.domain.payments_operations import AgreementNotFound
from billing.models import (
    Agreement,
    AgreementMeter,
    BillingSettings,
    Customer,
    DunningCase,
    DunningEvent,
    DunningKind,
    DunningPolicy,
    EntryKind,
    InstalmentPlan,
    PlanState,
)
from billing.tests import factories
from billing.tests.dunning_world import STEPS, Behind, at, set_policy
from devices.commands.kinds import Kind
from devices.commands.states import Origin, State
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM, set_two_persons
from devices.models import Command, Device, DeviceConfiguration, DeviceState
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

OFF: tuple[str, dict[str, Any]] = ("set_output", {"output": 0})
ON: tuple[str, dict[str, Any]] = ("set_output", {"output": 1})
LIMITED: tuple[str, dict[str, Any]] = ("set_power_limit", {"power_limit_w": 1000})
FREE: tuple[str, dict[str, Any]] = ("set_power_limit", {"power_limit_w": -1})


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        set_policy(made)
        yield made


@pytest.fixture
def behind(here: Tenant) -> Behind:
    return Behind.make(here)


def asked(of: Behind) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, arguments) for kind, arguments, _state in of.commands()]


def switch_off(of: Behind, now: datetime) -> None:
    """A person does, for a reason of another kind."""
    commands_operations.ask(
        SYSTEM,
        kind="set_output",
        arguments={"output": False},
        device_ids=[of.device.pk],
        reason="Wet cellar",
        now=now,
    )


def test_an_account_goes_through_all_steps_and_comes_back_when_it_is_paid(behind: Behind) -> None:
    # The 4th is a Saturday and the 6th Easter Monday; the 1st of May is a holiday and a Friday.
    assert behind.until(5) == []
    assert behind.look(at(6)) == ["reminder"]
    assert behind.until(40) == ["fee", "limit", "disable"]
    days = [event.at.date().isoformat() for event in DunningEvent.objects.order_by("pk")]
    assert days == ["2026-04-07", "2026-04-14", "2026-04-24", "2026-05-04"]
    assert asked(behind) == [LIMITED, OFF]
    command = Command.objects.get(kind="set_output")
    assert (command.origin, command.state) == (Origin.BILLING, State.QUEUED)
    assert behind.agreement.number in command.reason
    case = behind.case()
    assert (case.limited, case.disabled, case.owed_at_cut) == (True, True, Decimal(105))
    # Nothing is done twice, however often somebody looks; at night payment still counts.
    assert behind.until(60) == []
    behind.pay("105.00", at(61, 3))
    assert [row.kind for row in DunningEvent.objects.order_by("pk")][4:] == ["restored", "closed"]
    assert asked(behind) == [LIMITED, OFF, ON, FREE]
    # What the unit had not heard of yet, it never hears of.
    states = [state for _kind, _arguments, state in behind.commands()]
    assert states == ["cancelled", "cancelled", "queued", "queued"]
    case = behind.case()
    assert (case.outcome, case.limited, case.disabled) == ("paid", False, False)
    assert AuditEntry.objects.filter(action="dunning.restored").count() == 1


def test_a_part_paid_is_not_enough_unless_the_policy_says_so(here: Tenant, behind: Behind) -> None:
    behind.until(40)
    behind.pay("60.00", at(41))
    assert behind.case().disabled
    set_policy(here, restore_percent=50)
    behind.pay("1.00", at(42), "P2")
    assert (behind.case().outcome, asked(behind)[-2:]) == ("part", [ON, FREE])
    # The steps count anew from then on.
    assert behind.look(at(43)) == []
    assert behind.case().counts_from == at(42).date()
    assert behind.until(50) == ["reminder"]


def test_a_protected_customer_is_never_cut(here: Tenant) -> None:
    spared = Behind.make(
        here,
        protected=True,
        protected_reason="Breathing machine",
        protected_until=date(2026, 6, 10),
    )
    assert spared.until(60) == ["reminder", "fee", "spared"]
    assert spared.commands() == []
    # 11 June is the first day without protection, at the end of June the second step is due.
    assert spared.until(100)[:1] == ["limit"]


def test_protection_gives_back_what_was_cut(behind: Behind) -> None:
    behind.until(40)
    Customer.objects.filter(pk=behind.agreement.customer_id).update(
        protected=True, protected_reason="Dialysis"
    )
    dunning_operations.review(agreement_ids=[behind.agreement.pk], now=at(41, 23))
    assert (behind.case().outcome, asked(behind)[-2:]) == ("protected", [ON, FREE])


def test_protection_gives_back_at_once(behind: Behind) -> None:
    behind.until(40)
    customers_operations.protect_customer(
        customer_id=behind.agreement.customer_id, reason="Dialysis", now=at(41, 23), actor_id=None
    )
    assert (behind.case().outcome, asked(behind)[-2:]) == ("protected", [ON, FREE])


def test_who_moves_in_has_the_supply_from_the_first_hour(here: Tenant, behind: Behind) -> None:
    behind.until(40)
    moved = agreements_operations.move_out(
        agreement_id=behind.agreement.pk,
        ends_on=at(43).date(),
        successor=Successor(customer_id=factories.customer(here).pk),
        actor_id=None,
    )
    assert moved.successor is not None
    assert behind.look(at(42, 23)) == []
    # Midnight in Berlin.
    assert behind.look(at(42, 23) + timedelta(hours=1, minutes=2)) == ["restored", "closed"]
    assert (behind.case().outcome, asked(behind)[-2:]) == ("moved", [ON, FREE])
    assert DunningEvent.objects.get(kind=DunningKind.RESTORED).mail_to == ""
    # Who has left is dunned on, and nobody is cut for it.
    assert behind.look(at(44)) == []
    behind.day = 44
    assert set(behind.until(90)) >= {"reminder", "limit", "disable"}
    assert asked(behind)[-2:] == [ON, FREE]


def test_a_unit_that_cannot_be_asked_comes_back_when_it_can_be(behind: Behind) -> None:
    behind.until(40)
    Device.objects.filter(pk=behind.device.pk).update(state=DeviceState.SUSPENDED)
    behind.pay("105.00", at(42))
    event = DunningEvent.objects.get(kind=DunningKind.RESTORED)
    assert (event.commands, event.missed) == ([], [behind.device.pk] * 2)
    wanted = DeviceConfiguration.objects.get(device=behind.device)
    assert (wanted.desired["output"], wanted.desired["power_limit_w"]) == (1, -1)
    assert {state for _kind, _arguments, state in behind.commands()} == {State.CANCELLED}


def test_what_was_cancelled_after_it_was_sent_is_given_back(behind: Behind) -> None:
    behind.until(40)
    off = Command.objects.filter(device=behind.device, kind="set_output")
    off.update(state=State.CANCELLED, cause="person", attempts=1)
    behind.pay("105.00", at(42))
    assert ON in asked(behind)


def test_what_was_cancelled_in_time_is_not_given_back(behind: Behind) -> None:
    behind.until(40)
    off = Command.objects.filter(device=behind.device, kind="set_output")
    off.update(state=State.CANCELLED, cause="person", attempts=0)
    behind.pay("105.00", at(42))
    assert ON not in asked(behind)


def test_accounts_that_rest_keep_no_other_from_its_turn(
    here: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dunning_opening_operations, "MOST_OPENED", 2)
    for owes in ("1.00", "2.00", "3.00"):
        Behind.make(here, owes=owes)
    kept = Behind.make(here)
    agree(kept, (at(60).date(), "100.00"), now=at(2))
    last = Behind.make(here)
    policy = DunningPolicy.objects.get(tenant=here)
    assert dunning_opening_operations.open_cases(policy_id=policy.pk, now=at(6)) == 1
    assert DunningCase.objects.get().agreement == last.agreement


def test_a_policy_that_holds_no_more_keeps_nobody_else_from_dunning(
    here: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    other = tenant()
    with open_scope(Scope((other.pk,))):
        set_policy(other)
        Behind.make(other)
    Behind.make(here)
    DunningPolicy.objects.update(region="XX-9")
    assert dunning_driver.open_cases(now=at(6)) == 1
    assert f"dunning.policy_unusable tenant={here.pk}" in caplog.text
    with open_scope(Scope((other.pk,))):
        assert DunningCase.objects.get().tenant == other


def test_a_policy_that_holds_no_more_refuses_no_payment(behind: Behind) -> None:
    behind.until(40)
    DunningPolicy.objects.update(region="XX-9")
    behind.pay("5.00", at(41))
    assert behind.case().closed_at is None
    behind.pay("100.00", at(42), "P2")
    assert (behind.case().outcome, asked(behind)[-2:]) == ("paid", [ON, FREE])


def test_what_a_person_has_switched_stays_so(behind: Behind) -> None:
    behind.until(40)
    switch_off(behind, at(41))
    behind.pay("105.00", at(42))
    assert asked(behind)[-1] == FREE
    assert ON not in asked(behind)


def test_what_a_person_wants_off_already_is_not_switched_on_by_a_payment(behind: Behind) -> None:
    switch_off(behind, at(1))
    behind.until(40)
    event = DunningEvent.objects.get(kind=DunningKind.DISABLE)
    assert (event.commands, event.missed) == ([], [behind.device.pk])
    behind.pay("105.00", at(42))
    assert asked(behind) == [OFF, LIMITED, FREE]


def test_a_limit_that_was_there_before_comes_back(behind: Behind) -> None:
    commands_operations.ask(
        SYSTEM,
        kind="set_power_limit",
        arguments={"power_limit_w": 7000},
        device_ids=[behind.device.pk],
        now=at(1),
    )
    behind.until(28)
    behind.pay("105.00", at(29))
    assert asked(behind)[-1] == ("set_power_limit", {"power_limit_w": 7000})


def test_a_command_that_awaits_approval_is_superseded_by_a_payment(
    here: Tenant, behind: Behind
) -> None:
    set_two_persons(actor=SYSTEM, tenant_id=here.pk, wanted=True)
    behind.until(40)
    off = Command.objects.get(kind=Kind.SET_OUTPUT)
    assert off.state == State.AWAITING_APPROVAL
    behind.pay("105.00", at(41))
    off.refresh_from_db()
    assert off.state == State.CANCELLED
    wanted = DeviceConfiguration.objects.get(device=behind.device).desired
    assert wanted["output"] == 1


def test_a_shared_meter_is_not_cut(behind: Behind) -> None:
    own = behind.agreement.meters.get()
    other = factories.agreement(behind.agreement.facility)
    AgreementMeter.objects.create(
        tenant_id=other.tenant_id,
        agreement=other,
        facility_id=other.facility_id,
        channel=own.channel,
        share=Decimal("0.5"),
        starts_at=own.starts_at,
    )
    behind.until(40)
    assert behind.commands() == []
    assert DunningEvent.objects.get(kind=DunningKind.DISABLE).text != ""
    assert not behind.case().disabled


def test_who_has_moved_out_leaves_no_unit_to_cut(behind: Behind) -> None:
    Agreement.objects.filter(pk=behind.agreement.pk).update(ends_on=date(2026, 4, 10))
    behind.until(40)
    assert behind.commands() == []


def test_a_policy_that_is_switched_off_gives_back(here: Tenant, behind: Behind) -> None:
    behind.until(40)
    set_policy(here, is_active=False)
    assert behind.look(at(41)) == ["restored", "closed"]
    assert behind.case().outcome == "no_policy"


def test_what_is_below_the_minimum_is_left_alone(here: Tenant) -> None:
    assert Behind.make(here, owes="9.52").until(20) == []


def test_no_two_workers_do_a_step_twice(behind: Behind) -> None:
    behind.look(at(6))
    case = behind.case()
    for _ in range(2):
        dunning_operations.drive(case_id=case.pk, now=at(13))
    assert DunningEvent.objects.filter(kind=DunningKind.FEE).count() == 1
    event = DunningEvent.objects.get(kind=DunningKind.FEE)
    event.pk = None
    with pytest.raises(IntegrityError, match="step_once"), transaction.atomic():
        event.save(force_insert=True)


def test_events_are_only_added(behind: Behind) -> None:
    behind.look(at(6))
    for change in (
        lambda: DunningEvent.objects.update(text="other"),
        lambda: DunningEvent.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def agree(of: Behind, *parts: tuple[date, str], now: datetime | None = None) -> InstalmentPlan:
    return dunning_settings.agree_plan(
        agreement_id=of.agreement.pk,
        parts=[(day, Decimal(amount)) for day, amount in parts],
        reason="Asked on the phone",
        now=now or at(41),
        actor_id=None,
    )


def test_a_plan_gives_back_and_rests_until_a_part_is_missed(behind: Behind) -> None:
    behind.until(40)
    plan = agree(behind, (date(2026, 6, 1), "55"), (date(2026, 7, 1), "50"))
    assert (behind.case().outcome, asked(behind)[-2:]) == ("plan", [ON, FREE])
    behind.pay("55.00", at(60))
    # The second part is missed on 5 July: dunned anew, from the beginning.
    assert behind.until(94) == []
    plan.refresh_from_db()
    assert plan.state == PlanState.ACTIVE
    assert behind.until(96) == ["reminder"]
    plan.refresh_from_db()
    assert plan.state == PlanState.BROKEN


def test_what_is_credited_need_not_be_paid_by_a_plan(behind: Behind) -> None:
    behind.until(6)
    plan = agree(behind, (date(2026, 4, 10), "50.00"), (date(2026, 5, 10), "50.00"), now=at(6))
    factories.entry(behind.agreement, Decimal(-50), EntryKind.CREDIT_NOTE)
    assert behind.until(40) == []
    plan.refresh_from_db()
    assert plan.state == PlanState.ACTIVE
    assert behind.until(45) == ["fee"]
    plan.refresh_from_db()
    assert plan.state == PlanState.BROKEN


def test_a_plan_that_is_kept_ends(behind: Behind) -> None:
    behind.until(20)
    plan = agree(behind, (date(2026, 6, 1), "105"))
    behind.pay("105.00", at(50))
    plan.refresh_from_db()
    assert (plan.state, behind.case().outcome) == (PlanState.KEPT, "paid")


def test_a_plan_that_is_ended_lets_dunning_go_on(behind: Behind) -> None:
    behind.until(20)
    plan = agree(behind, (date(2026, 6, 1), "105"), now=at(21))
    assert behind.until(30) == []
    dunning_settings.cancel_plan(plan_id=plan.pk, now=at(31), actor_id=None)
    assert behind.look(at(33)) == ["limit"]
    with pytest.raises(dunning_settings.PlanNotFound):
        dunning_settings.cancel_plan(plan_id=plan.pk, now=at(31), actor_id=None)


def test_a_plan_that_does_not_fit_is_refused(behind: Behind) -> None:
    for parts, says in (
        ([(date(2026, 6, 1), "99")], "add up"),
        ([(date(2026, 4, 1), "100")], "past"),
        ([], "at least one"),
    ):
        with pytest.raises(ValidationError, match=says):
            agree(behind, *parts)
    agree(behind, (date(2026, 6, 1), "100"))
    with pytest.raises(ValidationError, match="running already"):
        agree(behind, (date(2026, 6, 1), "100"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": []}, "one to 12"),
        ({"steps": [*STEPS[2:]]}, "Step 1"),
        ({"region": "DE-XX"}, "DE-XX"),
        ({"hour_from": 18, "hour_to": 8}, "hours"),
        ({"restore_percent": 0}, "per cent"),
        ({"minimum": Decimal(-1)}, "minimum"),
        ({"quiet_weekdays": (7,)}, "Weekdays"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(
    here: Tenant, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        set_policy(here, **changes)


def test_a_notice_says_what_is_owed_and_what_comes_next(here: Tenant, behind: Behind) -> None:
    BillingSettings.objects.create(
        tenant=here, legal_name="Power Ltd", iban="DE02120300000000202051"
    )
    behind.until(14)
    reminder, fee = DunningEvent.objects.order_by("pk")
    first = dunning_queries.letter_of(event_id=reminder.pk)
    assert first is not None
    assert (first.to, first.company, int(first.overdue)) == ("anna@example.org", "Power Ltd", 100)
    assert (first.next_kind, first.next_on) == ("fee", date(2026, 4, 14))
    second = dunning_notices.claim(event_id=fee.pk)
    assert second is not None
    assert [int(one) for one in (second.fee, *(line.open for line in second.lines))] == [5, 100, 5]
    assert (second.next_kind, second.next_on) == ("limit", date(2026, 4, 24))
    dunning_notices.note_mailed(event_id=fee.pk, now=at(14))
    assert dunning_notices.claim(event_id=fee.pk) is None
    assert dunning_queries.to_mail() == [(here.pk, reminder.pk)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_time_line_tells_all_in_five_queries(
    here: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    behind = Behind.make(here)
    for day in range(count):
        behind.pay("1.00", at(1), f"P{day}")
    behind.until(40)
    behind.pay("110.00", at(41), "last")
    with django_assert_num_queries(5):
        items = ledger_timeline.timeline(agreement_id=behind.agreement.pk)
    assert [item.at for item in items] == sorted((item.at for item in items), reverse=True)
    told = {(item.subject.value, item.code) for item in items}
    assert told >= {
        ("entry", "bill"),
        ("entry", "fee"),
        ("entry", "payment"),
        ("dunning", "reminder"),
        ("dunning", "disable"),
        ("dunning", "restored"),
        ("command", "asked"),
        ("command", "cancelled"),
    }


def test_others_see_and_change_nothing(behind: Behind) -> None:
    behind.until(40)
    case = behind.case()
    elsewhere = facility(behind.tenant)
    for scope in (Scope((behind.tenant.pk,), (elsewhere.pk,)), Scope((tenant().pk,))):
        with open_scope(scope):
            assert DunningCase.objects.count() == DunningEvent.objects.count() == 0
            assert DunningPolicy.objects.count() == 0
            assert dunning_queries.open_case(agreement_id=behind.agreement.pk) is None
            assert ledger_timeline.timeline(agreement_id=behind.agreement.pk) == ()
            assert not dunning_operations.drive(case_id=case.pk, now=at(41) + timedelta(days=9))
            with pytest.raises(AgreementNotFound):
                agree(behind, (date(2026, 6, 1), "105"))
    assert asked(behind) == [LIMITED, OFF]
