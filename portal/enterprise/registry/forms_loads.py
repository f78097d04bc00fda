"""The forms of loads and allocations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.registry_queries import Choice
from devices.models import LoadCategory
from portal.enterprise.registry.forms import EMPTY, BasedOnForm, PickerField, options
from portal.frame import days
from portal.frame.forms import GroupedForm


class LoadForm(BasedOnForm):
    """A load of a facility."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    category = forms.ChoiceField(label=gettext_lazy("Category"), choices=LoadCategory.choices)


class LocalDateTimeField(forms.DateTimeField):
    """A date and time on the clock of a facility, as an instant in UTC."""

    zone: ZoneInfo = ZoneInfo("UTC")
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> datetime | None:
        """The instant; an hour that the clock leaves out in spring is refused."""
        if value in self.empty_values:
            return None
        try:
            local = datetime.strptime(str(value), "%Y-%m-%dT%H:%M").replace(tzinfo=self.zone)
        except ValueError as error:
            raise ValidationError(
                _("Write a date and a time, such as 2026-05-01T08:00."), code="invalid"
            ) from error
        days.known(local)
        instant = local.astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None) != local.replace(tzinfo=None):
            raise ValidationError(
                _("The clock is put forward at this time: there is no such hour that day."),
                code="gap",
            )
        return instant

    def prepare_value(self, value: Any) -> Any:
        """An instant as the facility's clock shows it."""
        return value.astimezone(self.zone) if isinstance(value, datetime) else value


class ZonedForm(GroupedForm, forms.Form):
    """A form whose instants are on a facility's clock."""

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, LocalDateTimeField):
                field.zone = ZoneInfo(zone)
                field.help_text = _("On the clock of %(zone)s.") % {"zone": zone}


class AllocationForm(ZonedForm):
    """A channel that measures a load from an instant on."""

    channel = PickerField(
        label=gettext_lazy("Channel"),
        error_messages={
            "invalid_choice": gettext_lazy("There is no such channel in this facility.")
        },
    )
    starts_at = LocalDateTimeField(label=gettext_lazy("From"))
    ends_at = LocalDateTimeField(label=gettext_lazy("Until"), required=False)

    def __init__(self, *args: Any, channels: Sequence[Choice], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["channel"].choices = [EMPTY, *options(channels)]  # type: ignore[attr-defined]
        self.fields["ends_at"].help_text += " " + _("Empty: until further notice.")


class EndForm(ZonedForm):
    """The end of an allocation."""

    ends_at = LocalDateTimeField(label=gettext_lazy("Until"))
