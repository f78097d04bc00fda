"""How the rows of the permission table are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.test import Client
from django.urls import reverse

from portal.tests.permission_rows import AREAS
from portal.tests.permission_rows.notation import Row
from portal.tests.permission_rows.world import World


def path_of(row: Row, world: World) -> str:
    """The address of a row."""
    if not row.subject:
        return reverse(row.route)
    subjects = {name: make for area in AREAS.values() for name, make in area.subjects.items()}
    found = subjects[row.subject](world)
    return reverse(row.route, args=found if isinstance(found, tuple) else [found])


def secrets_of(world: World) -> list[str]:
    """Texts that only those may read who may open the objects."""
    branch = world.park.branches[0]
    return [
        branch.facility.name,
        branch.device.name,
        branch.device.serial,
        branch.load.name,
        *(text for area in AREAS.values() for text in area.secrets(world)),
    ]


def ask(
    client: Client,
    row: Row,
    path: str,
    world: World,
    *,
    form: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The answer to the form of the row, or to another; what it changed is undone."""
    if form is None:
        form = {} if row.form is None else row.form(world)
    kept = {name: morsel.value for name, morsel in client.cookies.items()}
    with transaction.atomic():
        if row.method != "GET" and row.route.startswith("api:"):
            answer = client.generic(
                row.method,
                path,
                json.dumps(form),
                content_type="application/json",
                headers=dict(headers or {}),
            )
        elif row.method == "POST":
            answer = client.post(path, form, headers=dict(headers or {}))
        else:
            answer = client.generic(
                row.method, path, headers=dict(headers or {}), query_params=dict(form) or None
            )
        transaction.set_rollback(True)
    client.cookies.clear()
    client.cookies.load(kept)
    return answer


def text_of(answer: Any) -> str:
    """The body, of a stream too."""
    return bytes(answer.getvalue()).decode(errors="replace")
