"""Why a formula is refused: a sentence for the person who wrote it, with the place it is about."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = 40


class FormulaError(ValueError):
    """A formula cannot be used: `str(error)` says what is wrong and what to do.

    `position` counts characters of the formula from 0; None where it concerns the whole of it.
    """

    def __init__(self, sentence: str, position: int | None = None) -> None:
        where = "" if position is None else f"character {position + 1}: "
        super().__init__(where + sentence)
        self.position = position


class EvaluationError(ValueError):
    """Columns do not fit the formula or are too long: the sentence says which and what to do."""


def shown(text: str) -> str:
    """A part of a formula as sentences quote it, cut where it is long."""
    return f"`{text}`" if len(text) <= _SHOWN else f"`{text[: _SHOWN - 1]}…`"
