"""The forms of settings: of one device, and of many at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.commands.kinds import MAX_MESSAGE, MAX_WATTS
from devices.configuration.settings import Value
from devices.domain.configuration_queries import Settings, physical_limits, raw_limits
from devices.models import Channel
from devices.models.command import REASON_LENGTH
from devices.protocol.errors import ProtocolError
from devices.protocol.layout import MAX_SAMPLES, MAX_STEP_MS
from devices.protocol.settings import channels_text, parse_channels
from portal.frame.forms import FieldGroup, GroupedForm
from portal.frame.quantities import channel_name

_KEEP: Final = ""
_ON, _OFF = "1", "0"
_NO_LIMIT: Final = "none"
_LIMITED: Final = "limited"


class SettingsForm(GroupedForm, forms.Form):
    """Settings of many devices; what is left empty stays as it is. `changes()` once it is valid."""

    step_ms = forms.IntegerField(
        label=gettext_lazy("Time between two samples (ms)"),
        required=False,
        min_value=1,
        max_value=MAX_STEP_MS,
    )
    samples = forms.IntegerField(
        label=gettext_lazy("Samples in a frame"),
        required=False,
        min_value=1,
        max_value=MAX_SAMPLES,
        help_text=gettext_lazy("While nobody watches; live, each sample is sent at once."),
    )
    output = forms.ChoiceField(
        label=gettext_lazy("Output"),
        required=False,
        choices=[
            (_KEEP, gettext_lazy("Leave as it is")),
            (_ON, gettext_lazy("Switch on")),
            (_OFF, gettext_lazy("Switch off")),
        ],
        help_text=gettext_lazy("Switching off asks for a reason, and perhaps a second person."),
    )
    power = forms.ChoiceField(
        label=gettext_lazy("Power limit"),
        required=False,
        choices=[
            (_KEEP, gettext_lazy("Leave as it is")),
            (_NO_LIMIT, gettext_lazy("No limit")),
            (_LIMITED, gettext_lazy("At most …")),
        ],
    )
    power_limit_w = forms.IntegerField(
        label=gettext_lazy("… watts"), required=False, min_value=0, max_value=MAX_WATTS
    )
    message = forms.CharField(
        label=gettext_lazy("Message on the display"), required=False, max_length=MAX_MESSAGE
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    shown = forms.CharField(widget=forms.HiddenInput, required=False)

    def clean(self) -> dict[str, Any]:
        """A limit has a number."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("power") == _LIMITED and data.get("power_limit_w") is None:
            self.add_error("power_limit_w", _("Give the most that it may draw or give."))
        return data

    def changes(self) -> dict[str, Value | None]:
        """The settings that are filled in, as they travel."""
        data = self.cleaned_data
        found: dict[str, Value | None] = {
            key: data[key] for key in ("step_ms", "samples") if data.get(key) is not None
        }
        if data.get("output"):
            found["output"] = int(data["output"])
        if data.get("power"):
            found["power_limit_w"] = -1 if data["power"] == _NO_LIMIT else data["power_limit_w"]
        if data.get("message"):
            found["display.message"] = data["message"]
        return found

    def token(self, device_ids: Sequence[int]) -> str:
        """Tells values and devices apart: a preview is that of one token."""
        told = json.dumps([self.changes(), list(device_ids)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def show(self, token: str) -> None:
        """Note what is previewed now."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["shown"] = token  # type: ignore[index]


class DeviceSettingsForm(SettingsForm):
    """Settings of one device, with its channels and their limits."""

    channels = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Channels that are reported"),
        required=False,
        coerce=int,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, data: QueryDict | None = None, *, of: Settings) -> None:
        self.of = of
        super().__init__(data, initial=_initial(of))
        named = [(c.number, channel_name(c.name, c.quantity)) for c in of.channels]
        self.fields["channels"].choices = named  # type: ignore[attr-defined]
        limits = _limits_of(of)
        rows = []
        for channel in of.channels:
            low, high = limits.get(channel.number, (None, None))
            rows.append(self._add_limits(channel, low, high))
        pairs = [f"{side}_{c.number}" for c in of.channels for side in ("low", "high")]
        self.groups = (
            FieldGroup(gettext_lazy("Reporting"), ("step_ms", "samples", "channels")),
            FieldGroup(
                gettext_lazy("Limits"),
                tuple(pairs),
                gettext_lazy("The device tells when a reading leaves them. Empty: no limit."),
                columns=(gettext_lazy("At least"), gettext_lazy("At most")),
                rows=tuple(rows),
            ),
            FieldGroup(gettext_lazy("Control"), ("output", "power", "power_limit_w", "message")),
            FieldGroup(gettext_lazy("Why"), ("reason",)),
        )

    def _add_limits(self, channel: Channel, low: Decimal | None, high: Decimal | None) -> str:
        """Two fields; returns what they limit."""
        name = channel_name(channel.name, channel.quantity)
        unit = "" if channel.unit == "1" else f" ({channel.unit})"
        for side, words, initial in (
            ("low", gettext_lazy("%(name)s at least"), low),
            ("high", gettext_lazy("%(name)s at most"), high),
        ):
            label = str(words) % {"name": name} + unit
            self.fields[f"{side}_{channel.number}"] = forms.DecimalField(
                label=label,
                widget=forms.TextInput(attrs={"aria-label": label, "inputmode": "decimal"}),
                required=False,
                localize=True,
                initial=initial,
                max_digits=30,
                decimal_places=9,
            )
        return name + unit

    def clean(self) -> dict[str, Any]:
        """Limits are in order, and fit."""
        data = super().clean()
        self.limits = ""
        if any(name.startswith(("low_", "high_")) for name in self.errors):
            return data
        wanted = {
            c.number: (data.get(f"low_{c.number}"), data.get(f"high_{c.number}"))
            for c in self.of.channels
        }
        for number, (low, high) in wanted.items():
            if low is not None and high is not None and low >= high:
                self.add_error(f"high_{number}", _("This must be more than the lower limit."))
        if not self.errors:
            try:
                self.limits = raw_limits(wanted, self.of.channels)
            except ProtocolError as error:
                raise ValidationError(
                    _("These are more limits than a device can be told: leave some empty.")
                ) from error
        return data

    def changes(self) -> dict[str, Value | None]:
        """What is not as it is wanted already, or as the device says where nobody wants anything;
        None for a setting that is left empty.
        """
        data = self.cleaned_data
        found: dict[str, Value | None] = dict(super().changes())
        for key in ("step_ms", "samples"):
            found.setdefault(key, None)
        if data["channels"]:
            found["channels"] = channels_text(data["channels"])
        found["limits"] = self.limits
        now: Mapping[str, Value] = {**_defaults(self.of), **self.of.desired}
        return {
            key: value
            for key, value in found.items()
            if now.get(key, "" if key == "limits" else None) != value
            and not (value is None and key not in self.of.desired)
        }


def _defaults(of: Settings) -> dict[str, Value]:
    """What the form takes for given where nobody wants anything: what the device says."""
    numbers = [channel.number for channel in of.channels]
    every: dict[str, Value] = {"channels": channels_text(numbers)} if numbers else {}
    told = {k: v for k, v in (of.reported or {}).items() if k in ("channels", "limits")}
    return {**every, **told}


def _initial(of: Settings) -> dict[str, Any]:
    now = {**_defaults(of), **of.desired}
    initial: dict[str, Any] = {key: of.desired.get(key) for key in ("step_ms", "samples")}
    try:
        initial["channels"] = list(parse_channels(str(now.get("channels", ""))))
    except ProtocolError:
        initial["channels"] = [channel.number for channel in of.channels]
    initial["message"] = of.desired.get("display.message", "")
    limit = of.desired.get("power_limit_w")
    if limit is not None:
        initial["power"] = _NO_LIMIT if int(limit) < 0 else _LIMITED
        initial["power_limit_w"] = None if int(limit) < 0 else int(limit)
    return initial


def _limits_of(of: Settings) -> Mapping[int, tuple[Decimal | None, Decimal | None]]:
    now = {**_defaults(of), **of.desired}
    try:
        return physical_limits(now.get("limits"), of.channels)
    except ProtocolError:
        return {}
