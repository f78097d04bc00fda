"""Columns of money and of what it is counted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import DateRangeField, RangeBoundary
from django.core.validators import RegexValidator
from django.db import models

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
    _DecimalField = models.DecimalField[Any, Any]
else:
    _CharField = models.CharField
    _DecimalField = models.DecimalField


class CurrencyField(_CharField):
    """A currency by its code (ISO 4217)."""

    def __init__(self, **options: Any) -> None:
        options["max_length"] = 3
        options.setdefault("validators", [RegexValidator(r"\A[A-Z]{3}\Z")])
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        kwargs.pop("validators", None)
        return name, "django.db.models.CharField", args, kwargs


class MoneyField(_DecimalField):
    """An amount of money as it is owed: to the smallest coin of any currency."""

    def __init__(self, **options: Any) -> None:
        options["max_digits"], options["decimal_places"] = 18, 4
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DecimalField", args, kwargs


class ExactField(_DecimalField):
    """A quantity, a price or an amount before it is rounded."""

    def __init__(self, **options: Any) -> None:
        options["max_digits"], options["decimal_places"] = 28, 12
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DecimalField", args, kwargs


def days(first: str, end: str) -> models.Func:
    """The days [first, end) of two columns, as a range for an exclusion constraint."""
    return models.Func(
        first, end, RangeBoundary(), function="DATERANGE", output_field=DateRangeField()
    )
