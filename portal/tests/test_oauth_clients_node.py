"""openid-client, the certified client of Node, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from django.conf import settings as django_settings

from portal.devstack.frontend import find_node
from portal.tests.oauth_parties import BYE, CALLBACK, Member, issuer, member

__all__ = ["issuer", "member"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])

SCRIPT = django_settings.BASE_DIR / "portal" / "tests" / "clients" / "openid_client.mjs"


def test_openid_client_finds_its_way_and_notices_every_attack(issuer: str, member: Member) -> None:
    if not (django_settings.BASE_DIR / "node_modules" / "openid-client").is_dir():
        pytest.skip("the package openid-client is not there: `make up` brings it")
    application, secret = member.application()
    node = find_node()
    with subprocess.Popen(
        [*node.node, str(SCRIPT)],
        cwd=django_settings.BASE_DIR,
        env={
            **os.environ,
            "PATH": node.path,
            "ISSUER": issuer,
            "CLIENT_ID": str(application.client_id),
            "CLIENT_SECRET": secret,
            "CALLBACK": CALLBACK,
            "BYE": BYE,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdin is not None
        assert script.stdout is not None
        assert script.stderr is not None
        found: dict[str, Any] = {}
        for line in script.stdout:
            message = json.loads(line)
            if "browse" in message:
                script.stdin.write(member.agree(message["browse"]) + "\n")
                script.stdin.flush()
            else:
                found |= message
        problems = script.stderr.read()
    assert script.returncode == 0, problems
    assert found == {
        "sub": str(member.user.pk),
        "userinfo": str(member.user.pk),
        "sid": True,
        "active": True,
        "replay": "invalid_grant",
        "after_replay": False,
        # The client's own refusals: it never sends such a code to the provider.
        "mix_up": "OAUTH_INVALID_RESPONSE",
        "no_issuer": "OAUTH_INVALID_RESPONSE",
        "state": "OAUTH_INVALID_RESPONSE",
        "no_verifier": "invalid_request",
        "reuse": "invalid_grant",
        "after_reuse": "invalid_grant",
        "scope": "invalid_scope",
        "revoked": False,
        "left": BYE,
    }
