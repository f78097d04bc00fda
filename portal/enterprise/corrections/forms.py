"""The forms of corrections and of their withdrawal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.corrections_checks import MOST_READINGS, Draft
from devices.domain.corrections_queries import ChannelChoice
from devices.models.correction import REASON_LENGTH, Kind
from portal.enterprise.registry.forms import PickerField
from portal.enterprise.registry.forms_loads import LocalDateTimeField
from portal.frame.quantities import channel_name

_READING: Final = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)[;\t ]\s*([+-]?\d+(?:[.,]\d+)?)\s*"
)
_FIELDS: Final = (
    "channel", "kind", "starts_at", "ends_at", "factor", "offset", "minutes", "readings", "holds",
)  # fmt: skip


def _reason() -> forms.CharField:
    return forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Everybody who sees the readings can read it."),
    )


class ReasonForm(forms.Form):
    """Why something is done."""

    reason = _reason()


class CorrectionForm(forms.Form):
    """A correction; `draft()` is what is asked for once the form is valid."""

    channel = PickerField(
        label=gettext_lazy("Channel"),
        error_messages={"invalid_choice": gettext_lazy("There is no such channel in this device.")},
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("What is to be done"),
        choices=Kind.choices,
        widget=forms.RadioSelect,
        initial=Kind.SCALE.value,
    )
    starts_at = LocalDateTimeField(label=gettext_lazy("From"))
    ends_at = LocalDateTimeField(label=gettext_lazy("Until"))
    factor = forms.DecimalField(
        label=gettext_lazy("Factor"),
        max_digits=20,
        decimal_places=10,
        required=False,
        help_text=gettext_lazy(
            "Each reading times this number; −1 turns the direction of a transformer."
        ),
    )
    offset = forms.DecimalField(
        label=gettext_lazy("Offset"),
        max_digits=24,
        decimal_places=10,
        required=False,
        help_text=gettext_lazy(
            "Added after that, in the unit of the channel. Empty: nothing; a register then goes on"
            " from where it stood."
        ),
    )
    minutes = forms.DecimalField(
        label=gettext_lazy("Move by, minutes"),
        max_digits=12,
        decimal_places=3,
        required=False,
        help_text=gettext_lazy(
            "Later, or earlier with a minus. What lies where the readings go gives way to them."
        ),
    )
    readings = forms.CharField(
        label=gettext_lazy("Readings"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "class": "wl-mono"}),
        help_text=gettext_lazy(
            "One in each line: date, time, value, such as 2026-05-01 08:00; 12.5."
        ),
    )
    holds = forms.BooleanField(
        label=gettext_lazy("Fill the time between them"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "Each value holds until the next one; a register lies on a line to it."
        ),
    )
    reason = _reason()
    shown = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(
        self, *args: Any, zone: str, channels: Sequence[ChannelChoice], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zone = ZoneInfo(zone)
        self.fields["channel"].choices = [  # type: ignore[attr-defined]
            (one.channel_id, channel_name(one.name, one.quantity)) for one in channels
        ]
        for name in ("starts_at", "ends_at"):
            self.fields[name].zone = self.zone  # type: ignore[attr-defined]
            self.fields[name].help_text = _("On the clock of %(zone)s.") % {"zone": zone}

    def clean_readings(self) -> list[tuple[datetime, Decimal]]:
        """The readings by their lines."""
        text = self.cleaned_data["readings"]
        lines = [
            (number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()
        ]
        if len(lines) > MOST_READINGS:
            raise ValidationError(_("Give at most %(count)s readings.") % {"count": MOST_READINGS})
        found: list[tuple[datetime, Decimal]] = []
        for number, line in lines:
            before = found[-1][0] if found else None
            found.append(self._reading(number, line, before))
        return found

    def _reading(self, number: int, line: str, before: datetime | None) -> tuple[datetime, Decimal]:
        matched = _READING.fullmatch(line)
        try:
            if matched is None:
                raise ValueError
            local = datetime.fromisoformat(f"{matched[1]}T{matched[2]}")
        except ValueError as error:
            raise ValidationError(
                _(
                    "Line %(number)s is no reading: write a date, a time and a value, such as"
                    " 2026-05-01 08:00; 12.5."
                )
                % {"number": number}
            ) from error
        at = local.replace(tzinfo=self.zone).astimezone(UTC)
        if before is not None and at <= before:
            # The hour that the clock shows twice: the second time it comes later.
            at = local.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        if at.astimezone(self.zone).replace(tzinfo=None) != local:
            raise ValidationError(
                _("Line %(number)s: the clock is put forward, there is no such hour that day.")
                % {"number": number}
            )
        return at, Decimal(matched[3].replace(",", "."))

    def draft(self) -> Draft:
        """What is asked for."""
        values = self.cleaned_data
        minutes: Decimal | None = values["minutes"]
        return Draft(
            channel_id=values["channel"],
            kind=Kind(values["kind"]),
            starts_at=values["starts_at"],
            ends_at=values["ends_at"],
            factor=values["factor"],
            offset=values["offset"],
            shift=None if minutes is None else timedelta(milliseconds=int(minutes * 60_000)),
            readings=values["readings"],
            holds=values["holds"],
        )

    def token(self) -> str:
        """Tells values apart: a preview is that of one token."""
        told = "\n".join(repr(self.cleaned_data[name]) for name in _FIELDS)
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def was_shown(self) -> bool:
        """Whether these values are those that were previewed."""
        return bool(self.cleaned_data["shown"] == self.token())

    def show(self) -> None:
        """Note that these values are previewed now."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["shown"] = self.token()  # type: ignore[index]
