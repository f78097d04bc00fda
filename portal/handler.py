"""Serves the short synchronous views of the API, and those of devices that poll, from a bounded
pool of threads.

Django's ASGI handler gives every request a thread of its own and goes back and forth between it
and the event loop, which cost more than an answer of the API itself (`manage.py bench api`). Here
a request goes to a thread once: middleware, view, and what ends the request.

Answers are sent whole: a streaming response is drained first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.urls import set_script_prefix

# Threads spend most of their time in Python: more of them would only wait for each other. Fewer
# than the connections of the database pool, so that none waits for one of those.
THREADS: Final = 8

API_PREFIX: Final = "/api/"
# Devices that poll (`portal.ddi`), but not the files that they fetch, which are sent in pieces.
_CONTROLLERS: Final = "/controller/v1/"
_FILES: Final = "/artifacts/"

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


def is_served_here(path: str) -> bool:
    """Whether the views of a path are short and synchronous."""
    return path.startswith(API_PREFIX) or (_CONTROLLERS in path and _FILES not in path)


class ThreadedHandler(ASGIHandler):
    """An ASGI application: Django's request and response, with the middleware run in a thread."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)  # not that of ASGIHandler, which makes the chain asynchronous
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Who hangs up meanwhile is not waited for, nor is the view stopped."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        answer = asyncio.get_running_loop().run_in_executor(
            self._threads, self._answer, scope, body
        )
        for message in await answer:
            await send(message)

    def _answer(self, scope: Scope, body: Any) -> list[Mapping[str, Any]]:
        """The messages of the answer; everything that belongs to the request is closed."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        with body:
            request, error = self.create_request(scope, body)
            response: Any = error if request is None else self.get_response(request)
            response._handler_class = type(self)  # noqa: SLF001 - as its own handlers do
            try:
                return _messages(response)
            finally:
                # Sends request_finished, which gives the thread's database connection back.
                response.close()


def _messages(response: HttpResponse) -> list[Mapping[str, Any]]:
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [
        (b"Set-Cookie", cookie.output(header="").strip().encode("ascii"))
        for cookie in response.cookies.values()
    ]
    content = b"".join(response) if response.streaming else response.content
    return [
        {"type": "http.response.start", "status": response.status_code, "headers": headers},
        {"type": "http.response.body", "body": content},
    ]
