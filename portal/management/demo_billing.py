"""Billing in the demo: two months that were billed, a late correction, a wallet, a unit that sells
its output by the day.

Nothing is written down as if it had happened: tariffs are published, agreements made, runs asked
for by one person and approved by another, and what follows by itself is left to the tasks. Each
step happens once, is recognised by what it left, and waits for the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from billing.domain import (
    runs_operations,
)
from billing.domain.runs_listing_operations import complete_at
from billing.domain.runs_queries import next_end
from billing.domain.usage import usage_of
from billing.models import (
    Agreement,
    Bill,
    BillRun,
    BillState,
    Cycle,
    DunningCase,
    ItemState,
    Payment,
    RunState,
)
from billing.tariffs.values import Quality
from devices.domain import corrections_operations
from devices.domain.corrections_checks import Draft
from devices.models import Channel, Correction, HistoryImport, HistoryState
from devices.models.correction import Kind
from devices.simulator.park import CHAIN, UTILITY
from portal.management.demo_contracts import (
    DISPUTED,
    PAYG,
    WALLET,
    Contract,
    contracts_of,
    counters_of,
    ensure_agreement,
    ensure_seller,
    pay,
)
from portal.management.demo_history import Past, Timeline, timeline
from portal.management.demo_people import APPROVER, UPLOADER, user_id
from portal.management.demo_prepaid import PaidByDay, Wallets
from portal.management.demo_tariffs import ensure_tariffs
from tenants.models import Tenant

# What the meters counted before, by tenant.
HISTORY: Final[Mapping[str, str]] = MappingProxyType(
    {CHAIN: "zaehlerstaende-filialen", UTILITY: "zaehlerstaende-haushalte"}
)
_ACCEPTED: Final = (
    "Geprüft: die ersten Rechnungen nach dem Wechsel des Programms, Verbrauch plausibel"
)
_CORRECTED: Final = "Befundprüfung: der Zähler lief an diesen Tagen zu schnell"
_CORRECTED_DAYS: Final = (10, 14)
_FACTOR: Final = Decimal("0.9")


@dataclass(frozen=True, slots=True)
class Opening:
    """A tenant begins to bill: who it is, its tariffs, and the agreements of its customers."""

    name: str
    tenant: str
    contracts: tuple[Contract, ...]

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether it has been done, now or earlier. Raises as the operations do."""
        at = timeline()
        if at is None:
            return True
        actor_id = user_id(UPLOADER)
        ensure_seller(tenant, actor_id=actor_id)
        ensure_tariffs(tenant, first=at.months[0], now=now, actor_id=actor_id)
        for wanted in self.contracts:
            ensure_agreement(tenant, wanted, starts_on=at.months[0], actor_id=actor_id)
        return True


@dataclass(frozen=True, slots=True)
class Billed:
    """A month of a tenant is billed: `month` counts from the earlier one of the timeline."""

    name: str
    tenant: str
    contracts: tuple[Contract, ...]
    month: int

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Do what is possible now; whether the bills are final, now or earlier."""
        at = timeline()
        agreements = _agreements(tenant, self.contracts)
        if at is None or not agreements:
            return True
        first = at.months[self.month]
        run = _run(tenant, agreements, first)
        if run is None:
            if self._can_begin(tenant, agreements, at, now):
                runs_operations.start(
                    tenant_id=tenant.pk,
                    first_on=first,
                    end_on=_end(first),
                    agreement_ids=agreements,
                    now=now,
                    actor_id=user_id(UPLOADER),
                )
            return False
        if run.state == RunState.CHECKING:
            self._approve(run, now)
            return False
        return run.ended_at is not None

    def _can_begin(
        self, tenant: Tenant, agreements: Sequence[int], at: Timeline, now: datetime
    ) -> bool:
        """Whether the month before is billed, and all is known of this one."""
        if not HistoryImport.objects.filter(
            tenant=tenant,
            file_name__startswith=HISTORY[self.tenant],
            state=HistoryState.FINISHED,
        ).exists():
            return False
        if self.month:
            before = _run(tenant, agreements, at.months[self.month - 1])
            if before is None or before.ended_at is None:
                return False
        first = at.months[self.month]
        complete = complete_at(Agreement.objects.filter(pk__in=agreements), _end(first))
        if complete is not None and now < complete:
            return False
        # Roll-ups are computed in the order of time: with the last quarter all before are there.
        used = usage_of(agreements, first=first, end=_end(first), estimate=False)
        return all(one.quality[-1] == Quality.MEASURED for one in used.values())

    def _approve(self, run: BillRun, now: datetime) -> None:
        approver = user_id(APPROVER)
        if run.items.filter(state=ItemState.HELD).exists():
            runs_operations.accept(run_id=run.pk, reason=_ACCEPTED, now=now, actor_id=approver)
        issued_on = max(now.date(), run.end_on)
        runs_operations.approve(run_id=run.pk, issued_on=issued_on, now=now, actor_id=approver)


@dataclass(frozen=True, slots=True)
class Settled:
    """Customers of a tenant pay the bills of its runs, all but those of the last month that one of
    them has doubts about. Who is being dunned pays what that is about first.
    """

    name: str
    tenant: str
    contracts: tuple[Contract, ...]
    unpaid: Contract

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether all is paid, now or earlier. Raises as the operations do."""
        at = timeline()
        agreements = _agreements(tenant, self.contracts)
        if at is None or not agreements:
            return True
        runs = [_run(tenant, agreements, first) for first in at.months]
        done = [run for run in runs if run is not None and run.ended_at is not None]
        dunned = set(
            DunningCase.objects.filter(agreement__in=agreements, closed_at=None).values_list(
                "agreement", flat=True
            )
        )
        waits = len(done) < len(runs)
        for bill in Bill.objects.filter(run__in=done, state=BillState.FINAL, total__gt=0):
            key = f"demo:bill:{bill.pk}"
            if bill.agreement.number == self.unpaid.number and bill.first_on == at.months[-1]:
                continue
            if Payment.objects.filter(tenant=tenant, external_id=key).exists():
                continue
            if bill.agreement_id in dunned:
                waits = True
            else:
                pay(bill.agreement, bill.total, key, bill.number or "", now)
        return not waits


