"""Logos that tenants upload: looked at, scaled, and written anew, so that nothing of the file that
somebody sent reaches a browser."""

from __future__ import annotations

import io
from typing import Final

from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

MAX_BYTES: Final = 1_000_000
# A small file can hold a huge picture (decompression bomb): sizes are looked at before pixels.
_MAX_PIXELS: Final = 16_000_000
# What the widest place shows, at twice the density.
_BOX: Final = (560, 136)


class LogoRefused(Exception):  # noqa: N818 - it reads as what happened
    """The file is no logo that can be shown; the text says why and what to do."""


def clean_logo(content: bytes) -> bytes:
    """The logo as a PNG of at most 560 × 136 pixels without any metadata. Raises LogoRefused."""
    if len(content) > MAX_BYTES:
        raise LogoRefused(_("The file is larger than 1 MB: save it smaller, then try again."))
    if b"<svg" in content[:1024].lower():
        raise LogoRefused(_("SVG files can carry scripts: save the logo as PNG or WebP."))
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "WEBP"]) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise LogoRefused(_("The picture has too many pixels: save it smaller."))
            picture.load()
            drawn = picture.convert("RGBA")
    except Image.DecompressionBombError:
        raise LogoRefused(_("The picture has too many pixels: save it smaller.")) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise LogoRefused(_("The file is no PNG or WebP picture, or it is damaged.")) from None
    cropped = drawn.crop(drawn.getbbox() or (0, 0, *drawn.size))
    cropped.thumbnail(_BOX, Image.Resampling.LANCZOS)
    written = io.BytesIO()
    cropped.save(written, format="PNG", optimize=True)
    return written.getvalue()
