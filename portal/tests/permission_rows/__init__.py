"""The permission table, parted by area: every module here with an `AREA` belongs to it.

Another area is another module; another route is another row in its area's module (`notation.py`
says how to read and write one).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

from portal.tests.permission_rows.notation import Area


def _areas() -> dict[str, Area]:
    found = {}
    for _, name, _ in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{name}")
        if isinstance(area := getattr(module, "AREA", None), Area):
            found[name] = area
    return found


AREAS: Final = _areas()
ROWS: Final = tuple(row for area in AREAS.values() for row in area.rows)
SOCKETS: Final = {key: row for area in AREAS.values() for key, row in area.sockets.items()}
