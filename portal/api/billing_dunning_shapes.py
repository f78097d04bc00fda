"""The shapes of dunning, of plans of payments and of files of payments."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from billing.models import DunningKind, PlanState
from billing.payments.camt053 import MOST_BYTES
from portal.api import serializers as shapes
from portal.api.billing import IdField, MoneyField, NoteField, text

_NOTE = "Empty to a customer."


class DunningCaseQuery(shapes.PageQuery):
    """Which cases."""

    agreement = IdField(required=False, source="agreement_id")
    open = serializers.BooleanField(required=False, allow_null=True, default=None)


class DunningCaseSerializer(serializers.Serializer[Any]):
    """An account that is behind, from when it was noticed until it is over."""

    id = serializers.IntegerField(source="pk")
    agreement = serializers.IntegerField(source="agreement_id")
    facility = serializers.IntegerField(source="facility_id")
    opened_at = serializers.DateTimeField()
    counts_from = serializers.DateField(help_text="The day that the steps count from.")
    taken = serializers.IntegerField(help_text="How many steps were taken.")
    limited = serializers.BooleanField()
    disabled = serializers.BooleanField()
    paused_until = serializers.DateField(
        allow_null=True, help_text="Up to this day, included, no step is taken."
    )
    closed_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.CharField(help_text="Empty while it is open.")


class DunningEventSerializer(serializers.Serializer[Any]):
    """Something that happened in a case."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.ChoiceField(DunningKind.choices)
    step = serializers.IntegerField(allow_null=True)
    at = serializers.DateTimeField()
    overdue = MoneyField()
    currency = serializers.CharField()
    text = NoteField(help_text=_NOTE)
    commands = serializers.ListField(child=serializers.IntegerField())


class DunningCaseDetailSerializer(serializers.Serializer[Any]):
    """A case with its events."""

    case = DunningCaseSerializer()
    events = DunningEventSerializer(many=True)


class InstalmentPlanQuery(shapes.PageQuery):
    """Which plans."""

    agreement = IdField(required=False, source="agreement_id")
    state = serializers.ChoiceField(PlanState.choices, required=False)


class InstalmentSerializer(serializers.Serializer[Any]):
    """A part of what is owed."""

    due_on = shapes.DayField()
    amount = MoneyField()


class InstalmentPlanBody(shapes.Body):
    """What is agreed."""

    agreement = IdField()
    instalments = InstalmentSerializer(many=True, allow_empty=False)
    grace_days = serializers.IntegerField(
        default=3, min_value=0, max_value=60, help_text="A part unpaid after them breaks the plan."
    )
    reason = text(400)


class KeptInstalmentSerializer(serializers.Serializer[Any]):
    """A part as it was agreed."""

    due_on = serializers.DateField()
    amount = serializers.CharField()


class InstalmentPlanSerializer(serializers.Serializer[Any]):
    """A plan; `state` is kept or broken by what was paid."""

    id = serializers.IntegerField(source="pk")
    agreement = serializers.IntegerField(source="agreement_id")
    facility = serializers.IntegerField(source="facility_id")
    currency = serializers.CharField()
    instalments = KeptInstalmentSerializer(many=True)
    grace_days = serializers.IntegerField()
    state = serializers.ChoiceField(PlanState.choices)
    reason = NoteField(help_text=_NOTE)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class StatementBody(shapes.Body):
    """A file of payments."""

    file = serializers.FileField(allow_empty_file=True)

    def validate_file(self, file: Any) -> Any:
        """Refuse what is too big before it is read."""
        if file.size > MOST_BYTES:
            raise serializers.ValidationError(_("The file is too large: at most 20 MB."))
        return file


class PaymentImportSerializer(serializers.Serializer[Any]):
    """A file that was taken in."""

    id = serializers.IntegerField(source="pk")
    sha256 = serializers.CharField()
    file_name = serializers.CharField()
    format = serializers.CharField(help_text="camt053 or csv.")
    lines = serializers.IntegerField(help_text="Payments in it.")
    taken = serializers.IntegerField(help_text="Those that were new.")
    matched = serializers.IntegerField(help_text="Of these, those whose agreement was known.")
    created_at = serializers.DateTimeField()
