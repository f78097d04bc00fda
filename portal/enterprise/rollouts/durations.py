"""Durations as people write them: 90 s, 30 min, 2 h, 14 d."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_WRITTEN: Final = re.compile(r"(\d{1,9})\s*(s|min|h|d)?")


class DurationField(forms.CharField):
    """Whole seconds; a number without a unit is minutes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=16, **kwargs)

    def clean(self, value: Any) -> Any:
        """Seconds, None for nothing. What is too long is refused where the bounds are known."""
        text = super().clean(value).strip().lower()
        if not text:
            return None
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValidationError(_("Write a duration such as 90 s, 30 min, 2 h or 14 d."))
        return int(found[1]) * _UNITS[found[2] or "min"]


def written(seconds: int) -> str:
    """As the field reads it, in the largest unit that is exact."""
    if not seconds:
        return "0 min"
    unit = next(name for name in ("d", "h", "min", "s") if seconds % _UNITS[name] == 0)
    return f"{seconds // _UNITS[unit]} {unit}"
