"""The Celery application; tasks live in the apps' `tasks.py`."""

from __future__ import annotations

import os

from celery import Celery

from portal import heartbeats

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("wattline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
heartbeats.connect()
