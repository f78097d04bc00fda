"""The forms of imports and exports of history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.export_reading import MOST_CHANNELS
from devices.domain.exports import Question
from devices.domain.history_files import MAX_UPLOAD
from devices.domain.history_plan import Wishes
from devices.domain.history_queries import ExportOffer, HistoryImportDetail
from devices.models import ExportFormat, ExportResolution, Placement
from portal.enterprise.registry.forms import EMPTY, PickerField, options
from tenants import time_zones

_MEANINGS: Final[list[tuple[str, str | Promise]]] = [
    ("", gettext_lazy("Not imported")),
    ("import", gettext_lazy("Taken from the grid")),
    ("export", gettext_lazy("Fed into the grid")),
    ("none", gettext_lazy("Other values")),
]


class FileForm(forms.Form):
    """A file of meter data."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,.xml,.parquet,.gz,.zip"}),
        help_text=gettext_lazy(
            "NEM12, NEM13, Green Button, CSV or Parquet; also packed by gzip or zip. At most 32 MB."
        ),
    )

    def clean_file(self) -> Any:
        """Refuse what is too big before it is read."""
        file = self.cleaned_data["file"]
        if file.size > MAX_UPLOAD:
            raise ValidationError(
                _("The file has %(size)s MB; at most %(most)d MB can be imported. Split it.")
                % {"size": number_format(file.size / 1e6, 1), "most": MAX_UPLOAD // 1_000_000}
            )
        return file


class SettingsForm(forms.Form):
    """Where new meters are, and, of a table, what its columns mean (`column-0` and so on)."""

    facility = PickerField(
        label=gettext_lazy("Facility of new meters"),
        help_text=gettext_lazy("A meter that is there already stays where it is."),
    )
    placement = forms.ChoiceField(
        label=gettext_lazy("Where new meters measure"), choices=Placement.choices
    )
    meter = forms.CharField(
        label=gettext_lazy("Serial number of the meter"),
        max_length=64,
        required=False,
        help_text=gettext_lazy(
            "A table does not say which meter it is of. Not needed where columns are named as in"
            " an export."
        ),
    )
    time = forms.ChoiceField(label=gettext_lazy("Column of times"))
    stamp = forms.ChoiceField(
        label=gettext_lazy("The times are"),
        choices=[
            ("start", gettext_lazy("The begin of an interval")),
            ("end", gettext_lazy("The end of an interval")),
            ("instant", gettext_lazy("Instants at which was measured")),
        ],
    )
    zone = PickerField(label=gettext_lazy("Time zone of the times"), coerce=str)
    decimal_mark = forms.ChoiceField(
        label=gettext_lazy("Decimal mark"),
        required=False,
        choices=[
            ("", gettext_lazy("As the file shows")),
            (",", gettext_lazy("Comma")),
            (".", gettext_lazy("Point")),
        ],
    )

    def __init__(self, data: Any = None, *, of: HistoryImportDetail, zone: str) -> None:
        self._of = of
        mapping = of.mapping
        super().__init__(
            data,
            initial={
                "facility": of.facility_id,
                "placement": of.options.get("placement", Placement.MAINS.value),
                "zone": zone,
                **{name: mapping[name] for name in _MAPPED if name in mapping},
            },
        )
        self.fields["facility"].choices = [EMPTY, *options(of.facilities)]  # type: ignore[attr-defined]
        self.fields["facility"].required = not of.is_table
        if not of.is_table:
            for name in ("meter", "time", "stamp", "zone", "decimal_mark"):
                del self.fields[name]
            return
        self.fields["zone"].choices = time_zones.choices()  # type: ignore[attr-defined]
        self.fields["time"].choices = [(name, name) for name in of.columns]  # type: ignore[attr-defined]
        known = {one["column"]: one.get("direction", "none") for one in mapping.get("values", ())}
        for at, name in enumerate(of.columns):
            self.fields[f"column-{at}"] = forms.ChoiceField(
                label=_("What “%(header)s” is") % {"header": name},
                choices=_MEANINGS,
                required=False,
                initial=known.get(name, ""),
            )

    def file_columns(self) -> Iterator[tuple[str, BoundField]]:
        """The columns with their choices, for the template."""
        if not self._of.is_table:
            return iter(())
        return ((name, self[f"column-{at}"]) for at, name in enumerate(self._of.columns))

    def common_fields(self) -> list[BoundField]:
        """What is chosen for the file as a whole."""
        return [bound for bound in self.visible_fields() if not bound.name.startswith("column-")]

    def clean(self) -> dict[str, Any]:
        """A table needs a column of values."""
        super().clean()
        if self._of.is_table and not self._values():
            raise ValidationError(_("Say of at least one column what its values are."))
        return self.cleaned_data

    def _values(self) -> list[dict[str, str]]:
        return [
            {"column": name, "direction": direction}
            for at, name in enumerate(self._of.columns)
            if (direction := self.cleaned_data.get(f"column-{at}", ""))
        ]

    def mapping(self) -> dict[str, Any] | None:
        """For the dry run; None for formats that say themselves what they mean."""
        if not self._of.is_table:
            return dict(self._of.mapping) or None
        return {
            **{name: self.cleaned_data[name] for name in _MAPPED},
            "values": self._values(),
        }

    def wishes(self) -> Wishes:
        """For the dry run."""
        return Wishes(placement=self.cleaned_data["placement"])


_MAPPED: Final = ("time", "stamp", "zone", "decimal_mark", "meter")


class ExportForm(forms.Form):
    """Channels of a facility, a period in days, resolution and format."""

    channels = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Channels"), coerce=int, widget=forms.CheckboxSelectMultiple
    )
    first = forms.DateField(
        label=gettext_lazy("First day"), widget=forms.DateInput(attrs={"type": "date"})
    )
    last = forms.DateField(
        label=gettext_lazy("Last day"), widget=forms.DateInput(attrs={"type": "date"})
    )
    resolution = forms.ChoiceField(
        label=gettext_lazy("Resolution"), choices=ExportResolution.choices
    )
    format = forms.ChoiceField(label=gettext_lazy("Format"), choices=ExportFormat.choices)

    def __init__(self, data: Any = None, *, of: ExportOffer, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self._zone = of.time_zone
        field = self.fields["channels"]
        assert isinstance(field, forms.TypedMultipleChoiceField)
        field.choices = [
            (one.channel_id, f"{device}: {one.name} ({one.unit})")
            for device, some in groupby(of.channels, key=lambda one: one.device)
            for one in some
        ]

    def clean_channels(self) -> list[int]:
        """Not more than one file takes."""
        chosen: list[int] = self.cleaned_data["channels"]
        if len(chosen) > MOST_CHANNELS:
            raise ValidationError(_("Choose at most %(most)d channels.") % {"most": MOST_CHANNELS})
        return chosen

    def clean(self) -> dict[str, Any]:
        """The period in its order."""
        super().clean()
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last and last < first:
            self.add_error("last", _("The last day must not lie before the first."))
        return self.cleaned_data

    def question(self) -> Question:
        """What is asked for; days are those of the facility."""
        data, zone = self.cleaned_data, ZoneInfo(self._zone)
        return Question(
            channels=tuple(data["channels"]),
            start=datetime.combine(data["first"], time(), zone),
            end=datetime.combine(data["last"] + timedelta(days=1), time(), zone),
            resolution=ExportResolution(data["resolution"]),
            format=ExportFormat(data["format"]),
        )
