"""The shapes of customers, agreements and billing settings."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any

from django.conf import settings
from rest_framework import serializers

from billing.models import CustomerKind, Cycle, Flow, Mode
from portal.api import serializers as shapes
from portal.api.billing import ExactField, IdField, reason, text

_RESTATES = "Needed where final bills are for later days: they are restated."
# The most meters that an agreement begins with.
_MOST_METERS = 100


class CustomerQuery(shapes.PageQuery):
    """Which customers."""

    search = serializers.CharField(
        required=False,
        default="",
        max_length=120,
        help_text="Words of number, name, e-mail or address.",
    )
    number = serializers.CharField(required=False, max_length=40, help_text="The whole number.")


class CustomerBody(shapes.Body):
    """What a customer shall be."""

    name = serializers.CharField(max_length=120)
    number = text(40, "Empty: the next one is drawn, or it stays.")
    kind = serializers.ChoiceField(
        CustomerKind.choices, required=False, default=CustomerKind.PERSON.value
    )
    email = serializers.EmailField(required=False, default="", allow_blank=True, max_length=254)
    phone = text(32)
    language = serializers.ChoiceField(
        settings.LANGUAGES, required=False, default="en", help_text="Of bills and reminders."
    )
    street = text(120)
    postal_code = text(16)
    city = text(80)
    country = text(2, "ISO 3166-1 alpha-2.")
    vat_id = text(20)
    buyer_reference = text(60, "What the buyer wants to read on its bills, e.g. a Leitweg-ID.")
    user = IdField(
        required=False,
        default=None,
        allow_null=True,
        help_text="The member who sees the bills as a consumer, by number.",
    )


class CustomerSerializer(serializers.Serializer[Any]):
    """Somebody who gets bills."""

    id = serializers.IntegerField(source="pk")
    number = serializers.CharField()
    kind = serializers.ChoiceField(CustomerKind.choices)
    name = serializers.CharField()
    email = serializers.CharField()
    phone = serializers.CharField()
    language = serializers.CharField()
    street = serializers.CharField()
    postal_code = serializers.CharField()
    city = serializers.CharField()
    country = serializers.CharField()
    vat_id = serializers.CharField()
    buyer_reference = serializers.CharField()
    user = serializers.IntegerField(source="user_id", allow_null=True)
    protected = serializers.BooleanField(help_text="Must not be cut off.")
    protected_reason = serializers.CharField()
    protected_until = serializers.DateField(allow_null=True)


class ProtectionBody(shapes.Body):
    """Whether a customer must not be cut off, and why."""

    protected = serializers.BooleanField()
    reason = text(200, "Needed both to protect and to end the protection.")
    until = shapes.DayField(
        required=False, default=None, allow_null=True, help_text="Null: no end is known."
    )


class AgreementQuery(shapes.PageQuery):
    """Which agreements."""

    customer = IdField(required=False, source="customer_id")
    facility = IdField(required=False, source="facility_id")
    number = serializers.CharField(required=False, max_length=40)
    mode = serializers.ChoiceField(Mode.choices, required=False)
    on = shapes.DayField(required=False, help_text="Those that hold on this day.")


class AgreementMeterBody(shapes.Body):
    """A channel to be billed by."""

    channel = IdField(source="channel_id")
    flow = serializers.ChoiceField(Flow.choices, required=False, default=Flow.IMPORT.value)
    share = serializers.DecimalField(
        required=False,
        default=Decimal(1),
        max_digits=9,
        decimal_places=8,
        help_text="The part that counts; negative: a sub-meter of somebody else is taken off.",
    )
    starts_at = shapes.InstantField(
        required=False,
        default=None,
        allow_null=True,
        default_timezone=UTC,
        help_text="A full quarter of an hour; null: as the agreement.",
    )
    ends_at = shapes.InstantField(
        required=False, default=None, allow_null=True, default_timezone=UTC
    )


class NewMeterBody(AgreementMeterBody):
    """A channel to be billed by as well."""

    reason = reason(_RESTATES)


class TariffChoiceBody(shapes.Body):
    """A tariff to be billed by."""

    tariff = IdField(source="tariff_id")
    contracted_kw = ExactField(
        required=False,
        default=None,
        allow_null=True,
        help_text="Needed by tariffs that charge for the contracted power.",
    )


class TariffChangeBody(TariffChoiceBody):
    """Another tariff."""

    on = shapes.DayField(help_text="From the local midnight of this day.")
    reason = reason(_RESTATES)


class AgreementBody(TariffChoiceBody):
    """An agreement to be made, with what it begins with."""

    customer = IdField(source="customer_id")
    facility = IdField(source="facility_id")
    starts_on = shapes.DayField(help_text="In the facility's calendar.")
    ends_on = shapes.DayField(
        required=False, default=None, allow_null=True, help_text="The first day without."
    )
    number = text(40, "Empty: the next one is drawn.")
    mode = serializers.ChoiceField(Mode.choices, required=False, default=Mode.POSTPAID.value)
    cycle = serializers.ChoiceField(Cycle.choices, required=False, default=Cycle.MONTH.value)
    payment_days = serializers.IntegerField(required=False, default=14, min_value=0, max_value=999)
    cost_centre = text(60)
    meters = serializers.ListField(
        child=AgreementMeterBody(), required=False, default=list, max_length=_MOST_METERS
    )


class AgreementChangeBody(shapes.Body):
    """What shall be different; what is not sent stays."""

    number = serializers.CharField(required=False, max_length=40)
    cycle = serializers.ChoiceField(Cycle.choices, required=False)
    payment_days = serializers.IntegerField(required=False, min_value=0, max_value=999)
    cost_centre = serializers.CharField(required=False, allow_blank=True, max_length=60)


class SuccessorBody(shapes.Body):
    """Who moves in."""

    customer = IdField(source="customer_id")
    number = text(40, "Of the new agreement; empty: the next one is drawn.")
    tariff = IdField(required=False, default=None, allow_null=True, help_text="Null: the same.")
    contracted_kw = ExactField(required=False, default=None, allow_null=True)


class MoveOutBody(shapes.Body):
    """The end of an agreement."""

    ends_on = shapes.DayField(help_text="The first day that it does not hold.")
    successor = SuccessorBody(required=False, default=None, allow_null=True)
    reason = reason(_RESTATES)


class RestateBody(shapes.Body):
    """Why."""

    reason = reason(_RESTATES)


class MeterChangeBody(shapes.Body):
    """What becomes of a meter: another `channel`, another `share`, or with neither its end."""

    at = shapes.InstantField(default_timezone=UTC, help_text="A full quarter of an hour.")
    channel = IdField(required=False, default=None, allow_null=True)
    share = serializers.DecimalField(
        required=False, default=None, allow_null=True, max_digits=9, decimal_places=8
    )
    reason = reason(_RESTATES)

    def validate(self, attrs: Any) -> Any:
        """One change at a time."""
        if attrs["channel"] is not None and attrs["share"] is not None:
            raise serializers.ValidationError("Send either channel or share.")
        return attrs


class AgreementMeterSerializer(serializers.Serializer[Any]):
    """A channel that an agreement is billed by."""

    id = serializers.IntegerField(source="pk")
    channel = serializers.IntegerField(source="channel_id")
    flow = serializers.ChoiceField(Flow.choices)
    share = serializers.DecimalField(max_digits=9, decimal_places=8, normalize_output=True)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)


class AgreementTariffSerializer(serializers.Serializer[Any]):
    """A tariff of an agreement."""

    id = serializers.IntegerField(source="pk")
    tariff = serializers.IntegerField(source="tariff_id")
    contracted_kw = ExactField(allow_null=True)
    starts_on = serializers.DateField()
    ends_on = serializers.DateField(allow_null=True)


class AgreementSerializer(serializers.Serializer[Any]):
    """That a customer is supplied at a facility, on days of its calendar."""

    id = serializers.IntegerField(source="pk")
    number = serializers.CharField()
    customer = serializers.IntegerField(source="customer_id")
    facility = serializers.IntegerField(source="facility_id")
    mode = serializers.ChoiceField(Mode.choices)
    cycle = serializers.ChoiceField(Cycle.choices)
    currency = serializers.CharField()
    payment_days = serializers.IntegerField()
    cost_centre = serializers.CharField()
    starts_on = serializers.DateField()
    ends_on = serializers.DateField(allow_null=True, help_text="The first day without.")
    meters = AgreementMeterSerializer(many=True)
    tariffs = AgreementTariffSerializer(many=True)


class MovedSerializer(serializers.Serializer[Any]):
    """An agreement that has ended, and that of who moved in."""

    ended = AgreementSerializer()
    successor = AgreementSerializer(allow_null=True)


class BillingSettingsBody(shapes.Body):
    """Who the organisation is on its bills, and how it bills."""

    legal_name = serializers.CharField(max_length=120)
    street = text(120)
    postal_code = text(16)
    city = text(80)
    country = text(2, "ISO 3166-1 alpha-2.")
    vat_id = text(20)
    tax_number = text(30)
    email = serializers.EmailField(required=False, default="", allow_blank=True, max_length=254)
    phone = text(32)
    iban = text(42, "Its check digits are looked at.")
    bic = text(14)
    bank_name = text(80)
    footer = text(400)
    currency = serializers.CharField(required=False, default="EUR", max_length=3)
    mail_bills = serializers.BooleanField(
        required=False,
        default=True,
        help_text="Customers with an e-mail address get bills once they are final.",
    )
    second_person = serializers.BooleanField(
        required=False, default=True, help_text="Runs are approved by another than who asked."
    )
    estimate_percent = serializers.DecimalField(
        required=False,
        default=Decimal(20),
        max_digits=5,
        decimal_places=2,
        min_value=0,
        max_value=100,
        help_text="With a larger part not measured, a bill is looked at before it is final.",
    )


class BillingSettingsSerializer(serializers.Serializer[Any]):
    """Who the organisation is on its bills, and how it bills."""

    legal_name = serializers.CharField()
    street = serializers.CharField()
    postal_code = serializers.CharField()
    city = serializers.CharField()
    country = serializers.CharField()
    vat_id = serializers.CharField()
    tax_number = serializers.CharField()
    email = serializers.CharField()
    phone = serializers.CharField()
    iban = serializers.CharField()
    bic = serializers.CharField()
    bank_name = serializers.CharField()
    footer = serializers.CharField()
    currency = serializers.CharField()
    mail_bills = serializers.BooleanField()
    second_person = serializers.BooleanField()
    estimate_percent = serializers.DecimalField(
        max_digits=5, decimal_places=2, normalize_output=True
    )
