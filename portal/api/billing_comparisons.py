"""Comparisons of tariffs over the REST API: ask, and fetch what came out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.dispatch.battery import Battery, BatteryError
from billing.dispatch.solar import SolarError
from billing.domain import comparisons_operations, comparisons_queries
from billing.domain.comparison_values import (
    Days,
    Panels,
    Question,
    Sums,
    Total,
    Whose,
    last_year,
)
from billing.domain.sentences import spoken, spoken_of
from billing.models import ComparisonState, TariffComparison
from billing.tasks import compare_tariffs
from portal.api import serializers as shapes
from portal.api.access import own_alone
from portal.api.billing import (
    BILLS,
    BillingView,
    ExactField,
    IdField,
    MoneyField,
    tenant_id_of,
    told,
)
from portal.api.commands import body_of
from portal.api.schema import problems


class PanelsBody(shapes.Body):
    """Photovoltaics at the place of each agreement."""

    kwp = serializers.FloatField(min_value=0.001, max_value=100_000)
    tilt = serializers.FloatField(
        min_value=0, max_value=90, default=30, help_text="Degrees from level."
    )
    azimuth = serializers.FloatField(
        min_value=0, max_value=360, default=180, help_text="Degrees from north over east."
    )


class BatteryBody(shapes.Body):
    """A battery at each agreement."""

    capacity_kwh = serializers.FloatField(min_value=0.001, max_value=1_000_000)
    power_kw = serializers.FloatField(min_value=0.001, max_value=1_000_000)
    efficiency = serializers.FloatField(
        min_value=0.1, max_value=1, default=0.9, help_text="Of what is loaded, what comes out."
    )
    peak_kw = serializers.FloatField(
        min_value=0, max_value=1_000_000, allow_null=True, default=None,
        help_text="It keeps what is drawn from the grid at this; else it stores surplus.",
    )  # fmt: skip
    lowest_peak = serializers.BooleanField(
        default=False, help_text="It keeps what is drawn from the grid as low as it can."
    )


class ComparisonBody(shapes.Body):
    """Agreements, days, candidates, and what else would have been there."""

    agreement = IdField(required=False, help_text="One agreement.")
    customer = IdField(required=False, help_text="The agreements of a customer.")
    currency = serializers.CharField(
        max_length=3,
        required=False,
        default="",
        allow_blank=True,
        help_text="Without agreement and customer: all that are billed in it.",
    )
    first_on = shapes.DayField(
        required=False, help_text="The twelve months before this one unless sent."
    )
    end_on = shapes.DayField(required=False, help_text="Not part of the time.")
    tariffs = serializers.ListField(
        child=IdField(), max_length=50, default=list, help_text="All that are not archived if none."
    )
    drafts = serializers.ListField(
        child=IdField(), max_length=50, default=list, help_text="Versions that are drafts."
    )
    photovoltaics = PanelsBody(required=False, allow_null=True, default=None)
    battery = BatteryBody(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The two days are sent together, or none."""
        if ("first_on" in attrs) != ("end_on" in attrs):
            raise serializers.ValidationError({"end_on": "Send first_on and end_on, or none."})
        return attrs


class MonthSerializer(serializers.Serializer[Any]):
    """What a calendar month costs."""

    first_on = serializers.DateField()
    total = MoneyField()


class CandidateSerializer(serializers.Serializer[Any]):
    """What the use costs by a tariff."""

    tariff = serializers.IntegerField()
    version = serializers.IntegerField(allow_null=True, help_text="A draft of the tariff.")
    name = serializers.CharField()
    current = serializers.BooleanField(help_text="It is what all the agreements have.")
    net = MoneyField(allow_null=True)
    total = MoneyField(allow_null=True)
    difference = MoneyField(allow_null=True, help_text="From what is agreed; below 0: cheaper.")
    months = MonthSerializer(many=True)
    problem = serializers.CharField(help_text="Why it cannot be said.")


class LeftOutSerializer(serializers.Serializer[Any]):
    """An agreement that is not in the sums."""

    agreement = serializers.IntegerField(source="agreement_id")
    number = serializers.CharField()
    code = serializers.ChoiceField(["absent", "place", "problem"])
    text = serializers.CharField()


class EnergySerializer(serializers.Serializer[Any]):
    """Energies in kWh: of the use that was billed, from panels, through batteries."""

    imported = ExactField()
    exported = ExactField()
    estimated = ExactField()
    generated = ExactField()
    loaded = ExactField()
    unloaded = ExactField()
    lost = ExactField()
    left = ExactField()