@dataclass(frozen=True, slots=True)
class Corrected:
    """Readings of a month that is billed already turn out to have been wrong: its bill is restated,
    and waits for somebody to settle that.
    """

    name: str
    tenant: str
    contract: Contract

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether it has been corrected, now or earlier. Raises as the operations do."""
        at = timeline()
        counter = self.contract.meters[0].counter
        channel = Channel.objects.filter(
            tenant=tenant, device__serial=counter.serial, key=counter.key
        ).first()
        if at is None or channel is None:
            return True
        if Correction.objects.filter(tenant=tenant, reason=_CORRECTED).exists():
            return True
        first = at.months[-1]
        run = _run(tenant, _agreements(tenant, (self.contract,)), first)
        if run is None or run.ended_at is None:
            return False
        zone = ZoneInfo(channel.device.facility.time_zone)
        begin, end = (
            datetime.combine(first.replace(day=day), time(), zone) for day in _CORRECTED_DAYS
        )
        corrections_operations.make_correction(
            draft=Draft(channel.pk, Kind.SCALE, begin, end, factor=_FACTOR),
            reason=_CORRECTED,
            now=now,
            actor_id=user_id(APPROVER),
        )
        return True


BillingAct = Opening | Billed | Settled | Corrected | Wallets | PaidByDay

BILLING: Final[tuple[BillingAct, ...]] = (
    *(
        act
        for slug in (CHAIN, UTILITY)
        for act in (
            Opening(f"billing-{slug}", slug, contracts_of(slug)),
            Billed(f"bills-before-{slug}", slug, contracts_of(slug), 0),
            Billed(f"bills-{slug}", slug, contracts_of(slug), 1),
        )
    ),
    Settled("bills-paid", UTILITY, contracts_of(UTILITY), DISPUTED),
    Corrected("late-correction", UTILITY, DISPUTED),
    Wallets("wallet", UTILITY, WALLET),
    PaidByDay("pay-as-you-go", UTILITY, PAYG),
)


def pasts(stopped: Callable[[], bool] = lambda: False) -> list[Past]:
    """What the meters counted before, by tenant; each is worked out anew where it was not kept,
    until `stopped` says that it shall not.
    """
    return [
        Past(name, slug, lambda: user_id(UPLOADER), counters_of(slug), stopped=stopped)
        for slug, name in HISTORY.items()
    ]


def _agreements(tenant: Tenant, contracts: Sequence[Contract]) -> list[int]:
    """Those that are there."""
    numbers = [one.number for one in contracts]
    found = Agreement.objects.filter(tenant=tenant, number__in=numbers)
    return list(found.order_by("pk").values_list("pk", flat=True))


def _run(tenant: Tenant, agreements: Sequence[int], first: date) -> BillRun | None:
    """The run of a month that bills agreements of the demo and was not cancelled."""
    found = BillRun.objects.filter(
        tenant=tenant, first_on=first, items__agreement__in=list(agreements)
    ).exclude(state=RunState.CANCELLED)
    return found.order_by("pk").first()


def _end(first: date) -> date:
    end = next_end(first, Cycle.MONTH)
    assert end is not None  # it is the first day of a month
    return end
