"""Numbers, amounts and dates as a reader of a language writes them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from babel.numbers import get_currency_precision

from billing.documents.words import MONTHS, word

# The sign of a thousand and of the decimal point.
_SIGNS: Final = {"en": (",", "."), "de": (".", ",")}
# Prices beyond the eighth decimal are nobody's; quantities are of devices with three.
MOST_DECIMALS: Final = 8
QUANTITY_DECIMALS: Final = 3
_MINUS: Final = "−"


def minor_units(currency: str) -> int:
    """How many decimals amounts of a currency have (ISO 4217): 2 for EUR, 0 for JPY."""
    return get_currency_precision(currency)


def rounded(value: Decimal, decimals: int) -> Decimal:
    """To so many decimals, halves away from zero; nothing has no sign."""
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP) + 0


def number(value: Decimal, language: str, *, least: int = 0, most: int = QUANTITY_DECIMALS) -> str:
    """With `least` to `most` decimals: those beyond `least` only where they are not nothing."""
    text = f"{rounded(abs(value), most):f}"
    whole, _, part = text.partition(".")
    part = part.rstrip("0").ljust(least, "0")
    thousands, point = _SIGNS[language]
    grouped = f"{int(whole):,}".replace(",", thousands)
    negative = value < 0 and (whole.strip("0") or part.strip("0"))
    return (_MINUS if negative else "") + grouped + (point + part if part else "")


def money(value: Decimal, currency: str, language: str) -> str:
    """An amount with its currency: `1.234,50 €`, `EUR` written as its sign where it is common."""
    digits = minor_units(currency)
    plain = number(value, language, least=digits, most=digits)
    sign = "€" if currency == "EUR" else currency
    if language == "en" and sign == "€":
        return _before(sign, plain)
    return f"{plain}\u00a0{sign}"


def amount(value: Decimal, currency: str, language: str) -> str:
    """An amount without its currency, for columns."""
    digits = minor_units(currency)
    return number(value, language, least=digits, most=digits)


def price(value: Decimal, currency: str, language: str) -> str:
    """A price with all its decimals, at least those of the currency."""
    return number(value, language, least=minor_units(currency), most=MOST_DECIMALS)


def day(value: date, language: str) -> str:
    """`31.03.2026`, `31 March 2026`."""
    if language == "de":
        return value.strftime("%d.%m.%Y")
    return f"{value.day} {MONTHS['en'][value.month - 1]} {value.year}"


def month(value: date, language: str) -> str:
    """`March 2026`."""
    return f"{MONTHS[language][value.month - 1]} {value.year}"


def period(first: date, end: date, language: str) -> str:
    """The days [first, end) by their first and last; a whole calendar month by its name."""
    last = end - timedelta(days=1)
    if first.day == 1 and end.day == 1 and (end - first).days <= 31:
        return month(first, language)
    if first == last:
        return day(first, language)
    return word(language, "and", first=day(first, language), last=day(last, language))


def _before(sign: str, plain: str) -> str:
    return f"{_MINUS}{sign}{plain[1:]}" if plain.startswith(_MINUS) else f"{sign}{plain}"
