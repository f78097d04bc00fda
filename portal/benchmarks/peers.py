"""Other time series databases beside this one: the same values, the same questions, one machine.

A facility of 200 channels (meters of shops, by the simulator's model) at two seconds goes into
each: into the peers by their line protocol over several connections, into Wattline by its devices,
over TLS, bridge, queue and writer, and through its roller and mover. Then all are asked the same,
the peers over HTTP, Wattline within the process (server time) and over its REST API. Peers also get
the means of quarters of an hour, which their users would have them compute, for what lies further
back.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from devices.benchmarks import history, storage
from devices.benchmarks.stack import StackError, open_stack
from devices.models import Channel
from devices.telemetry import segment_store
from devices.telemetry.segment import HOUR_MS
from portal.benchmarks import lines, peer_own, peer_queries, peer_servers
from portal.benchmarks.peer_queries import PEERS, Asked, Peer, Question, Questions
from portal.benchmarks.peer_servers import Http, Server
from tenants.scope import open_scope

WATTLINE: Final = "Wattline"
_INSIDE: Final = "Wattline, server time"
# Minutes, for measuring the whole of others: by its name alone.
IN_ALL: Final = False
SPAN_DAYS: Final = 365
_DAY_MS: Final = 24 * HOUR_MS


def add_arguments(parser: ArgumentParser) -> None:
    """How much, and whether missing peers are fetched."""
    parser.add_argument(
        "--fetch", action="store_true", help="unpack missing peers from Debian's archive"
    )
    parser.add_argument("--span-days", type=int, default=SPAN_DAYS, help="of quarters of an hour")
    parser.add_argument("--connections", type=int, default=4, help="that write to a peer")
    parser.add_argument("--rounds", type=int, default=history.ROUNDS, help="of each query")
    parser.add_argument(
        "--seconds", type=int, default=60, help="for a query of all, if each has had three"
    )


def run(options: Namespace) -> dict[str, object]:
    """Measure all; `behind` names the cells of the table in which a peer is better.

    `ok` is False when a system does not give the rows that it was asked for.
    """
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    programs = {peer.kind.name: peer_servers.find(peer.kind, fetch=options.fetch) for peer in PEERS}
    with open_stack() as stack, ExitStack() as servers:
        own = peer_own.registered(stack, end)
        empty = storage.sizes()
        systems: dict[str, dict[str, Any]] = {
            WATTLINE: {**peer_own.ingested(own), **peer_own.settled(own, empty)}
        }
        peer_own.repeat_quarters(own, options.span_days)
        present = {
            peer: program for peer in PEERS if (program := programs[peer.kind.name]) is not None
        }
        asks = {
            WATTLINE: peer_own.asked_outside(
                own, options, servers.enter_context(Http(stack.web_port))
            )
        }
        given = _given(own, options) if present else None
        for peer, program in present.items():
            if given is not None:
                server = servers.enter_context(peer_servers.running(peer.kind, program, peer.ready))
                systems[peer.kind.name] = _written(peer, server, given, options)
                asks[peer.kind.name] = _asked(peer, servers.enter_context(Http(server.port)), given)
        with open_scope(own.scope):
            asks[_INSIDE] = history.queries_of(own.facility, own.end, options)
            for query in asks[_INSIDE]:
                found = in_turn({name: ask[query] for name, ask in asks.items()}, options)
                for name in systems:
                    systems[name].setdefault("queries_http", {})[query] = found[name]
                systems[WATTLINE].setdefault("queries", {})[query] = found[_INSIDE]
        stored = history.stored_rows()
    complete = {name: _is_complete(system, options) for name, system in systems.items()}
    return {
        "ok": all(complete.values()),
        "complete": complete,
        "channels": stored["channels"],
        "readings": own.readings,
        "quarters": stored["quarters"],
        "span_days": options.span_days,
        "systems": systems,
        "skipped": {
            peer.kind.name: f"{peer.kind.program} is not on this machine: install the package"
            f" {peer.kind.package}, or give --fetch to unpack it into a folder of this copy"
            for peer in PEERS
            if peer not in present
        },
        "behind": _behind(systems),
    }


@dataclass(frozen=True, slots=True)
class _Given:
    """What every peer gets: bodies of lines, and the questions."""

    readings: int
    raw: list[bytes]
    quarters: list[bytes]
    questions: Questions


def _given(own: peer_own.Own, options: Namespace) -> _Given:
    # A frame of each device in turn, as they arrive; of quarters all that end together.
    raw = lines.batches(peer_queries.RAW, list(peer_own.raw_tables(own)), history.SAMPLES)
    tables = list(peer_own.quarter_tables(own, options.span_days))
    quarters = lines.batches(peer_queries.QUARTER, tables, 1)
    return _Given(own.readings, list(raw), list(quarters), _questions(own, options))


def _questions(own: peer_own.Own, options: Namespace) -> Questions:
    with open_scope(own.scope):
        rows = list(Channel.objects.order_by("device_id", "number").values_list("device_id", "key"))
    powers = [(device_id, (key,)) for device_id, key in rows if key == "active_power"][:8]
    return Questions(
        powers=powers,
        fifty=_by_device(rows[:: history.CHANNELS // 50]),
        mains=powers[0][0],
        end_ms=segment_store.milliseconds(own.end),
        month_ms=min(30, options.span_days) * _DAY_MS,
        span_ms=options.span_days * _DAY_MS,
    )


def _by_device(rows: Sequence[tuple[int, str]]) -> Asked:
    found: dict[int, list[str]] = {}
    for device_id, key in rows:
        found.setdefault(device_id, []).append(key)
    return [(device_id, tuple(keys)) for device_id, keys in found.items()]


def _written(peer: Peer, server: Server, given: _Given, options: Namespace) -> dict[str, Any]:
    """Write everything; what readings take is told before quarters of an hour come."""
    peer.prepare(server)
    server.settled()
    empty, used, began = server.size(), server.cpu_s(), time.perf_counter()
    peer_queries.load(server, peer.write, given.raw, options.connections)
    took, spent = time.perf_counter() - began, server.cpu_s() - used
    peer.flush(server)
    quiet = server.settled()
    size, compacted = server.size() - empty, server.cpu_s() - used
    peer_queries.load(server, peer.write_quarters, given.quarters, options.connections)
    peer.flush(server)
    server.settled()
    return {
        "program": str(server.program),
        "seconds": round(took, 3),
        "values_per_s": round(given.readings / took),
        "cpu_s": round(spent, 1),
        "cpu_s_with_compaction": round(compacted, 1),
        "quiet_after_s": round(quiet, 1),
        "bytes_per_value": round(size / given.readings, 3),
    }


def _asked(peer: Peer, http: Http, given: _Given) -> dict[str, Callable[[], int]]:
    return {
        name: _asking(peer, http, question)
        for name, question in peer.questions(given.questions).items()
    }


def _asking(peer: Peer, http: Http, question: Question) -> Callable[[], int]:
    """Ask and take the whole answer; its rows are counted once, outside of what is measured."""
    status, answer = http.ask("GET", question.path)
    if status != 200:
        raise StackError(f"{peer.kind.name} answered {status}: {answer[:300]!r}")
    rows = question.rows(answer)

    def ask() -> int:
        http.ask("GET", question.path)
        return rows

    return ask


def in_turn(
    asks: Mapping[str, Callable[[], int]], options: Namespace
) -> dict[str, dict[str, float]]:
    """How long each takes, asked one after the other, round by round: what else the machine does
    meets all of them.
    """
    rows = {name: ask() for name, ask in asks.items()}  # the first one also fills caches
    took: dict[str, list[float]] = {name: [] for name in asks}
    began = time.perf_counter()
    for done in range(options.rounds):
        if done >= history.LEAST_ROUNDS and time.perf_counter() - began > options.seconds:
            break
        for name, ask in asks.items():
            start = time.perf_counter()
            ask()
            took[name].append((time.perf_counter() - start) * 1000)
    return {
        name: {
            "p50_ms": round(float(np.percentile(times, 50)), 1),
            "p95_ms": round(float(np.percentile(times, 95)), 1),
            "rows": rows[name],
            "rounds": len(times),
        }
        for name, times in took.items()
    }


# --- Side by side -----------------------------------------------------------------------------


def _behind(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The cells in which a peer is better: Wattline's server time, and its time over HTTP."""
    own, behind = systems[WATTLINE], []
    for name, peer in systems.items():
        if name == WATTLINE:
            continue
        if peer["values_per_s"] > own["values_per_s"]:
            behind.append(f"values/s: {name}")
        if peer["bytes_per_value"] < own["bytes_per_value"]:
            behind.append(f"bytes/value: {name}")
        for way in ("queries", "queries_http"):
            for query, measured in peer["queries_http"].items():
                if measured["p95_ms"] < own[way][query]["p95_ms"]:
                    behind.append(f"{way} {query}: {name}")
    return behind


def _is_complete(system: Mapping[str, Any], options: Namespace) -> bool:
    """Whether the questions that have one right number of rows were answered with it."""
    rows = {name: measured["rows"] for name, measured in system["queries_http"].items()}
    days = options.span_days
    return (
        rows["last_hour_raw_8_channels"] == 8 * HOUR_MS // history.STEP_MS
        and rows["month_by_quarter_50_channels"] == 50 * 96 * min(30, days)
        # The first and the last local day may be cut off.
        and rows["year_by_day_200_channels"] // history.CHANNELS in (days, days + 1)
    )
