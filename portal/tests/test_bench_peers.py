"""`manage.py bench peers`: what peers are written and asked, and that servers leave nothing."""

from __future__ import annotations

import json
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from devices.benchmarks.history import LEAST_ROUNDS
from devices.benchmarks.replay import read_messages, write_messages
from devices.benchmarks.stack import StackError
from portal.benchmarks import lines, peer_queries, peer_servers, peers
from portal.benchmarks.lines import Table
from portal.benchmarks.peer_queries import INFLUXDB, PEERS, VICTORIAMETRICS, Questions
from portal.benchmarks.peer_servers import Http, Kind

HOUR = 3_600_000
END = 1_772_370_000_000
ASKED = Questions(
    powers=[(7, ("active_power",)), (9, ("active_power",))],
    fifty=[(7, ("active_power", "voltage_l1")), (9, ("frequency",))],
    mains=7,
    end_ms=END,
    month_ms=30 * 24 * HOUR,
    span_ms=365 * 24 * HOUR,
)


def _table(device: int, count: int) -> Table:
    times = np.arange(count, dtype=np.int64) * 2_000
    return Table(
        device, ("power", "voltage"), times, [np.arange(count).astype(np.float64), times / 10_000]
    )


def test_readings_are_lines_in_the_order_of_their_arrival() -> None:
    (body,) = lines.batches("meter", [_table(7, 3), _table(9, 3)], rows=2)
    assert body.decode().split("\n") == [
        "meter,device=7 power=0,voltage=0 0",
        "meter,device=7 power=1,voltage=0.2 2000",
        "meter,device=9 power=0,voltage=0 0",
        "meter,device=9 power=1,voltage=0.2 2000",
        "meter,device=7 power=2,voltage=0.4 4000",
        "meter,device=9 power=2,voltage=0.4 4000",
    ]


