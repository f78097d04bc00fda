"""The shapes of tariffs, their versions and series of prices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

from rest_framework import serializers

from billing.domain.prices_operations import MOST_VALUES, STEPS
from billing.models import VersionState
from billing.tariffs.recognising import Wishes
from billing.tariffs.source import MAX_BYTES
from portal.api import serializers as shapes
from portal.api.billing import ExactField, reason, text

# As large as a body may be.
MOST_RECORD: Final = 2 * 1024 * 1024


class TariffQuery(shapes.PageQuery):
    """Which tariffs."""

    search = serializers.CharField(
        required=False, default="", max_length=120, help_text="Words of name or description."
    )
    currency = serializers.CharField(required=False, max_length=3)
    archived = serializers.BooleanField(required=False, allow_null=True, default=None)


class TariffBody(shapes.Body):
    """What a tariff is called."""

    name = serializers.CharField(max_length=120)
    description = text(400)
    offered = serializers.BooleanField(
        required=False,
        help_text="Customers who compare tariffs are told of it; as it was unless sent.",
    )


class NewTariffBody(shapes.Body):
    """A tariff to be made; its prices are those of its versions."""

    name = serializers.CharField(max_length=120)
    description = text(400)
    currency = serializers.CharField(max_length=3, help_text="ISO 4217, for example EUR.")


class TariffSerializer(serializers.Serializer[Any]):
    """What customers pay by."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    description = serializers.CharField()
    currency = serializers.CharField()
    offered = serializers.BooleanField(help_text="Customers who compare tariffs are told of it.")
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)


class VersionQuery(shapes.PageQuery):
    """Which versions."""

    state = serializers.ChoiceField(VersionState.choices, required=False)


class SourceField(serializers.CharField):
    """A tariff as it is written."""

    def __init__(self) -> None:
        told = "The tariff in YAML or JSON, as docs/tariffs.md describes it."
        super().__init__(max_length=MAX_BYTES, help_text=told, trim_whitespace=False)


class TariffVersionBody(shapes.Body):
    """A draft."""

    valid_from = shapes.DayField(help_text="From the local midnight of this day.")
    text = SourceField()
    reason = reason("Needed to publish what changes the past or takes a version's place.")


class TariffImportBody(shapes.Body):
    """A published tariff."""

    record = serializers.CharField(
        max_length=MOST_RECORD, trim_whitespace=False, help_text="Its JSON as text."
    )
    name = text(120, "Of the new tariff; empty: as the record has it.")
    valid_from = shapes.DayField(
        required=False, default=None, allow_null=True, help_text="For a record without a day."
    )
    currency = text(3, "Of a record of URDB, which names none.", default="USD")
    demand_window_min = serializers.ChoiceField(
        [15, 30, 60],
        required=False,
        default=None,
        allow_null=True,
        help_text="Of a record of URDB that names none.",
    )
    part = text(8, "Which part of a network tariff.", default="NUOS")
    record_name = text(200, "Of a file of many tariffs which one, by its name or id.")


def wishes_of(values: Mapping[str, Any]) -> Wishes:
    """What an import is told about a record."""
    return Wishes(
        currency=values["currency"].upper(),
        demand_window_min=values["demand_window_min"],
        part=values["part"],
        name=values["record_name"],
    )


class TariffImportNoteSerializer(serializers.Serializer[Any]):
    """What the record says beside prices."""

    field = serializers.CharField()
    text = serializers.CharField()


class DuplicateVersionBody(shapes.Body):
    """From when on a copy shall hold."""

    valid_from = shapes.DayField()


class ListedVersionSerializer(serializers.Serializer[Any]):
    """A version in a list."""

    id = serializers.IntegerField(source="pk")
    tariff = serializers.IntegerField(source="tariff_id")
    valid_from = serializers.DateField()
    revision = serializers.IntegerField(help_text="Of the versions of a day the highest holds.")
    state = serializers.ChoiceField(VersionState.choices)
    sha256 = serializers.CharField(help_text="Of the document in its canonical form.")
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(allow_null=True)


class TariffVersionSerializer(ListedVersionSerializer):
    """A version with what it says."""

    document = serializers.JSONField()
    text = serializers.CharField(source="source", help_text="As it was written.")


class TariffImportSerializer(serializers.Serializer[Any]):
    """A tariff that was taken in, with its drafts in order of their days."""

    tariff = TariffSerializer()
    versions = ListedVersionSerializer(many=True)
    notes = TariffImportNoteSerializer(many=True)


class CheckTariffBody(shapes.Body):
    """A document that is tried."""

    text = SourceField()
    valid_from = shapes.DayField()
    currency = serializers.CharField(required=False, max_length=3)


class TariffProblemSerializer(serializers.Serializer[Any]):
    """What is wrong."""

    sentence = serializers.CharField()
    path = serializers.CharField(help_text="In the document; empty where it concerns all of it.")
    zone = serializers.CharField(help_text="The time zone in whose calendar it shows, or empty.")


class CheckedTariffSerializer(serializers.Serializer[Any]):
    """What is wrong with a document; nothing where `problems` is empty."""

    problems = TariffProblemSerializer(many=True)
    zones = serializers.ListField(child=serializers.CharField(), help_text="It was tried in these.")
    first = serializers.DateField(help_text="The days from this one on were tried,")
    end = serializers.DateField(help_text="before this one.")


class SeriesQuery(shapes.PageQuery):
    """Which series of prices."""

    name = serializers.CharField(required=False, max_length=60)


class PriceSeriesBody(shapes.Body):
    """A series to be made."""

    name = serializers.CharField(max_length=60, help_text="The one that tariffs call it by.")
    currency = serializers.CharField(max_length=3)
    step_s = serializers.ChoiceField(STEPS, required=False, default=3600)


class PriceSeriesSerializer(serializers.Serializer[Any]):
    """Prices that change by the quarter of an hour, the half hour or the hour."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    currency = serializers.CharField()
    step_s = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class PriceBody(shapes.Body):
    """A price per kWh from an instant on."""

    starts_at = shapes.InstantField(default_timezone=UTC)
    price = ExactField()


class PricesBody(shapes.Body):
    """Prices to be entered."""

    prices = serializers.ListField(child=PriceBody(), max_length=MOST_VALUES)


class EnteredPricesSerializer(serializers.Serializer[Any]):
    """How many prices were new or other than before."""

    entered = serializers.IntegerField()
    unchanged = serializers.IntegerField()


class PricesQuery(shapes.Query):
    """Which prices."""

    start = shapes.InstantField(default_timezone=UTC)
    end = shapes.InstantField(default_timezone=UTC)
    known_at = shapes.InstantField(
        required=False, default_timezone=UTC, help_text="What had been entered by this instant."
    )


class PriceSerializer(serializers.Serializer[Any]):
    """A price per kWh from an instant on, for the step of its series."""

    starts_at = serializers.DateTimeField()
    price = ExactField()


class PriceGapSerializer(serializers.Serializer[Any]):
    """A time without prices."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class PricesSerializer(serializers.Serializer[Any]):
    """The prices of a period, and where there are none."""

    prices = PriceSerializer(many=True)
    gaps = PriceGapSerializer(many=True)
