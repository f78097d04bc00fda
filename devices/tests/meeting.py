"""Two changes that meet: the second begins while the first has not committed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from django.db import connections

from tenants.scope import Scope, open_scope


class Change(NamedTuple):
    """What somebody does, and the scope that it is done in."""

    scope: Scope
    do: Callable[[], object]


def meet(
    first: Change, second: Change, *, refusals: tuple[type[Exception], ...]
) -> type[Exception] | None:
    """What the second was refused with, None when it was done.

    The first commits when the second waits for it or has ended. Anything but a refusal is raised.
    """
    raised: list[Exception] = []

    def follow() -> None:
        try:
            with open_scope(second.scope):
                second.do()
        except Exception as error:  # noqa: BLE001 - handed to the thread that asked
            raised.append(error)
        finally:
            connections["default"].close()

    thread = threading.Thread(target=follow)
    with open_scope(first.scope):
        first.do()
        thread.start()
        while thread.is_alive() and not _somebody_waits():
            time.sleep(0.01)
    thread.join(30)
    for error in raised:
        if not isinstance(error, refusals):
            raise error
        return type(error)
    return None


def _somebody_waits() -> bool:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        found: bool = cursor.fetchone()[0]
    return found
