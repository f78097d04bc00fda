"""Forms of customers, agreements and settings: what people give, as the values of operations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.agreements_values import (
    AgreementValues,
    Change,
    MeterValues,
    Successor,
    TariffValues,
)
from billing.domain.choices_queries import AgreementChoices, ChannelChoice, Pair, StepChoices
from billing.domain.customers_operations import CustomerValues
from billing.domain.settings_operations import SettingsValues
from billing.models import Agreement, BillingSettings, Customer, CustomerKind, Cycle, Flow, Mode
from billing.payments.values import Received
from portal.enterprise.registry.forms import EMPTY, PickerField
from portal.enterprise.registry.forms_loads import LocalDateTimeField, ZonedForm
from portal.frame import days, quantities
from portal.frame.forms import FieldGroup, GroupedForm

_ADDRESS: Final = ("street", "postal_code", "city", "country")
_MONEY: Final[dict[str, Any]] = {"localize": True, "max_digits": 20}


class DayField(forms.DateField):
    """A day of a calendar."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_formats=["%Y-%m-%d"], validators=[days.known], **kwargs)


class ReasonField(forms.CharField):
    """Why something is done; the audit log keeps it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", gettext_lazy("Reason"))
        kwargs.setdefault("max_length", 400)
        super().__init__(widget=forms.Textarea(attrs={"rows": 3}), **kwargs)


def late_reason() -> ReasonField:
    """A reason that is needed only where final bills rest on what is changed."""
    return ReasonField(
        required=False,
        help_text=gettext_lazy(
            "Needed where final bills rest on what is changed: they are restated, and name it."
        ),
    )


def offer(form: forms.BaseForm, name: str, choices: Sequence[Any]) -> None:
    """Fill a choice with what was read before."""
    form.fields[name].choices = [EMPTY, *choices]  # type: ignore[attr-defined]


def channel_options(channels: Sequence[ChannelChoice]) -> list[tuple[int, str]]:
    """Channels with the names of their devices."""
    return [
        (one.pk, f"{one.device} · {quantities.channel_name(one.name, one.quantity)}")
        for one in channels
    ]


# --- customers ---------------------------------------------------------------------------


class CustomerForm(GroupedForm, forms.Form):
    """Who is billed."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=CustomerKind.choices)
    number = forms.CharField(
        label=gettext_lazy("Number"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("Left empty, the next one is given."),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language of the bills"), choices=settings.LANGUAGES
    )
    email = forms.EmailField(label=gettext_lazy("E-mail"), required=False)
    phone = forms.CharField(label=gettext_lazy("Phone"), max_length=32, required=False)
    street = forms.CharField(label=gettext_lazy("Street"), max_length=120, required=False)
    postal_code = forms.CharField(label=gettext_lazy("Postal code"), max_length=16, required=False)
    city = forms.CharField(label=gettext_lazy("City"), max_length=80, required=False)
    country = forms.CharField(
        label=gettext_lazy("Country"),
        max_length=2,
        required=False,
        help_text=gettext_lazy("Two letters, for example DE."),
    )
    vat_id = forms.CharField(
        label=gettext_lazy("VAT identification number"), max_length=20, required=False
    )
    buyer_reference = forms.CharField(
        label=gettext_lazy("Buyer's reference"),
        max_length=60,
        required=False,
        help_text=gettext_lazy(
            "What the buyer wants to read on bills; for authorities the Leitweg-ID."
        ),
    )
    user_id = PickerField(
        label=gettext_lazy("Account in the consumer view"),
        required=False,
        help_text=gettext_lazy("The member who sees these bills at home and on the phone."),
    )

    groups = (
        FieldGroup(gettext_lazy("Address"), _ADDRESS),
        FieldGroup(gettext_lazy("For bills"), ("language", "vat_id", "buyer_reference", "user_id")),
    )

    def __init__(self, *args: Any, accounts: Sequence[Pair], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "user_id", accounts)

    def values(self) -> CustomerValues:
        """What the customer shall be."""
        data = self.cleaned_data | {"kind": CustomerKind(self.cleaned_data["kind"])}
        return CustomerValues(**data)

    @staticmethod
    def initial_of(row: Customer) -> dict[str, Any]:
        """The form of one that exists."""
        return {name: getattr(row, name) for name in CustomerForm.base_fields}


class ProtectForm(forms.Form):
    """Why a customer must not be cut off."""

    reason = ReasonField(
        max_length=200,
        help_text=gettext_lazy("For example a medical device. Whoever handles dunning reads it."),
    )
    until = DayField(
        label=gettext_lazy("Until"),
        required=False,
        help_text=gettext_lazy("Left empty, until further notice."),
    )


class ReasonForm(forms.Form):
    """A step that asks for nothing but its reason."""

    reason = ReasonField()


# --- agreements --------------------------------------------------------------------------


class PlaceForm(forms.Form):
    """Where a new agreement is."""

    facility = PickerField(label=gettext_lazy("Facility"))

    def __init__(self, *args: Any, facilities: Sequence[Pair], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "facility", facilities)


class AgreementForm(GroupedForm, forms.Form):
    """A new agreement with the tariff and the meters it begins with."""

    customer = PickerField(label=gettext_lazy("Customer"))
    starts_on = DayField(label=gettext_lazy("First day"))
    ends_on = DayField(
        label=gettext_lazy("Ends on"),
        required=False,
        help_text=gettext_lazy(
            "The first day that is no longer supplied. Left empty: until further notice."
        ),
    )
    tariff = PickerField(label=gettext_lazy("Tariff"))
    contracted_kw = forms.DecimalField(
        label=gettext_lazy("Agreed power (kW)"),
        required=False,
        min_value=0,
        decimal_places=6,
        help_text=gettext_lazy("Where the tariff has a price for it."),
        **_MONEY,
    )
    meters = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Counts what is drawn"),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    export_meters = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Counts what is given to the grid"),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    mode = forms.ChoiceField(label=gettext_lazy("Paid"), choices=Mode.choices)
    cycle = forms.ChoiceField(label=gettext_lazy("Billed"), choices=Cycle.choices)
    payment_days = forms.IntegerField(
        label=gettext_lazy("Due after days"), min_value=0, max_value=180, initial=14
    )
    cost_centre = forms.CharField(label=gettext_lazy("Cost centre"), max_length=60, required=False)
    number = forms.CharField(
        label=gettext_lazy("Number"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("Left empty, the next one is given."),
    )

    groups = (
        FieldGroup(gettext_lazy("Tariff"), ("tariff", "contracted_kw")),
        FieldGroup(
            gettext_lazy("Meters"),
            ("meters", "export_meters"),
            gettext_lazy("Shares and dates can be changed afterwards."),
        ),
        FieldGroup(
            gettext_lazy("Billing"), ("mode", "cycle", "payment_days", "cost_centre", "number")
        ),
    )

    def __init__(self, *args: Any, of: AgreementChoices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "customer", of.customers)
        offer(self, "tariff", of.tariffs)
        kinds = {"meters": "energy_import", "export_meters": "energy_export"}
        for name, quantity in kinds.items():
            fitting = [one for one in of.channels if one.quantity in {quantity, "active_power"}]
            self.fields[name].choices = channel_options(fitting)  # type: ignore[attr-defined]
        self._facility_id = of.facility.pk

    def values(self) -> AgreementValues:
        """The agreement."""
        data = self.cleaned_data
        return AgreementValues(
            customer_id=data["customer"],
            facility_id=self._facility_id,
            starts_on=data["starts_on"],
            ends_on=data["ends_on"],
            number=data["number"],
            mode=Mode(data["mode"]),
            cycle=Cycle(data["cycle"]),
            payment_days=data["payment_days"],
            cost_centre=data["cost_centre"],
        )

    def tariff_values(self) -> TariffValues:
        """The tariff that it begins with."""
        return TariffValues(self.cleaned_data["tariff"], self.cleaned_data["contracted_kw"])

    def meter_values(self) -> list[MeterValues]:
        """The meters that it begins with."""
        data = self.cleaned_data
        drawn = [MeterValues(pk, Flow.IMPORT) for pk in data["meters"]]
        return drawn + [MeterValues(pk, Flow.EXPORT) for pk in data["export_meters"]]


class AgreementEditForm(forms.Form):
    """What may be different for the bills to come."""

    number = forms.CharField(label=gettext_lazy("Number"), max_length=40)
    cycle = forms.ChoiceField(label=gettext_lazy("Billed"), choices=Cycle.choices)
    payment_days = forms.IntegerField(
        label=gettext_lazy("Due after days"), min_value=0, max_value=180
    )
    cost_centre = forms.CharField(label=gettext_lazy("Cost centre"), max_length=60, required=False)

    def change(self) -> Change:
        """All of it."""
        data = self.cleaned_data
        return Change(
            number=data["number"],
            cycle=Cycle(data["cycle"]),
            payment_days=data["payment_days"],
            cost_centre=data["cost_centre"],
        )

    @staticmethod
    def initial_of(row: Agreement) -> dict[str, Any]:
        """As it is."""
        return {name: getattr(row, name) for name in AgreementEditForm.base_fields}


class MoveOutForm(GroupedForm, forms.Form):
    """The end of an agreement, and who moves in."""

    ends_on = DayField(
        label=gettext_lazy("Ends on"),
        help_text=gettext_lazy("The first day that the customer is no longer supplied."),
    )
    reason = late_reason()
    successor = PickerField(
        label=gettext_lazy("Who moves in"),
        required=False,
        help_text=gettext_lazy(
            "Gets an agreement from that day on, by the same meters. Left empty, nobody does."
        ),
    )
    tariff = PickerField(
        label=gettext_lazy("Tariff"),
        required=False,
        help_text=gettext_lazy("Left empty, the tariff stays as it is."),
    )

    groups = (FieldGroup(gettext_lazy("Afterwards"), ("successor", "tariff")),)

    def __init__(self, *args: Any, of: StepChoices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "successor", of.customers)
        offer(self, "tariff", of.tariffs)

    def successor_values(self) -> Successor | None:
        """Who moves in, if anybody."""
        data = self.cleaned_data
        if data["successor"] is None:
            return None
        tariff = None if data["tariff"] is None else TariffValues(data["tariff"])
        return Successor(data["successor"], tariff=tariff)


class TariffChangeForm(forms.Form):
    """Another tariff from a day on."""

    tariff = PickerField(label=gettext_lazy("Tariff"))
    contracted_kw = AgreementForm.base_fields["contracted_kw"]
    starts_on = DayField(label=gettext_lazy("From"))
    reason = late_reason()

    def __init__(self, *args: Any, of: StepChoices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "tariff", of.tariffs)

    def values(self) -> TariffValues:
        """The tariff."""
        return TariffValues(self.cleaned_data["tariff"], self.cleaned_data["contracted_kw"])

    @property
    def day(self) -> date:
        """From when on."""
        day: date = self.cleaned_data["starts_on"]
        return day


class MeterForm(ZonedForm):
    """Another channel that counts."""

    channel = PickerField(label=gettext_lazy("Channel"))
    flow = forms.ChoiceField(label=gettext_lazy("Counts"), choices=Flow.choices)
    share = forms.DecimalField(
        label=gettext_lazy("Share"),
        min_value=-1,
        max_value=1,
        decimal_places=8,
        initial=Decimal(1),
        help_text=gettext_lazy(
            "1 is all of it. What is negative is taken off: the sub-meter of somebody else."
        ),
        localize=True,
    )
    starts_at = LocalDateTimeField(label=gettext_lazy("From"), required=False)
    ends_at = LocalDateTimeField(label=gettext_lazy("Until"), required=False)
    reason = late_reason()

    def __init__(self, *args: Any, of: StepChoices, **kwargs: Any) -> None:
        super().__init__(*args, zone=of.agreement.facility.time_zone, **kwargs)
        offer(self, "channel", channel_options(of.channels))
        for name in ("starts_at", "ends_at"):
            more = _("Left empty, as long as the agreement.")
            self.fields[name].help_text = f"{self.fields[name].help_text} {more}"

    def values(self) -> MeterValues:
        """The meter."""
        data = self.cleaned_data
        return MeterValues(
            data["channel"], Flow(data["flow"]), data["share"], data["starts_at"], data["ends_at"]
        )


class MeterChangeForm(ZonedForm):
    """Another channel takes the place of one, as when a meter was exchanged."""

    channel = PickerField(label=gettext_lazy("Channel"))
    at = LocalDateTimeField(label=gettext_lazy("From"))
    reason = late_reason()

    def __init__(self, *args: Any, of: StepChoices, **kwargs: Any) -> None:
        super().__init__(*args, zone=of.agreement.facility.time_zone, **kwargs)
        offer(self, "channel", channel_options(of.channels))


class MeterEndForm(ZonedForm):
    """A channel counts no longer."""

    at = LocalDateTimeField(label=gettext_lazy("From"))
    reason = late_reason()


class PaymentForm(forms.Form):
    """Money that came in. Sent twice, it is taken once: `key` is drawn with the form."""

    key = forms.CharField(max_length=36, widget=forms.HiddenInput)
    amount = forms.DecimalField(
        label=gettext_lazy("Amount"), min_value=Decimal("0.01"), decimal_places=2, localize=True
    )
    received_on = DayField(label=gettext_lazy("Received"))
    payer = forms.CharField(label=gettext_lazy("Payer"), max_length=140, required=False)
    text = forms.CharField(label=gettext_lazy("Text"), max_length=400, required=False)

    def received(self, currency: str) -> Received:
        """The payment."""
        data = self.cleaned_data
        return Received(
            data["key"],
            data["amount"],
            currency,
            data["received_on"],
            payer=data["payer"],
            text=data["text"],
        )


# --- settings ----------------------------------------------------------------------------


class SettingsForm(GroupedForm, forms.Form):
    """Who the tenant is on its bills, and how it bills."""

    legal_name = forms.CharField(
        label=gettext_lazy("Name on bills"),
        max_length=120,
        help_text=gettext_lazy("The legal name of who sells the energy."),
    )
    email = forms.EmailField(label=gettext_lazy("E-mail"), required=False)
    phone = forms.CharField(label=gettext_lazy("Phone"), max_length=32, required=False)
    street = forms.CharField(label=gettext_lazy("Street"), max_length=120, required=False)
    postal_code = forms.CharField(label=gettext_lazy("Postal code"), max_length=16, required=False)
    city = forms.CharField(label=gettext_lazy("City"), max_length=80, required=False)
    country = forms.CharField(
        label=gettext_lazy("Country"),
        max_length=2,
        required=False,
        help_text=gettext_lazy("Two letters, for example DE."),
    )
    vat_id = forms.CharField(
        label=gettext_lazy("VAT identification number"), max_length=20, required=False
    )
    tax_number = forms.CharField(label=gettext_lazy("Tax number"), max_length=30, required=False)
    iban = forms.CharField(label="IBAN", max_length=42, required=False)
    bic = forms.CharField(label="BIC", max_length=11, required=False)
    bank_name = forms.CharField(label=gettext_lazy("Bank"), max_length=80, required=False)
    footer = forms.CharField(
        label=gettext_lazy("Footer of bills"),
        max_length=400,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    currency = forms.CharField(
        label=gettext_lazy("Currency"),
        max_length=3,
        initial="EUR",
        help_text=gettext_lazy("Three letters, for example EUR."),
    )
    mail_bills = forms.BooleanField(
        label=gettext_lazy("Send bills by e-mail"),
        required=False,
        initial=True,
        help_text=gettext_lazy("Customers with an e-mail address get bills once they are final."),
    )
    second_person = forms.BooleanField(
        label=gettext_lazy("A second person approves"),
        required=False,
        initial=True,
        help_text=gettext_lazy("Somebody else than who has started a bill run approves it."),
    )
    estimate_percent = forms.DecimalField(
        label=gettext_lazy("Estimated at most (%)"),
        min_value=0,
        max_value=100,
        decimal_places=2,
        initial=Decimal(20),
        help_text=gettext_lazy("Bills of which more is not measured are held by the checklist."),
        localize=True,
    )

    groups = (
        FieldGroup(gettext_lazy("Address"), _ADDRESS),
        FieldGroup(gettext_lazy("Taxes"), ("vat_id", "tax_number")),
        FieldGroup(
            gettext_lazy("How customers pay"), ("iban", "bic", "bank_name", "currency", "footer")
        ),
        FieldGroup(gettext_lazy("Bill runs"), ("mail_bills", "second_person", "estimate_percent")),
    )

    def values(self) -> SettingsValues:
        """What shall hold."""
        return SettingsValues(**self.cleaned_data)

    @staticmethod
    def initial_of(row: BillingSettings | None) -> dict[str, Any]:
        """As it is; nothing before anything was set."""
        if row is None:
            return {}
        return {name: getattr(row, name) for name in SettingsForm.base_fields}
