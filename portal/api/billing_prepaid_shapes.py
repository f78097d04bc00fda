"""The shapes of wallets, pay-as-you-go units and their tokens, and of why a unit is dark."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from billing.accounts.outage import Certainty, Reason, Supply
from billing.accounts.tokens import Kind, grouped
from billing.models import (
    Delivery,
    Mode,
    MovementKind,
    PaygToken,
    TokenKind,
    TokenRequestState,
    WalletState,
)
from portal.api import serializers as shapes
from portal.api.billing import ExactField, IdField, MoneyField, NoteField, reason, text

_KEY = "Sent again with the same, it is done once."


class WalletQuery(shapes.PageQuery):
    """Which wallets."""

    facility = IdField(required=False, source="facility_id")
    state = serializers.ChoiceField(WalletState.choices, required=False)


class WalletLimitsSerializer(serializers.Serializer[Any]):
    """When a customer is told, and when nobody is switched off."""

    low_balance = MoneyField()
    emergency_credit = MoneyField(help_text="So far below zero the supply stays on.")
    friendly_from = serializers.TimeField(allow_null=True)
    friendly_to = serializers.TimeField(allow_null=True)
    friendly_weekend = serializers.BooleanField()
    holidays = serializers.CharField(help_text="ISO 3166-2, such as DE-BY; empty: none.")


class WalletSerializer(WalletLimitsSerializer):
    """The wallet of a prepaid agreement."""

    agreement = serializers.IntegerField(source="agreement_id")
    facility = serializers.IntegerField(source="facility_id")
    currency = serializers.CharField()
    balance = MoneyField()
    state = serializers.ChoiceField(WalletState.choices)
    state_at = serializers.DateTimeField(allow_null=True)
    burned_at = serializers.DateTimeField(allow_null=True, help_text="Use is taken until then.")
    switched_off_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(help_text="Why use is not taken; empty where it is.")


class WalletDetailSerializer(WalletSerializer):
    """A wallet and how long it lasts."""

    per_day = MoneyField(source="forecast.per_day", help_text="The mean of whole days before.")
    days_left = serializers.DecimalField(
        source="forecast.days", max_digits=12, decimal_places=1, allow_null=True
    )


class WalletLimitsBody(shapes.Body):
    """Limits of a wallet, all anew."""

    low_balance = MoneyField(min_value=Decimal(0))
    emergency_credit = MoneyField(min_value=Decimal(0), required=False, default=Decimal(0))
    friendly_from = serializers.TimeField(required=False, default=None, allow_null=True)
    friendly_to = serializers.TimeField(required=False, default=None, allow_null=True)
    friendly_weekend = serializers.BooleanField(required=False, default=False)
    holidays = text(12)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Both ends of the hours, or none."""
        if (attrs["friendly_from"] is None) != (attrs["friendly_to"] is None):
            raise serializers.ValidationError(
                {"friendly_to": [_("Give both ends of the friendly hours, or none.")]}
            )
        return attrs


class AdjustBody(shapes.Body):
    """A change of the balance that nobody has paid."""

    amount = MoneyField(help_text="Negative: taken out.")
    reason = serializers.CharField(max_length=200, help_text="The customer reads it.")
    request_key = serializers.CharField(max_length=36, help_text=_KEY)


