"""What the audit log may be searched for."""

from __future__ import annotations

import ipaddress
import re
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.enterprise.administration.words import ACTIONS
from tenants.domain.audit_queries import AuditFilter

_SUBJECT: Final = re.compile(r"([a-z]+\.[a-z]+):([0-9]{1,18})")
_GROUP: Final = "group:"


def _action_choices() -> list[Any]:
    groups = []
    for number, (heading, words) in enumerate(ACTIONS.items()):
        every = _("All of: %(heading)s") % {"heading": heading}
        groups.append((heading, [(f"{_GROUP}{number}", every), *words.items()]))
    return [("", _("Everything")), *groups]


class AuditFilterForm(forms.Form):
    """The search above the audit log; `zone` is the reader's, in which days begin."""

    q = forms.CharField(
        label=_("Text"),
        required=False,
        max_length=100,
        widget=forms.TextInput({"type": "search", "placeholder": _("Name or value")}),
    )
    person = forms.CharField(
        label=_("Person"),
        required=False,
        max_length=100,
        widget=forms.TextInput({"type": "search", "placeholder": _("Name or e-mail")}),
    )
    action = forms.ChoiceField(label=_("Action"), required=False)
    since = forms.DateField(
        label=_("From"), required=False, widget=forms.DateInput({"type": "date"})
    )
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput({"type": "date"}))
    address = forms.CharField(
        label=_("Address"),
        required=False,
        max_length=50,
        widget=forms.TextInput({"placeholder": "192.0.2.0/24"}),
    )
    impersonated = forms.BooleanField(label=_("Impersonated only"), required=False)
    subject = forms.CharField(required=False, max_length=90, widget=forms.HiddenInput)

    def __init__(self, *args: Any, zone: ZoneInfo, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self._zone = zone
        # Codes that have no words yet may be asked for by the address.
        self.fields["action"] = _AnyChoice(
            label=_("Action"), required=False, choices=_action_choices, initial=""
        )

    def clean_address(self) -> Any:
        """The network, None without one."""
        text = self.cleaned_data["address"].strip()
        if not text:
            return None
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise forms.ValidationError(
                _("Write an IP address such as 192.0.2.7, or a network such as 192.0.2.0/24.")
            ) from None

    def clean_subject(self) -> tuple[str, int] | None:
        """Kind and key of the row whose history is asked for."""
        text = self.cleaned_data["subject"]
        if not text:
            return None
        match = _SUBJECT.fullmatch(text)
        if match is None:
            raise forms.ValidationError(_("This address does not name anything with a history."))
        return match[1], int(match[2])

    def clean(self) -> dict[str, Any]:
        """The period runs forwards."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", _("The period must not end before it begins."))
        return cleaned

    def wanted(self) -> AuditFilter:
        """The filter; that of everything when the form has errors is never asked for."""
        assert self.is_valid()
        cleaned = self.cleaned_data
        return AuditFilter(
            person=cleaned["person"].strip(),
            impersonated=cleaned["impersonated"],
            actions=_actions(cleaned["action"]),
            subject=cleaned["subject"],
            text=cleaned["q"].strip(),
            since=self._midnight(cleaned["since"]),
            until=self._midnight(cleaned["until"], days=1),
            network=cleaned["address"],
        )

    def _midnight(self, day: date | None, *, days: int = 0) -> datetime | None:
        """When a day begins in the reader's zone; `days` later."""
        if day is None:
            return None
        return datetime.combine(day + timedelta(days=days), time.min, self._zone)


class _AnyChoice(forms.ChoiceField):
    """A choice that also takes a code which is not offered."""

    def valid_value(self, value: Any) -> bool:
        """Whether it looks like a code."""
        return super().valid_value(value) or bool(re.fullmatch(r"[a-z_]+\.[a-z_.]+", str(value)))


def _actions(chosen: str) -> tuple[str, ...]:
    if chosen.startswith(_GROUP):
        return tuple(list(ACTIONS.values())[int(chosen.removeprefix(_GROUP))])
    return (chosen,) if chosen else ()
