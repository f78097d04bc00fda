"""Comparisons of tariffs: asked for, computed agreement by agreement, kept for a while.

A few agreements are computed at once, while whoever asks waits; more of them by workers in turns,
each agreement in a transaction of its own. A worker that is killed leaves whole agreements behind,
and another one goes on. Tariffs concern the tenant as a whole: who reaches some facilities alone,
or is a customer, is answered by a worker that sees all of the tenant, for one agreement, and with
the tariffs that are offered to customers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_parts import has_place, part_of
from billing.domain.comparison_queries import MOST_DAYS
from billing.domain.comparison_values import Question, Sums
from billing.models import Agreement, ComparisonState, Tariff, TariffComparison, TariffVersion
from tenants.domain import audit
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, long_scope, open_scope, require_scope

KEPT_FOR: Final = timedelta(days=7)
# Agreements of one comparison: some seconds of a worker each.
MOST_AGREEMENTS: Final = 200
# So many are computed while whoever asks waits.
AT_ONCE: Final = 2
# Of one tenant, comparisons that wait; of one customer, those that are kept.
MOST_WAITING: Final = 20
MOST_OF_PERSON: Final = 10
# A comparison that has not moved for so long has lost its worker; taken up so often without an
# end, it is given up.
STALLED: Final = timedelta(minutes=3)
MOST_TURNS: Final = 500


@dataclass(frozen=True, slots=True)
class Whose:
    """Which agreements: one, those of a customer, or all of the tenant; of a customer or tenant
    those that are billed in `currency`, if there are several.
    """

    agreement_id: int | None = None
    customer_id: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Days:
    """The days [first, end)."""

    first: date
    end: date


def last_year(today: date) -> Days:
    """The twelve calendar months before the one of `today`."""
    end = today.replace(day=1)
    return Days(end.replace(year=end.year - 1), end)


@transaction.atomic
def ask(
    *,
    tenant_id: int,
    whose: Whose,
    days: Days,
    question: Question,
    now: datetime,
    actor_id: int | None,
    user_id: int | None = None,
) -> TariffComparison:
    """Take in a comparison; one that is still WAITING is to be computed by a worker, whom the entry
    point sends for after the commit. With `user_id`, of an agreement of that person alone.

    Raises AgreementNotFound, and ValidationError for what cannot be compared.
    """
    scope = require_scope()
    narrowed = user_id is not None or scope.facility_ids is not None
    agreements = _agreements(tenant_id, whose, days, user_id)
    currency = _one_currency(agreements)
    first = agreements[0]
    _check(agreements, days, question, narrowed=narrowed)
    _require_room(first.tenant_id, user_id)
    places = {one.facility_id for one in agreements}
    row = TariffComparison.objects.create(
        tenant_id=first.tenant_id,
        facility_id=first.facility_id if len(places) == 1 else None,
        user_id=user_id,
        title=_title(whose, agreements)[:160],
        currency=currency,
        first_on=days.first,
        end_on=days.end,
        agreements=[one.pk for one in agreements],
        question=_narrow(question, narrowed).kept(),
        asked_by_id=actor_id,
        asked_at=now,
        advanced_at=now,
        expires_at=now + KEPT_FOR,
    )
    after = {
        "agreements": len(agreements),
        "from": days.first.isoformat(),
        "to": days.end.isoformat(),
    }
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="comparison.ask",
        subject=row,
        after=after,
    )
    if len(agreements) <= AT_ONCE and not narrowed:
        for _one in agreements:
            _advance(row, now)
    return row


def _tell(row: TariffComparison, actor_id: int | None) -> None:
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="comparison.ask",
        subject=row,
        after={
            "agreements": len(row.agreements),
            "from": row.first_on.isoformat(),
            "to": row.end_on.isoformat(),
        },
    )


def _narrow(question: Question, narrowed: bool) -> Question:
    if not narrowed:
        return question
    return Question(
        offered=True,
        panels=question.panels,
        battery=question.battery,
        lowest_peak=question.lowest_peak,
    )


def _agreements(
    tenant_id: int, whose: Whose, days: Days, user_id: int | None
) -> tuple[Agreement, ...]:
    """What is meant, as far as it is seen, by number. Raises AgreementNotFound and
    ValidationError.
    """
    rows: QuerySet[Agreement] = Agreement.objects.select_related("facility")
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    if whose.agreement_id is not None:
        found = tuple(rows.filter(pk=whose.agreement_id))
        if not found:
            raise AgreementNotFound(f"agreement {whose.agreement_id}")
        return found
    rows = rows.filter(tenant_id=tenant_id, starts_on__lt=days.end)
    rows = rows.exclude(ends_on__lte=days.first)
    if whose.customer_id is not None:
        rows = rows.filter(customer_id=whose.customer_id)
    if whose.currency:
        rows = rows.filter(currency=whose.currency)
    found = tuple(rows.order_by("number", "pk")[: MOST_AGREEMENTS + 1])
    if not found:
        raise ValidationError(_("No agreement holds on these days."))
    if len(found) > MOST_AGREEMENTS:
        raise ValidationError(
            _("These are more than %(most)d agreements. Compare those of one customer.")
            % {"most": MOST_AGREEMENTS}
        )
    return found


def _one_currency(agreements: tuple[Agreement, ...]) -> str:
    currencies = sorted({one.currency for one in agreements})
    if len(currencies) > 1:
        raise ValidationError(
            _("These agreements are billed in %(currencies)s. Choose one currency.")
            % {"currencies": ", ".join(currencies)}
        )
    return currencies[0]


def _check(
    agreements: tuple[Agreement, ...], days: Days, question: Question, *, narrowed: bool
) -> None:
    if not days.first < days.end or (days.end - days.first).days > MOST_DAYS:
        raise ValidationError({"last": [_("Choose a time of one day to two years.")]})
    if narrowed and len(agreements) > 1:
        raise ValidationError(
            _("You reach some facilities alone: compare one agreement at a time.")
        )
    if narrowed and (question.draft_ids or question.tariff_ids):
        raise ValidationError(
            _("You reach some facilities alone: all tariffs that are offered are compared.")
        )
    if question.panels and not any(has_place(one) for one in agreements):
        raise ValidationError(
            {
                "kwp": [
                    _(
                        "Where %(facility)s lies is not known, and so not how the sun shines there:"
                        " its latitude and longitude are entered on the page of the facility."
                    )
                    % {"facility": agreements[0].facility.name}
                ]
            }
        )
    if question.lowest_peak and question.battery is None:
        raise ValidationError({"capacity_kwh": [_("A battery is to lower the peak: which one?")]})
    _check_candidates(agreements[0].tenant_id, question)


def _check_candidates(tenant_id: int, question: Question) -> None:
    """Tariffs and drafts that do not exist, or are not seen, are refused."""
    tariffs = Tariff.objects.filter(pk__in=question.tariff_ids, tenant_id=tenant_id)
    if question.tariff_ids and tariffs.count() < len(set(question.tariff_ids)):
        raise ValidationError({"tariffs": [_("There is no such tariff.")]})
    drafts = TariffVersion.objects.filter(
        pk__in=question.draft_ids, tenant_id=tenant_id, published_at=None
    )
    if question.draft_ids and drafts.count() < len(set(question.draft_ids)):
        raise ValidationError({"drafts": [_("There is no such draft.")]})


def _require_room(tenant_id: int, user_id: int | None) -> None:
    rows = TariffComparison.objects.filter(tenant_id=tenant_id)
    if rows.filter(state=ComparisonState.WAITING).count() >= MOST_WAITING:
        raise ValidationError(
            _("Many comparisons are being computed already. Try again in some minutes.")
        )
    if user_id is not None and rows.filter(user_id=user_id).count() >= MOST_OF_PERSON:
        raise ValidationError(
            _("You have compared %(count)d times within a week. Try again in some days.")
            % {"count": MOST_OF_PERSON}
        )


def _title(whose: Whose, agreements: tuple[Agreement, ...]) -> str:
    if whose.agreement_id is not None:
        return f"{agreements[0].number} · {agreements[0].facility.name}"
    if whose.customer_id is not None:
        return agreements[0].customer.name
    return ""


def _advance(row: TariffComparison, now: datetime) -> bool:
    """Compute the next agreement and keep the sums. False where another worker has taken it up, or
    it was removed.
    """
    part = part_of(row, row.agreements[row.done], now)
    sums = Sums.read(row.sums).plus(part)
    row.sums, row.done, row.advanced_at = sums.kept(), row.done + 1, now
    if row.done == len(row.agreements):
        row.state, row.ended_at = ComparisonState.DONE, now
    going_on = TariffComparison.objects.filter(
        pk=row.pk, state=ComparisonState.WAITING, turn=row.turn
    )
    changed = going_on.update(
        sums=row.sums,
        done=row.done,
        state=row.state,
        advanced_at=now,
        ended_at=row.ended_at,
    )
    return bool(changed)


def work(
    *,
    tenant_id: int,
    comparison_id: int,
    go_on: Callable[[], bool],
    clock: Callable[[], datetime],
) -> bool:
    """Compute agreements of a comparison, each in a transaction; True where some are left and
    nobody else computes them. Opens the scope itself.
    """
    scope = Scope((tenant_id,))
    with open_scope(scope):
        row = _take_up(comparison_id, clock())
    if row is None:
        return False
    while row.done < len(row.agreements):
        if not go_on():
            return True
        with long_scope(scope):
            if not _advance(row, clock()):
                return False
    return False


def _take_up(comparison_id: int, now: datetime) -> TariffComparison | None:
    """The comparison, with a turn of one's own; None where there is nothing to compute."""
    waiting = TariffComparison.objects.filter(pk=comparison_id, state=ComparisonState.WAITING)
    given_up = waiting.filter(turn__gte=MOST_TURNS)
    given_up.update(state=ComparisonState.FAILED, ended_at=now)
    if not waiting.update(turn=F("turn") + 1, advanced_at=now):
        return None
    return TariffComparison.objects.get(pk=comparison_id)


def tend(*, now: datetime) -> list[tuple[int, int]]:
    """Remove comparisons whose time is up; those whose worker has gone, as (tenant, comparison).
    Opens scopes itself.
    """
    found: list[tuple[int, int]] = []
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            TariffComparison.objects.filter(expires_at__lt=now).delete()
            rows = TariffComparison.objects.filter(
                state=ComparisonState.WAITING, advanced_at__lt=now - STALLED
            )
            found += rows.order_by("pk").values_list("tenant_id", "pk")
    return found
