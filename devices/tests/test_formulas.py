"""Formulas: the language, its limits and units, and its arithmetic against Python's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.formulas import (
    Column,
    Definition,
    EvaluationError,
    Formula,
    FormulaError,
    ReadyMade,
    column_of,
    evaluate_all,
    formula_of,
    offered,
    resolve,
)
from devices.formulas.grammar import MAX_DEPTH, MAX_LENGTH, MAX_NODES, parse_tree
from devices.formulas.tree import canonical
from devices.formulas.units import SYMBOLS, parse_unit
from devices.quantities import QUANTITIES
from devices.simulator.catalogue import BATTERY, INVERTER, MAINS, SUBMETER, MeterType

AT = 1_767_225_600_000
UNITS = {
    "power": "W",
    "reactive": "var",
    "apparent": "VA",
    "voltage": "V",
    "meter.current": "A",
    "factor": "1",
    "charge": "%",
    "outside": "°C",
    "register": "Wh",
    "sun": "W/m²",
}
# Numbers that no unit keeps apart, for arithmetic by itself.
BARE = {"a": "1", "b": "1", "c": "1"}


def _one(text: str, units: dict[str, str], unit: str | None = None, /, **values: float) -> float:
    """The value of a formula at one time."""
    columns = {name: column_of([AT], [value], 2_000) for name, value in values.items()}
    return float(Formula.parse(text, units, unit).evaluate(columns).values[0])


# --- Arithmetic against Python's ----------------------------------------------------------------

Text = tuple[str, str]  # of a formula, and of the same in Python

_LEAVES = st.one_of(
    st.sampled_from([("a", "a"), ("b", "b"), ("c", "c")]),
    st.floats(0, 1e6, allow_subnormal=False).map(lambda x: (f"{x!r}", f"{x!r}")),
)
_NAN = math.nan


def _quotient(a: float, b: float) -> float:
    return _NAN if b == 0 else a / b


def _power(a: float, b: float) -> float:
    try:
        raised = a**b
    except (OverflowError, ZeroDivisionError):
        return _NAN
    return _NAN if isinstance(raised, complex) or a != a or b != b else raised


def _compared(a: float, b: float, holds: bool, then: float, otherwise: float) -> float:
    return _NAN if a != a or b != b else then if holds else otherwise


def _extreme(pick: object, *values: float) -> float:
    assert callable(pick)
    return _NAN if any(value != value for value in values) else float(pick(values))


def _clamped(x: float, low: float, high: float) -> float:
    known = not any(value != value for value in (x, low, high)) and low <= high
    return min(max(x, low), high) if known else _NAN


def _root(x: float) -> float:
    return math.sqrt(x) if x >= 0 else _NAN


_PYTHON = {
    "quotient": _quotient,
    "power": _power,
    "compared": _compared,
    "extreme": _extreme,
    "clamped": _clamped,
    "root": _root,
    "min": min,
    "max": max,
    "abs": abs,
    "sum": sum,
}


def _grown(inner: st.SearchStrategy[Text]) -> st.SearchStrategy[Text]:
    def branch(x: Text, y: Text, sign: str) -> Text:
        condition = f"{x[0]} {sign} ({y[0]})"
        # The comparison of sums stands without brackets, of what else there is within them.
        return (
            f"if(({x[0]}) {sign} ({y[0]}), {x[0]}, {y[0]})"
            if any(mark in condition for mark in ("if", "<"))
            else f"if({condition}, {x[0]}, {y[0]})",
            f"compared({x[1]}, {y[1]}, ({x[1]}) {sign} ({y[1]}), {x[1]}, {y[1]})",
        )

    pair = st.tuples(inner, inner)
    return st.one_of(
        st.builds(
            lambda xy, sign: (
                f"(({xy[0][0]}) {sign} ({xy[1][0]}))",
                f"(({xy[0][1]}) {sign} ({xy[1][1]}))",
            ),
            pair,
            st.sampled_from("+-*"),
        ),
        pair.map(lambda p: (f"(({p[0][0]}) / ({p[1][0]}))", f"quotient({p[0][1]}, {p[1][1]})")),
        st.builds(
            lambda x, n: (f"(({x[0]}) ^ {n})", f"power({x[1]}, {n})"),
            inner,
            st.sampled_from([-2, -1, 0, 1, 2, 3, 0.5]),
        ),
        inner.map(lambda x: (f"-({x[0]})", f"-({x[1]})")),
        inner.map(lambda x: (f"abs({x[0]})", f"abs({x[1]})")),
        inner.map(lambda x: (f"sqrt({x[0]})", f"root({x[1]})")),
        pair.map(lambda p: (f"min({p[0][0]}, {p[1][0]})", f"extreme(min, {p[0][1]}, {p[1][1]})")),
        pair.map(lambda p: (f"max({p[0][0]}, {p[1][0]})", f"extreme(max, {p[0][1]}, {p[1][1]})")),
        st.tuples(inner, inner, inner).map(
            lambda t: (
                f"clamp({t[0][0]}, {t[1][0]}, {t[2][0]})",
                f"clamped({t[0][1]}, {t[1][1]}, {t[2][1]})",
            )
        ),
        st.tuples(inner, inner, inner).map(
            lambda t: (
                f"sum({t[0][0]}, {t[1][0]}, {t[2][0]})",
                f"(({t[0][1]}) + ({t[1][1]}) + ({t[2][1]}))",
            )
        ),
        st.builds(branch, inner, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="])),
    )


@settings(deadline=None, max_examples=400)
@given(
    st.recursive(_LEAVES, _grown, max_leaves=8),
    st.fixed_dictionaries(dict.fromkeys("abc", st.floats(-1e6, 1e6) | st.just(_NAN))),
)
def test_any_expression_gives_what_python_computes(text: Text, values: dict[str, float]) -> None:
    formula, python = text
    # A constant by itself that is no number is refused, which is another test's subject.
    formula, python = f"if(a == a, {formula}, b)", f"compared(a, a, True, {python}, b)"
    try:
        found = _one(formula, BARE, None, **values)
    except FormulaError as refused:
        sentence = str(refused)
    else:
        sentence = ""
    if sentence:
        assert "no finite number" in sentence or "too large" in sentence
        return
    expected = float(eval(python, dict(_PYTHON), dict(values)))
    if not math.isfinite(expected):
        assert math.isnan(found)
    else:
        assert found == pytest.approx(expected, rel=1e-12, abs=0)


@settings(deadline=None)
@given(st.recursive(_LEAVES, _grown, max_leaves=8))
def test_canonical_text_reads_as_the_same_formula(text: Text) -> None:
    tree = parse_tree(text[0])
    assert parse_tree(canonical(tree)) == tree
    assert canonical(parse_tree(canonical(tree))) == canonical(tree)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-a ^ 2", -9.0),
        ("(-a) ^ 2", 9.0),
        ("2 ^ a ^ b", 512.0),
        ("a - b - c", -4.0),
        ("a / b * c", 7.5),
        ("a - (b - c)", 6.0),
        ("2 ^ -b", 0.25),
        ("if(not a < b and c > 1, 1, 2)", 1.0),
        ("if(a < b or b < c and c < a, 1, 2)", 2.0),
        ("mean(a, b, c)", 10 / 3),
        ("round(a / b + 1, 0)", 2.0),
        ("round(1234.5 * a / 3, -2)", 1200.0),
        ("a > b", 1.0),
        ("5e-1 * a", 1.5),
        (".5 * a", 1.5),
    ],
)
def test_operators_bind_as_on_paper(text: str, expected: float) -> None:
    assert _one(text, BARE, a=3, b=2, c=5) == pytest.approx(expected, rel=1e-15)


# --- What is unknown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", _NAN),
        ("a * 0", _NAN),
        ("a ^ 0", _NAN),
        ("max(a, b)", _NAN),
        ("if(a > 0, 1, 1)", _NAN),
        ("if(b > 0, b, a)", 2.0),  # what is not chosen does not matter
        ("a > 0 and b > 5", 0.0),  # false whatever a is
        ("a > 0 or b > 1", 1.0),
        ("a > 0 and b > 1", _NAN),
        ("a > 0 or b > 5", _NAN),
        ("not a > 0", _NAN),
        ("b / 0", _NAN),
        ("1 / (b / c)", _NAN),  # not 0 by way of infinity
        ("c / c", _NAN),
        ("c ^ -1", _NAN),
        ("sqrt(-b)", _NAN),
        ("(1e300 * b) * 1e300 > 0", _NAN),
        ("clamp(b, 5, 1 - c)", _NAN),
    ],
)
def test_the_unknown_stays_unknown_and_nothing_is_infinite(text: str, expected: float) -> None:
    found = _one(text, BARE, a=_NAN, b=2, c=0)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


# --- Units --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("voltage * meter.current", "W"),
        ("voltage / meter.current", "Ω"),
        ("power / voltage", "A"),
        ("2 * power", "W"),
        ("apparent * factor", "W"),
        ("sqrt(power ^ 2 + reactive ^ 2)", "W"),
        ("power / apparent", "1"),
        ("integral(power)", "Wh"),
        ("integral(reactive)", "varh"),
        ("integral(meter.current)", "Ah"),
        ("rate(register)", "W"),
        ("sun * 3 * (1 m) ^ 2", "W"),
        ("outside - previous(outside)", "°C"),
        ("rate(outside)", "s^-1·°C"),
        ("charge * power", "W"),
        ("charge > 50 %", "1"),
        ("max(power, 0)", "W"),
        ("if(power > 5 W, power, 0)", "W"),
        ("register + 1 kWh", "Wh"),
        ("power * 15 min", "Wh"),
    ],
)
def test_the_unit_follows_from_the_formula(text: str, unit: str) -> None:
    formula = Formula.parse(text, UNITS)
    assert formula.unit == unit
    assert str(parse_unit(unit).usual()) == unit


def test_values_come_in_the_declared_unit() -> None:
    assert _one("power", UNITS, "kW", power=2_301) == 2.301
    assert _one("power + 1 kW", UNITS, power=2_301) == 3_301
    assert _one("1 kW + power", UNITS, "W", power=500) == 1_500
    assert _one("charge * power", UNITS, power=500, charge=40) == 200
    assert _one("power / apparent", UNITS, "%", power=30, apparent=40) == 75
    assert _one("power * 15 min", UNITS, "kWh", power=4_000) == pytest.approx(1)
    assert _one("sqrt(power ^ 2 + reactive ^ 2)", UNITS, "VA", power=3, reactive=4) == 5
    assert _one("voltage > 230 V", UNITS, "1", voltage=231) == 1


def test_every_unit_of_a_quantity_is_known() -> None:
    assert {str(parse_unit(quantity.unit)) for quantity in QUANTITIES.values()} == {
        quantity.unit.replace("W/m²", "V·A·m^-2") for quantity in QUANTITIES.values()
    }
    for symbol, unit in SYMBOLS.items():
        assert parse_unit(symbol) == unit
        assert parse_unit(f"{symbol}·{symbol}/{symbol}").dimension == unit.dimension


@pytest.mark.parametrize("text", ["", "W/", "furlong", "V^99", "W^", "1/0", "V^1e5", "V" * 500])
def test_an_unknown_unit_of_a_channel_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        Formula.parse("a", {"a": text})


# --- What is refused, and how -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the formula is empty: write one, such as `voltage * current`"),
        ("volatge * 2", "character 1: unknown channel `volatge`: did you mean `voltage`?"),
        (
            "power + voltage",
            (
                "character 9: `power` is in W and `voltage` in V: only values of one kind can be "
                "added or compared"
            ),
        ),
        (
            "power + reactive",
            (
                "character 9: `power` is in W and `reactive` in var: active, reactive and apparent "
                "power do not add up; the apparent is sqrt(active ^ 2 + reactive ^ 2)"
            ),
        ),
        ("power > 5", "character 9: `power` is in W and `5` has no unit: write 5 W"),
        (
            "charge > 50",
            (
                "character 10: `charge` is in % and `50` has no unit: write "
                "a number with its unit, "
                "as in 50 %, or divide by 1 %"
            ),
        ),
        (
            "power and factor > 0",
            (
                "character 1: `power` is a number where yes or no is needed: compare it, as in "
                "power > 0"
            ),
        ),
        (
            "1 + (factor > 0)",
            (
                "character 13: `factor > 0` is yes or no where a number is needed: write "
                "if(factor > 0, 1, 0)"
            ),
        ),
        ("squrt(factor)", "character 1: unknown function `squrt`: did you mean `sqrt`?"),
        ("abs(power, 1 W)", "character 1: `abs` takes 1 value and has 2: remove some"),
        ("clamp(power)", "character 1: `clamp` takes 3 values and has 1: add some"),
        ("abs(x=power)", "character 1: `abs` has no argument `x`: write the value alone"),
        (
            "voltage ^ factor",
            (
                "character 11: `voltage` is in V, so its exponent must be a "
                "number such as 2 or 0.5: "
                "write one, or divide by a value with the same unit first"
            ),
        ),
        (
            "power *",
            "character 8: the formula ends where a channel, a number or `(` is missing: add it",
        ),
        (
            "power power",
            "character 7: `power` comes where an operator such as `+` or `*` is missing: add it",
        ),
        ("power = 3", "character 7: `=` stands only before the value of an argument: write `==`"),
        ("(power", "character 7: the formula ends before a bracket is closed: add `)`"),
        ("power)", "character 6: `)` closes no bracket: remove it or add `(`"),
        ("power & power", "character 7: `&` has no meaning here: write `and`"),
        (
            "factor < factor < factor",
            (
                "character 17: two values at a time can be compared: write `a < b and b < c` for "
                "`a < b < c`"
            ),
        ),
        (
            "2 and factor > 0",
            "character 1: `2` is a number where yes or no is needed: compare it, as in 2 > 0",
        ),
        (
            "power + and",
            "character 9: `and` comes where a channel, a number or `(` is missing: add it",
        ),
        (
            "factor + 2 m ^ 2",
            (
                "character 14: `^` after a number with a unit could mean two "
                "things: write brackets, "
                "as in (2 m) ^ 2"
            ),
        ),
        (
            "2 ^ 2 ^ 2 ^ 2 ^ 2 ^ 2 * factor",
            (
                "character 7: `2 ^ 2 ^ 2 ^ 2 ^ 2` is no finite number: nobody could ever know it; "
                "write another"
            ),
        ),
        (
            "3 + 4",
            "a formula computes with channels and this has none: name one, such as `voltage`",
        ),
        (
            "integral(3)",
            "character 1: `integral` looks over time and needs a channel: name one in its brackets",
        ),
        ("1e999 * power", "character 1: `1e999` is too large a number: write a smaller one"),
    ],
)
def test_a_sentence_says_what_is_wrong_and_where(text: str, sentence: str) -> None:
    with pytest.raises(FormulaError) as refused:
        Formula.parse(text, UNITS)
    assert str(refused.value) == sentence


def test_the_result_must_fit_the_declared_unit() -> None:
    with pytest.raises(
        FormulaError, match="the formula gives W and shall be in V: change the unit"
    ):
        Formula.parse("voltage * meter.current", UNITS, "V")
    with pytest.raises(FormulaError, match="gives var and shall be in W"):
        Formula.parse("reactive * 2", UNITS, "W")


@pytest.mark.parametrize(
    "text",
    [
        "a" * (MAX_LENGTH + 1),
        "+".join(["a"] * (MAX_DEPTH + 1)),
        "(" * 900 + "a",
        "-" * (MAX_DEPTH + 1) + "a",
        f"sum({','.join(['a'] * MAX_NODES)})",
        "^".join(["9"] * 400),
        "*".join(["a"] * 300),
        "abs(" * 200 + "a" + ")" * 200,
    ],
)
def test_large_formulas_are_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        Formula.parse(text, BARE)


def test_brackets_within_brackets_cost_nothing() -> None:
    assert Formula.parse("(" * 490 + "a" + ")" * 490, BARE).text == "a"


@pytest.mark.parametrize(
    "form",
    [
        "if(a > 0, {}, 1)",
        "if(a > 0, 1, {})",
        "(a > {})",
        "-{}",
        "previous({} + a)",
        "clamp(a, {}, 2)",
        "mean({}, a)",
        "({} ^ a)",
    ],
)
def test_parts_within_parts_cost_no_more_than_beside_each_other(form: str) -> None:
    # Twice the work for each level would not end with 35 of them.
    text = "a"
    for _ in range(18 if form.startswith("previous") else 35):
        text = form.replace("{}", text)
    if "(a >" in form and "if" not in form:
        with pytest.raises(FormulaError, match="is yes or no where a number is needed"):
            Formula.parse(text, BARE)
    else:
        column = column_of(AT + 2_000 * np.arange(40), np.ones(40), 2_000)
        assert len(Formula.parse(text, BARE).evaluate({"a": column}).values) == 40


def test_sentences_do_not_repeat_what_is_long() -> None:
    for text in (
        "voltages" * 100,
        "sums" * 200 + "(power)",
        "5 " + "kW" * 400,
        f"abs({'x' * 900}=1)",
    ):
        with pytest.raises(FormulaError) as refused:
            Formula.parse(text, UNITS)
        assert len(str(refused.value)) < 400


_WORDS = st.sampled_from(
    ["a", "b", "lead_acid", "if", "and", "or", "not", "sum", "clamp", "state_of_charge", "today",
     "(", ")", ",", "+", "-", "*", "/", "^", "<", "==", "=", "1", "2.5", "1e308", "W", "%", "Ah",
     "capacity", "cells", "previous", "round", "sqrt", " ", ".", "0"]
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=60) | st.lists(_WORDS, max_size=25).map(" ".join))
def test_any_text_is_a_formula_or_refused_with_a_sentence(text: str) -> None:
    try:
        formula = Formula.parse(text, {"a": "A", "b": "V"})
    except FormulaError as refused:
        sentence, position = str(refused), refused.position
    else:
        assert Formula.parse(formula.text, {"a": "A", "b": "V"}).unit == formula.unit
        columns = {name: column_of([AT], [1.5], 2_000) for name in formula.names}
        assert not np.isinf(formula.evaluate(columns).values).any()
        return
    assert len(sentence) > 20
    assert position is None or 0 <= position <= len(text)


@settings(deadline=None)
@given(st.text(max_size=30) | st.text(alphabet="VAWhms°C%^·/*0123456789-.²", max_size=20))
def test_any_text_is_a_unit_or_refused(text: str) -> None:
    try:
        unit = parse_unit(text)
    except FormulaError as refused:
        sentence = str(refused)
    else:
        assert parse_unit(str(unit.coherent())).dimension == unit.dimension
        return
    assert len(sentence) > 20


# --- Chains -------------------------------------------------------------------------------------


def test_derived_channels_are_computed_after_those_that_they_use() -> None:
    chain = resolve(
        {
            "loss": Definition("power - delivered"),
            "delivered": Definition("power * efficiency", "kW"),
            "efficiency": Definition("1 - current * 0.01 / 1 A"),
        },
        {"power": "W", "current": "A"},
    )
    assert [name for name, _ in chain] == ["efficiency", "delivered", "loss"]
    assert [formula.unit for _, formula in chain] == ["1", "kW", "W"]
    columns = {
        "power": column_of([AT], [1_000.0], 2_000),
        "current": column_of([AT], [5.0], 2_000),
    }
    values = {name: column.values.tolist() for name, column in evaluate_all(chain, columns).items()}
    assert values == {
        "efficiency": [0.95],
        "delivered": [0.95],
        "loss": [pytest.approx(50)],
    }


@pytest.mark.parametrize(
    ("definitions", "sentence"),
    [
        ({"a": "a"}, "a → a: these channels need each other in a circle"),
        ({"x": "a", "a": "b", "b": "c", "c": "a"}, "a → b → c → a: these channels need"),
        ({"power": "voltage * 2"}, "`power` is a measured channel: choose another name"),
        ({"p": "voltage *"}, "`p`: character 10: the formula ends"),
        ({"p": "voltage + 1 A"}, "`p`: character 11: `voltage` is in V and `1 A` in A"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_by_name(
    definitions: dict[str, str], sentence: str
) -> None:
    with pytest.raises(FormulaError) as refused:
        resolve({name: Definition(text) for name, text in definitions.items()}, UNITS)
    assert str(refused.value).startswith(sentence)


def test_long_chains_are_resolved_and_endless_ones_refused() -> None:
    chain = {f"d{n}": Definition(f"d{n + 1} + 1") for n in range(400)}
    resolved = resolve(chain | {"d400": Definition("a")}, BARE)
    assert [name for name, _ in resolved] == [f"d{n}" for n in range(400, -1, -1)]
    columns = {"a": column_of([AT], [0.0], 1_000)}
    assert evaluate_all(resolved, columns)["d0"].values.tolist() == [400]
    with pytest.raises(FormulaError, match="there are 501 derived channels"):
        resolve({f"d{n}": Definition("a") for n in range(501)}, BARE)


# --- Ready-made ---------------------------------------------------------------------------------


def _keys(meter: MeterType, **options: bool) -> list[str]:
    return [ready.key for ready in offered(_units(meter), **options)]


def _units(meter: MeterType) -> dict[str, str]:
    return {each.key: QUANTITIES[each.quantity].unit for each in meter.channels}


def test_ready_made_formulas_suit_the_channels_of_a_device() -> None:
    assert _keys(MAINS) == [
        "apparent_power", "power_factor", "energy_today", "energy_returned_today",
    ]  # fmt: skip
    assert _keys(SUBMETER) == ["apparent_power", "energy_today", "energy_returned_today"]
    assert _keys(INVERTER) == ["power_dc", "energy_today", "energy_returned_today"]
    assert _keys(BATTERY, battery=True) == ["power_dc", "energy_today", "energy_returned_today"]
    dc = {"voltage_dc": "V", "current_dc": "A"}
    assert [ready.key for ready in offered(dc, battery=True)] == [
        "power_dc", "energy_today", "state_of_charge",
    ]  # fmt: skip
    assert [ready.key for ready in offered(dc)] == ["power_dc", "energy_today"]
    assert offered({"voltage": "°C", "current": "A"}) == ()


@pytest.mark.parametrize("meter", [MAINS, SUBMETER, INVERTER, BATTERY], ids=lambda m: m.code)
def test_every_ready_made_formula_gives_the_unit_of_its_quantity(meter: MeterType) -> None:
    units = _units(meter)
    for ready in offered(units):
        formula = formula_of(ready, units)
        assert formula.unit == ready.unit == QUANTITIES[ready.quantity].unit
        assert set(formula.names) == set(ready.names) <= units.keys()


def test_a_ready_made_formula_asks_for_what_it_needs() -> None:
    dc = {"voltage_dc": "V", "current_dc": "A"}
    (ready,) = [each for each in offered(dc, battery=True) if each.asks]
    assert isinstance(ready, ReadyMade)
    assert ready.asks == (("capacity", "Ah"), ("cells", "1"))
    assert formula_of(ready, dc, capacity=100, cells=6).text == (
        "state_of_charge(current_dc, voltage_dc, capacity=100 Ah, cells=6)"
    )
    with pytest.raises(FormulaError, match="`cells` must lie between 1 and 1000"):
        formula_of(ready, dc, capacity=100, cells=0)


# --- Columns ------------------------------------------------------------------------------------


def test_columns_that_are_none_are_refused() -> None:
    with pytest.raises(EvaluationError, match="as many times as values"):
        column_of([1, 2], [1.0], 1_000)
    with pytest.raises(EvaluationError, match="must rise"):
        column_of([2, 2], [1.0, 2.0], 1_000)
    with pytest.raises(EvaluationError, match="between 1970 and 10889"):
        column_of([-1], [1.0], 1_000)
    with pytest.raises(EvaluationError, match="step of a column is 0 ms"):
        column_of([1], [1.0], 0)
    with pytest.raises(EvaluationError, match=r"needs a column for meter\.current: pass it"):
        Formula.parse("voltage * meter.current", UNITS).evaluate(
            {"voltage": column_of([1], [230.0], 1_000)}
        )


def test_a_period_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.formulas.columns.MAX_POINTS", 5)
    columns = {
        "a": column_of(range(3), [1.0] * 3, 1_000),
        "b": column_of(range(10, 13), [1.0] * 3, 1_000),
    }
    with pytest.raises(EvaluationError, match="at most 5 points of time at once"):
        Formula.parse("a + b", BARE).evaluate(columns)


@pytest.mark.parametrize(
    "text",
    [
        "a + 1",
        "today(a) / 1 s",
        "rate(a) * 1 s",
        "if(previous(a) > 0, 1, delta(a))",
        "integral(a) / 1 h",
    ],
)
def test_empty_columns_give_an_empty_column(text: str) -> None:
    result = Formula.parse(text, BARE).evaluate({"a": column_of([], [], 1_000)})
    assert isinstance(result, Column)
    assert (len(result.times), len(result.values)) == (0, 0)
