"""The consumer view in tests: a browser that signs in as a person does, by redirects alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.test import Client

from portal.oauth import own
from tenants.models import User


def browser(user: User | None = None) -> Client:
    """A browser at the installation's own address, signed in to the portal as `user`."""
    parts = urlsplit(settings.PUBLIC_URL)
    client = Client(headers={"host": parts.netloc})
    if user is not None:
        client.force_login(user)
    return client


def follow(client: Client, response: Any, until: str) -> Any:
    """Follow redirects until one leads to a path that begins with `until`."""
    for _ in range(8):
        assert response.status_code == 302, (response.status_code, response.content[:2000])
        location = response["Location"].removeprefix(settings.PUBLIC_URL)
        if location.startswith(until):
            return response
        response = client.get(location)
    raise AssertionError(f"no redirect to {until}")


def signed_in(user: User) -> Client:
    """A browser that is signed in to the portal and, by it, to the consumer view."""
    own.keep_all()
    client = browser(user)
    response = follow(client, client.get("/home/"), "/home/callback/")
    answer = client.get(response["Location"].removeprefix(settings.PUBLIC_URL))
    assert answer.status_code == 302, answer.content
    assert settings.HOME_COOKIE_NAME in answer.cookies
    return client
