"""WebSocket routes."""

from __future__ import annotations

from typing import Any

from django.urls import path

from portal.live.consumer import LiveConsumer

websocket_urlpatterns: list[Any] = [
    # Django's types know no ASGI applications as views; Channels documents this use of `path`.
    path("ws/live/", LiveConsumer.as_asgi()),  # type: ignore[arg-type]
]
