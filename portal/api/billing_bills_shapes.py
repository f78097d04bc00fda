"""The shapes of bills, runs, payments and accounts."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from billing.models import (
    BillKind,
    BillState,
    Cycle,
    DeliveryState,
    EntryKind,
    ItemState,
    Provider,
    RunKind,
    RunState,
)
from billing.tariffs.values import Kind
from portal.api import serializers as shapes
from portal.api.billing import EntryTextField, ExactField, IdField, MoneyField, text
from portal.api.billing_tariffs_shapes import SourceField

LINE_KINDS: Final = [kind.value for kind in Kind]


class BillQuery(shapes.PageQuery):
    """Which bills."""

    agreement = IdField(required=False, source="agreement_id")
    facility = IdField(required=False, source="facility_id")
    run = IdField(required=False, source="run_id")
    number = serializers.CharField(required=False, max_length=48)
    kind = serializers.ChoiceField(BillKind.choices, required=False)
    state = serializers.ChoiceField(BillState.choices, required=False)
    since = shapes.DayField(required=False, help_text="For days from this one on.")
    until = shapes.DayField(required=False, help_text="For days before this one.")


class BillSerializer(serializers.Serializer[Any]):
    """What an agreement costs for the days [first_on, end_on)."""

    id = serializers.IntegerField(source="pk")
    agreement = serializers.IntegerField(source="agreement_id")
    facility = serializers.IntegerField(source="facility_id")
    run = serializers.IntegerField(source="run_id", allow_null=True)
    kind = serializers.ChoiceField(BillKind.choices)
    state = serializers.ChoiceField(BillState.choices)
    number = serializers.CharField(help_text="Empty for a draft.")
    revision = serializers.IntegerField()
    corrects = serializers.IntegerField(
        source="corrects_id", allow_null=True, help_text="What a credit note takes back."
    )
    cause = serializers.CharField(help_text="Why there is more than one for these days.")
    first_on = serializers.DateField()
    end_on = serializers.DateField(help_text="The first day that it is not for.")
    time_zone = serializers.CharField(source="zone")
    currency = serializers.CharField()
    net = MoneyField()
    tax = MoneyField()
    total = MoneyField()
    imported_kwh = ExactField()
    exported_kwh = ExactField()
    estimated_kwh = ExactField(help_text="Of the energy, what was not measured.")
    missing_intervals = serializers.IntegerField()
    issued_on = serializers.DateField(allow_null=True)
    due_on = serializers.DateField(allow_null=True)
    finalised_at = serializers.DateTimeField(allow_null=True)
    voided_at = serializers.DateTimeField(allow_null=True)
    evidence_sha256 = serializers.CharField(
        source="sha256", help_text="Of what it was computed from, which is kept with it."
    )


class BillLineSerializer(serializers.Serializer[Any]):
    """One line: quantity × price is the amount, rounded where the tariff says so."""

    position = serializers.IntegerField()
    component = serializers.CharField()
    kind = serializers.ChoiceField(LINE_KINDS)
    # A serializer has a member `label` of its own.
    text = serializers.CharField(source="label")
    first_on = serializers.DateField()
    end_on = serializers.DateField()
    period = serializers.CharField()
    tier = serializers.IntegerField(help_text="1 is the first, 0: none.")
    quantity = ExactField()
    unit = serializers.CharField()
    price = ExactField(allow_null=True)
    amount = ExactField()
    estimated = ExactField(help_text="Of the quantity, what was not measured.")
    at = serializers.DateTimeField(allow_null=True, help_text="Of the highest demand.")
    tax_percent = serializers.DecimalField(
        max_digits=6, decimal_places=3, normalize_output=True, allow_null=True
    )
    detail = serializers.JSONField(help_text="By names that docs/tariffs.md lists.")


class BillDetailSerializer(serializers.Serializer[Any]):
    """A bill with its lines."""

    bill = BillSerializer()
    lines = BillLineSerializer(many=True)


class RunQuery(shapes.PageQuery):
    """Which runs."""

    state = serializers.ChoiceField(RunState.choices, required=False)
    cycle = serializers.ChoiceField(Cycle.choices, required=False)


class BillRunBody(shapes.Body):
    """A run to begin."""

    first_on = shapes.DayField(help_text="The first day of the period.")
    end_on = shapes.DayField(
        required=False,
        default=None,
        allow_null=True,
        help_text="Null: of a month, quarter or year, as `cycle` says.",
    )
    cycle = serializers.ChoiceField(Cycle.choices, required=False, default=Cycle.MONTH.value)
    agreements = serializers.ListField(
        child=IdField(),
        required=False,
        default=None,
        allow_null=True,
        max_length=10_000,
        help_text="Null: all postpaid ones of this cycle.",
    )


class BillRunSerializer(serializers.Serializer[Any]):
    """The bills of a period, being made."""

    id = serializers.IntegerField(source="run_id")
    kind = serializers.ChoiceField(RunKind.choices)
    cycle = serializers.ChoiceField(Cycle.choices)
    first_on = serializers.DateField()
    end_on = serializers.DateField()
    state = serializers.ChoiceField(RunState.choices)
    known_at = serializers.DateTimeField(help_text="What had arrived and was published by then.")
    issued_on = serializers.DateField(allow_null=True)
    cause = serializers.CharField()
    asked_by = serializers.CharField(help_text="Empty for a service account and the system.")
    approved_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    approved_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="State → how many accounts are in it."
    )
    totals = serializers.DictField(child=MoneyField(), help_text="Currency → of its bills.")


class ItemQuery(shapes.PageQuery):
    """Which accounts of a run."""

    state = serializers.ChoiceField(ItemState.choices, required=False)


class BillRunItemBillSerializer(serializers.Serializer[Any]):
    """A bill that a run has made."""

    id = serializers.IntegerField(source="bill_id")
    number = serializers.CharField()
    state = serializers.ChoiceField(BillState.choices)
    first_on = serializers.DateField()
    end_on = serializers.DateField()
    total = MoneyField()
    currency = serializers.CharField()
    imported_kwh = ExactField()


class BillRunItemSerializer(serializers.Serializer[Any]):
    """An account of a run."""

    id = serializers.IntegerField(source="item_id")
    agreement = serializers.IntegerField(source="agreement_id")
    agreement_number = serializers.CharField(source="agreement")
    customer = serializers.CharField()
    facility = serializers.CharField()
    state = serializers.ChoiceField(ItemState.choices)
    findings = serializers.JSONField(help_text="What the checklist has found, with its figures.")
    problem = serializers.CharField(help_text="Why it failed.")
    reason = serializers.CharField(help_text="Why findings were accepted, or it was left out.")
    accepted_by = serializers.CharField()
    bills = BillRunItemBillSerializer(many=True)


class ApproveRunBody(shapes.Body):
    """The date of the bills."""

    issued_on = shapes.DayField(help_text="On or after the end of the period.")


class RunReasonBody(shapes.Body):
    """Why."""

    reason = serializers.CharField(max_length=400)


class DecideItemsBody(RunReasonBody):
    """What is decided about accounts of a run that the checklist holds."""

    items = serializers.ListField(
        child=IdField(),
        required=False,
        default=None,
        allow_null=True,
        max_length=10_000,
        help_text="Accounts of the run by number; null: all that are held.",
    )
    decision = serializers.ChoiceField(
        ["accept", "leave_out"], help_text="leave_out names its accounts."
    )


class PaymentQuery(shapes.PageQuery):
    """Which payments."""

    agreement = IdField(required=False, source="agreement_id")
    provider = serializers.ChoiceField(Provider.choices, required=False)
    assigned = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="False: nobody knows whose."
    )


class PaymentBody(shapes.Body):
    """A payment that somebody saw."""

    agreement = IdField()
    amount = MoneyField()
    currency = serializers.CharField(max_length=3)
    received_on = shapes.DayField()
    request_key = serializers.CharField(
        max_length=64, help_text="Sent again with the same, a payment is entered once."
    )
    payer = text(140)
    text = text(400)


class RefundBody(shapes.Body):
    """Money that goes back."""

    amount = MoneyField()
    refunded_on = shapes.DayField()
    reason = serializers.CharField(max_length=400)
    request_key = serializers.CharField(
        max_length=64, help_text="Sent again with the same, it goes back once."
    )


class BillDeliverySerializer(serializers.Serializer[Any]):
    """A bill that goes, or went, to an e-mail address."""

    id = serializers.IntegerField(source="pk")
    to = serializers.CharField()
    state = serializers.ChoiceField(DeliveryState.choices)
    attempts = serializers.IntegerField()
    due_at = serializers.DateTimeField(help_text="When it is tried, or was tried last.")
    sent_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(help_text="Why it was not sent.")
    created_at = serializers.DateTimeField()


class BillDeliveriesSerializer(serializers.Serializer[Any]):
    """To whom a bill went, oldest first."""

    deliveries = BillDeliverySerializer(many=True)


class AssignBody(shapes.Body):
    """Whose a payment is."""

    agreement = IdField()


class PaymentSerializer(serializers.Serializer[Any]):
    """Money that came in, or with a negative amount went back."""

    id = serializers.IntegerField(source="pk")
    provider = serializers.ChoiceField(Provider.choices)
    external_id = serializers.CharField()
    amount = MoneyField()
    currency = serializers.CharField()
    received_on = serializers.DateField()
    payer = serializers.CharField()
    text = serializers.CharField()
    refunds = serializers.IntegerField(source="refunds_id", allow_null=True)
    agreement = serializers.IntegerField(source="agreement_id", allow_null=True)
    created_at = serializers.DateTimeField()


class AccountEntrySerializer(serializers.Serializer[Any]):
    """Something that an agreement owes (positive) or is owed (negative)."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.ChoiceField(EntryKind.choices)
    amount = MoneyField()
    currency = serializers.CharField()
    bill = serializers.IntegerField(source="bill_id", allow_null=True)
    payment = serializers.IntegerField(source="payment_id", allow_null=True)
    booked_on = serializers.DateField()
    due_on = serializers.DateField()
    text = EntryTextField(help_text="Empty to a customer where it is a note.")


