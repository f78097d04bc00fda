"""Days and instants as people write them in forms and requests."""

from __future__ import annotations

from datetime import date

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from tenants.days import FIRST_YEAR, LAST_YEAR, possible


def known(value: date) -> None:
    """Raises ValidationError for a day or an instant that nobody can mean."""
    if not possible(value):
        raise ValidationError(
            _("Give a day between the years %(first)d and %(last)d.")
            % {"first": FIRST_YEAR, "last": LAST_YEAR},
            code="far",
        )
