"""WebSocket routes of the consumer view."""

from __future__ import annotations

from typing import Any

from django.urls import path

from portal.consumer.socket import HomeSocket

websocket_urlpatterns: list[Any] = [
    # Django's types know no ASGI applications as views; Channels documents this use of `path`.
    path("home/ws/live/", HomeSocket.as_asgi()),  # type: ignore[arg-type]
]
