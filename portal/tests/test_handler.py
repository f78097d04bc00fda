"""The API under its own ASGI handler: answers as Django's would give them."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from portal.asgi import application
from portal.pools import SharedPool

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


async def ask(path: str, method: str = "GET") -> tuple[dict[str, Any], bytes]:
    """Start and body of an answer."""
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
    }
    communicator: Any = ApplicationCommunicator(  # type: ignore[no-untyped-call]
        application, scope
    )
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(5)
    body = await communicator.receive_output(5)
    await communicator.wait(5)
    return start, body["body"]


async def test_api_answers_through_threads() -> None:
    start, body = await ask("/api/v1/me/")
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    assert start["status"] == 401
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(body)
    assert "default-src 'self'" in headers["content-security-policy"]


async def test_one_who_hangs_up_while_sending_is_forgotten() -> None:
    communicator: Any = ApplicationCommunicator(  # type: ignore[no-untyped-call]
        application,
        {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/me/",
            "query_string": b"",
            "headers": [],
        },
    )
    await communicator.send_input({"type": "http.request", "body": b"{", "more_body": True})
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(5)
    assert await communicator.receive_nothing()


def test_pool_of_a_server_is_shared() -> None:
    pools = [SharedPool.from_url("redis://localhost:1/0", socket_timeout=1) for _ in range(2)]
    other = SharedPool.from_url("redis://localhost:2/0", socket_timeout=1)
    assert pools[0] is pools[1]
    assert other is not pools[0]
