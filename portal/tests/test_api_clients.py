"""The API over HTTP: the quick start, and everything that its description allows and forbids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from devices.tests.factories import Park
from portal.benchmarks import tokens
from portal.tests.browser.conftest import free_port
from tenants.domain import application_operations
from tenants.models import Application
from tenants.permissions import ACCESS_SCOPES
from tenants.scope import open_scope

READ = ["facilities:read", "devices:read", "readings:read"]
_READY_S = 30


@dataclass(frozen=True)
class Served:
    """A web process with a park behind it; tokens by role, and a service account."""

    url: str
    park: Park
    tokens: dict[str, str]
    client_id: str
    client_secret: str


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Served]:
    """One web process on a free port, its data committed."""
    with django_db_blocker.unblock():
        park = factories.park()
        with open_scope(park.scope):
            of = tokens.application(tenant_id=park.tenant.pk, scopes=list(ACCESS_SCOPES))
            users = {"manager": park.manager.pk, "consumer": park.consumer(0).pk}
            issued = {role: tokens.issue(of, user_id=pk)[0] for role, pk in users.items()}
            account = Application(
                tenant_id=park.tenant.pk,
                name="Quick start",
                client_type=Application.CLIENT_CONFIDENTIAL,
                authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
                allowed_scopes=READ,
                facility_ids=[park.branches[1].facility.pk],
            )
            secret = application_operations.register_application(account, actor_id=None)
            issued["service"] = tokens.issue(account, user_id=None)[0]
        port = free_port()
        log = tmp_path_factory.mktemp("web") / "web.log"
        with log.open("wb") as output:
            web = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "portal.asgi:application"),
                    *("--port", str(port), "--lifespan", "off", "--log-level", "warning"),
                ],
                cwd=settings.BASE_DIR,
                env={**os.environ, "WATTLINE_API_REQUESTS_PER_MINUTE": "1000000"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, log)
            yield Served(url, park, issued, account.client_id, secret)
        finally:
            web.terminate()
            web.wait(20)
            factories.remove_everything()


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/health/live", timeout=2).close()
        except (OSError, HTTPException):
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        else:
            return


def test_quick_start_prints_the_latest_values(served: Served) -> None:
    done = subprocess.run(
        ["examples/curl.sh"],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "WATTLINE_URL": served.url,
            "CLIENT_ID": served.client_id,
            "CLIENT_SECRET": served.client_secret,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    values = json.loads(done.stdout)["values"]
    assert [(value["device"], value["value"]) for value in values] == [
        (served.park.branches[1].device.pk, 101.0),
        (served.park.branches[1].device.pk, 230.1),
    ]


def test_quick_start_ends_when_the_secret_is_wrong(served: Served) -> None:
    environment = {"WATTLINE_URL": served.url, "CLIENT_ID": served.client_id}
    done = subprocess.run(
        ["examples/curl.sh"],
        cwd=settings.BASE_DIR,
        env={**os.environ, **environment, "CLIENT_SECRET": "wrong"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "401" in done.stderr


@pytest.mark.parametrize("role", ["manager", "consumer", "service"])
def test_every_answer_is_one_that_the_description_knows(
    served: Served, role: str, tmp_path: Path
) -> None:
    """No 5xx, no status, media type or body outside the schema, whatever the parameters."""
    schema = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text())
    # Keys that exist, so that more than 404 is answered: an example each.
    branch = served.park.branches[1 if role == "service" else 0]
    for path, operations in schema["paths"].items():
        kind = path.split("/")[3]
        key = {"facilities": branch.facility, "devices": branch.device, "channels": branch.channel}
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "id" and kind in key:
                    parameter["example"] = key[kind].pk
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(schema))
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", str(described)),
        *("--url", served.url, "--header", f"Authorization: Bearer {served.tokens[role]}"),
        *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
        *("--checks", "response_schema_conformance,response_headers_conformance"),
        *("--phases", "examples,fuzzing", "--max-examples", "40", "--seed", "1"),
        *("--suppress-health-check", "all", "--no-color"),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Examples (in" in done.stdout
    assert "9 skipped" not in done.stdout  # resources that exist were asked for
