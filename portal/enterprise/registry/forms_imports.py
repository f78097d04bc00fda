"""The forms of an import: the file, and what its columns mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.imports_columns import COLUMNS
from devices.domain.imports_plan import Options
from devices.domain.imports_queries import FileColumn, ImportDetail
from devices.domain.imports_reading import MAX_BYTES
from devices.models import DeviceState, FacilityKind, ImportKind
from portal.enterprise.registry.forms import EMPTY, PickerField, options
from tenants import time_zones

_NOT_IMPORTED: Final = gettext_lazy("Not imported")


class UploadForm(forms.Form):
    """A file to be imported."""

    kind = forms.ChoiceField(
        label=gettext_lazy("What does the file list?"),
        choices=ImportKind.choices,
        widget=forms.RadioSelect,
    )
    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv"}),
        help_text=gettext_lazy(
            "CSV with a line of column names, as spreadsheet programs save it: separated by"
            " semicolons, commas or tabs. At most 20 000 rows and 5 MB."
        ),
    )

    def clean_file(self) -> Any:
        """Refuse what is too big before it is read."""
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            raise ValidationError(
                _("The file has %(size)s MB; at most %(most)d MB can be imported. Split it.")
                % {"size": number_format(file.size / 1e6, 1), "most": MAX_BYTES // 1_000_000}
            )
        return file


class _ColumnsForm(forms.Form):
    """One choice for each column of the file, as `column-0` and so on."""

    def __init__(self, *args: Any, detail: ImportDetail, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._columns = detail.columns
        choices: list[tuple[str, str | Promise]] = [("", _NOT_IMPORTED)]
        choices += [(one.field, one.label) for one in COLUMNS[detail.kind]]
        for at, column in enumerate(detail.columns):
            self.fields[f"column-{at}"] = forms.ChoiceField(
                label=_("What “%(header)s” is") % {"header": column.header},
                choices=choices,
                required=False,
                initial=column.field,
            )

    def file_columns(self) -> Iterator[tuple[FileColumn, BoundField]]:
        """The columns with their choices, for the template."""
        return ((column, self[f"column-{at}"]) for at, column in enumerate(self._columns))

    def chosen_columns(self) -> list[str]:
        """The field of each column, or ''."""
        return [self.cleaned_data[f"column-{at}"] for at in range(len(self._columns))]

    def common_fields(self) -> list[BoundField]:
        """What is chosen for all rows."""
        return [bound for bound in self.visible_fields() if not bound.name.startswith("column-")]


class FacilityColumnsForm(_ColumnsForm):
    """The columns of a list of facilities, and what its rows leave open."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind, where a row has none"), choices=FacilityKind.choices
    )
    time_zone = PickerField(
        label=gettext_lazy("Time zone, where a row has none"), coerce=str, choices=()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].choices = time_zones.choices()  # type: ignore[attr-defined]

    def chosen_options(self) -> Options:
        """For the dry run."""
        data = self.cleaned_data
        return Options(kind=data["kind"], time_zone=data["time_zone"])


class DeviceColumnsForm(_ColumnsForm):
    """The columns of a list of devices, and what its rows leave open."""

    facility_id = PickerField(label=gettext_lazy("Facility, where a row has none"), required=False)
    device_type_id = PickerField(
        label=gettext_lazy("Device type, where a row has none"), required=False
    )
    state = forms.ChoiceField(
        label=gettext_lazy("New devices are"),
        choices=[
            (DeviceState.PLANNED.value, gettext_lazy("Planned, to be claimed or activated later")),
            (DeviceState.ACTIVE.value, gettext_lazy("Active at once")),
        ],
    )
    claim_codes = forms.BooleanField(
        label=gettext_lazy("Issue claim codes for planned devices"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "Whoever installs a device takes it over by the code on its label; no secret has to be"
            " passed on."
        ),
    )
    lifetime_days = forms.IntegerField(
        label=gettext_lazy("Claim codes are valid for (days)"),
        min_value=1,
        max_value=730,
        initial=365,
    )

    def __init__(self, *args: Any, detail: ImportDetail, **kwargs: Any) -> None:
        super().__init__(*args, detail=detail, **kwargs)
        self.fields["facility_id"].choices = [EMPTY, *options(detail.facilities)]  # type: ignore[attr-defined]
        self.fields["device_type_id"].choices = [EMPTY, *options(detail.types)]  # type: ignore[attr-defined]

    def chosen_options(self) -> Options:
        """For the dry run."""
        data = self.cleaned_data
        return Options(
            facility_id=data["facility_id"],
            device_type_id=data["device_type_id"],
            state=data["state"],
            claim_codes=data["claim_codes"],
            lifetime_days=data["lifetime_days"],
        )


ColumnsForm = FacilityColumnsForm | DeviceColumnsForm


def columns_form(detail: ImportDetail, data: Any = None, *, zone: str = "UTC") -> ColumnsForm:
    """The form for an import; `zone` is the organisation's own."""
    form = FacilityColumnsForm if detail.kind == ImportKind.FACILITIES else DeviceColumnsForm
    return form(data, detail=detail, initial={"time_zone": zone, **detail.options})
