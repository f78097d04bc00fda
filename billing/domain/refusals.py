"""What the database refuses, as a sentence at the field that it concerns; and saving in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from types import MappingProxyType
from typing import Any, Final, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from devices.domain.registry_refusals import constraint_of
from tenants.domain import audit

Row = TypeVar("Row", bound=models.Model)

_OTHER_ORGANISATION: Final = _("It belongs to another organisation. Choose one of the same.")
# Constraint → field and sentence. The names are those of the models and of the migrations.
SENTENCES: Final[Mapping[str, tuple[str, Promise]]] = MappingProxyType(
    {
        "billing_customer_number_unique": (
            "number",
            _("Another customer has this number. Choose another one, or leave it empty."),
        ),
        "billing_customer_named": ("name", _("Give the customer a name.")),
        "billing_customer_country_code": (
            "country",
            _("A country is written as two capital letters, for example DE."),
        ),
        "billing_agreement_number_unique": (
            "number",
            _("Another agreement has this number. Choose another one, or leave it empty."),
        ),
        "billing_agreement_period": (
            "ends_on",
            _("The agreement must end after it begins."),
        ),
        "billing_agreement_customer_same_tenant": ("customer", _OTHER_ORGANISATION),
        "billing_agreement_facility_same_tenant": ("facility", _OTHER_ORGANISATION),
        "billing_agreementmeter_channel_same_tenant": ("channel", _OTHER_ORGANISATION),
        "billing_agreementmeter_once": (
            "channel",
            _("The agreement is billed by this channel from this instant on already."),
        ),
        "billing_agreementtariff_tariff_same_tenant": ("tariff", _OTHER_ORGANISATION),
        "billing_agreementtariff_no_overlap": (
            "starts_on",
            _("Another tariff holds for these days already."),
        ),
        "billing_tariff_name_unique": (
            "name",
            _("There is another tariff of this name. Choose another name."),
        ),
        "billing_tariff_named": ("name", _("Give the tariff a name.")),
        "billing_tariffversion_revision_unique": (
            "valid_from",
            _("Somebody else has made a version for this date meanwhile. Try again."),
        ),
        "billing_priceseries_name_unique": (
            "name",
            _("There is another series of prices of this name. Choose another name."),
        ),
    }
)


@contextmanager
def told_at_fields() -> Iterator[None]:
    """Run a change in a savepoint; what a known constraint refuses becomes a ValidationError at its
    field, an unknown one is an error of the program and is raised as it is.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        found = SENTENCES.get(constraint_of(error))
        if found is None:
            raise
        field, sentence = found
        raise ValidationError({field: [str(sentence)]}) from error


def insert(row: Row, *, actor_id: int | None, action: str) -> Row:
    """Save a new row and tell of it; ValidationError at the fields that are wrong."""
    _require_sound(row, {field.name for field in _columns(row)})
    with told_at_fields():
        return audit.insert(row, actor_id=actor_id, action=action)


def update(
    row: models.Model, values: Mapping[str, Any], *, actor_id: int | None, action: str
) -> bool:
    """Give a locked row new values and tell of it; whether anything changed. ValidationError at the
    fields that are wrong.
    """
    trial = copy(row)
    for name, value in values.items():
        setattr(trial, name, value)
    _require_sound(trial, set(values))
    with told_at_fields():
        return audit.update(row, values, actor_id=actor_id, action=action, validate=False)


def _columns(row: models.Model) -> list[Any]:
    return list(row._meta.concrete_fields)  # noqa: SLF001 - documented by Django


def _require_sound(row: models.Model, names: set[str]) -> None:
    """The values of these columns one by one. Whom a row belongs to is for the wall and the foreign
    keys to refuse, and what is there already for the constraints, which have their own sentences.
    """
    skipped = {
        field.name for field in _columns(row) if field.name not in names or field.remote_field
    }
    row.clean_fields(exclude=skipped)
