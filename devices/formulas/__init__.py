"""Formulas over channels: read, checked for units, evaluated over whole columns. Pure: no I/O.

`Formula.parse` reads one (FormulaError says what is wrong with it and where), `Formula.evaluate`
gives its values for columns of readings. `resolve` and `evaluate_all` do so for derived channels
that use each other; `offered` has formulas ready for a device's channels. What a person may write
is in docs/formulas.md.
"""

from devices.formulas.chains import Definition, evaluate_all, resolve
from devices.formulas.columns import Column, column_of
from devices.formulas.errors import EvaluationError, FormulaError
from devices.formulas.formula import Formula
from devices.formulas.ready_made import ReadyMade, formula_of, offered

__all__ = [
    "Column",
    "Definition",
    "EvaluationError",
    "Formula",
    "FormulaError",
    "ReadyMade",
    "column_of",
    "evaluate_all",
    "formula_of",
    "offered",
    "resolve",
]
