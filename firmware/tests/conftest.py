"""Fixtures of firmware."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from portal.files import firmware_storage


@pytest.fixture
def firmware_folder(tmp_path: Path, settings: Settings) -> Path:
    """An empty store of the test's own."""
    folder = tmp_path / "firmware"
    settings.STORAGES = {**settings.STORAGES, "firmware": firmware_storage(None, folder)}
    return folder
