"""The form of what a tenant demands of commands and roll-outs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.domain.policy_operations import (
    MOST_BYTES_PER_S,
    MOST_DOWNLOADS,
    SAME,
    Change,
)
from firmware.domain.policy_queries import Rules
from portal.frame.quantities import number


class RulesForm(forms.Form):
    """Two persons, and limits; what the organisations above demand stands beside each.

    A rule whose end somebody has asked for is decided about by buttons of its own.
    """

    two_persons = forms.BooleanField(
        label=gettext_lazy("Switching an output off always takes two persons"),
        required=False,
        help_text=gettext_lazy(
            "Whoever asks for it: the device is told once somebody else has approved it. Otherwise"
            " only those need somebody else whose role may not approve."
        ),
    )
    second_person = forms.BooleanField(
        label=gettext_lazy("Roll-outs always take two persons"),
        required=False,
        help_text=gettext_lazy(
            "Somebody else than who made or changed a roll-out approves it before it starts, and"
            " each next wave where its strategy asks for an approval. A release always takes two."
        ),
    )
    max_downloads = forms.IntegerField(
        label=gettext_lazy("Downloads at once, at most"),
        required=False,
        min_value=1,
        max_value=MOST_DOWNLOADS,
        help_text=gettext_lazy(
            "Of all roll-outs of an organisation together. Empty: no limit of your own."
        ),
    )
    bytes_per_s = forms.IntegerField(
        label=gettext_lazy("Bytes per second, at most"),
        required=False,
        min_value=1,
        max_value=MOST_BYTES_PER_S,
        help_text=gettext_lazy("Of all these downloads together. Empty: no limit of your own."),
    )

    def __init__(self, data: Any, *, rules: Rules) -> None:
        own = rules.firmware.own
        initial = {
            "two_persons": rules.commands.own,
            "second_person": own.second_person,
            "max_downloads": own.max_downloads,
            "bytes_per_s": own.bytes_per_s,
        }
        super().__init__(data, initial=initial)
        self.fields["two_persons"].disabled = rules.commands.off_asked is not None
        self.fields["second_person"].disabled = rules.firmware.off_asked is not None
        self._tell_above("two_persons", rules.commands.above)
        self._tell_above("second_person", rules.firmware.above.second_person)
        self._tell_limit("max_downloads", rules.firmware.above.max_downloads)
        self._tell_limit("bytes_per_s", rules.firmware.above.bytes_per_s)

    def change(self) -> Change:
        """What shall be different."""
        values = self.cleaned_data
        return Change(
            two_persons=self._rule("two_persons"),
            second_person=self._rule("second_person"),
            max_downloads=values["max_downloads"],
            bytes_per_s=values["bytes_per_s"],
        )

    def asks_off(self) -> bool:
        """Whether it asks that a rule be switched off."""
        return any(
            self.initial[name] and not self.cleaned_data[name]
            for name in ("two_persons", "second_person")
        )

    def _rule(self, name: str) -> Any:
        return SAME if self.fields[name].disabled else self.cleaned_data[name]

    def _tell_above(self, name: str, demanded: bool) -> None:
        if demanded:
            self._tell(name, _("The organisation above demands it, whatever is chosen here."))

    def _tell_limit(self, name: str, limit: int | None) -> None:
        if limit is not None:
            told = _("The organisation above allows at most %(most)s.") % {"most": number(limit)}
            self._tell(name, told)

    def _tell(self, name: str, told: str) -> None:
        self.fields[name].help_text = f"{self.fields[name].help_text} {told}"
