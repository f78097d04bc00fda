"""The QR code of a SEPA credit transfer, as banking apps read it: EPC069-12, version 2.1 of the
guideline "Quick Response Code: Guidelines to Enable Data Capture for the Initiation of a SEPA
Credit Transfer", European Payments Council.
"""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Final

import segno
import stdnum.iban

# Countries and territories of the Single Euro Payments Area (EPC409-09), by their IBAN's.
SEPA: Final = frozenset(
    (
        *("AD", "AL", "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR"),
        *("GB", "GI", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MC", "MD"),
        *("ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "SE", "SI", "SK", "SM", "VA"),
    )
)
_LONGEST_NAME: Final = 70
_LONGEST_TEXT: Final = 140
_MOST: Final = Decimal("999999999.99")
# Bytes that a code of version 13 holds with error correction M.
_MOST_BYTES: Final = 331


def compact_iban(iban: str) -> str:
    """Without the spaces that people write."""
    return "".join(iban.split()).upper()


def spaced_iban(iban: str) -> str:
    """In groups of four, as people read it."""
    plain = compact_iban(iban)
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def is_iban(iban: str) -> bool:
    """Whether length and check digits are right (ISO 13616)."""
    return bool(stdnum.iban.is_valid(iban))


def text(*, name: str, iban: str, bic: str, amount: Decimal, currency: str, reference: str) -> str:
    """What the code says, or nothing where there can be none: another currency than the euro, an
    account outside the area, an amount that is not at least a cent, more text than fits.
    """
    plain = compact_iban(iban)
    if currency != "EUR" or plain[:2] not in SEPA or not is_iban(plain):
        return ""
    if not Decimal("0.01") <= amount <= _MOST:
        return ""
    code = "\n".join(
        (
            "BCD",
            "002",
            "1",  # UTF-8
            "SCT",
            "".join(bic.split()).upper(),
            " ".join(name.split())[:_LONGEST_NAME],
            plain,
            f"EUR{amount:.2f}",
            "",  # purpose
            "",  # structured reference
            " ".join(reference.split())[:_LONGEST_TEXT],
        )
    )
    return code if len(code.encode()) <= _MOST_BYTES else ""


def drawn(code: str) -> bytes:
    """The code as SVG: error correction M and at most version 13, as the guideline wants."""
    made = segno.make(code, error="m", encoding="utf-8", boost_error=False, micro=False)
    svg = io.BytesIO()
    made.save(svg, kind="svg", border=0, xmldecl=False, svgclass=None, lineclass=None)
    return svg.getvalue()
