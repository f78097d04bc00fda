"""Time zones: all of them, looked for once."""

from __future__ import annotations

import zoneinfo

import pytest
from django.core.exceptions import ValidationError

from tenants import time_zones
from tenants.models.fields import validate_time_zone


def test_zones_are_those_of_the_database_in_their_order() -> None:
    assert list(time_zones.names()) == sorted(zoneinfo.available_timezones())
    assert ("America/New_York", "America/New York") in time_zones.choices()
    assert [name for name, _shown in time_zones.choices()] == list(time_zones.names())


def test_zones_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look opens six hundred files, and every facility that is made has its zone checked."""
    monkeypatch.setattr(time_zones, "available_timezones", lambda: {"Mars/Olympus"})
    for kept in (time_zones.names, time_zones.known, time_zones.choices):
        kept.cache_clear()
    try:
        validate_time_zone("Mars/Olympus")
        monkeypatch.undo()
        validate_time_zone("Mars/Olympus")
        with pytest.raises(ValidationError, match="IANA"):
            validate_time_zone("Europe/Berlin")
    finally:
        for kept in (time_zones.names, time_zones.known, time_zones.choices):
            kept.cache_clear()
