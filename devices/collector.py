"""What long-lived processes do about Python's garbage collector, so that nobody waits for it."""

from __future__ import annotations

import gc
from typing import Final

# More young collections than there ever are before one of everything.
_NEVER: Final = 1_000_000_000


def collect_by_hand() -> None:
    """Let no full collection come by itself: who calls this holds them when it suits.

    For a process with very many lasting objects that leaves no circles behind: what a full
    collection looks at grows with them (10 000 devices of a bridge: 150 ms), and it finds nothing.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


def put_loaded_aside() -> None:
    """Put everything that is loaded out of the collector's sight: it stays as long as the process.

    Without this a full collection looks at all of it (Django alone: 170 000 objects, 50 ms), in the
    midst of whatever made it due: a page's request, or the readings that a bridge passes on.
    """
    gc.collect()
    gc.freeze()
