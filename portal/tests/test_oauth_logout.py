"""Signing out of the portal, of applications, and telling them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import socket
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
import requests
from django.test import Client

from portal.oauth import backchannel
from portal.tasks import send_logout_token
from portal.tests.oauth_world import (
    World,
    claims_of,
    commits,
    make_world,
    no_leftovers,
    refresh,
    sent_to,
    works,
    world,
)

__all__ = ["commits", "no_leftovers", "world"]

pytestmark = pytest.mark.django_db


def test_signing_out_of_the_portal_ends_every_application(
    commits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(backchannel_logout_uri="https://app.example.org/backchannel")
    tokens = world.tokens()
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(send_logout_token, "delay", lambda **kwargs: sent.append(kwargs))
    assert world.browser.post("/accounts/logout/").status_code == 302
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400
    assert sent == [
        {
            "uri": "https://app.example.org/backchannel",
            "client_id": world.application.client_id,
            "user_id": world.user.pk,
            "sid": claims_of(tokens["id_token"])["sid"],
        }
    ]


def test_application_signs_out_with_its_id_token(commits: None) -> None:
    uri = "https://app.example.org/bye"
    world = make_world(post_logout_redirect_uris=uri)
    tokens = world.tokens()
    query = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": uri,
        "state": "s",
    }
    posted = world.browser.post("/oauth/logout", query)
    assert posted.status_code == 303
    response = world.browser.get(posted["Location"])
    assert sent_to(response, uri) == {"state": "s"}
    assert "_auth_user_id" not in world.browser.session
    assert not works(tokens["access_token"])


def test_logout_without_a_token_of_the_session_asks(commits: None) -> None:
    uri = "https://app.example.org/bye"
    world = make_world(post_logout_redirect_uris=uri)
    query = {"client_id": world.application.client_id, "post_logout_redirect_uri": uri}
    page = world.browser.get("/oauth/logout", query)
    assert page.status_code == 200
    assert "_auth_user_id" in world.browser.session
    found = page.content.decode().split('name="target" value="')[1].split('"')[0]
    response = world.browser.post("/oauth/logout/confirm", {"target": found})
    assert sent_to(response, uri) == {}
    forged = world.browser.post("/oauth/logout/confirm", {"target": "https://evil.example.org"})
    assert forged["Location"] == "/accounts/login/"


def test_logout_is_no_open_redirect(commits: None) -> None:
    world = make_world(post_logout_redirect_uris="https://app.example.org/bye")
    signed = world.tokens()["id_token"]
    other = make_world()
    evil = "https://evil.example.org/"
    for query in (
        {"post_logout_redirect_uri": evil},
        {"post_logout_redirect_uri": evil, "client_id": world.application.client_id},
        {"post_logout_redirect_uri": evil, "id_token_hint": signed},
        {"id_token_hint": signed, "client_id": other.application.client_id},
        {"id_token_hint": signed[:-8] + "AAAAAAAA"},
        {"post_logout_redirect_uri": evil, "client_id": "nobody"},
    ):
        for browser in (world.browser, Client()):
            response = browser.get("/oauth/logout", query)
            assert response.status_code == 400
            assert "Location" not in response
    assert "_auth_user_id" in world.browser.session


def test_logout_token_is_signed_and_no_id_token(world: World) -> None:
    now = datetime.now(UTC)
    token = backchannel.logout_token(client_id="app", user_id=3, sid="s", now=now)
    claims = claims_of(token)
    assert claims["events"] == {backchannel.EVENT: {}}
    assert (claims["aud"], claims["sub"], claims["sid"]) == ("app", "3", "s")
    assert "nonce" not in claims
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header["typ"] == "logout+jwt"


class _Receiver(BaseHTTPRequestHandler):
    """An application that is told of sign-outs: it fails once, then answers 204."""

    got: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.got.append(parse_qs(body)["logout_token"][0])
        self.send_response(503 if len(self.got) == 1 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Silent."""


def test_application_is_told_of_a_sign_out_until_it_has_heard() -> None:
    _Receiver.got.clear()
    with HTTPServer(("127.0.0.1", 0), _Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        # `apply` runs the task, and its retries, in this process.
        done = send_logout_token.apply(
            kwargs={
                "uri": f"http://127.0.0.1:{server.server_port}/backchannel",
                "client_id": "app",
                "user_id": 3,
                "sid": "s",
            }
        )
        server.shutdown()
    assert done.state == "SUCCESS"
    first, second = (claims_of(token) for token in _Receiver.got)
    assert first["jti"] != second["jti"]
    assert second["events"] == {backchannel.EVENT: {}}


def test_unreachable_application_is_given_up_in_the_end() -> None:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(requests.RequestException):
            backchannel.post(uri, "token")
        done = send_logout_token.apply(
            kwargs={"uri": uri, "client_id": "app", "user_id": 3, "sid": "s"}
        )
    assert done.state == "SUCCESS"
