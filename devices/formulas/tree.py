"""The tree of a formula, and its canonical text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a formula; `at` is its position in the text. Equal where it means the same."""

    at: int = field(compare=False, repr=False)
    nodes: int = field(compare=False, repr=False)
    depth: int = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A constant, with its unit as written."""

    value: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A channel."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`operator` is `-` or `not`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`operator` is one of `+ - * / ^ < <= > >= == != and or`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function with its arguments, those by place and those by name."""

    function: str
    arguments: tuple[Node, ...]
    named: tuple[tuple[str, Node], ...]


def names_of(node: Node) -> tuple[str, ...]:
    """The channels of a tree, each once, in the order in which they appear."""
    return tuple(dict.fromkeys(name.name for name in channels_of(node)))


def channels_of(node: Node) -> tuple[Name, ...]:
    """Where a tree names channels, in order; what has a name of its own is never one."""
    if isinstance(node, Name):
        return (node,)
    return tuple(name for child in _children(node) for name in channels_of(child))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The tree with other names of channels; those that are not among `names` stay."""
    if isinstance(node, Name):
        return replace(node, name=names.get(node.name, node.name))
    if isinstance(node, Unary):
        return replace(node, operand=renamed(node.operand, names))
    if isinstance(node, Binary):
        return replace(node, left=renamed(node.left, names), right=renamed(node.right, names))
    if isinstance(node, Call):
        return replace(node, arguments=tuple(renamed(each, names) for each in node.arguments))
    return node


def nesting(node: Node, functions: Collection[str]) -> int:
    """How many calls of some functions lie within each other at most."""
    own = isinstance(node, Call) and node.function in functions
    return own + max((nesting(child, functions) for child in _children(node)), default=0)


def canonical(node: Node, tightness: int = 0) -> str:
    """The text of a tree: one space around operators, brackets where they are needed alone."""
    if isinstance(node, Number):
        number = format_number(node.value)
        if node.unit is None:
            return number
        text = f"{number} {node.unit}"
        return f"({text})" if tightness > _QUANTITY else text
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Call):
        parts = [canonical(argument) for argument in node.arguments]
        parts += [f"{name}={canonical(value)}" for name, value in node.named]
        return f"{node.function}({', '.join(parts)})"
    if isinstance(node, Unary):
        own = _NOT if node.operator == "not" else _MINUS
        space = " " if node.operator == "not" else ""
        text = f"{node.operator}{space}{canonical(node.operand, own)}"
        return f"({text})" if own < tightness else text
    assert isinstance(node, Binary)
    own, left, right = _TIGHTNESS[node.operator]
    text = f"{canonical(node.left, left)} {node.operator} {canonical(node.right, right)}"
    return f"({text})" if own < tightness else text


def format_number(value: float) -> str:
    """The shortest text that reads as this number again."""
    whole = value.is_integer() and value < 1e16
    return str(int(value)) if whole else repr(value)


_NOT: Final = 3
_MINUS: Final = 7
_QUANTITY: Final = 8
# For each operator how tightly it binds, and how tightly what stands left and right of it must.
_TIGHTNESS: Final = {
    "or": (1, 1, 2),
    "and": (2, 2, 3),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), (4, 5, 5)),
    **dict.fromkeys(("+", "-"), (5, 5, 6)),
    **dict.fromkeys(("*", "/"), (6, 6, 7)),
    "^": (8, 9, 7),
}


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Call):
        return node.arguments
    return ()
