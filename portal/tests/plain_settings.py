"""The settings for a web process of a test: static files without the manifest that `collectstatic`
makes."""

from __future__ import annotations

import os
from pathlib import Path

from firmware.artifacts import places
from portal.settings import *  # noqa: F403
from portal.settings import STORAGES

STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
# Where the test that starts the process keeps its artifacts.
if _folder := os.environ.get("WATTLINE_TEST_FIRMWARE"):
    STORAGES["firmware"] = places.in_folder(Path(_folder))
