"""What people do about a case: let it rest, let it go on, end it.

Needs an open scope that is not narrowed. What is refused is a ValidationError at its field.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from billing.accounts.dunning import Outcome
from billing.domain import dunning_facts, dunning_operations, ledger_operations
from billing.domain.dunning_facts import Account
from billing.models import Agreement, DunningCase, DunningKind

# Longer is no pause any more: a plan of payments is kept for that.
MOST_PAUSED: Final = timedelta(days=366)
_MOST_REASON: Final = 400


class CaseNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such open case in the scope."""


@transaction.atomic
def pause(*, case_id: int, until: date, reason: str, now: datetime, actor_id: int) -> DunningCase:
    """Take no further step up to a day, that day included. What is cut stays so until it is paid.

    Raises CaseNotFound.
    """
    case, account = _held(case_id, now)
    if not account.today <= until <= account.today + MOST_PAUSED:
        raise ValidationError({"until": [_("Choose a day from today on, within a year.")]})
    said = _reason(reason)
    case.paused_until = until
    case.next_at = now
    case.save(update_fields=["paused_until", "next_at"])
    _note(case, account, DunningKind.PAUSED, f"{until.isoformat()}: {said}", now, actor_id)
    return case


@transaction.atomic
def resume(*, case_id: int, now: datetime, actor_id: int) -> DunningCase:
    """Let a case go on that was paused. Raises CaseNotFound."""
    case, account = _held(case_id, now)
    if case.paused_until is None or case.paused_until < account.today:
        raise ValidationError([_("It is not paused.")])
    case.paused_until = None
    case.next_at = now
    case.save(update_fields=["paused_until", "next_at"])
    _note(case, account, DunningKind.RESUMED, "", now, actor_id)
    return case


@transaction.atomic
def end(*, case_id: int, reason: str, now: datetime, actor_id: int) -> DunningCase:
    """End a case: what was cut comes back at once. Where something is overdue still, a new case
    begins, whose steps count from today. Raises CaseNotFound.
    """
    case, account = _held(case_id, now)
    said = _reason(reason)
    with translation.override(account.agreement.customer.language):
        dunning_operations.close(
            case, account, Outcome.DROPPED, now, reason=said, actor_id=actor_id
        )
    return case


def _held(case_id: int, now: datetime) -> tuple[DunningCase, Account]:
    """The case with its agreement's row held, so that no worker takes a step meanwhile."""
    rows = DunningCase.objects.filter(pk=case_id, closed_at__isnull=True)
    agreement_id = rows.values_list("agreement", flat=True).first()
    if agreement_id is None:
        raise CaseNotFound(f"case {case_id}")
    ledger_operations.hold([agreement_id])
    case = rows.first()
    if case is None:
        raise CaseNotFound(f"case {case_id}")
    agreement = Agreement.objects.select_related("facility", "customer").get(pk=agreement_id)
    case.agreement = agreement
    return case, dunning_facts.account_of(agreement, now=now)


def _reason(given: str) -> str:
    reason = given.strip()
    if not reason:
        raise ValidationError({"reason": [_("Say why.")]})
    return reason[:_MOST_REASON]


def _note(
    case: DunningCase,
    account: Account,
    kind: DunningKind,
    text: str,
    now: datetime,
    actor_id: int,
) -> None:
    dunning_operations.note(case, account, kind, now, text=text, actor_id=actor_id)
