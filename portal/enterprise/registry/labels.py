"""Labels with a claim code as QR, to be printed and stuck on devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import segno
from django.conf import settings
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.safestring import SafeString, mark_safe

from devices.domain.claims_queries import Label

# Medium: a fifteenth of the symbol may be scratched.
_CORRECTION: Final = "m"


@dataclass(frozen=True, slots=True)
class Sticker:
    """A label as the sheet shows it; `qr` is an SVG element without style or script."""

    serial: str
    device_type: str
    hardware_revision: str
    code: str
    qr: SafeString
    expires: str


def claim_address(code: str) -> str:
    """What the QR code holds: the page on which the device is claimed."""
    return f"{settings.PUBLIC_URL}{reverse('claim-code', args=[code])}"


def qr(text: str) -> SafeString:
    """A QR code as inline SVG that fills its place, black on nothing."""
    out = BytesIO()
    segno.make(text, error=_CORRECTION, micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2, svgclass=None,
        lineclass=None,
    )  # fmt: skip
    # Made by us of digits alone: the text is in the pattern, not in the markup.
    return mark_safe(out.getvalue().decode())  # noqa: S308


def stickers(labels: Iterable[Label]) -> list[Sticker]:
    """The labels with their QR codes."""
    return [
        Sticker(
            serial=label.serial,
            device_type=label.device_type,
            hardware_revision=label.hardware_revision,
            code=label.code,
            qr=qr(claim_address(label.code)),
            expires=date_format(label.expires_at, "SHORT_DATE_FORMAT"),
        )
        for label in labels
    ]
