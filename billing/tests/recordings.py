"""The recorded meters, tariffs and bills that oracle tests compare with."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")

needs_recordings = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recordings are absent: set WATTLINE_DATA to their folder"
)


def rows(path: str, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a table, unpacked where it is packed."""
    content = (DATA / path).read_bytes()
    if path.endswith(".gz"):
        content = gzip.decompress(content)
    return csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=delimiter)


def text(path: str) -> str:
    return (DATA / path).read_text()


def json_of(path: str) -> Any:
    return json.loads(text(path))
