"""What the database refuses, as a sentence at the field that it concerns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# Constraint → field and sentence. The names are those of the models and of the migrations.
SENTENCES: Final[Mapping[str, tuple[str, Promise]]] = MappingProxyType(
    {
        "devices_facility_name_unique": (
            "name",
            _("There is another facility of this name in the same place. Choose another name."),
        ),
        "devices_facility_named": ("name", _("Give the facility a name.")),
        "devices_facility_parent_same_tenant": (
            "parent",
            _("The facility above belongs to another organisation. Choose one of the same."),
        ),
        "devices_facility_no_cycle": (
            "parent",
            _("This facility lies inside the one to be edited. Choose one outside of it."),
        ),
        "devices_facility_country_code": (
            "country",
            _("A country is written as two capital letters, for example DE."),
        ),
        "devices_facility_on_earth": (
            "latitude",
            _("Give both latitude and longitude, or neither."),
        ),
        "devices_device_serial_unique": (
            "serial",
            _(
                "This serial number is registered already. Compare it with the label; a device that"
                " was delivered with a claim code is claimed, not registered."
            ),
        ),
        "devices_device_serial_form": (
            "serial",
            _(
                "A serial number begins with a letter or digit and has letters, digits, dots,"
                " hyphens and underscores, at most 64 of them."
            ),
        ),
        "devices_device_facility_same_tenant": (
            "facility",
            _("The facility belongs to another organisation than the device. Choose another one."),
        ),
        "devices_device_type_same_tenant": (
            "device_type",
            _("The device type belongs to another organisation than the facility."),
        ),
        "devices_device_place_final": (
            "facility",
            _(
                "The device has reported or its channels are allocated, so it keeps its facility:"
                " its readings belong there. A device that was moved is registered anew."
            ),
        ),
        "devices_device_behind_same_facility": (
            "facility",
            _(
                "The device lies behind a meter of its facility, or others lie behind it. Arrange"
                " the meters of the facility first."
            ),
        ),
        "devices_device_mains_first": (
            "placement",
            _(
                "The device lies behind another meter, so it does not measure the mains. Arrange"
                " the meters of the facility first."
            ),
        ),
        "devices_device_revoked_final": (
            NON_FIELD_ERRORS,
            _("The device is revoked, which is final. Register it anew with another serial."),
        ),
        "devices_devicegroup_name_unique": (
            "name",
            _("There is another group of this name. Choose another name."),
        ),
        "devices_load_name_unique": (
            "name",
            _("The facility has a load of this name already. Choose another name."),
        ),
        "devices_load_facility_same_tenant": (
            "facility",
            _("The facility belongs to another organisation."),
        ),
        "devices_allocation_no_overlap": (
            "starts_at",
            _("The channel is allocated to another load in this period."),
        ),
        "devices_allocation_period_ordered": (
            "ends_at",
            _("The end must lie after the beginning."),
        ),
        "devices_allocation_channel_same_tenant": (
            "channel",
            _("The channel belongs to another organisation than the load."),
        ),
        "devices_allocation_channel_same_facility": (
            "channel",
            _("The channel measures in another facility than the load."),
        ),
    }
)

# Django checks uniqueness before the database does and has words of its own for it.
_UNIQUE: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("device", "serial"): "devices_device_serial_unique",
        ("facility", NON_FIELD_ERRORS): "devices_facility_name_unique",
        ("group", NON_FIELD_ERRORS): "devices_devicegroup_name_unique",
        ("load", NON_FIELD_ERRORS): "devices_load_name_unique",
    }
)
_UNIQUE_CODES: Final = frozenset({"unique", "unique_together"})


@contextmanager
def told_at_fields(subject: str) -> Iterator[None]:
    """Run a change of a `subject` (facility, device, group, load, allocation) in a savepoint.

    What a known constraint refuses becomes a ValidationError at its field; an unknown one is an
    error of the program and is raised as it is.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        field, sentence = _told(error)
        raise ValidationError({field: [sentence]}) from error
    except ValidationError as error:
        raise _worded(error, subject) from error


def constraint_of(error: IntegrityError) -> str:
    """The name of the constraint that refused, '' when the database does not tell."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""


def _told(error: IntegrityError) -> tuple[str, Promise]:
    try:
        return SENTENCES[constraint_of(error)]
    except KeyError:
        raise error from None


def _worded(error: ValidationError, subject: str) -> ValidationError:
    if not hasattr(error, "error_dict"):
        return error
    worded: dict[str, list[ValidationError]] = {}
    for field, errors in error.error_dict.items():
        for one in errors:
            name = _constraint(subject, field, one)
            if name is None:
                worded.setdefault(field, []).append(one)
            else:
                at, sentence = SENTENCES[name]
                worded.setdefault(at, []).append(ValidationError(str(sentence), code=one.code))
    return ValidationError(worded)


def _constraint(subject: str, field: str, error: ValidationError) -> str | None:
    """The constraint that an error of Django's own checks stands for, None when it says enough."""
    if error.code in _UNIQUE_CODES:
        return _UNIQUE.get((subject, field))
    # "Constraint “devices_…” is violated."
    return next((known for known in SENTENCES if known in str(error.message)), None)
