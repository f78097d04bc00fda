"""The sequence rule of a session against a model: any messages, cut anywhere, any commits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devices.ingest.queue import BatchBuilder, decode_batch
from devices.ingest.session import REWIND_AGAIN_S, Admission, Phase, Policy, Session
from devices.protocol import (
    Ack,
    Gap,
    Hello,
    MessageReader,
    Refuse,
    RefuseCode,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
    encode_sample,
    seal,
)

NOW_US = 1_767_225_600_000_000
NOW_MS = NOW_US // 1_000
WINDOW = 6

# (what, how far from the number that is expected, how long a GAP is)
steps = st.lists(
    st.tuples(
        st.sampled_from(["data", "data", "data", "gap", "commit", "hole"]),
        st.integers(-3, 2),
        st.integers(0, 3),
    ),
    max_size=40,
)


def open_session(committed: int, builder: BatchBuilder) -> Session:
    session = Session(3, Policy(window=WINDOW))
    said = Hello("M-1", bytes(32), "meter", "", "", 1, NOW_MS, committed + 1, committed + 1)
    session.receive(encode_message(said), NOW_US)
    session.open(
        Admission(
            device_id=5,
            tenant_id=1,
            limits={0: (0, 100)},
            committed=committed,
            step_ms=2_000,
            samples=30,
            live_lease_s=0,
            builder=builder,
        ),
        NOW_US,
    )
    (welcome,) = heard(session)
    assert isinstance(welcome, Welcome)
    assert welcome.resume_from == committed + 1
    return session


def heard(session: Session) -> list[object]:
    reader = MessageReader()
    reader.feed(b"".join(session.outgoing))
    session.outgoing.clear()
    return [decode_message(*raw) for raw in reader]


@given(steps, st.integers(0, 1_000), st.integers(1, 50))
def test_a_session_passes_on_one_run_without_holes(
    steps: list[tuple[str, int, int]], committed: int, cut: int
) -> None:
    builder = BatchBuilder("b")
    session = open_session(committed, builder)
    expected, highest, acked, freed = committed + 1, committed, committed, 0
    waiting = False
    now = 0.0
    for what, offset, length in steps:
        now += REWIND_AGAIN_S + 1
        if what == "commit":
            told = max(committed, min(highest, expected - 1 + offset))
            freed += session.commit(told)
            session.acknowledge()
            if told >= expected:  # what was asked for again was under way all the time
                expected, waiting = told + 1, False
        elif what == "hole":
            freed += session.rewind(session.committed, now)
            expected, waiting = session.committed + 1, True
            assert heard(session) == [Rewind(expected)]
        else:
            number = max(1, expected + offset)
            last = number + length if what == "gap" else number
            message = (
                encode_message(Gap(number, last))
                if what == "gap"
                else seal(0x10, encode_sample(number, NOW_MS, (0,), (7,)))
            )
            full = len(session.under_way) >= WINDOW
            for at in range(0, len(message), cut):
                session.receive(message[at : at + cut], NOW_US)
            answers = heard(session)
            if number > expected:
                # Named once, then nothing is taken until it comes.
                assert answers == ([] if waiting else [Rewind(expected)])
                waiting = True
            elif full:
                (refuse,) = answers
                assert isinstance(refuse, Refuse)
                assert (refuse.code, refuse.sequence) == (RefuseCode.WINDOW, number)
                break
            else:
                assert answers == []
                if last >= expected:
                    expected, waiting = last + 1, False
                highest = max(highest, last)
            continue
        for answer in heard(session):
            assert isinstance(answer, Ack)
            assert acked <= answer.sequence <= highest
            acked = answer.sequence
    under_way = sum(size for _, size in session.under_way)
    taken = session.taken_bytes
    assert taken == under_way + freed
    if builder.count:
        fields = {name.encode(): value for name, value in builder.take().items()}
        batch = decode_batch(fields)
        assert len(batch.envelopes) == session.taken_messages
        assert int(batch.envelopes["length"].sum()) == taken
        seen = committed
        for index, envelope in enumerate(batch.envelopes.tolist()):
            sequence = envelope[3]
            # New numbers come one after the other; all else is a repetition.
            assert sequence <= seen + 1
            is_gap = envelope[9] == 0x11
            last = Gap.decode(batch.body(index)).last if is_gap else sequence
            seen = max(seen, last)
    assert session.phase in {Phase.OPEN, Phase.CLOSED}
