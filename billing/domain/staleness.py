"""The last looks before drafts become final: what has changed since they were computed.

Who was given a wrong bill gets a credit note and a new one; who has only a draft yet gets one right
bill. So a run asks `look` about its drafts and computes anew what may not be right any more, and
`made_final` tells of what has been announced between that look and the end of the transaction.
Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Q

from billing.domain.restatement_finding import (
    MOST_CHANGES,
    Because,
    ask,
    ask_followers,
    leaves_something,
    touched,
)
from billing.models import (
    AgreementTariff,
    Bill,
    BillKind,
    BillLine,
    BillState,
    ChangesRead,
    PriceValue,
    VersionState,
)
from billing.tariffs.values import Kind
from devices.domain.changes import changes_after, last_change
from devices.telemetry.redo_store import Change

# What was published or entered so shortly before a draft was computed may not have been visible.
_MARGIN: Final = timedelta(minutes=15)
_DAY: Final = timedelta(days=1)


class ChangesAreReadError(Exception):
    """Somebody reads announced changes at this moment, and would miss bills that become final now:
    the transaction is to be done again.
    """


class Look(NamedTuple):
    """The agreements whose drafts may not be right any more, and the number of the last announced
    change that was looked at.
    """

    stale: frozenset[int]
    change: int


class _Draft(NamedTuple):
    bill_id: int
    agreement_id: int
    first: date
    end: date
    is_stale: bool
    change: int
    known_at: datetime


def look(*, run_id: int, agreement_ids: Sequence[int]) -> Look:
    """What has changed since drafts of a run were computed: readings, tariffs, prices, agreements,
    and the bills before them. Rather too much than too little is named. Four queries, some more
    where readings were announced or prices entered. The caller holds the agreements.
    """
    change = last_change()
    rows = Bill.objects.filter(
        run_id=run_id,
        agreement_id__in=list(agreement_ids),
        kind=BillKind.INVOICE,
        state=BillState.DRAFT,
    )
    drafts = [
        _Draft(*row)
        for row in rows.order_by("pk").values_list(
            "pk", "agreement_id", "first_on", "end_on", "is_stale", "evidence__change_id",
            "evidence__known_at",
        )
    ]  # fmt: skip
    if not drafts:
        return Look(frozenset(), change)
    stale = {one.agreement_id for one in drafts if one.is_stale}
    stale |= _read_again(drafts, change) | _agreed_anew(drafts) | _priced_anew(drafts)
    return Look(frozenset(stale), change)


def made_final(bills: Sequence[Bill], *, after: int, now: datetime) -> int:
    """Bills have just become final, in this transaction: those that changes after the one with
    number `after` concern are asked for at once, and so are final bills after those that leave
    something to them; returns how many.

    Nobody reads changes until the transaction ends. Raises ChangesAreReadError where somebody does:
    bills that are not visible yet would be missed.
    """
    if not bills:
        return 0
    _hold_place(bills[0].tenant_id)
    asked = ask_followers([bill for bill in bills if leaves_something(bill)], now=now)
    if last_change() <= after:
        return asked
    found: dict[int, list[Because]] = {}
    among = Q(pk__in=[bill.pk for bill in bills])
    for changes in _changes(after):
        for pk, causes in touched(changes, among).items():
            found.setdefault(pk, []).extend(causes)
    return asked + ask(found, now=now)


def _hold_place(tenant_id: int) -> None:
    # Not waited for: who reads changes waits for agreements, which the caller holds.
    rows = ChangesRead.objects.filter(tenant_id=tenant_id)
    held = rows.select_for_update(skip_locked=True, no_key=True)
    if not held.values_list("pk") and rows.exists():
        raise ChangesAreReadError


def _changes(after: int) -> Iterator[Sequence[Change]]:
    more = True
    while more:
        changes = changes_after(after, limit=MOST_CHANGES)
        if changes:
            yield changes
            after = changes[-1].id
        more = len(changes) == MOST_CHANGES


def _read_again(drafts: Sequence[_Draft], change: int) -> set[int]:
    """Whose readings have changed."""
    known = min(one.change for one in drafts)
    if change <= known:
        return set()
    agreements = {one.bill_id: one.agreement_id for one in drafts}
    among = Q(pk__in=list(agreements))
    return {
        agreements[pk]
        for changes in _changes(known)
        for pk in touched(changes, among, state=BillState.DRAFT)
    }


def _agreed_anew(drafts: Sequence[_Draft]) -> set[int]:
    """Whose tariff has a version that was published since."""
    rows = AgreementTariff.objects.filter(
        agreement_id__in=[one.agreement_id for one in drafts],
        starts_on__lt=max(one.end for one in drafts),
        tariff__versions__state=VersionState.PUBLISHED,
        tariff__versions__published_at__gt=min(one.known_at for one in drafts) - _MARGIN,
        tariff__versions__valid_from__lt=max(one.end for one in drafts),
    )
    return set(rows.order_by().values_list("agreement_id", flat=True))


def _priced_anew(drafts: Sequence[_Draft]) -> set[int]:
    """Who is billed by a series of prices, where prices of these days were entered since."""
    entered = PriceValue.objects.filter(
        entered_at__gt=min(one.known_at for one in drafts) - _MARGIN,
        # In whatever calendar.
        starts_at__date__gte=min(one.first for one in drafts) - _DAY,
        starts_at__date__lt=max(one.end for one in drafts) + _DAY,
    )
    if not entered.exists():
        return set()
    lines = BillLine.objects.filter(
        bill__in=[one.bill_id for one in drafts], kind=Kind.DYNAMIC.value
    )
    return set(lines.order_by().values_list("bill__agreement_id", flat=True))
