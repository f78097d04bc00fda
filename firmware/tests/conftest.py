"""Fixtures of firmware."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from devices.tests.conftest import bridges, certificate, owner, redis, writer
from firmware.artifacts import places

# The bridge and the writer of a test are those of the app below.
__all__ = ["bridges", "certificate", "firmware_folder", "owner", "redis", "writer"]


@pytest.fixture
def firmware_folder(tmp_path: Path, settings: Settings) -> Path:
    """An empty store of the test's own."""
    folder = tmp_path / "firmware"
    settings.STORAGES = {**settings.STORAGES, "firmware": places.in_folder(folder)}
    return folder
