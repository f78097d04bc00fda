"""What a web process does once it is loaded, so that no request waits for the garbage collector."""

from __future__ import annotations

import gc
from typing import Final

from django.urls import get_resolver

from devices.collector import put_loaded_aside

# New objects before a young collection (700 by default): a page makes some ten thousand, nearly all
# of which are gone with it.
YOUNG_OBJECTS: Final = 10_000


def settle() -> None:
    """Load all views, and put everything that is loaded out of the collector's sight."""
    assert get_resolver().url_patterns
    put_loaded_aside()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
