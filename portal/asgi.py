"""The ASGI application: static files, HTTP by Django, WebSockets by Channels."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
_django = get_asgi_application()  # loads the apps, which everything below needs

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from portal.collector import settle  # noqa: E402
from portal.consumer import routing as consumer_routing  # noqa: E402
from portal.handler import ThreadedHandler, is_served_here  # noqa: E402
from portal.live import routing as live_routing  # noqa: E402
from portal.staticfiles import serve_static  # noqa: E402

_api = ThreadedHandler()


async def _http(scope: Any, receive: Any, send: Any) -> None:
    """The API and polling devices by a handler of their own, everything else by Django's."""
    await (_api if is_served_here(scope["path"]) else _django)(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": serve_static(_http),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                URLRouter(
                    [*live_routing.websocket_urlpatterns, *consumer_routing.websocket_urlpatterns]
                )
            )
        ),
    }
)
settle()
