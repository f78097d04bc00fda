"""Comparisons of tariffs: asked for, computed agreement by agreement, kept for a while.

A few agreements are computed at once, while whoever asks waits; more of them by workers in turns,
each agreement in a transaction of its own. A worker that is killed leaves whole agreements behind,
and another one goes on. Tariffs concern the tenant as a whole: who reaches some facilities alone,
or is a customer, is answered by a worker that sees all of the tenant, for one agreement, and with
the tariffs that are offered to customers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from billing.domain.comparison_checks import agreements_of, check, one_currency
from billing.domain.comparison_parts import part_of
from billing.domain.comparison_values import Days, Question, Sums, Whose
from billing.models import Agreement, ComparisonState, TariffComparison
from tenants.domain import audit
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, long_scope, open_scope, require_scope

KEPT_FOR: Final = timedelta(days=7)
# So many are computed while whoever asks waits.
AT_ONCE: Final = 2
# Of one tenant, comparisons that wait; of one customer, those that are kept.
MOST_WAITING: Final = 20
MOST_OF_PERSON: Final = 10
# A comparison that has not moved for so long has lost its worker; taken up so often without an
# end, it is given up.
STALLED: Final = timedelta(minutes=3)
MOST_TURNS: Final = 500


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
    agreements = agreements_of(tenant_id, whose, days, user_id)
    currency = one_currency(agreements)
    first = agreements[0]
    check(agreements, days, question, narrowed=narrowed)
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
    _tell(row, actor_id)
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
