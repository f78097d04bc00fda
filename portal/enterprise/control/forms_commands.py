"""The forms of commands: one for each kind that people ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.commands.kinds import (
    MAX_IDENTIFY_S,
    MAX_LINES,
    MAX_LIVE_S,
    MAX_MESSAGE,
    MAX_WATTS,
    ArgumentError,
    Kind,
    checked,
)
from devices.models.command import REASON_LENGTH
from devices.protocol.layout import MAX_SAMPLES, MAX_STEP_MS

_NO_LIMIT: Final = "none"
_LIMITED: Final = "limited"


class CommandForm(forms.Form):
    """Base of all: the reason, and `arguments()` as `devices.commands.kinds` takes them.

    `shown` says which preview the person has seen.
    """

    kind: Kind
    # A reason is asked for where somebody will want to know.
    asks_reason = True

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("It stands in the history and in the audit log."),
    )
    shown = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "reason"])

    def arguments(self) -> dict[str, Any]:
        """What the command carries."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in ("reason", "shown") and value not in (None, "")
        }

    def travelling(self) -> Mapping[str, Any]:
        """The arguments as they travel; as they are given where they do not do."""
        try:
            return checked(self.kind, self.arguments()).arguments
        except ArgumentError:
            return self.arguments()

    def token(self, device_ids: Sequence[int]) -> str:
        """Tells requests apart: a preview is that of one token."""
        told = json.dumps([type(self).__name__, self.arguments(), list(device_ids)])
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def show(self, token: str) -> None:
        """Note what is previewed now."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["shown"] = token  # type: ignore[index]


class OutputForm(CommandForm):
    """On or off."""

    kind = Kind.SET_OUTPUT

    output = forms.ChoiceField(
        label=gettext_lazy("Output"),
        choices=[("1", gettext_lazy("On")), ("0", gettext_lazy("Off"))],
        widget=forms.RadioSelect,
    )

    def clean(self) -> dict[str, Any]:
        """Off needs a reason."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("output") == "0" and not data.get("reason", "").strip():
            self.add_error("reason", _("Say why it is to be switched off: it ends a supply."))
        return data

    def arguments(self) -> dict[str, Any]:
        """As a truth value."""
        return {"output": self.cleaned_data["output"] == "1"}


class PowerForm(CommandForm):
    """A limit, or none."""

    kind = Kind.SET_POWER_LIMIT

    power = forms.ChoiceField(
        label=gettext_lazy("Power limit"),
        choices=[(_LIMITED, gettext_lazy("At most …")), (_NO_LIMIT, gettext_lazy("No limit"))],
        widget=forms.RadioSelect,
    )
    watts = forms.IntegerField(
        label=gettext_lazy("… watts"), required=False, min_value=0, max_value=MAX_WATTS
    )

    def clean(self) -> dict[str, Any]:
        """A limit has a number."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        wanting = data.get("power") == _LIMITED and data.get("watts") is None
        if wanting and "watts" not in self.errors:
            self.add_error("watts", _("Give the most that it may draw or give."))
        return data

    def arguments(self) -> dict[str, Any]:
        """In watts; None for no limit."""
        limited = self.cleaned_data["power"] == _LIMITED
        return {"power_limit_w": self.cleaned_data["watts"] if limited else None}


class ReportingForm(CommandForm):
    """Time between samples, samples in a frame."""

    kind = Kind.SET_REPORTING

    step_ms = forms.IntegerField(
        label=gettext_lazy("Time between two samples (ms)"),
        required=False,
        min_value=1,
        max_value=MAX_STEP_MS,
    )
    samples = forms.IntegerField(
        label=gettext_lazy("Samples in a frame"), required=False, min_value=1, max_value=MAX_SAMPLES
    )

    def clean(self) -> dict[str, Any]:
        """At least one of the two."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and data.get("step_ms") is None and data.get("samples") is None:
            self.add_error("step_ms", _("Fill in at least one of the two."))
        return data


class DisplayForm(CommandForm):
    """A message."""

    kind = Kind.SET_DISPLAY

    message = forms.CharField(label=gettext_lazy("Message on the display"), max_length=MAX_MESSAGE)

    def arguments(self) -> dict[str, Any]:
        """Under the name that travels."""
        return {"display.message": self.cleaned_data["message"]}


class RebootForm(CommandForm):
    """Nothing but why."""

    kind = Kind.REBOOT


class LogsForm(CommandForm):
    """How many lines, and how serious."""

    kind = Kind.SEND_LOGS

    asks_reason = False

    lines = forms.IntegerField(
        label=gettext_lazy("Lines at most"), min_value=1, max_value=MAX_LINES, initial=200
    )
    level = forms.TypedChoiceField(
        label=gettext_lazy("Level at least"),
        coerce=int,
        initial=2,
        choices=[
            (1, gettext_lazy("Debug")),
            (2, gettext_lazy("Info")),
            (3, gettext_lazy("Warning")),
            (4, gettext_lazy("Error")),
            (5, gettext_lazy("Critical")),
        ],
    )


class LiveForm(CommandForm):
    """For how long."""

    kind = Kind.LIVE

    asks_reason = False

    seconds = forms.IntegerField(
        label=gettext_lazy("For (s)"), min_value=1, max_value=MAX_LIVE_S, initial=300
    )


class IdentifyForm(CommandForm):
    """For how long."""

    kind = Kind.IDENTIFY

    asks_reason = False

    seconds = forms.IntegerField(
        label=gettext_lazy("For (s)"), min_value=1, max_value=MAX_IDENTIFY_S, initial=30
    )


class TokenForm(CommandForm):
    """A pay-as-you-go token."""

    kind = Kind.ENTER_TOKEN

    token_digits = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=40,
        help_text=gettext_lazy("9 to 20 digits, with or without spaces."),
        validators=[
            RegexValidator(r"\A(\s*[0-9]){9,20}\s*\Z", gettext_lazy("A token has 9 to 20 digits."))
        ],
    )

    def arguments(self) -> dict[str, Any]:
        """Under the name that travels."""
        return {"token": self.cleaned_data["token_digits"]}


FORMS: Final[Mapping[Kind, type[CommandForm]]] = MappingProxyType(
    {
        form.kind: form
        for form in (
            OutputForm,
            PowerForm,
            ReportingForm,
            DisplayForm,
            RebootForm,
            LogsForm,
            LiveForm,
            IdentifyForm,
            TokenForm,
        )
    }
)


class WhyForm(forms.Form):
    """Why somebody does not agree."""

    reason = forms.CharField(
        label=gettext_lazy("Why not"),
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
