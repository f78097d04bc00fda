"""Revenue, what is owed and unbilled, and cost centres over the REST API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import cost_centres_queries, revenue_queries
from billing.domain.revenue_queries import AGES
from billing.domain.revenue_values import Asked, By, Centre, Centres, Revenue
from portal.api import serializers as shapes
from portal.api.access import own_alone
from portal.api.billing import BILLS, BillingView, ExactField, IdField, MoneyField
from portal.api.schema import problems

_MOST_DAYS: Final = 5 * 366


def _currency() -> serializers.RegexField:
    return serializers.RegexField(r"\A[A-Z]{3}\Z", help_text="ISO 4217.")


class RevenueQuery(shapes.Query):
    """Of which days, and what of them."""

    since = shapes.DayField(help_text="The first day.")
    until = shapes.DayField(help_text="The first day that does not count.")
    currency = _currency()
    by = serializers.ChoiceField(
        [one.value for one in By],
        default=By.ISSUE.value,
        help_text="`issue`: by the date of the bill; `supply`: by the first day of the line.",
    )
    cost_centre = serializers.CharField(
        required=False, allow_blank=True, max_length=60, help_text="Empty: of those without one."
    )
    tariff = IdField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """In order, and not too long."""
        days = (attrs["until"] - attrs["since"]).days
        if not 0 < days <= _MOST_DAYS:
            text = f"Ask for a day after since, and for {_MOST_DAYS} days at most."
            raise serializers.ValidationError({"until": [text]})
        return attrs


class MonthRevenueSerializer(serializers.Serializer[Any]):
    """A month of revenue."""

    month = serializers.DateField(source="first", help_text="Its first day.")
    net = MoneyField(max_digits=28, decimal_places=12)
    tax = MoneyField(max_digits=28, decimal_places=12)
    kinds = serializers.DictField(
        child=ExactField(), help_text="Net by the kind of line, as lines of bills have them."
    )


class PartSerializer(serializers.Serializer[Any]):
    """What is of a tariff, cost centre or facility."""

    id = serializers.IntegerField(source="key", allow_null=True)
    name = serializers.CharField(help_text="Empty where there is none, or it cannot be seen.")
    net = ExactField()


class TaxRateSerializer(serializers.Serializer[Any]):
    """Tax at a rate."""

    percent = ExactField()
    base = ExactField()
    tax = ExactField()


class ReceivablesSerializer(serializers.Serializer[Any]):
    """What is owed today."""

    on = serializers.DateField()
    owed = MoneyField()
    credit = MoneyField(help_text="What customers have open in return.")
    ages = serializers.DictField(
        child=MoneyField(), help_text=f"Owed by age: {', '.join(code for code, *_ in AGES)}."
    )
    billed_90_days = MoneyField(source="billed", help_text="With tax.")
    days_outstanding = serializers.CharField(
        allow_null=True, help_text="(owed − credit) ÷ billed_90_days × 90, to a tenth of a day."
    )


class UnbilledSerializer(serializers.Serializer[Any]):
    """Energy on days that are over and that no final bill is for, as it was valued last."""

    accounts = serializers.IntegerField()
    problems = serializers.IntegerField(help_text="Accounts of which not all days can be rated.")
    imported_kwh = ExactField()
    exported_kwh = ExactField()
    estimated_kwh = ExactField()
    net = MoneyField()
    oldest_on = serializers.DateField(allow_null=True)
    valued_on = serializers.DateField(allow_null=True)


class UnbilledThenSerializer(serializers.Serializer[Any]):
    """What unbilled energy came to on a day."""

    on = serializers.DateField()
    imported_kwh = ExactField()
    net = MoneyField()


class RevenueSerializer(serializers.Serializer[Any]):
    """What was billed, and what is owed and unbilled today."""

    net = ExactField()
    tax = ExactField()
    months = MonthRevenueSerializer(many=True)
    tariffs = PartSerializer(many=True)
    cost_centres = PartSerializer(many=True)
    facilities = PartSerializer(many=True, help_text="Those with most.")
    other_facilities = ExactField(source="others")
    taxes = TaxRateSerializer(many=True)
    estimated_share = serializers.CharField(allow_null=True, help_text="Of the energy, 0 to 1.")
    missing_share = serializers.CharField(allow_null=True, help_text="Of the intervals, 0 to 1.")
    receivables = ReceivablesSerializer()
    unbilled = UnbilledSerializer()
    unbilled_days = UnbilledThenSerializer(
        many=True,
        help_text="Of the last 90 days and all cost centres; none for some facilities alone.",
    )


class CentreSumSerializer(serializers.Serializer[Any]):
    """The final bills of a cost centre that begin in a month."""

    sites = serializers.IntegerField()
    kwh = ExactField()
    net = MoneyField()
    peak_kw = ExactField(allow_null=True)


class CentreSerializer(serializers.Serializer[Any]):
    """A cost centre."""

    name = serializers.CharField(help_text="Empty: of those without one.")
    share = serializers.CharField(allow_null=True, help_text="Of the net, 0 to 1.")
    now = CentreSumSerializer()
    month_before = CentreSumSerializer()
    year_before = CentreSumSerializer()


class CentresSerializer(serializers.Serializer[Any]):
    """The cost centres of a month."""

    month = serializers.DateField()
    currency = serializers.CharField()
    net = MoneyField()
    results = CentreSerializer(many=True)


class CentresQuery(shapes.Query):
    """Which month."""

    month = shapes.DayField(help_text="Its first day.")
    currency = _currency()

    def validate_month(self, value: date) -> date:
        """The first of a month that has a year before it."""
        if value.day != 1 or value.year < 2:
            raise serializers.ValidationError("Give the first day of a month.")
        return value


def _refuse_customers(request: Request) -> None:
    """It is of the business of who bills: who sees his own bills alone is not asked in."""
    if own_alone(request) is not None:
        raise PermissionDenied("Revenue is not for customers: ask for bills/ instead.")


def _rounded(value: Decimal | None, step: str) -> str | None:
    return None if value is None else str(value.quantize(Decimal(step)))


def _told(found: Revenue) -> dict[str, Any]:
    owed = found.receivables
    return {
        "net": found.net,
        "tax": found.tax,
        "months": found.months,
        "tariffs": found.tariffs,
        "cost_centres": found.cost_centres,
        "facilities": found.facilities,
        "others": found.others,
        "taxes": found.taxes,
        "estimated_share": _rounded(found.known.estimated_share, "0.000001"),
        "missing_share": _rounded(found.known.missing_share, "0.000001"),
        "receivables": {
            "on": owed.on,
            "owed": owed.owed,
            "credit": owed.credit,
            "ages": owed.ages,
            "billed": owed.billed,
            "days_outstanding": _rounded(owed.days_outstanding, "0.1"),
        },
        "unbilled": found.unbilled,
        "unbilled_days": found.unbilled_days,
    }


def _centre(found: Centres, one: Centre) -> dict[str, Any]:
    return {
        "name": one.name,
        "share": _rounded(found.share(one), "0.000001"),
        "now": one.now,
        "month_before": one.before,
        "year_before": one.year_before,
    }


class RevenueOne(BillingView):
    """Revenue."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="revenue",
        tags=["Bills"],
        parameters=[RevenueQuery],
        responses={200: RevenueSerializer, **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """The lines of final bills, void ones and credit notes within reach. What is owed and
        unbilled is that of today, of the cost centre asked for and whatever the tariff.
        """
        _refuse_customers(request)
        values = self.parameters(RevenueQuery, request)
        asked = Asked(
            first=values["since"],
            end=values["until"],
            currency=values["currency"],
            by=By(values["by"]),
            cost_centre=values.get("cost_centre"),
            tariff_id=values.get("tariff"),
        )
        found = revenue_queries.revenue(asked, on=datetime.now(UTC).date())
        return Response(RevenueSerializer(_told(found)).data)


class CostCentres(BillingView):
    """Cost centres."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="cost_centres",
        tags=["Bills"],
        parameters=[CentresQuery],
        responses={200: CentresSerializer, **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Those of the final bills within reach that begin in the month, most net first."""
        _refuse_customers(request)
        found = cost_centres_queries.cost_centres(**self.parameters(CentresQuery, request))
        told = {
            "month": found.month,
            "currency": found.currency,
            "net": found.net,
            "results": [_centre(found, one) for one in found.centres],
        }
        return Response(CentresSerializer(told).data)
