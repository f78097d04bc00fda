"""What a web process does once it is loaded, so that no request waits for the garbage collector."""

from __future__ import annotations

import gc
from typing import Final

from django.urls import get_resolver

# New objects before a young collection (700 by default): a page makes some ten thousand, nearly all
# of which are gone with it.
YOUNG_OBJECTS: Final = 10_000


def settle() -> None:
    """Load all views, and put everything that is loaded out of the collector's sight.

    It stays as long as the process. Without this a full collection looks at all of it (measured:
    170 000 objects, 50 ms), in the midst of whatever request made it due.
    """
    assert get_resolver().url_patterns
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
