"""Drafts of bills: computed from readings and tariffs as often as wanted, until they are final.

`compute` and `compute_many` read and compute, `store` writes. A draft that is stored again takes
the place of the one of the same run. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from django.db import transaction

from billing.domain import evidence
from billing.domain.calendars import seconds
from billing.domain.contexts import Former, PriceTable, context_of, former_bills, utc
from billing.domain.evidence import Evidence
from billing.domain.terms import Dated, dated_of, missing_days
from billing.domain.usage import usage_between
from billing.models import Agreement, Bill, BillEvidence, BillLine, BillState
from billing.tariffs.calendar import CoverageError
from billing.tariffs.document import TariffError
from billing.tariffs.parts import Dynamic
from billing.tariffs.rating import RatingError
from billing.tariffs.sentences import sentence, sentence_of
from billing.tariffs.values import MILLIWH_PER_KWH, Line, Period, Quality, Rating, Usage, UsageError
from devices.domain.changes import last_change

_COIN: Final = Decimal("0.0001")
_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Known:
    """What a draft knows: tariffs and prices until `at`, and the past of devices with all changes
    up to the one with number `change`.
    """

    at: datetime
    change: int


class Wanted(NamedTuple):
    """A bill of an agreement for the days [first, end)."""

    agreement_id: int
    first: date
    end: date


@dataclass(frozen=True, slots=True)
class Account:
    """An agreement as its bills need it."""

    agreement_id: int
    tenant_id: int
    facility_id: int
    user_id: int | None
    number: str
    currency: str
    zone: str
    payment_days: int
    starts_on: date
    ends_on: date | None


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A bill that was computed. `former`: the other bills of the agreement."""

    account: Account
    evidence: Evidence
    rating: Rating
    body: bytes
    former: Sequence[Former]

    @property
    def period(self) -> Period:
        """The days it is for."""
        return self.evidence.period

    @property
    def usage(self) -> Usage:
        """What was used."""
        return self.evidence.usage


class Undone(NamedTuple):
    """Why a bill cannot be computed: a sentence, and the days without a tariff if it is that."""

    problem: str
    without_tariff: tuple[date, date] | None = None


class DraftError(Exception):
    """A bill cannot be computed; the message says why and what to do."""


@dataclass(slots=True)
class _Given:
    """What is read for many bills at once."""

    accounts: Mapping[int, Account]
    usage: dict[Wanted, Usage] = field(default_factory=dict)
    dated: dict[Wanted, tuple[Dated, ...]] = field(default_factory=dict)
    former: Mapping[int, Sequence[Former]] = field(default_factory=dict)


def known_now(now: datetime) -> Known:
    """What is known now; ask before anything is read."""
    return Known(now, last_change())


def accounts_of(agreement_ids: Sequence[int]) -> dict[int, Account]:
    """Agreements by their ids; one query."""
    rows = Agreement.objects.filter(pk__in=list(agreement_ids)).order_by("pk")
    return {
        row[0]: Account(*row)
        for row in rows.values_list(
            "pk", "tenant_id", "facility_id", "user_id", "number", "currency",
            "facility__time_zone", "payment_days", "starts_on", "ends_on",
        )
    }  # fmt: skip


def compute(agreement_id: int, *, first: date, end: date, known: Known) -> Draft:
    """The bill of an agreement for the days [first, end), as it is known now. Raises DraftError."""
    wanted = Wanted(agreement_id, first, end)
    accounts = accounts_of([agreement_id])
    if agreement_id not in accounts:
        raise DraftError(f"There is no agreement {agreement_id}.")
    found = compute_many([wanted], accounts=accounts, known=known)[wanted]
    if isinstance(found, Undone):
        raise DraftError(found.problem)
    return found


