"""Pages of dunning and of plans of payments: policy, cases, what is foretold, instalments."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.accounts.dunning import Outcome
from billing.domain import dunning_facts, dunning_opening_operations, dunning_operations
from billing.models import (
    DunningCase,
    DunningEvent,
    DunningKind,
    DunningPolicy,
    EntryKind,
    InstalmentPlan,
    PlanState,
)
from billing.tests import factories as billing
from billing.tests.dunning_world import set_policy
from devices.domain import operations
from devices.tests import factories as devices
from portal.tests.test_billing_pages import Books, keep, signed_in
from tenants.models import AuditEntry
from tenants.permissions import Role
from tenants.scope import open_scope
from tenants.tests import factories

pytestmark = pytest.mark.django_db


def behind(count: int = 1) -> Books:
    """Accounts with an open case each, whose bills were due in April 2026: 100 EUR are owed."""
    books = keep(count)
    with open_scope(books.scope):
        set_policy(books.tenant)
        policy = DunningPolicy.objects.get()
        now = datetime.now(UTC)
        assert dunning_opening_operations.open_cases(policy_id=policy.pk, now=now) == count
    return books


def case_of(books: Books, number: int = 0) -> int:
    with open_scope(books.scope):
        return DunningCase.objects.filter(agreement=books.agreements[number]).latest("pk").pk


def shown(client: Client, name: str, *keys: int) -> str:
    answer = client.get(reverse(name, args=keys))
    assert answer.status_code == 200
    return answer.content.decode()


def policy_form(**changes: str | list[str]) -> dict[str, str | list[str]]:
    return {
        "is_active": "on",
        "minimum": "12.50",
        "restore_percent": "80",
        "quiet_weekdays": ["6"],
        "region": "de-by",
        "hour_from": "9",
        "hour_to": "17",
        "kind_1": "reminder",
        "after_1": "5",
        # A row may be left empty in between.
        "kind_3": "fee",
        "after_3": "12",
        "fee_3": "4.00",
        "kind_4": "limit",
        "after_4": "20",
        "limit_4": "800",
        **changes,
    }


def test_a_policy_is_set_and_shown_again() -> None:
    books = keep()
    client = books.browser()
    address = reverse("dunning-policy")
    assert client.get(address).status_code == 200
    assert client.post(address, policy_form()).status_code == 302
    with open_scope(books.scope):
        row = DunningPolicy.objects.get()
        assert AuditEntry.objects.filter(action="dunning.policy").count() == 1
    assert row.steps == [
        {"kind": "reminder", "after_days": 5},
        {"kind": "fee", "after_days": 12, "fee": "4.00"},
        {"kind": "limit", "after_days": 20, "limit_w": 800},
    ]
    assert (row.minimum, row.region, row.quiet_weekdays) == (Decimal("12.5"), "DE-BY", [6])
    initial = client.get(address).context["form"].initial
    assert (initial["kind_2"], initial["fee_2"]) == ("fee", Decimal("4.00"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind_1": "disable"}, "Niemand wird ohne vorherige Erinnerung"),
        ({"region": "XX-9"}, "Die Feiertage von XX-9"),
        ({"fee_3": ""}, "Stufe 2: "),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_the_readers_language(
    changes: dict[str, str], says: str
) -> None:
    books = keep()
    client = books.browser()
    client.post(reverse("language"), {"language": "de"})
    answer = client.post(reverse("dunning-policy"), policy_form(**changes))
    assert answer.status_code == 422
    assert says in answer.content.decode()
    with open_scope(books.scope):
        assert not DunningPolicy.objects.exists()


def test_a_case_tells_its_history_and_what_comes_next() -> None:
    books = behind()
    pk = case_of(books)
    with open_scope(books.scope):
        dunning_operations.drive(case_id=pk, now=working_hour())
        kinds = list(DunningEvent.objects.values_list("kind", flat=True))
    assert kinds == [DunningKind.REMINDER]
    client = books.browser()
    text = shown(client, "dunning-case", pk)
    assert "Reminder" in text
    assert "2. Dunning with a fee" in text
    assert "4. Supply switched off" in text
    assert reverse("agreement", args=[books.agreements[0].pk]) in text
    assert books.agreements[0].number in shown(client, "dunning-list")
    # The same is foretold on the page of the account.
    assert "4. Supply switched off" in shown(client, "agreement-dunning", books.agreements[0].pk)


def test_commands_and_the_end_of_a_case_are_told_in_words() -> None:
    books = behind()
    pk = case_of(books)
    with open_scope(books.scope):
        case = DunningCase.objects.get(pk=pk)
        device = devices.device(case.facility).device
        command = devices.command(device, kind="set_output", arguments={"output": 0})
        DunningEvent.objects.create(
            tenant=case.tenant,
            case=case,
            agreement=case.agreement,
            facility=case.facility,
            at=datetime.now(UTC),
            kind=DunningKind.DISABLE,
            commands=[command.pk],
            overdue=Decimal(100),
            currency="EUR",
        )
        now = datetime.now(UTC)
        account = dunning_facts.account_of(case.agreement, now=now)
        dunning_operations.close(case, account, Outcome.PAID, now)
    client = books.browser()
    for text in (
        shown(client, "agreement", books.agreements[0].pk),
        shown(client, "dunning-case", pk),
    ):
        assert "Switch the output off" in text
        assert "Everything that was overdue is paid." in text
        assert "set_output" not in text


def working_hour() -> datetime:
    """The next time from now on that is neither at a weekend nor on a holiday, at ten in Berlin."""
    at = datetime.now(UTC).replace(hour=9, minute=0)
    with_policy = DunningPolicy.objects.get()
    policy = dunning_facts.policy_of(with_policy, year=at.year)
    assert policy is not None
    day = policy.quiet.next_day(at.date() + timedelta(days=1))
    assert day is not None
    return at.replace(year=day.year, month=day.month, day=day.day)


def test_an_account_that_is_not_due_yet_is_told_when_it_would_begin() -> None:
    books = keep()
    agreement = books.agreements[0]
    due = datetime.now(UTC).date() + timedelta(days=30)
    with open_scope(books.scope):
        set_policy(books.tenant)
        billing.entry(agreement, Decimal(-100), EntryKind.PAYMENT)
        billing.entry(agreement, Decimal(50), EntryKind.BILL, due_on=due)
    answer = books.browser().get(reverse("agreement-dunning", args=[agreement.pk]))
    assert answer.context["begins"] == due + timedelta(days=1)
    assert [one["number"] for one in answer.context["steps"]] == [1, 2, 3, 4]


def test_a_case_is_paused_goes_on_and_is_closed_with_a_reason() -> None:
    books = behind()
    pk = case_of(books)
    client = books.browser()
    until = datetime.now(UTC).date() + timedelta(days=40)
    pause = reverse("dunning-pause", args=[pk])
    assert client.get(pause).status_code == 200
    assert client.post(pause, {"until": "2020-01-01", "reason": "Asked"}).status_code == 422
    given = {"until": until.isoformat(), "reason": "Bill is disputed"}
    assert client.post(pause, given).status_code == 302
    text = shown(client, "dunning-case", pk)
    assert "Bill is disputed" in text
    assert "Paused until the end of" in text
    with open_scope(books.scope):
        assert not dunning_operations.drive(case_id=pk, now=working_hour())
    assert client.post(reverse("dunning-resume", args=[pk])).status_code == 302
    assert "Paused until" not in shown(client, "dunning-case", pk)
    close = reverse("dunning-close", args=[pk])
    assert client.post(close, {"reason": " "}).status_code == 422
    assert client.post(close, {"reason": "Agreed by phone"}).status_code == 302
    text = shown(client, "dunning-case", pk)
    assert "It was ended by a person." in text
    assert "Agreed by phone" in text
    assert client.get(close).status_code == 404
    with open_scope(books.scope):
        row = DunningCase.objects.get(pk=pk)
        assert row.outcome == "dropped"
        people = AuditEntry.objects.filter(action__startswith="dunning.", actor__isnull=False)
        assert sorted(one.action for one in people) == [
            "dunning.closed",
            "dunning.paused",
            "dunning.resumed",
        ]


def test_instalments_are_proposed_agreed_and_ended() -> None:
    books = behind()
    agreement = books.agreements[0]
    client = books.browser()
    address = reverse("plan-agree", args=[agreement.pk])
    first = datetime.now(UTC).date() + timedelta(days=10)
    query = {"count": "3", "first": first.isoformat(), "every": "7", "whole": ""}
    form = client.get(address, query).context["form"]
    assert [form.initial[f"amount_{n}"] for n in (1, 2, 3)] == [
        Decimal("33.34"),
        Decimal("33.33"),
        Decimal("33.33"),
    ]
    assert form.initial["due_3"] == first + timedelta(days=14)
    wrong = {"grace_days": "3", "due_1": first.isoformat(), "amount_1": "99"}
    client.post(reverse("language"), {"language": "de"})
    refused = client.post(address, wrong)
    client.post(reverse("language"), {"language": "en"})
    assert refused.status_code == 422
    assert "Die Raten müssen zusammen 100" in refused.content.decode()
    half = client.post(address, {"grace_days": "3", "due_1": first.isoformat()})
    assert "amount_1" in half.context["form"].errors
    made = client.post(address, {**wrong, "amount_1": "100", "reason": "Promised"})
    with open_scope(books.scope):
        plan = InstalmentPlan.objects.get()
    assert made["Location"] == reverse("plan", args=[plan.pk])
    text = shown(client, "plan", plan.pk)
    assert "Promised" in text
    assert "to be paid" in text
    assert agreement.number in shown(client, "plan-list")
    assert reverse("plan", args=[plan.pk]) in shown(client, "agreement-dunning", agreement.pk)
    assert client.post(reverse("plan-end", args=[plan.pk])).status_code == 302
    with open_scope(books.scope):
        assert InstalmentPlan.objects.get().state == PlanState.CANCELLED


def test_a_month_without_the_day_takes_its_last_one() -> None:
    books = behind()
    address = reverse("plan-agree", args=[books.agreements[0].pk])
    query = {"count": "3", "first": "2031-12-31", "every": "0"}
    form = books.browser().get(address, query).context["form"]
    assert [form.initial[f"due_{n}"] for n in (1, 2, 3)] == [
        date(2031, 12, 31),
        date(2032, 1, 31),
        date(2032, 2, 29),
    ]


def test_cases_are_found_by_state() -> None:
    books = behind(2)
    client = books.browser()
    with open_scope(books.scope):
        DunningCase.objects.filter(pk=case_of(books)).update(
            closed_at=datetime.now(UTC), outcome="paid"
        )
    numbers = [one.number for one in books.agreements]

    def found(state: str) -> list[bool]:
        page = client.get(f"{reverse('dunning-list')}?state={state}").content.decode()
        return [number in page for number in numbers]

    assert found("closed") == [True, False]
    assert found("running") == [False, True]
    assert found("off") == [False, False]


def test_who_is_granted_one_facility_sees_its_cases_alone_and_changes_none() -> None:
    books = behind(2)
    with open_scope(books.scope):
        member = factories.member(books.tenant, Role.MANAGER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=books.facilities[0].pk, actor_id=None
        )
    client = signed_in(member)
    text = shown(client, "dunning-list")
    assert [one.number in text for one in books.agreements] == [True, False]
    shown(client, "dunning-case", case_of(books))
    # The policy is the tenant's: nothing is foretold by it.
    assert "not yours to see" in shown(client, "agreement-dunning", books.agreements[0].pk)
    for name, key in (
        ("dunning-case", case_of(books, 1)),
        ("agreement-dunning", books.agreements[1].pk),
    ):
        assert client.get(reverse(name, args=[key])).status_code == 404
    for name in ("dunning-pause", "dunning-close"):
        given = {"until": "2031-01-01", "reason": "No"}
        assert client.post(reverse(name, args=[case_of(books)]), given).status_code == 403
    stranger = keep().browser()
    assert stranger.post(reverse("dunning-close", args=[case_of(books)]), given).status_code == 404
    with open_scope(books.scope):
        assert DunningCase.objects.filter(closed_at__isnull=True, paused_until=None).count() == 2


@pytest.mark.parametrize("count", [1, 3])
def test_pages_take_the_same_queries_however_much_there_is(
    count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    books = behind(count)
    client = books.browser()
    with open_scope(books.scope):
        for one in books.agreements:
            billing.plan(one)
    client.get(reverse("dunning-list"))
    for address, most in (
        (reverse("dunning-list"), 13),
        (reverse("dunning-case", args=[case_of(books)]), 26),
        (reverse("agreement-dunning", args=[books.agreements[0].pk]), 22),
        (reverse("plan-list"), 13),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200
