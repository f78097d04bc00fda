"""The listening side of the bridge: accepts, limits, shakes hands.

Accepting by hand rather than by `create_server` puts the limits before the TLS handshake, which is
the costly part of a connection, and lets the bridge stop accepting while it cannot serve.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devices.ingest.connection import SEND_BUFFER_BYTES, Connection
from devices.ingest.limits import ConnectionCounter

logger = logging.getLogger(__name__)

BACKLOG: Final = 1_024
# Connections taken in one turn of the event loop: each costs a TLS handshake of about 1 ms, for
# which the readings of the others wait.
ACCEPTS_PER_TURN: Final = 4
# What the kernel takes beyond what it has sent already: what is to overtake firmware on a slow link
# (ACKs, commands) waits behind no more than this, and a chunk waits here, where it can be left out.
UNSENT_BYTES: Final = 16 * 1024
_TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; `socket` names it from Python 3.12 on
HANDSHAKE_S: Final = 10.0
SHUTDOWN_S: Final = 3.0
# Pause after the machine ran out of file descriptors or memory for sockets.
EXHAUSTED_S: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(slots=True)
class ListenerCounters:
    """What became of those who knocked."""

    accepted: int = 0
    turned_away: int = 0
    handshakes_failed: int = 0


class Listener:
    """A listening socket. `connect(address)` makes the protocol object of a new connection; `say`
    writes a log line of an event that strangers can cause at will (and is limited for that)."""

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: ConnectionCounter,
        connect: Callable[[str], Connection],
        say: Callable[[str, str], None],
    ) -> None:
        self._context = context
        self._limits = limits
        self._connect = connect
        self._say = say
        self._socket: socket.socket | None = None
        self._accepting = False
        self._wanted = False
        self._handshakes: set[asyncio.Task[None]] = set()
        self.counters = ListenerCounters()
        self.port = 0

    def listen(self, host: str, port: int) -> None:
        """Bind and listen, together with other bridges on the same port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.setblocking(False)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self.port = listening.getsockname()[1]

    def start(self) -> None:
        """Accept connections."""
        self._wanted = True
        if self._socket is not None and not self._accepting:
            self._accepting = True
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def pause(self) -> None:
        """Leave new connections in the kernel's queue."""
        self._wanted = False
        self._stop_reading()

    def close(self) -> None:
        """Stop for good; handshakes under way are cut off."""
        self.pause()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for task in self._handshakes:
            task.cancel()

    def _stop_reading(self) -> None:
        if self._socket is not None and self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._socket)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._socket is None:
                return
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._say("accept.exhausted", f"error={error.strerror!r}")
                self._stop_reading()
                asyncio.get_running_loop().call_later(EXHAUSTED_S, self._go_on)
                return
            address = str(peer[0])
            if self._limits.admit(address):
                self.counters.accepted += 1
                task = asyncio.create_task(self._handshake(accepted, address))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
            else:
                self.counters.turned_away += 1
                self._say("connection.turned_away", f"address={address}")
                accepted.close()

    def _go_on(self) -> None:
        if self._wanted:
            self.start()

    async def _handshake(self, accepted: socket.socket, address: str) -> None:
        connection = self._connect(address)
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError as error:  # ssl.SSLError, time-outs and resets are OSErrors
            if not connection.established:
                self.counters.handshakes_failed += 1
                self._say("handshake.failed", f"address={address} error={str(error)!r}")
        finally:
            # An established connection gives its place back in `connection_lost`.
            if not connection.established:
                accepted.close()
                self._limits.leave(address)
