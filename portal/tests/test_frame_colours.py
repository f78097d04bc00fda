"""The tokens of the style sheet: contrast, and that charts use the same colours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portal.charts.theme import COLOURWAYS
from portal.frame import colours, design
from portal.settings import BASE_DIR

_SHEETS = sorted((BASE_DIR / "static" / "css").glob("*.css"))


def test_contrast_is_that_of_wcag() -> None:
    assert colours.contrast("#ffffff", "#000000") == pytest.approx(21)
    assert colours.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert colours.contrast("#1d4ed8", "#1d4ed8") == pytest.approx(1)


@pytest.mark.parametrize("theme", colours.THEMES)
def test_every_pair_of_the_design_has_its_contrast(theme: str) -> None:
    found = design.pairs(colours.tokens()[theme])
    assert [pair for pair in found if pair.ratio < pair.needed] == []


def test_both_themes_define_the_same_tokens() -> None:
    light, dark = (colours.tokens()[theme] for theme in colours.THEMES)
    assert set(light) == set(dark)


@pytest.mark.parametrize("theme", colours.THEMES)
def test_charts_take_their_lines_from_the_tokens(theme: str) -> None:
    own = colours.tokens()[theme]
    assert tuple(own[f"series-{n}"] for n in range(1, 9)) == COLOURWAYS[theme]


def test_style_sheets_use_tokens_that_exist() -> None:
    text = "".join(sheet.read_text(encoding="utf-8") for sheet in _SHEETS)
    defined = set(re.findall(r"(--wl-[a-z0-9-]+):", text))
    used = set(re.findall(r"var\((--wl-[a-z0-9-]+)\)", text))
    assert used - defined == set()


@pytest.mark.parametrize("sheet", _SHEETS, ids=lambda sheet: sheet.name)
def test_style_sheets_import_no_other(sheet: Path) -> None:
    assert "@import" not in sheet.read_text(encoding="utf-8")


def test_accent_that_cannot_be_read_is_refused_with_both_ratios() -> None:
    problem = colours.accent_problem("#7fb2ff", "light")
    assert problem is not None
    ratio = re.search(r"contrast of (\d\.\d\d) : 1; 4\.5 : 1 is needed", problem)
    assert ratio is not None
    assert float(ratio[1]) < 4.5


@pytest.mark.parametrize(("colour", "theme"), [("#1d4ed8", "light"), ("#7aa7ff", "dark")])
def test_accents_of_the_portal_itself_are_accepted(colour: str, theme: str) -> None:
    assert colours.accent_problem(colour, theme) is None


def test_text_on_an_accent_is_the_one_that_can_be_read() -> None:
    assert colours.accent_of("#0b3d2e", "light").on_accent == "#ffffff"
    assert colours.accent_of("#ffd54a", "dark").on_accent == "#0b1220"
