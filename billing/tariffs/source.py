"""The text of a tariff, YAML or JSON, to a plain mapping; and that to the bytes it is hashed by.

YAML is read as its version 1.2 means it: 08:00 is text and not a number to the base of 60, `no` is
text. Numbers with a point become decimal text, so that nothing is lost in a float on the way to the
database and back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import yaml

from billing.tariffs.sentences import sentence

# Stops a text from filling memory; the largest published tariffs need a tenth of it.
MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 12
_LONGEST: Final = 40
_TOO_DEEP: Final = sentence("This is nested too deeply for a tariff.")


class TariffError(Exception):
    """A document that is no tariff. `problems`: pairs of a path in it and a sentence."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems))


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2, without references, each key once."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(sentence("references (*name) are not read: write the part out"))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TariffError([("", _TOO_DEEP)])
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in made:
            raise yaml.YAMLError(
                sentence(
                    "%(key)s is given twice, in line %(line)s",
                    key=key,
                    line=key_node.start_mark.line + 1,
                )
            )
        made[key] = loader.construct_object(value_node, deep=True)
    return made


def _point(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    return plain_number(Decimal(loader.construct_scalar(node)))


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


for _tag, _pattern, _firsts in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]*(?:\.[0-9]+|[0-9]\.?)(?:[eE][-+]?[0-9]{1,2})?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _firsts)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:float", _point)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def _length(value: Decimal) -> int:
    """How far from the point its digits reach."""
    return max(abs(int(value.as_tuple().exponent)), value.adjusted())


def plain_number(value: Decimal) -> int | str:
    """A whole number as one, others as people write them: the same for 0.30 and 3e-1. Raises
    ValueError for a number that is longer than any of a tariff: 1e999999999 would fill memory.
    """
    if not value.is_finite() or _length(value) > _LONGEST:
        raise ValueError(sentence("%(value)s is longer than any number of a tariff", value=value))
    return int(value) if value == value.to_integral_value() else format(value.normalize(), "f")


def load(text: str) -> dict[str, Any]:
    """The mapping that a text in YAML or JSON (which YAML contains) says. Raises TariffError."""
    if len(text.encode()) > MAX_BYTES:
        raise TariffError(
            [("", sentence("A tariff has at most %(max_bytes)s KiB.", max_bytes=MAX_BYTES // 1024))]
        )
    try:
        made = _json(text) if text.lstrip().startswith("{") else None
        if made is None:
            # The loader is a SafeLoader with less.
            made = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark is None:
            told = sentence("This is no YAML: %(problem)s.", problem=error.problem)
        else:
            told = sentence(
                "This is no YAML in line %(line)s, column %(column)s: %(problem)s.",
                line=mark.line + 1,
                column=mark.column + 1,
                problem=error.problem,
            )
        raise TariffError([("", told)]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise TariffError([("", sentence("This is no YAML: %(error)s.", error=error))]) from error
    if not isinstance(made, dict):
        raise TariffError([("", sentence("A tariff is a mapping that begins with “tariff: 1”."))])
    return plain(made)


def _json(text: str) -> Any:
    """A text as JSON, which YAML contains but for tabs and some escapes; None if it is none."""
    try:
        return json.loads(text, parse_float=Decimal, object_pairs_hook=_once)
    except (json.JSONDecodeError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise TariffError([("", sentence("%(key)s is given twice.", key=key))])
        made[key] = value
    return made


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of texts, whole numbers, truth values, lists and mappings alone: other numbers as
    decimal text. Raises TariffError for what no document can hold.
    """
    made = _plain(document, "", MAX_DEPTH)
    assert isinstance(made, dict)
    return made


def _plain(value: Any, path: str, depth: int) -> Any:
    if not depth:
        raise TariffError([(path, _TOO_DEEP)])
    if isinstance(value, Mapping):
        return {
            str(key): _plain(one, f"{path}.{key}".lstrip("."), depth - 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(one, f"{path}[{n}]", depth - 1) for n, one in enumerate(value)]
    if isinstance(value, float | Decimal):
        try:
            return plain_number(Decimal(repr(value)) if isinstance(value, float) else value)
        except ValueError as error:
            raise TariffError(
                [(path, sentence("This is no number that a tariff can have."))]
            ) from error
    if value is None or isinstance(value, str | int):
        return value
    raise TariffError(
        [(path, sentence("A document does not hold %(name)s.", name=type(value).__name__))]
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """A document as the bytes that are hashed: JSON, keys in order, numbers with a point as text.
    What was stored as JSON and read again gives the same.
    """
    return json.dumps(
        plain(document), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode()


def sha256_of(document: Mapping[str, Any]) -> str:
    """The hash of a document, in hexadecimal."""
    return hashlib.sha256(canonical(document)).hexdigest()