def compute_many(
    wanted: Sequence[Wanted],
    *,
    accounts: Mapping[int, Account],
    known: Known,
    former: Mapping[int, Sequence[Former]] | None = None,
) -> dict[Wanted, Draft | Undone]:
    """Bills of agreements, or why there is none; about ten queries for those of the same days.

    `former`: their other bills, where the caller has read them.
    """
    given = _Given(accounts)
    for days, same in groupby(sorted(wanted, key=_days), key=_days):
        _read(given, list(same), *days, known=known)
    if wanted:
        given.former = former or former_bills(
            [one.agreement_id for one in wanted],
            before=max(one.end for one in wanted),
            since=min(one.first for one in wanted),
        )
    prices = _prices(given, known)
    return {one: _computed(one, given, prices, known) for one in wanted}


def _days(one: Wanted) -> tuple[date, date]:
    return one.first, one.end


def _read(given: _Given, wanted: Sequence[Wanted], first: date, end: date, known: Known) -> None:
    ids = [one.agreement_id for one in wanted]
    usage = usage_between([(agreement_id, first, end) for agreement_id in ids])
    given.usage |= {Wanted(pk, first, end): own for pk, own in usage.items()}
    try:
        dated = dated_of(ids, first=first, end=end, known_at=known.at)
    except TariffError:
        # One cannot be read: the others go by themselves.
        dated = {}
        for agreement_id in ids:
            dated |= _dated_or_nothing(agreement_id, first, end, known)
    given.dated |= {Wanted(pk, first, end): own for pk, own in dated.items()}


def _dated_or_nothing(
    agreement_id: int, first: date, end: date, known: Known
) -> dict[int, tuple[Dated, ...]]:
    try:
        return dated_of([agreement_id], first=first, end=end, known_at=known.at)
    except TariffError:
        return {}


def _prices(given: _Given, known: Known) -> PriceTable | None:
    """The prices that tariffs ask for; None where none does."""
    names = {name for some in given.dated.values() for name in _series_of(some)}
    if not names:
        return None
    times = [
        (seconds(one.first, zone), seconds(one.end, zone))
        for one in given.dated
        for zone in [given.accounts[one.agreement_id].zone]
    ]
    start, end = min(begin for begin, _ in times), max(end for _, end in times)
    return PriceTable(names, start=utc(start), end=utc(end), known_at=known.at)


def _series_of(dated: Iterable[Dated]) -> set[str]:
    return {
        component.series
        for one in dated
        for component in one.terms.tariff.components
        if isinstance(component, Dynamic)
    }


def _computed(
    wanted: Wanted, given: _Given, prices: PriceTable | None, known: Known
) -> Draft | Undone:
    account = given.accounts[wanted.agreement_id]
    usage, dated = given.usage.get(wanted), given.dated.get(wanted)
    if usage is None:
        return Undone(sentence("The agreement does not hold on any of these days."))
    if dated is None:
        return Undone(
            sentence("A version of its tariff cannot be read: publish a new revision of it.")
        )
    first = max(wanted.first, account.starts_on)
    end = min(wanted.end, account.ends_on or wanted.end)
    if (undone := _refused(account, dated, first, end)) is not None:
        return undone
    former = given.former.get(account.agreement_id, ())
    series = {}
    if prices is not None:
        span = seconds(first, account.zone), seconds(end, account.zone)
        series = prices.between(sorted(_series_of(dated)), *span)
    made = Evidence(
        agreement_id=account.agreement_id,
        number=account.number,
        currency=account.currency,
        period=Period(first, end, account.zone),
        known_at=known.at,
        change=known.change,
        dated=dated,
        usage=usage,
        context=context_of(former, series, first=first),
    )
    try:
        rating = made.rating()
    except (RatingError, CoverageError, UsageError) as error:
        return Undone(sentence_of(error))
    return Draft(account, made, rating, evidence.pack(made), former)