class MovementSerializer(serializers.Serializer[Any]):
    """Something that moved a wallet."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.ChoiceField(MovementKind.choices)
    amount = MoneyField()
    balance_after = MoneyField()
    month = serializers.DateField(allow_null=True, help_text="The billing month of a use.")
    entry = serializers.IntegerField(source="entry_id", allow_null=True)
    bill = serializers.IntegerField(source="bill_id", allow_null=True)
    at = serializers.DateTimeField()


class UnitQuery(shapes.PageQuery):
    """Which units."""

    agreement = IdField(required=False, source="agreement_id")
    device = IdField(required=False, source="device_id")


class PaygUnitBody(shapes.Body):
    """A unit that works while time is paid for; its keys are kept sealed and never told again."""

    agreement = IdField()
    device = IdField()
    key = serializers.CharField(
        max_length=32, write_only=True, help_text="32 hexadecimal digits, from its maker."
    )
    starting_code = serializers.IntegerField(min_value=1, max_value=999_999_999, write_only=True)
    price_per_day = MoneyField(min_value=Decimal("0.0001"))
    divider = serializers.IntegerField(
        min_value=1, max_value=96, required=False, default=1, help_text="Units of a token in a day."
    )
    extended = serializers.BooleanField(
        required=False, default=False, help_text="Tokens of 12 digits."
    )
    restricted_digits = serializers.BooleanField(
        required=False, default=False, help_text="Keypads with 1 to 4 alone."
    )
    count = serializers.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        required=False,
        default=0,
        help_text="Of the newest token that somebody else has issued.",
    )


class PaygPriceBody(shapes.Body):
    """What a day costs from now on."""

    price_per_day = MoneyField(min_value=Decimal("0.0001"))


class PaygUnitSerializer(serializers.Serializer[Any]):
    """A pay-as-you-go unit, without its keys."""

    id = serializers.IntegerField(source="pk")
    agreement = serializers.IntegerField(source="agreement_id")
    device = serializers.IntegerField(source="device_id")
    serial = serializers.CharField(source="device.serial")
    facility = serializers.IntegerField(source="facility_id")
    price_per_day = MoneyField()
    currency = serializers.CharField()
    divider = serializers.IntegerField()
    extended = serializers.BooleanField()
    restricted_digits = serializers.BooleanField()
    carried = MoneyField(help_text="Too little for another unit of time so far.")
    count = serializers.IntegerField(help_text="Of the newest token.")
    paid_until = serializers.DateTimeField(allow_null=True)
    released_at = serializers.DateTimeField(
        allow_null=True, help_text="Works without tokens since."
    )


class PaygTokenSerializer(serializers.Serializer[Any]):
    """A token as it is typed in."""

    id = serializers.IntegerField(source="pk")
    unit = serializers.IntegerField(source="unit_id")
    kind = serializers.ChoiceField(TokenKind.choices)
    token = serializers.SerializerMethodField(help_text="In threes.")
    count = serializers.IntegerField()
    days = serializers.SerializerMethodField()
    amount = MoneyField(allow_null=True, help_text="What was paid for it.")
    payment = serializers.IntegerField(source="payment_id", allow_null=True)
    reason = NoteField(help_text="Empty to a customer.")
    delivery = serializers.ChoiceField(Delivery.choices)
    delivered_at = serializers.DateTimeField(allow_null=True)
    issued_at = serializers.DateTimeField()

    def get_token(self, row: PaygToken) -> str:
        """`123 456 789`."""
        return grouped(row.token)

    def get_days(self, row: PaygToken) -> str | None:
        """What it adds or sets; null where it does something else."""
        if row.kind not in (TokenKind.ADD_TIME, TokenKind.SET_TIME):
            return None
        return f"{(Decimal(row.value) / row.unit.divider).normalize():f}"


class TokenRequestQuery(shapes.PageQuery):
    """Which requests."""

    unit = IdField(required=False, source="unit_id")
    state = serializers.ChoiceField(TokenRequestState.choices, required=False)


class AskTokenBody(shapes.Body):
    """A token that nobody has paid for."""

    kind = serializers.ChoiceField([kind.value for kind in Kind])
    days = ExactField(
        min_value=Decimal(0), max_value=Decimal(1_000_000), required=False, default=Decimal(0)
    )
    reason = serializers.CharField(max_length=200)


class DecideTokenBody(shapes.Body):
    """What is decided about a request."""

    decision = serializers.ChoiceField(["issue", "refuse"])
    reason = reason("Why none is issued.")


class TokenRequestSerializer(serializers.Serializer[Any]):
    """That somebody wants a token without a payment."""

    id = serializers.IntegerField(source="pk")
    unit = serializers.IntegerField(source="unit_id")
    kind = serializers.ChoiceField(TokenKind.choices)
    days = MoneyField()
    reason = serializers.CharField()
    state = serializers.ChoiceField(TokenRequestState.choices)
    asked_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    token = PaygTokenSerializer(allow_null=True)


class TokenSentSerializer(serializers.Serializer[Any]):
    """The command that enters a token."""

    command = serializers.IntegerField()


class OutageCauseSerializer(serializers.Serializer[Any]):
    """Why a unit is off, may be, or may soon be."""

    reason = serializers.ChoiceField([one.value for one in Reason])
    certainty = serializers.SerializerMethodField()
    since = serializers.DateTimeField(allow_null=True)
    evidence = serializers.DictField(help_text="What speaks for it, by name.")

    def get_certainty(self, cause: Any) -> str:
        """certain, likely or possible."""
        return Certainty(cause.certainty).name.lower()


class OutageAccountSerializer(serializers.Serializer[Any]):
    """An agreement that the unit supplies; nobody is named who the caller does not see."""

    agreement = serializers.IntegerField(source="agreement_id")
    number = serializers.CharField()
    mode = serializers.ChoiceField(Mode.choices)
    customer = serializers.IntegerField(source="customer_id", allow_null=True)
    protected = serializers.BooleanField()
    currency = serializers.CharField()
    balance = MoneyField(help_text="Positive: the customer owes it.")
    overdue = MoneyField()


class OutageSerializer(serializers.Serializer[Any]):
    """Whether a unit is on, since when, and why; the most certain cause first."""

    device = serializers.IntegerField(source="device.pk")
    supply = serializers.ChoiceField([one.value for one in Supply], source="explanation.supply")
    since = serializers.DateTimeField(source="explanation.since", allow_null=True)
    connected = serializers.BooleanField(source="facts.connected", allow_null=True)
    last_seen_at = serializers.DateTimeField(source="facts.last_seen_at", allow_null=True)
    causes = OutageCauseSerializer(many=True, source="explanation.causes")
    accounts = OutageAccountSerializer(many=True)
