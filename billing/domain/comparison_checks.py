"""What a comparison of tariffs may ask; what is refused has a sentence. Needs an open scope."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_parts import has_place
from billing.domain.comparison_queries import MOST_DAYS
from billing.domain.comparison_values import Days, Question, Whose
from billing.models import Agreement, Tariff, TariffVersion, VersionState

# Agreements of one comparison: some seconds of a worker each.
MOST_AGREEMENTS: Final = 200


def agreements_of(
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


def one_currency(agreements: tuple[Agreement, ...]) -> str:
    """The currency of all of them. Raises ValidationError where there are several."""
    currencies = sorted({one.currency for one in agreements})
    if len(currencies) > 1:
        raise ValidationError(
            _("These agreements are billed in %(currencies)s. Choose one currency.")
            % {"currencies": ", ".join(currencies)}
        )
    return currencies[0]


def check(
    agreements: tuple[Agreement, ...], days: Days, question: Question, *, narrowed: bool
) -> None:
    """Raise ValidationError for what cannot be compared; `narrowed`: the asker does not see all of
    the tenant, or is a customer.
    """
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
        pk__in=question.draft_ids, tenant_id=tenant_id, state=VersionState.DRAFT
    )
    if question.draft_ids and drafts.count() < len(set(question.draft_ids)):
        raise ValidationError({"drafts": [_("There is no such draft.")]})
