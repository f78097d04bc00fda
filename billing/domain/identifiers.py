"""Account numbers, banks, VAT identification numbers, countries and currencies, checked as their
standards demand (by python-stdnum and babel).

Each takes what a person wrote and answers it in its canonical form, or raises a ValidationError
with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from babel.numbers import is_currency
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from stdnum import bic, iban
from stdnum.eu import vat
from stdnum.exceptions import ValidationError as BadNumber
from stdnum.util import get_cc_module

# Countries whose VAT ids begin with another code than their own (Directive 2006/112/EC, 215).
_PREFIXES: Final = {"GR": "EL"}
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


def checked_iban(text: str) -> str:
    """An IBAN (ISO 13616) without spaces; empty stays empty."""
    if not text.strip():
        return ""
    try:
        return str(iban.validate(text))
    except BadNumber as error:
        raise ValidationError(
            _("This is no IBAN: its length or its check digits are wrong. Compare it once more.")
        ) from error


def checked_bic(text: str) -> str:
    """A BIC (ISO 9362) in capitals; empty stays empty."""
    if not text.strip():
        return ""
    try:
        return str(bic.validate(text))
    except BadNumber as error:
        raise ValidationError(
            _("This is no BIC: it has 8 or 11 letters and digits, for example COBADEFFXXX.")
        ) from error


def checked_vat_id(text: str, country: str) -> str:
    """A VAT identification number, within the European Union with the prefix of its country;
    elsewhere by the country's own rule where one is known. Empty stays empty.
    """
    compact = re.sub(r"[\s.\-/]", "", text).upper()
    if not compact:
        return ""
    try:
        if (prefix := _union_prefix(compact, country)) is not None:
            return str(vat.validate(prefix + compact))
        rule = get_cc_module(country.lower(), "vat") if country else None
        return compact if rule is None else str(rule.validate(compact))
    except BadNumber as error:
        raise ValidationError(
            _(
                "This is no VAT identification number: its form or its check digit is wrong. In the"
                " European Union it begins with the country, for example DE136695976."
            )
        ) from error


def checked_country(text: str) -> str:
    """A country's two letters in capitals; empty stays empty."""
    code = text.strip().upper()
    if code and not _COUNTRY.fullmatch(code):
        raise ValidationError(_("A country is written as two capital letters, for example DE."))
    return code


def checked_currency(text: str) -> str:
    """A currency of ISO 4217."""
    code = text.strip().upper()
    if not is_currency(code):
        raise ValidationError(_("There is no such currency: use a code such as EUR."))
    return code


def check(
    values: dict[str, Any], wrong: dict[str, list[str]], name: str, by: Callable[[str], str]
) -> None:
    """Put one of the values into its canonical form, or its sentence into what is `wrong`."""
    try:
        values[name] = by(values[name])
    except ValidationError as error:
        wrong[name] = error.messages


def _union_prefix(compact: str, country: str) -> str | None:
    """What is to be put before a number of the European Union; None for others."""
    members = {code.upper() for code in vat.MEMBER_STATES} | {"EL"}
    if compact[:2] in members:
        return ""
    home = _PREFIXES.get(country, country)
    return home if home in members else None
