"""The bridge's side of one connection without I/O: what REFUSE says about a message."""

import pytest

from devices.ingest.queue import BatchBuilder
from devices.ingest.session import Admission, Phase, Policy, Session
from devices.protocol import (
    Hello,
    Log,
    LogLine,
    MessageReader,
    MessageType,
    Refuse,
    RefuseCode,
    Welcome,
    decode_message,
    encode_message,
    encode_sample,
    seal,
)

NOW_US = 1_767_225_600_000_000
NOW_MS = NOW_US // 1_000


def open_session() -> Session:
    session = Session(1, Policy(max_body=1_000))
    session.receive(
        encode_message(Hello("M-1", bytes(32), "meter", "", "", 1, NOW_MS, 900, 800)), NOW_US
    )
    admission = Admission(
        device_id=5,
        tenant_id=1,
        limits={0: (0, 100)},
        committed=799,
        step_ms=2_000,
        samples=30,
        live_lease_s=0,
        builder=BatchBuilder("bridge"),
    )
    session.open(admission, NOW_US)
    assert isinstance(answers(session)[0], Welcome)
    return session


def answers(session: Session) -> list[object]:
    reader = MessageReader()
    reader.feed(b"".join(session.outgoing))
    session.outgoing.clear()
    return [decode_message(*raw) for raw in reader]


SOUND = seal(MessageType.DATA, encode_sample(800, NOW_MS, (0,), (7,)))
BROKEN_DATA = seal(MessageType.DATA, encode_sample(801, NOW_MS, (0,), (7,)) + b"\x00")
BROKEN_LOG = seal(
    MessageType.LOG, Log(801, (LogLine(NOW_MS, 2, "x"),)).body().replace(b"\x01x", b"\x01\xff")
)
LONG = seal(MessageType.LOG, Log(801, (LogLine(NOW_MS, 2, "x" * 1_000),)).body())
UNREADABLE = seal(MessageType.DATA, b"\x00")
DAMAGED = SOUND[:-1] + bytes((SOUND[-1] ^ 1,))


@pytest.mark.parametrize(
    ("message", "code", "sequence"),
    [
        (BROKEN_DATA, RefuseCode.MALFORMED, 801),
        (BROKEN_LOG, RefuseCode.MALFORMED, 801),
        (LONG, RefuseCode.TOO_LONG, 801),
        (LONG[:5], RefuseCode.TOO_LONG, 0),
        (UNREADABLE, RefuseCode.MALFORMED, 0),
        (DAMAGED, RefuseCode.CHECKSUM, 0),
    ],
    ids=["data", "log", "too long", "too long, sequence not there yet", "unreadable", "damaged"],
)
def test_refusal_names_the_message_that_the_device_must_give_up(
    message: bytes, code: RefuseCode, sequence: int
) -> None:
    session = open_session()
    session.receive(SOUND + message, NOW_US)
    (refuse,) = answers(session)
    assert isinstance(refuse, Refuse)
    assert (refuse.code, refuse.sequence) == (code, sequence)
    assert session.phase is Phase.CLOSED
    assert session.taken_messages == 1
