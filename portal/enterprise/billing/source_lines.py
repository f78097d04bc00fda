"""In which line of a tariff's source a problem lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


def lines_of(source: str) -> dict[str, int]:
    """Line (from 1) by path, as in `components[0].prices.peak`; empty for what is no YAML."""
    try:
        root = yaml.compose(source, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return dict(_walk(root, "")) if root is not None else {}


def line_of(lines: dict[str, int], path: str) -> int | None:
    """The line of a path; of what is missing that of what it would stand in."""
    while path:
        if path in lines:
            return lines[path]
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
    return None


def _walk(node: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}".lstrip(".")
            yield below, key.start_mark.line + 1
            yield from _walk(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            below = f"{path}[{number}]"
            yield below, value.start_mark.line + 1
            yield from _walk(value, below)
