"""The look of every chart, light and dark: one plotly template each, matching `tokens.css`."""

from __future__ import annotations

from typing import Any, Final

import plotly.graph_objects as go
from django.utils.formats import get_format

# Eight hues that stay apart for the common colour-vision deficiencies, in the order in which
# lines take them: neighbours differ in lightness as well. Contrast on the card ≥ 3:1 (WCAG 1.4.11).
COLOURWAYS: Final = {
    "light": (
        "#1d5fd6",
        "#d06a00",
        "#0a8f7d",
        "#b03a94",
        "#6f8410",
        "#c23b3b",
        "#6650c8",
        "#5f6b7d",
    ),
    "dark": (
        "#6aa3ff",
        "#f2a24c",
        "#37cbb6",
        "#e583d0",
        "#b7c95a",
        "#ff8585",
        "#ab9bff",
        "#a9b4c4",
    ),
}
_TOKENS: Final = {
    "light": {"text": "#566275", "grid": "#ebeef2", "zero": "#cdd4dd", "surface": "#ffffff"},
    "dark": {"text": "#9aa7b9", "grid": "#232d3b", "zero": "#3a4658", "surface": "#1e2734"},
}
_FONT: Final = (
    'Inter, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, '
    "sans-serif"
)


def separators() -> str:
    """Plotly's `separators` for the active language: the decimal sign, then that of thousands."""
    return f"{get_format('DECIMAL_SEPARATOR')}{get_format('THOUSAND_SEPARATOR')}"


def templates() -> dict[str, Any]:
    """The plotly templates by theme: `{"light": …, "dark": …}`, ready for JSON."""
    return {theme: _template(theme) for theme in _TOKENS}


def _template(theme: str) -> Any:
    tokens = _TOKENS[theme]
    axis = {
        "gridcolor": tokens["grid"],
        "zerolinecolor": tokens["zero"],
        "linecolor": tokens["grid"],
        "tickcolor": tokens["grid"],
    }
    layout = go.Layout(
        colorway=COLOURWAYS[theme],
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": _FONT, "size": 11.5, "color": tokens["text"]},
        hoverlabel={
            "bgcolor": tokens["surface"],
            "bordercolor": tokens["zero"],
            "font": {"family": _FONT, "size": 12, "color": tokens["text"]},
            "namelength": 32,
        },
        xaxis=axis,
        yaxis=axis,
    )
    return {"layout": layout.to_plotly_json()}