def _refused(account: Account, dated: Sequence[Dated], first: date, end: date) -> Undone | None:
    if missing := missing_days([one.terms for one in dated], first=first, end=end):
        begin, stop = missing[0]
        return Undone(
            sentence(
                "From %(first)s until %(end)s no published tariff holds: agree on one, or publish"
                " it.",
                first=begin,
                end=stop,
            ),
            (begin, stop),
        )
    for one in dated:
        if one.terms.tariff.currency != account.currency:
            return Undone(
                sentence(
                    "The tariff is in %(tariff)s and the agreement in %(agreement)s: agree on a"
                    " tariff in the same currency.",
                    tariff=one.terms.tariff.currency,
                    agreement=account.currency,
                )
            )
    return None


# --- Storing ------------------------------------------------------------------------------------


@transaction.atomic
def store(drafts: Sequence[Draft], *, run_id: int | None, cause: str = "") -> list[Bill]:
    """Keep drafts as bills with lines and evidence, instead of those of the same run; returns the
    bills in the same order. Nobody else may be at the same agreements: the caller holds them. Whom
    bills name is kept when they become final.
    """
    ids = [one.account.agreement_id for one in drafts]
    Bill.objects.filter(agreement_id__in=ids, run_id=run_id, state=BillState.DRAFT).delete()
    bills = [_bill(one, run_id, cause) for one in drafts]
    Bill.objects.bulk_create(bills)
    lines = [
        _line(bill, position, line)
        for bill, one in zip(bills, drafts, strict=True)
        for position, line in enumerate(one.rating.lines, start=1)
    ]
    BillLine.objects.bulk_create(lines, batch_size=_AT_ONCE)
    BillEvidence.objects.bulk_create(
        BillEvidence(
            tenant_id=bill.tenant_id,
            bill=bill,
            facility_id=bill.facility_id,
            known_at=one.evidence.known_at,
            change_id=one.evidence.change,
            format=evidence.FORMAT,
            body=one.body,
            sha256=bill.sha256,
        )
        for bill, one in zip(bills, drafts, strict=True)
    )
    return bills


def _bill(one: Draft, run_id: int | None, cause: str) -> Bill:
    account, period, usage, rating = one.account, one.period, one.usage, one.rating
    same = [
        former.revision
        for former in one.former
        if (former.first, former.end) == (period.first, period.end)
        and former.state is not BillState.DRAFT
    ]
    total, net = rating.total.quantize(_COIN), rating.net.quantize(_COIN)
    estimated = usage.quality == Quality.ESTIMATED
    return Bill(
        tenant_id=account.tenant_id,
        run_id=run_id,
        agreement_id=account.agreement_id,
        facility_id=account.facility_id,
        user_id=account.user_id,
        revision=1 + max(same, default=0),
        cause=cause,
        first_on=period.first,
        end_on=period.end,
        zone=period.zone,
        currency=account.currency,
        net=net,
        tax=total - net,
        total=total,
        imported_kwh=_kwh(int(usage.imported.sum())),
        exported_kwh=_kwh(int(usage.exported.sum())),
        estimated_kwh=_kwh(
            int(usage.imported[estimated].sum()) + int(usage.exported[estimated].sum())
        ),
        missing_intervals=int(np.count_nonzero(usage.quality == Quality.MISSING)),
        carried=evidence.carried_of(rating.peaks, rating.credit, rating.credit_milliwh),
        sha256=evidence.sha256_of(one.body),
    )


def _line(bill: Bill, position: int, line: Line) -> BillLine:
    return BillLine(
        tenant_id=bill.tenant_id,
        bill=bill,
        facility_id=bill.facility_id,
        position=position,
        component=line.component,
        kind=line.kind.value,
        label=line.label,
        first_on=line.first,
        end_on=line.end,
        period=line.period,
        tier=line.tier,
        quantity=line.quantity,
        unit=line.unit,
        price=line.price,
        amount=line.amount,
        estimated=line.estimated,
        at=None if line.at is None else utc(line.at),
        tax_percent=line.tax_percent,
        detail=dict(line.detail),
    )


def _kwh(milliwh: int) -> Decimal:
    return Decimal(milliwh) / MILLIWH_PER_KWH
