"""Pages of bill runs and of what they make: the checklist, approval, a line down to readings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.domain import (
    payments_operations,
    restatement_finding,
    restatement_steps,
    runs_steps,
    wallet_operations,
)
from billing.domain.wallet_operations import WalletRules
from billing.models import (
    Agreement,
    Bill,
    BillKind,
    BillRun,
    BillState,
    ItemState,
    Mode,
    Restatement,
    RunState,
)
from billing.payments.values import Received
from billing.tests import factories as billing
from billing.tests.readings import meter, power, quarters, tariff
from devices.domain import operations
from devices.models import Channel
from devices.tests import factories as devices
from portal.charts.bars import Value, bar_chart
from portal.tests import home
from portal.tests.test_billing_pages import signed_in
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
LENGTH = 743 * 4
NOW = datetime(2026, 4, 2, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Office:
    """Two people of a tenant that bills one or more customers for a month."""

    tenant: Tenant
    channel: Channel
    agreements: tuple[Agreement, ...]
    people: tuple[User, User]
    asks: Client
    approves: Client

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    def work(self) -> None:
        """What workers do with open runs."""
        with open_scope(self.scope):
            runs = [run.pk for run in BillRun.objects.filter(ended_at__isnull=True)]
            for pk in runs:
                runs_steps.work(
                    tenant_id=self.tenant.pk, run_id=pk, go_on=lambda: True, clock=lambda: NOW
                )

    def start(self) -> BillRun:
        """A run for March, computed."""
        self.asks.post(reverse("bill-run-create"), {"cycle": "month", "first_on": "2026-03-01"})
        self.work()
        with open_scope(self.scope):
            return BillRun.objects.get()

    def items(self) -> list[int]:
        """The accounts of the run."""
        with open_scope(self.scope):
            return list(BillRun.objects.get().items.order_by("pk").values_list("pk", flat=True))

    def bill(self) -> Bill:
        """The bill of the first agreement."""
        with open_scope(self.scope):
            return Bill.objects.filter(agreement=self.agreements[0]).earliest("pk")

    def change_tariff(self) -> None:
        """It was too dear for the whole month; the bill is computed anew."""
        with open_scope(self.scope):
            tariff = self.agreements[0].tariffs.get().tariff
            cheaper = json.loads(json.dumps(tariff.versions.get().document))
            cheaper["components"][0]["amount"] = "8.00"
            made = billing.version(tariff, cheaper, revision=2)
            restatement_finding.version_published(made, now=NOW)
            restatement_steps.compute(agreement_id=self.agreements[0].pk, now=NOW)

    def prepaid(self) -> int:
        """Another agreement, with a wallet."""
        with open_scope(self.scope):
            of = self.agreements[0]
            made = billing.agreement(of.facility, by=of.tariffs.get().tariff, mode=Mode.PREPAID)
            wallet_operations.open_wallet(agreement_id=made.pk, rules=WalletRules(), actor_id=None)
            return made.pk

    def finish(self) -> Bill:
        """All the way to the final bill."""
        run = self.start()
        given = {"item": self.items(), "reason": "First bills"}
        self.asks.post(reverse("bill-run-accept", args=[run.pk]), given)
        self.approves.post(reverse("bill-run-approve", args=[run.pk]), {"issued_on": "2026-04-02"})
        self.work()
        return self.bill()


def office(count: int = 1) -> Office:
    """A tenant with agreements that are billed by the same amount."""
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        at = devices.facility(of)
        agreements = []
        for _ in range(count):
            channel = power(at)
            use = np.random.default_rng(3).uniform(0, 400, LENGTH).tolist()
            quarters(channel, BEGIN, use)
            made = billing.agreement(at, by=tariff(at))
            meter(made, channel, BEGIN)
            agreements.append(made)
        first, second = (factories.member(of, Role.ADMIN) for _ in range(2))
    people = first.user, second.user
    return Office(of, channel, tuple(agreements), people, signed_in(first), signed_in(second))


@pytest.fixture
def here(db: None) -> Office:
    """One with one agreement."""
    return office()


def test_a_run_is_started_accepted_and_approved_by_a_second_person(here: Office) -> None:
    form = here.asks.get(reverse("bill-run-create"))
    assert form.status_code == 200
    run = here.start()
    address = reverse("bill-run", args=[run.pk])
    text = here.asks.get(address).content.decode()
    assert "First bill" in text
    approve = reverse("bill-run-approve", args=[run.pk])
    assert approve not in text
    # Nothing is accepted without a reason.
    accept = reverse("bill-run-accept", args=[run.pk])
    here.asks.post(accept, {"item": here.items()})
    assert "held by the checklist" in here.asks.get(address).content.decode()
    here.asks.post(accept, {"item": here.items(), "reason": "Known customers"})
    assert "Known customers" in here.asks.get(address).content.decode()
    refused = here.asks.post(approve, {"issued_on": "2026-04-02"})
    assert (refused.status_code, "somebody else" in refused.content.decode()) == (422, True)
    assert here.approves.post(approve, {"issued_on": "2026-03-15"}).status_code == 422
    assert here.approves.post(approve, {"issued_on": "2026-04-02"}).status_code == 302
    here.work()
    with open_scope(here.scope):
        run.refresh_from_db()
    assert run.state == RunState.FINISHED
    made = here.bill()
    assert made.state == BillState.FINAL
    assert made.number in here.asks.get(reverse("bill-list")).content.decode()


def test_accounts_are_left_out_or_computed_again(here: Office) -> None:
    run = here.start()
    (item,) = here.items()
    here.asks.post(reverse("bill-run-again", args=[run.pk]), {"item": [item]})
    here.work()
    here.asks.post(
        reverse("bill-run-leave-out", args=[run.pk]), {"item": [item], "reason": "Disputed"}
    )
    with open_scope(here.scope):
        assert run.items.get().state == ItemState.SKIPPED
        assert not Bill.objects.exists()
    answer = here.asks.post(reverse("bill-run-accept", args=[run.pk]), {"reason": "x"}, follow=True)
    assert "Choose the accounts" in answer.content.decode()


def test_a_run_is_cancelled_with_a_reason(here: Office) -> None:
    run = here.start()
    cancel = reverse("bill-run-cancel", args=[run.pk])
    assert here.asks.post(cancel, {}).status_code == 422
    here.asks.post(cancel, {"reason": "Wrong month"})
    with open_scope(here.scope):
        run.refresh_from_db()
        assert not Bill.objects.exists()
    assert run.state == RunState.CANCELLED
    again = {"cycle": "month", "first_on": "2026-03-02"}
    assert here.asks.post(reverse("bill-run-create"), again).status_code == 422


def test_a_bill_opens_to_lines_intervals_and_readings(here: Office) -> None:
    bill = here.finish()
    page = here.asks.get(reverse("bill", args=[bill.pk]))
    urls = [one.url for one in page.context["lines"] if one.url]
    # Day in two tiers, night, and the highest demand.
    assert len(urls) == 4
    line = here.asks.get(f"{urls[0]}?day=2026-03-05")
    shown = line.context["intervals"]
    # From 06:00 to 22:00 as far as the first tier reaches.
    assert shown[0]["clock"] == "06:00"
    (reading,) = shown[0]["readings"]
    instant = int(datetime(2026, 3, 5, 5, tzinfo=UTC).timestamp() * 1000)
    assert f"at={instant}" in reading["url"]
    assert reading["url"].startswith(reverse("device", args=[here.channel.device_id]))
    assert here.asks.get(reading["url"]).status_code == 200
    assert line.content.decode().count('<rect class="wl-bars-bar"') == 31 + len(shown)
    demand = here.asks.get(urls[3])
    assert [one["highest"] for one in demand.context["intervals"]].count(True) == 1
    # What is made of other lines has nothing to open.
    tax = here.asks.get(reverse("bill-line", args=[bill.pk, len(page.context["lines"])]))
    assert "day_title" not in tax.context
    missing = reverse("bill-line", args=[bill.pk, 99])
    assert here.asks.get(missing).status_code == 404
    assert here.asks.get(f"{urls[0]}?day=never").status_code == 200


def test_the_clock_change_shows_in_the_intervals_of_its_day(here: Office) -> None:
    bill = here.finish()
    page = here.asks.get(reverse("bill", args=[bill.pk]))
    night = next(one.url for one in page.context["lines"] if "night" in one.note)
    shown = here.asks.get(f"{night}?day=2026-03-29").context["intervals"]
    assert [one["clock"] for one in shown][6:10] == ["01:30", "01:45", "03:00", "03:15"]


def test_a_bill_is_taken_back_by_a_credit_note(here: Office) -> None:
    bill = here.finish()
    void = reverse("bill-void", args=[bill.pk])
    assert void in here.asks.get(reverse("bill", args=[bill.pk])).content.decode()
    assert here.asks.post(void, {"issued_on": "2026-04-03"}).status_code == 422
    given = {"cause": "Wrong meter", "issued_on": "2026-04-03"}
    done = here.asks.post(void, given)
    with open_scope(here.scope):
        note = Bill.objects.get(kind=BillKind.CREDIT_NOTE)
    assert done["Location"] == reverse("bill", args=[note.pk])
    text = here.asks.get(reverse("bill", args=[bill.pk])).content.decode()
    assert "has taken this bill back" in text
    assert note.number in text
    assert here.asks.post(void, given).status_code == 422
    # The lines of a credit note open as those of the bill.
    lines = here.asks.get(reverse("bill", args=[note.pk])).context["lines"]
    assert here.asks.get(lines[1].url).context["intervals"]


@pytest.mark.parametrize("count", [1, 3])
def test_run_and_line_take_the_same_queries_however_much_there_is(
    count: int, db: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    here = office(count)
    bill = here.finish()
    with open_scope(here.scope):
        run = BillRun.objects.get()
    here.asks.get(reverse("bill-list"))
    for address, most in (
        (reverse("bill-run", args=[run.pk]), 17),
        (reverse("bill-line", args=[bill.pk, 2]), 14),
    ):
        with django_assert_max_num_queries(most):
            assert here.asks.get(address).status_code == 200


def test_bars_reach_below_zero_and_label_what_has_room() -> None:
    chart = bar_chart([Value(value, str(n), "") for n, value in enumerate([3.0, -1.5, 0.0] * 16)])
    assert chart is not None
    assert (chart.most, chart.least) == (5.0, -2.0)
    up, down, none = chart.bars[:3]
    assert up.y + up.height == pytest.approx(chart.zero)
    assert down.y == pytest.approx(chart.zero)
    assert none.height == 0
    assert len(chart.labels) == 16
    assert bar_chart([]) is None


# --- previews, documents, and what a customer sees ---------------------------------------


def test_a_draft_is_rated_by_the_use_of_a_month_beside_what_is_agreed(here: Office) -> None:
    with open_scope(here.scope):
        agreed = here.agreements[0].tariffs.get().tariff.versions.get()
        dearer = json.loads(json.dumps(agreed.document))
        dearer["components"][0]["amount"] = "13.00"
        draft = billing.version(agreed.tariff, dearer, valid_from=date(2026, 6, 1), published=False)
    address = reverse("tariff-version-preview", args=[draft.pk])
    assert "rows" not in here.asks.get(address).context
    page = here.asks.get(f"{address}?agreement={here.agreements[0].pk}&month=2026-03")
    rows = {row["label"]: row["difference"] for row in page.context["rows"]}
    assert rows["Base"] == "+3.00\N{NO-BREAK SPACE}EUR"
    # Three more, and their tax.
    assert page.context["difference"] == "+3.57\N{NO-BREAK SPACE}EUR"
    early = here.asks.get(f"{address}?agreement={here.agreements[0].pk}&month=2025-03")
    assert "does not hold" in early.content.decode()


def test_the_documents_of_a_final_bill_are_downloaded(here: Office) -> None:
    bill = here.finish()
    pdf = here.asks.get(reverse("bill-file", args=[bill.pk, "pdf"]))
    assert (pdf["Content-Type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert bill.number in pdf["Content-Disposition"]
    assert here.asks.get(reverse("bill-file", args=[bill.pk, "odt"])).status_code == 404


def test_a_customer_sees_their_own_bills_at_home_and_no_others(here: Office) -> None:
    with open_scope(here.scope):
        at = here.agreements[0].facility
        mine, later = (factories.member(here.tenant, Role.CONSUMER) for _ in range(2))
        for one in (mine, later):
            operations.grant_facility(membership_id=one.pk, facility_id=at.pk, actor_id=None)
        Agreement.objects.filter(pk=here.agreements[0].pk).update(user=mine.user)
    draft = here.start()
    browser = home.signed_in(mine.user)
    assert "no bill for you" in browser.get("/home/bills/").content.decode()
    given = {"item": here.items(), "reason": "First bills"}
    here.asks.post(reverse("bill-run-accept", args=[draft.pk]), given)
    here.approves.post(reverse("bill-run-approve", args=[draft.pk]), {"issued_on": "2026-04-02"})
    here.work()
    bill = here.bill()
    listed = browser.get("/home/bills/").content.decode()
    assert bill.number in listed
    page = browser.get(f"/home/bills/{bill.pk}/").content.decode()
    assert "Please pay by" in page
    assert "at 0.30\N{NO-BREAK SPACE}EUR each" in page
    assert "A month at 10.00\N{NO-BREAK SPACE}EUR" in page
    # What was paid is not asked for again.
    for paid, told in ((bill.total - 1, "1.00\N{NO-BREAK SPACE}EUR of it are"), (1, "is paid")):
        received = Received(told, Decimal(paid), "EUR", date(2026, 4, 3))
        with open_scope(here.scope):
            payments_operations.enter(
                agreement_id=bill.agreement_id,
                received=received,
                now=datetime.now(UTC),
                actor_id=None,
            )
        assert told in browser.get(f"/home/bills/{bill.pk}/").content.decode()
    told = here.asks.get(reverse("bill", args=[bill.pk])).context["facts"]
    assert [one.value for one in told if one.label == "Still open"] == ["0.00\N{NO-BREAK SPACE}EUR"]
    # Who lives there later has the facility as well, and not its bills.
    other = home.signed_in(later.user)
    assert bill.number not in other.get("/home/bills/").content.decode()
    assert other.get(f"/home/bills/{bill.pk}/").status_code == 404
    assert other.get(f"/home/bills/{bill.pk}/pdf/").status_code == 404
    # The pages of who bills are not for customers.
    client = signed_in(mine)
    assert client.get(reverse("bill", args=[bill.pk])).status_code == 403


def _changed(here: Office, bill: Bill) -> Restatement:
    """What follows from a tariff that was too dear."""
    here.change_tariff()
    with open_scope(here.scope):
        return Restatement.objects.get(bill=bill)


def test_a_bill_is_restated_by_credit_note_and_new_bill(here: Office) -> None:
    bill = here.finish()
    found = _changed(here, bill)
    listed = here.asks.get(reverse("restatement-list")).content.decode()
    assert bill.number in listed
    assert "The tariff was corrected" in listed
    # Two less, and their tax.
    assert "\N{MINUS SIGN}2.38\N{NO-BREAK SPACE}EUR" in listed
    settle = reverse("restatement-settle", args=[found.pk])
    assert here.asks.get(settle).status_code == 200
    done = here.asks.post(settle, {"issued_on": "2026-04-10"})
    assert done["Location"] == reverse("bill", args=[bill.pk])
    with open_scope(here.scope):
        made = Bill.objects.filter(agreement=here.agreements[0]).exclude(pk=bill.pk)
        by_kind = {one.kind: one for one in made}
        bill.refresh_from_db()
    assert bill.state == BillState.VOID
    assert by_kind[BillKind.CREDIT_NOTE].total == -bill.total
    assert bill.total - by_kind[BillKind.INVOICE].total == Decimal("2.38")
    assert here.asks.post(settle, {"issued_on": "2026-04-10"}).status_code == 422


def test_a_bill_is_let_stand_with_a_reason(here: Office) -> None:
    bill = here.finish()
    found = _changed(here, bill)
    dismiss = reverse("restatement-dismiss", args=[found.pk])
    assert here.asks.post(dismiss, {}).status_code == 422
    here.asks.post(dismiss, {"reason": "Agreed with the customer"})
    assert "Agreed with the customer" in here.asks.get(reverse("restatement-list")).content.decode()
    assert here.asks.post(dismiss, {"reason": "Again"}).status_code == 404
    with open_scope(here.scope):
        bill.refresh_from_db()
    assert bill.state == BillState.FINAL
