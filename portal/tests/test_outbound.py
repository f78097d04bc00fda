"""Requests to addresses that people have typed: public ones alone, and not for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from pytest_django import Settings

from portal import outbound
from portal.oauth import backchannel
from portal.outbound import AddressRefused, Session


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on the loopback interface that gives one answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            taken, _address = server.accept()
            with taken:
                answer(taken)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(20)


def _pieces(sent: bytes, stop: threading.Event) -> Callable[[socket.socket], None]:
    """Sends byte by byte, each well before any time-out; complete in the end."""

    def send(taken: socket.socket) -> None:
        taken.recv(65536)
        try:
            for number in range(len(sent)):
                taken.sendall(sent[number : number + 1])
                if stop.wait(0.05):
                    return
        except OSError:
            return

    return send


_BODY = b'{"padding": "' + b"x" * 80 + b'"}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("padding", [b"", b"X-Padding: " + b"x" * 80 + b"\r\n"])
def test_answer_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch, padding: bytes) -> None:
    monkeypatch.setattr(outbound, "WHOLE_S", 0.3, raising=False)
    stop = threading.Event()
    sent = _HEAD.replace(b"Content-Type", padding + b"Content-Type") % len(_BODY) + _BODY
    with answering(_pieces(sent, stop)) as port:
        try:
            with Session() as session, pytest.raises(requests.RequestException):
                session.get(f"http://127.0.0.1:{port}/")
        finally:
            stop.set()


def test_answer_in_time_is_read_whole() -> None:
    def answer(taken: socket.socket) -> None:
        taken.recv(65536)
        taken.sendall(_HEAD % len(_BODY) + _BODY)

    with answering(answer) as port, Session() as session:
        assert session.get(f"http://127.0.0.1:{port}/").content == _BODY


def test_name_that_moves_into_our_network_is_told_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when looked at, ours when connected to."""
    settings.HTTPS = True
    got: list[bytes] = []
    looked_up = iter(["8.8.8.8"])
    resolve = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return resolve(host, port, *args, **more)
        return resolve(next(looked_up, "127.0.0.1"), port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    listening = answering(lambda taken: got.append(taken.recv(65536)))
    refused = pytest.raises(requests.RequestException, match="inside our own network")
    with listening as port, Session() as session, refused:
        session.get(f"https://rebinding.example:{port}/")
    assert got == [b""]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[::10.0.0.1]",
        "[fec0::1]",
        "224.0.0.1",
        "0x7f.1",
        "2130706433",
    ],
)
def test_address_of_our_own_network_is_refused_in_every_notation(
    settings: Settings, host: str
) -> None:
    settings.HTTPS = True
    with Session() as session, pytest.raises(AddressRefused):
        session.get(f"https://{host}:1/")


def test_notice_of_a_sign_out_does_not_reach_our_own_network(settings: Settings) -> None:
    """Applications are registered by people of tenants; the worker stands in our network."""
    settings.HTTPS = True
    with pytest.raises(AddressRefused):
        backchannel.post("https://169.254.169.254/latest", "token")


def test_notice_of_a_sign_out_reaches_the_installation_itself(settings: Settings) -> None:
    """The consumer view is told like any other, wherever the installation lies."""
    settings.HTTPS = True
    got: list[bytes] = []

    def answer(taken: socket.socket) -> None:
        whole = b""
        while not whole.endswith(b"token=token"):  # head and body may come one by one
            part = taken.recv(65536)
            if not part:
                break
            whole += part
        got.append(whole)
        taken.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with answering(answer) as port:
        settings.PUBLIC_URL = f"http://127.0.0.1:{port}"
        backchannel.post(f"{settings.PUBLIC_URL}/home/backchannel-logout/", "token")
    assert b"logout_token=token" in got[0]
