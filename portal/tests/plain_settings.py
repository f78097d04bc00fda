"""The settings for a web process of a test: static files without the manifest that `collectstatic`
makes."""

from __future__ import annotations

from portal.settings import *  # noqa: F403
from portal.settings import STORAGES

STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
