"""A name server on the loopback interface that knows some TXT records."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class NameServer:
    """`records`: name → texts; a name that is not in it does not exist. `silent`: no answers."""

    address: str = ""
    records: dict[str, list[str]] = field(default_factory=dict)
    silent: bool = False

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to one query."""
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        question = query.question[0]
        name = question.name.to_text().rstrip(".")
        if self.silent:
            return None
        if name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for text in self.records.get(name, []):
            # A text of more than 255 bytes travels in parts.
            parts = " ".join(f'"{text[at : at + 40]}"' for at in range(0, len(text), 40))
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", parts))
        return response.to_wire()


@contextmanager
def running() -> Iterator[NameServer]:
    """A server that answers until the block ends."""
    server = NameServer()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    listener.settimeout(0.1)
    server.address = f"127.0.0.1:{listener.getsockname()[1]}"
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                wire, peer = listener.recvfrom(4096)
            except TimeoutError:
                continue
            if (answer := server.answer(wire)) is not None:
                listener.sendto(answer, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        thread.join()
        listener.close()
