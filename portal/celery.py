"""The Celery application; tasks live in the apps' `tasks.py`."""

from __future__ import annotations

import os
from datetime import timedelta

from celery import Celery

from portal import heartbeats

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("wattline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = {
    "audit the conservation ledger": {
        "task": "devices.audit_ledger",
        "schedule": timedelta(minutes=15),
    },
    "close the links of lost bridges": {
        "task": "devices.close_lost_links",
        "schedule": timedelta(seconds=30),
    },
    "take up imports whose worker was killed": {
        "task": "devices.resume_imports",
        "schedule": timedelta(minutes=1),
    },
    "begin stopped exports anew, remove old ones": {
        "task": "devices.tend_exports",
        "schedule": timedelta(minutes=5),
    },
    "forget what could be shown once": {
        "task": "devices.forget_sealed",
        "schedule": timedelta(hours=1),
    },
    # Not kept when nobody takes them: the next one does the work of all before.
    "roll up": {
        "task": "devices.roll_up",
        "schedule": timedelta(minutes=2),
        "options": {"expires": 120},
    },
    "roll up again what has changed below": {
        "task": "devices.redo_rollups",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "move frames of closed hours into segments": {
        "task": "devices.move_to_segments",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "pack roll-ups that are over": {
        "task": "devices.pack_rollups",
        "schedule": timedelta(minutes=30),
        "options": {"expires": 1800},
    },
    "refresh power": {
        "task": "devices.refresh_power",
        "schedule": timedelta(seconds=10),
        "options": {"expires": 10},
    },
    "take silent DDI devices as away": {
        "task": "firmware.close_silent_ddi",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "make patches of firmware, remove files that nothing names": {
        "task": "firmware.tend_artifacts",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "drive roll-outs of firmware": {
        "task": "firmware.drive",
        "schedule": timedelta(seconds=3),
        "options": {"expires": 3},
    },
    "dun accounts that do not pay": {
        "task": "billing.drive_dunning",
        "schedule": timedelta(minutes=2),
        "options": {"expires": 120},
    },
    "tell customers what dunning did": {
        "task": "portal.mail_notices",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "let new devices join roll-outs": {
        "task": "firmware.join_rollouts",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "bring bill runs on": {
        "task": "billing.drive_runs",
        "schedule": timedelta(seconds=10),
        "options": {"expires": 10},
    },
    "make documents of bills": {
        "task": "billing.tend_documents",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "remove documents that no bill names": {
        "task": "billing.sweep_documents",
        "schedule": timedelta(hours=6),
        "options": {"expires": 3600},
    },
    "send bills": {
        "task": "portal.send_bills",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "compare bills with what has changed": {
        "task": "billing.restate",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "tend comparisons of tariffs": {
        "task": "billing.tend_comparisons",
        "schedule": timedelta(minutes=2),
        "options": {"expires": 120},
    },
    "value energy that is not billed": {
        "task": "billing.value_unbilled",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "burn prepaid wallets down": {
        "task": "billing.burn_wallets",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "issue tokens that are paid for": {
        "task": "billing.issue_tokens",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "tell customers who pay beforehand": {
        "task": "portal.tell_prepaid",
        "schedule": timedelta(seconds=30),
        "options": {"expires": 30},
    },
    "end impersonations whose time is up": {
        "task": "portal.end_impersonations",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "clear expired sessions": {
        "task": "portal.clear_sessions",
        "schedule": timedelta(days=1),
    },
    "check the domains of company logins": {
        "task": "portal.check_domains",
        "schedule": timedelta(days=1),
    },
    "remove expired tokens": {
        "task": "portal.remove_expired_tokens",
        "schedule": timedelta(days=1),
    },
    "remove what is over": {
        "task": "devices.remove_over",
        "schedule": timedelta(hours=6),
        "options": {"expires": 3600},
    },
}
app.autodiscover_tasks()
app.autodiscover_tasks(["portal.account"])
heartbeats.connect()