class OpenItemSerializer(serializers.Serializer[Any]):
    """An entry of which something is open."""

    id = serializers.IntegerField(source="entry_id")
    kind = serializers.ChoiceField(EntryKind.choices)
    bill = serializers.IntegerField(source="bill_id", allow_null=True)
    payment = serializers.IntegerField(source="payment_id", allow_null=True)
    amount = MoneyField()
    open = MoneyField(help_text="Positive is owed, negative is credit.")
    due_on = serializers.DateField()
    text = EntryTextField(help_text="Empty to a customer where it is a note.")


class BalanceSerializer(serializers.Serializer[Any]):
    """How an account stands today."""

    balance = MoneyField(help_text="Positive: the customer owes it.")
    owed = MoneyField()
    credit = MoneyField()
    overdue = MoneyField()
    oldest_due = serializers.DateField(allow_null=True)


class AccountSerializer(serializers.Serializer[Any]):
    """The account of an agreement."""

    agreement = serializers.IntegerField(source="agreement.pk")
    currency = serializers.CharField(source="agreement.currency")
    balance = BalanceSerializer()
    open_items = OpenItemSerializer(many=True, source="items")


class TariffPreviewBody(shapes.Body):
    """A tariff to be rated over what an agreement has used."""

    agreement = IdField(source="agreement_id")
    first_on = shapes.DayField()
    end_on = shapes.DayField(help_text="At most 400 days later.")
    text = SourceField()


class RatedLineSerializer(serializers.Serializer[Any]):
    """A line of what it would have cost."""

    component = serializers.CharField()
    kind = serializers.ChoiceField(LINE_KINDS)
    text = serializers.CharField(source="label")
    first_on = serializers.DateField(source="first")
    end_on = serializers.DateField(source="end")
    period = serializers.CharField()
    tier = serializers.IntegerField()
    quantity = ExactField()
    unit = serializers.CharField()
    price = ExactField(allow_null=True)
    amount = ExactField()
    estimated = ExactField()


class TariffPreviewSerializer(serializers.Serializer[Any]):
    """What it would have cost."""

    currency = serializers.CharField()
    net = ExactField(source="draft.rating.net")
    tax = ExactField(source="draft.rating.tax")
    total = ExactField(source="draft.rating.total")
    imported_kwh = ExactField()
    exported_kwh = ExactField()
    lines = RatedLineSerializer(many=True, source="draft.rating.lines")
    agreed_total = ExactField(
        source="agreed.rating.total",
        allow_null=True,
        default=None,
        help_text="What it costs by what is agreed; null where that cannot be said.",
    )
