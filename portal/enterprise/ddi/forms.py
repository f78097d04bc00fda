"""What a tenant sets for its DDI devices."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from firmware.models import DdiSettings
from firmware.models.ddi import LEAST_POLLING_S, MOST_POLLING_S, DdiHandling


class DdiSettingsForm(forms.Form):
    """Intervals in seconds, how updates are put, and whether somebody has to agree."""

    polling_s = forms.IntegerField(
        label=_("Devices ask every (seconds)"),
        min_value=LEAST_POLLING_S,
        max_value=MOST_POLLING_S,
        help_text=_("While nothing waits for them. A device counts as away after three times."),
    )
    busy_polling_s = forms.IntegerField(
        label=_("During an update, every (seconds)"),
        min_value=LEAST_POLLING_S,
        max_value=MOST_POLLING_S,
        help_text=_("So that an update that is taken back is stopped soon."),
    )
    handling = forms.ChoiceField(label=_("An update that is due"), choices=DdiHandling.choices)
    confirmation = forms.BooleanField(
        label=_("Somebody at the device has to agree first"),
        required=False,
        help_text=_("Only for devices that can ask: others would wait for ever."),
    )

    def __init__(self, data: Any, *, current: DdiSettings) -> None:
        fields = ("polling_s", "busy_polling_s", "handling", "confirmation")
        super().__init__(data, initial={name: getattr(current, name) for name in fields})