class ComparisonSerializer(serializers.Serializer[Any]):
    """A comparison. While it is `waiting`, sums are of the agreements that are `done`."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(ComparisonState.choices)
    agreements = serializers.IntegerField(help_text="How many are compared.")
    done = serializers.IntegerField(help_text="How many of them are computed.")
    first_on = serializers.DateField()
    end_on = serializers.DateField(help_text="Not part of the time.")
    currency = serializers.CharField()
    current_total = MoneyField(allow_null=True, help_text="By the tariffs that are agreed.")
    candidates = CandidateSerializer(many=True, help_text="The cheapest first.")
    energy_kwh = EnergySerializer()
    missing_intervals = serializers.IntegerField()
    peak_kw = ExactField(help_text="The highest that one of the agreements draws.")
    left_out = LeftOutSerializer(many=True)
    expires_at = serializers.DateTimeField(help_text="It is kept until then.")


class ComparisonList(BillingView):
    """Comparisons of tariffs."""

    access = {"POST": BILLS}

    @extend_schema(
        operation_id="tariff_comparisons_ask",
        tags=["Tariffs"],
        request=ComparisonBody,
        responses={201: ComparisonSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """What agreements would have cost by other tariffs. A few are in the answer; more are
        computed in the background. Customers, and an access to some facilities, compare one
        agreement with the tariffs that are offered.
        """
        values = body_of(ComparisonBody, request)
        now = datetime.now(UTC)
        with told(last="end_on", kwp="photovoltaics", capacity_kwh="battery"):
            made = comparisons_operations.ask(
                tenant_id=tenant_id_of(request),
                whose=Whose(values.get("agreement"), values.get("customer"), values["currency"]),
                days=_days(values, now.date()),
                question=_question(values),
                now=now,
                actor_id=request.user.pk,
                user_id=own_alone(request),
            )
        if made.state == ComparisonState.WAITING:
            ids = {"tenant_id": made.tenant_id, "comparison_id": made.pk}
            transaction.on_commit(partial(compare_tariffs.delay, **ids))
        return Response(ComparisonSerializer(_told(made)).data, status=201)


class ComparisonOne(BillingView):
    """A comparison of tariffs."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="tariff_comparison",
        tags=["Tariffs"],
        responses={200: ComparisonSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """What came out, or how far it is; kept for a week."""
        row = comparisons_queries.comparison(comparison_id=pk, user_id=own_alone(request))
        return Response(ComparisonSerializer(_told(row)).data)


def _days(values: Mapping[str, Any], today: date) -> Days:
    if "first_on" not in values:
        return last_year(today)
    return Days(values["first_on"], values["end_on"])


def _question(values: Mapping[str, Any]) -> Question:
    panels, battery = values["photovoltaics"], values["battery"]
    try:
        return Question(
            tariff_ids=tuple(values["tariffs"]),
            draft_ids=tuple(values["drafts"]),
            panels=panels and Panels(panels["kwp"], panels["tilt"], panels["azimuth"]),
            battery=battery
            and Battery(
                battery["capacity_kwh"],
                battery["power_kw"],
                battery["efficiency"],
                battery["peak_kw"],
            ),
            lowest_peak=bool(battery and battery["lowest_peak"]),
        )
    except (SolarError, BatteryError) as error:
        raise ValidationError({"": [spoken_of(error)]}) from error


def _told(row: TariffComparison) -> dict[str, Any]:
    sums = Sums.read(row.sums)
    return {
        "id": row.pk,
        "state": row.state,
        "agreements": len(row.agreements),
        "done": row.done,
        "first_on": row.first_on,
        "end_on": row.end_on,
        "currency": row.currency,
        "current_total": sums.current and sums.current.total,
        "candidates": [_candidate(one, sums) for one in sums.ranked()],
        "energy_kwh": sums.energies,
        "missing_intervals": sums.missing,
        "peak_kw": sums.peak_kw,
        "left_out": sums.left_out,
        "expires_at": row.expires_at,
    }


def _candidate(one: Total, sums: Sums) -> dict[str, Any]:
    said = not one.problem
    return {
        "tariff": one.tariff_id,
        "version": one.version_id,
        "name": one.name,
        "current": one.version_id is None and sums.current_ids == {one.tariff_id},
        "net": one.net if said else None,
        "total": one.total if said else None,
        "difference": one.total - sums.current.total if said and sums.current else None,
        "months": [
            {"first_on": day, "total": amount} for day, amount in sorted(one.months.items())
        ],
        "problem": spoken(one.problem),
    }