@examples(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 30))
def test_batches_hold_every_line_once(count: int, rows: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BATCH_LINES", most)
        bodies = list(lines.batches("meter", [_table(1, count), _table(2, count)], rows))
    found = [body.decode().split("\n") for body in bodies]
    assert {len(batch) for batch in found[:-1]} <= {most}
    assert 1 <= len(found[-1]) <= most
    assert len({line for batch in found for line in batch}) == sum(map(len, found)) == 2 * count


def test_messages_of_a_replay_come_back(tmp_path: Path) -> None:
    messages = [b"one", b"", b"three" * 100]
    write_messages(tmp_path / "device", messages)
    payload, ends = read_messages(str(tmp_path / "device"))
    assert [bytes(payload[a:b]) for a, b in pairwise(ends)] == messages


def test_both_peers_are_asked_every_question() -> None:
    names = [set(peer.questions(ASKED)) for peer in PEERS]
    assert names[0] == names[1]
    assert len(names[0]) == 5


def test_influxdb_is_asked_for_the_period_and_the_channels() -> None:
    questions = INFLUXDB.questions(ASKED)
    (hour,) = parse_qs(urlsplit(questions["last_hour_raw_8_channels"].path).query)["q"]
    assert hour == (
        "SELECT active_power FROM readings.meter WHERE (device = '7' OR device = '9')"
        f" AND time >= {END - HOUR}ms AND time < {END}ms GROUP BY device"
    )
    (month,) = parse_qs(urlsplit(questions["month_by_quarter_50_channels"].path).query)["q"]
    assert [one.split(" WHERE ")[0] for one in month.split("; ")] == [
        "SELECT active_power, voltage_l1 FROM quarters.quarter",
        "SELECT frequency FROM quarters.quarter",
    ]


def test_victoriametrics_is_asked_for_the_period_and_the_channels() -> None:
    questions = VICTORIAMETRICS.questions(ASKED)
    hour = parse_qs(urlsplit(questions["last_hour_raw_8_channels"].path).query)
    assert hour["match[]"] == [
        '{__name__=~"meter_active_power",device="7"}',
        '{__name__=~"meter_active_power",device="9"}',
    ]
    assert (float(hour["start"][0]), float(hour["end"][0])) == (
        (END - HOUR) / 1000,
        (END - 1) / 1000,
    )
    year = parse_qs(urlsplit(questions["year_by_day_200_channels"].path).query)
    assert (year["step"], year["nocache"]) == (["86400000ms"], ["1"])


def test_rows_of_answers_are_counted() -> None:
    influx = {"results": [{"series": [{"values": [[1, 2, None], [2, 3, 4]]}]}, {"statement_id": 1}]}
    assert _rows(INFLUXDB, "last_hour_raw_8_channels")(json.dumps(influx).encode()) == 3
    exported = b'{"values":[1,2],"timestamps":[1,2]}\n{"values":[3],"timestamps":[1]}\n'
    assert _rows(VICTORIAMETRICS, "last_hour_raw_8_channels")(exported) == 3
    ranged = {"status": "success", "data": {"result": [{"values": [[1, "2"]]}]}}
    counted = _rows(VICTORIAMETRICS, "year_by_day_200_channels")
    assert counted(json.dumps(ranged).encode()) == 1


def test_a_question_that_a_peer_refuses_is_told() -> None:
    refused = json.dumps({"results": [{"error": "no such field"}]}).encode()
    with pytest.raises(StackError, match="InfluxDB: no such field"):
        _rows(INFLUXDB, "last_hour_raw_8_channels")(refused)
    with pytest.raises(StackError, match="VictoriaMetrics"):
        _rows(VICTORIAMETRICS, "year_by_day_200_channels")(b'{"status":"error"}')


def _rows(peer: peer_queries.Peer, name: str) -> Callable[[bytes], int]:
    return peer.questions(ASKED)[name].rows


def test_all_are_asked_in_turn() -> None:
    asked: list[str] = []

    def asking(name: str, rows: int) -> Callable[[], int]:
        def ask() -> int:
            asked.append(name)
            return rows

        return ask

    asks = {"one": asking("one", 3), "other": asking("other", 5)}
    found = peers.in_turn(asks, Namespace(rounds=2, seconds=60))
    assert asked == ["one", "other"] * 3  # once more than is measured
    assert {name: (one["rows"], one["rounds"]) for name, one in found.items()} == {
        "one": (3, 2),
        "other": (5, 2),
    }
    asked.clear()
    peers.in_turn(asks, Namespace(rounds=9, seconds=-1))
    assert asked == ["one", "other"] * (1 + LEAST_ROUNDS)


def test_a_connection_that_the_server_closed_is_made_anew() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for body in (b"one", b"two"):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    # Kept, as far as the answer says; then it is closed all the same.
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)

        thread = Thread(target=serve)
        thread.start()
        with Http(listener.getsockname()[1]) as http:
            assert [http.ask("GET", "/"), http.ask("GET", "/")] == [(200, b"one"), (200, b"two")]
        thread.join()


def test_a_peer_that_is_not_here_is_not_found() -> None:
    kind = Kind("Nothing", "wattline-no-such-program", "no-such-package", lambda *_: [])
    assert peer_servers.find(kind, fetch=False) is None


def _web(program: Path, folder: Path, port: int) -> list[str]:
    (folder / "index.html").write_text("here", encoding="utf-8")
    how = ["--bind", "127.0.0.1", "--directory", str(folder)]
    return [str(program), "-m", "http.server", str(port), *how]


def test_a_server_runs_as_long_as_the_block_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_servers, "QUIET_S", 2.0)
    kind = Kind("Web", "wattline-test-peer", "none", _web)
    with peer_servers.running(kind, Path(sys.executable), "/") as server:
        with Http(server.port) as http:
            assert http.ask("GET", "/") == (200, b"here")
        assert server.size() > 0
        assert server.settled() >= 0
        folder, process = server.folder, server.process
        assert process.poll() is None
    assert process.poll() is not None
    assert not folder.exists()


def test_a_server_that_does_not_start_is_told() -> None:
    kind = Kind("Web", "wattline-test-peer", "none", lambda program, *_: [str(program), "-c", "0"])
    with (
        pytest.raises(StackError, match="Web did not start"),
        peer_servers.running(kind, Path(sys.executable), "/"),
    ):
        pass
    assert list(Path("/var/tmp").glob("wattline-wattline-test-peer-*")) == []
    assert (Path(settings.HOME) / "log" / "wattline-test-peer.log").exists()
