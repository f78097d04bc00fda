"""Draws the pictures by which phones show the installed consumer view: `python -m
portal.devstack.app_icons` writes them to `static/img/app/`, where they are kept in the repository.

The mark is that of `static/img/favicon.svg`, drawn four times as large and made smaller, which
smooths its edges. A maskable picture is cut to any shape by the phone: its mark stays within the
middle 80 percent (W3C Web Application Manifest, "safe zone").
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

FOLDER: Final = Path(__file__).resolve().parents[2] / "static" / "img" / "app"
# Name: pixels, share of the picture that the mark's own square takes, corner radius in 32nds.
PICTURES: Final = {
    "icon-180.png": (180, 1.0, 0.0),  # iOS rounds the corners itself
    "icon-192.png": (192, 1.0, 8.0),
    "icon-512.png": (512, 1.0, 8.0),
    "maskable-512.png": (512, 0.72, 0.0),
}
_BLUE: Final = (29, 78, 216, 255)
_WHITE: Final = (255, 255, 255, 255)
# The line of the mark in the favicon's square of 32 by 32.
_LINE: Final = ((4, 18), (9, 18), (12.2, 8.5), (17.2, 23.5), (20.8, 13), (23, 18), (28, 18))
_STROKE: Final = 2.6
_FINER: Final = 4


def draw(pixels: int, share: float, radius: float) -> Image.Image:
    """One picture."""
    size = pixels * _FINER
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    pencil = ImageDraw.Draw(picture)
    pencil.rounded_rectangle((0, 0, size - 1, size - 1), radius * size / 32, fill=_BLUE)
    unit = size * share / 32
    margin = size * (1 - share) / 2
    points = [(margin + x * unit, margin + y * unit) for x, y in _LINE]
    width = _STROKE * unit
    pencil.line(points, fill=_WHITE, width=round(width))
    for x, y in points:  # round ends and corners
        pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=_WHITE)
    return picture.resize((pixels, pixels), Image.Resampling.LANCZOS)


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (pixels, share, radius) in PICTURES.items():
        draw(pixels, share, radius).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
