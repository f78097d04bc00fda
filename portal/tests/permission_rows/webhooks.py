"""Notices of payment services: nobody signs in, and without a signature nobody is heard."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody

AREA = Area(
    rows=(anybody("payments-webhook", "POST", 401, "payments-webhook"),),
    subjects={"payments-webhook": lambda world: ("stripe", world.park.tenant.slug)},
)
