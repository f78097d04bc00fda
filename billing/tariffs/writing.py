"""A document as YAML that people read and edit: a rule or a tier in a line, notes as comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any, Final

import yaml

from billing.tariffs.importing_times import plain_name

WIDTH: Final = 100
# Numbers are text in a document. Under these keys they stand without quotes; elsewhere a text that
# looks like a number is a name, and keeps them.
NUMBERS: Final = frozenset(
    {
        *("adder", "amount", "factor", "floor", "minimum_kw", "per_kWh", "per_kvarh", "percent"),
        *("price", "prices", "sell_price", "step", "target", "up_to"),
    }
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
# A line of YAML that people still read as one.
_ONE_LINE: Final = frozenset({"period", "up_to", "price"})


class _Number(str):
    __slots__ = ()


class _InLine(dict[str, Any]):
    pass


class _Dumper(yaml.SafeDumper):
    pass


def _number(dumper: yaml.SafeDumper, value: _Number) -> yaml.Node:
    tag = "tag:yaml.org,2002:float" if "." in value else "tag:yaml.org,2002:int"
    return dumper.represent_scalar(tag, str(value))


def _in_line(dumper: yaml.SafeDumper, value: _InLine) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


_Dumper.add_representer(_Number, _number)
_Dumper.add_representer(_InLine, _in_line)


def yaml_of(document: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """The text of a document, which reads back as the same document, with comments before it."""
    lines = [
        f"# {line}"
        for comment in comments
        # YAML knows more ends of a line than one: behind any other a comment would be a key.
        for line in wrap(plain_name(comment), WIDTH - 2, subsequent_indent="  ")
    ]
    text = yaml.dump(
        _marked(document, numbers=False),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=WIDTH,
    )
    return "\n".join([*lines, text])


def _marked(value: Any, *, numbers: bool) -> Any:
    if isinstance(value, Mapping):
        made = {
            key: _marked(one, numbers=key in NUMBERS or (numbers and not isinstance(one, Mapping)))
            for key, one in value.items()
        }
        return _InLine(made) if _ONE_LINE & made.keys() or numbers else made
    if isinstance(value, list | tuple):
        return [_marked(one, numbers=numbers) for one in value]
    if numbers and isinstance(value, str) and _NUMBER.fullmatch(value):
        return _Number(value)
    return value
