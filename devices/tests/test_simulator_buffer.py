"""The device's buffer outlives its process and never forgets a sequence number it used."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.simulator.buffer import Buffer, BufferUnusableError, Loss

CHECKOUT = Path(__file__).resolve().parents[2]


def contents(buffer: Buffer) -> dict[int, bytes]:
    kept = {}
    sequence = buffer.oldest
    while sequence < buffer.next_sequence:
        message = buffer.read(sequence)
        assert message is not None
        kept[sequence] = message
        sequence = buffer.first_kept(sequence + 1)
    return kept


def test_buffer_keeps_messages_over_a_restart(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b") as buffer:
        assert [buffer.append(b"one"), buffer.append(b"two"), buffer.append(b"three")] == [1, 2, 3]
        buffer.set_clock_offset(-1234)
        assert buffer.state.boot_count == 1
    with Buffer(tmp_path / "b") as buffer:
        assert contents(buffer) == {1: b"one", 2: b"two", 3: b"three"}
        assert buffer.next_sequence == 4
        assert buffer.state.boot_count == 2
        assert buffer.state.clock_offset_ms == -1234


def test_buffer_frees_what_is_committed(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b", capacity=8_000) as buffer:
        for number in range(1, 31):
            buffer.append(bytes([number]) * 100)
        before = buffer.size
        buffer.free(29)
        assert contents(buffer) == {30: bytes([30]) * 100}
        assert len(buffer) == 1
        assert buffer.size < before / 2
        buffer.free(5)  # an older acknowledgement changes nothing
        assert buffer.oldest == 30
        buffer.free(30)
        assert (len(buffer), buffer.oldest, buffer.next_sequence) == (0, 31, 31)
        with pytest.raises(ValueError, match="never produced"):
            buffer.free(31)


def test_buffer_drops_the_oldest_when_full_and_stays_bounded(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b", capacity=8_000) as buffer:
        for _ in range(1_000):
            buffer.append(b"x" * 90)
            assert sum(file.stat().st_size for file in (tmp_path / "b").iterdir()) <= 8_000 + 200
        kept = contents(buffer)
        assert list(kept) == list(range(buffer.oldest, 1_001))
        assert buffer.dropped == buffer.oldest - 1
        assert buffer.loss(1) is Loss.FULL
        assert len(kept) * 90 > 8_000 * 0.6  # at most the last eighths are given up


def test_buffer_goes_on_after_lost_state(tmp_path: Path) -> None:
    def renumber(message: bytes, sequence: int) -> bytes:
        return message + b" as %d" % sequence

    with Buffer(tmp_path / "b") as buffer:
        buffer.append(b"one")
        buffer.append(b"two")
        buffer.jump(committed=500, next_sequence=565, renumber=renumber)
        assert (len(buffer), buffer.oldest, buffer.append(b"new")) == (2, 565, 567)
    with Buffer(tmp_path / "b") as buffer:
        assert contents(buffer) == {565: b"one as 565", 566: b"two as 566", 567: b"new"}
        assert buffer.committed == 500
        assert buffer.first_kept(501) == 565
        assert buffer.loss(501) is Loss.FORGOTTEN
        with pytest.raises(ValueError, match="go back"):
            buffer.jump(committed=3, next_sequence=4, renumber=renumber)


def test_buffer_discards_one_message_for_good(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b") as buffer:
        for text in (b"one", b"two", b"three"):
            buffer.append(text)
        buffer.discard(2)
    with Buffer(tmp_path / "b") as buffer:
        assert contents(buffer) == {1: b"one", 3: b"three"}
        assert buffer.loss(2) is Loss.REFUSED
        with pytest.raises(ValueError, match="not waiting"):
            buffer.discard(4)


def test_buffer_in_use_is_refused(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b"), pytest.raises(BufferUnusableError, match="in use"):
        Buffer(tmp_path / "b")
    Buffer(tmp_path / "b").close()


def test_buffer_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("not a folder")
    with pytest.raises(BufferUnusableError, match="cannot be opened"):
        Buffer(tmp_path / "b")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    cut=st.floats(0, 1),
    garbage=st.binary(max_size=40),
)
def test_buffer_torn_at_any_byte_is_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: float, garbage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("buffer") / "b"
    written = {}
    with Buffer(folder, capacity=64_000) as buffer:
        for size in sizes:
            message = os.urandom(size)
            written[buffer.append(message)] = message
    last = max(folder.glob("*.log"))
    data = last.read_bytes()
    keep = round(cut * len(data))
    last.write_bytes(data[:keep] + garbage)
    with Buffer(folder, capacity=64_000) as buffer:
        kept = contents(buffer)
        assert kept == {number: written[number] for number in range(1, len(kept) + 1)}
        assert buffer.next_sequence == len(kept) + 1
        if keep == len(data):
            assert kept == written
        number = buffer.append(b"after")
    with Buffer(folder, capacity=64_000) as buffer:
        assert contents(buffer) == {**kept, number: b"after"}


@pytest.mark.parametrize("place", ["payload", "length"])
def test_buffer_damage_costs_as_little_as_can_be(tmp_path: Path, place: str) -> None:
    with Buffer(tmp_path / "b", capacity=16_000) as buffer:
        for number in range(1, 61):
            buffer.append(b"%04d" % number * 25)
    segments = sorted((tmp_path / "b").glob("*.log"))
    data = bytearray(segments[1].read_bytes())
    at = data.index(b"0025" * 25)
    # A record begins with its length (4 bytes), kind (1) and sequence (8).
    data[at + 50 if place == "payload" else at - 13 + 1] ^= 0x40
    segments[1].write_bytes(data)
    with Buffer(tmp_path / "b", capacity=16_000) as buffer:
        kept = contents(buffer)
        lost = [number for number in range(1, 61) if number not in kept]
        # With its length gone, the records behind it in its segment cannot be found.
        behind = [number for number in lost if number > 25]
        assert lost == [25, *behind]
        assert bool(behind) == (place == "length")
        assert kept == {number: b"%04d" % number * 25 for number in kept}
        assert buffer.loss(25) is Loss.DAMAGED
        assert buffer.next_sequence == 61


def test_buffer_notices_damage_while_it_is_open(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b") as buffer:
        for number in range(1, 4):
            buffer.append(b"%04d" % number * 25)
        (file,) = (tmp_path / "b").glob("*.log")
        data = bytearray(file.read_bytes())
        data[data.index(b"0002" * 25) + 9] ^= 1
        file.write_bytes(data)
        assert buffer.read(2) is None
        assert buffer.loss(2) is Loss.DAMAGED
        assert buffer.first_kept(2) == 3


WRITER = """
import sys
from pathlib import Path
from devices.simulator.buffer import Buffer
buffer = Buffer(Path(sys.argv[1]), capacity=200_000)
while True:
    number = buffer.append(b"%08d" % buffer.next_sequence * 12)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    if number % 7 == 0:
        buffer.free(number - 3)
"""


def test_buffer_survives_kill_9_of_its_process(tmp_path: Path) -> None:
    boots = 0
    reported = 0
    for lines in (1, 37, 400):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "b")],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        process.stdout.close()
        process.wait()
        boots += 1
        if len(rest) > 1:
            reported = int(rest[-2])
        with Buffer(tmp_path / "b", capacity=200_000) as buffer:
            boots += 1
            assert buffer.state.boot_count == boots
            assert buffer.next_sequence > reported
            for number, message in contents(buffer).items():
                assert message == b"%08d" % number * 12
