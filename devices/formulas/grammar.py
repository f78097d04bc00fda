"""The language of formulas: from text to a tree.

The grammar is Lark's (LALR: no backtracking and no recursion, so that no text takes long). Python's
own `ast` was the other choice: it has `^` as exclusive or, no literals with units, parses far more
than is wanted (which a list of allowed nodes must then keep out), and its messages change with
Python's version.
"""

from __future__ import annotations

import math
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from devices.formulas.errors import FormulaError, shown
from devices.formulas.tree import Binary, Call, Name, Node, Number, Unary

# What a person writes has some hundred characters; these stop what is made to cost time or memory.
MAX_LENGTH: Final = 1_000
MAX_NODES: Final = 300
MAX_DEPTH: Final = 40

_RESERVED: Final = ("and", "or", "not")
_GRAMMAR: Final = r"""
?start: or
?or: and | or "or" and              -> either
?and: not | and "and" not           -> both
?not: comparison | "not" not        -> negation
?comparison: sum | sum COMPARE sum  -> binary
?sum: product | sum SIGN product    -> binary
?product: unary | product TIMES unary -> binary
?unary: power | SIGN unary          -> signed
?power: atom | atom RAISED unary    -> binary
     | NUMBER (NAME | UNIT)         -> number
?atom: NUMBER                       -> number
     | NAME                         -> name
     | NAME "(" [arguments] ")"     -> call
     | "(" or ")"
arguments: argument ("," argument)*
?argument: or | NAME "=" or         -> named

COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">"
SIGN: "+" | "-"
TIMES: "*" | "/"
RAISED: "^"
UNIT: "%" | "°C" | "Ω" | "mΩ"
NAME: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/
NUMBER: /([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?/
%ignore /[ \t\r\n]+/
"""


def parse_tree(text: str) -> Node:
    """The tree of a formula; FormulaError says where it cannot be read and why."""
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"a formula has at most {MAX_LENGTH} characters, this has {len(text)}: divide it "
            "into several derived channels"
        )
    try:
        tree = _PARSER.parse(text)
    except UnexpectedCharacters as error:
        raise _unexpected_character(text, error.pos_in_stream or 0) from None
    except UnexpectedToken as error:
        raise _unexpected(text, error) from None
    assert isinstance(tree, Node)
    return tree


def _grown(at: int, children: tuple[Node, ...]) -> tuple[int, int, int]:
    """Position, number of nodes and depth of a node with these children, within the limits."""
    nodes = 1 + sum(child.nodes for child in children)
    depth = 1 + max((child.depth for child in children), default=0)
    if nodes > MAX_NODES or depth > MAX_DEPTH:
        raise FormulaError(
            f"this formula is too large (at most {MAX_NODES} parts, {MAX_DEPTH} within each "
            "other): write sum(a, b, …) instead of a + b + …, or divide it into several channels",
            at,
        )
    return at, nodes, depth


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Called by the parser from the leaves up."""

    def number(self, token: Token, unit: Token | None = None) -> Node:
        value = float(token)
        at = token.start_pos or 0
        if not math.isfinite(value):
            raise FormulaError(
                f"{shown(str(token))} is too large a number: write a smaller one", at
            )
        return Number(*_grown(at, ()), value, None if unit is None else str(unit))

    def name(self, token: Token) -> Node:
        if token in _RESERVED:
            raise FormulaError(
                f"`{token}` comes where a channel, a number or `(` is missing: add it",
                token.start_pos,
            )
        return Name(*_grown(token.start_pos or 0, ()), str(token))

    def signed(self, sign: Token, operand: Node) -> Node:
        if sign == "+":
            return operand
        return Unary(*_grown(sign.start_pos or 0, (operand,)), "-", operand)

    def negation(self, operand: Node) -> Node:
        return Unary(*_grown(operand.at, (operand,)), "not", operand)

    def binary(self, left: Node, operator: Token, right: Node) -> Node:
        return Binary(*_grown(operator.start_pos or 0, (left, right)), str(operator), left, right)

    def both(self, left: Node, right: Node) -> Node:
        return Binary(*_grown(right.at, (left, right)), "and", left, right)

    def either(self, left: Node, right: Node) -> Node:
        return Binary(*_grown(right.at, (left, right)), "or", left, right)

    def arguments(self, *arguments: Node | tuple[Token, Node]) -> Any:
        return arguments

    def named(self, name: Token, value: Node) -> Any:
        return (name, value)

    def call(self, function: Token, arguments: tuple[Any, ...] | None) -> Node:
        placed: list[Node] = []
        named: dict[str, Node] = {}
        for argument in arguments or ():
            if isinstance(argument, Node):
                if named:
                    raise FormulaError(
                        "what stands here has no name, but arguments before it have: write "
                        "arguments without a name first",
                        argument.at,
                    )
                placed.append(argument)
                continue
            name, value = argument
            if name in named:
                raise FormulaError(
                    f"{shown(str(name) + '=')} is there twice: remove one", name.start_pos
                )
            named[str(name)] = value
        children = (*placed, *named.values())
        grown = _grown(function.start_pos or 0, children)
        return Call(*grown, str(function), tuple(placed), tuple(named.items()))


def _unexpected_character(text: str, at: int) -> FormulaError:
    character = text[at]
    hint = {
        "=": "to compare, write `==`",
        "&": "write `and`",
        "|": "write `or`",
        "!": "write `not`",
        ",": "write decimals with a point",
        "×": "write `*`",
        "·": "write `*`",
        "÷": "write `/`",
        "²": "write `^ 2`",
        "³": "write `^ 3`",
        "{": "write round brackets",
        "[": "write round brackets",
    }.get(character, "remove it")
    return FormulaError(f"`{character}` has no meaning here: {hint}", at)


def _unexpected(text: str, error: UnexpectedToken) -> FormulaError:
    token = error.token
    sign = str(token)
    ends = token.type == "$END"
    at = len(text) if ends else (token.start_pos or 0)
    wants_value = "NUMBER" in error.accepts if error.accepts else "NUMBER" in error.expected
    if ends and not text.strip():
        return FormulaError("the formula is empty: write one, such as `voltage * current`")
    where = "the formula ends" if ends else f"{shown(str(token))} comes"
    if wants_value:
        return FormulaError(f"{where} where a channel, a number or `(` is missing: add it", at)
    if sign == "^":
        return FormulaError(
            "`^` after a number with a unit could mean two things: write brackets, as in (2 m) ^ 2",
            at,
        )
    if sign == "=":
        return FormulaError("`=` stands only before the value of an argument: write `==`", at)
    if token.type == "COMPARE":
        return FormulaError(
            "two values at a time can be compared: write `a < b and b < c` for `a < b < c`", at
        )
    if sign == ",":
        return FormulaError(
            "`,` stands only between the arguments of a function: write decimals with a point", at
        )
    if ends:
        return FormulaError("the formula ends before a bracket is closed: add `)`", at)
    if sign == ")":
        return FormulaError("`)` closes no bracket: remove it or add `(`", at)
    return FormulaError(f"{where} where an operator such as `+` or `*` is missing: add it", at)


_PARSER: Final = Lark(
    _GRAMMAR,
    parser="lalr",
    transformer=_Builder(),
    maybe_placeholders=True,
    propagate_positions=False,
)
