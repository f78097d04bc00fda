"""Wattline's part of `bench peers`: its devices bring the readings, and its API is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
from django.conf import settings
from django.db import connections

from devices.benchmarks import history, storage
from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.history import Meter
from devices.benchmarks.replay import ReplayOptions, write_messages
from devices.benchmarks.stack import Stack, StackError
from devices.domain.operations import create_facility
from devices.domain.series import read_series
from devices.models import Channel, Device, Facility
from devices.protocol import MessageType, seal
from devices.protocol.data import Block, encode_data
from devices.telemetry.periods import Resolution
from portal.benchmarks import tokens
from portal.benchmarks.lines import Table
from portal.benchmarks.live import answers
from portal.benchmarks.peer_servers import Http
from portal.charts.history import MEDIA_TYPE
from tenants.domain.operations import create_user, grant_membership
from tenants.models import Tenant, TenantKind
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


@dataclass(frozen=True, slots=True)
class Own:
    """A facility whose meters have brought `readings` values in the days before `end`."""

    stack: Stack
    scope: Scope
    facility: Facility
    end: datetime
    meters: list[Meter]
    fleet: list[FleetDevice]
    channels: dict[int, list[Channel]]
    authorization: dict[str, str]

    @property
    def readings(self) -> int:
        """How many values the meters have."""
        return sum(meter.raw.size for meter in self.meters)


def registered(stack: Stack, end: datetime) -> Own:
    """A tenant with the facility of `bench history`, and somebody who may read it."""
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
    scope = Scope((tenant.pk,))
    with open_scope(scope):
        at = create_facility(
            tenant_id=tenant.pk, name="Benchmark", time_zone="Europe/Berlin", actor_id=None
        )
        meters = list(history.meters_of(at, end))
        codes = dict(Device.objects.values_list("pk", "device_type__code"))
        fleet = [
            FleetDevice(meter.device.serial, meter.secret, codes[meter.device.pk])
            for meter in meters
        ]
        channels: dict[int, list[Channel]] = {}
        for channel in Channel.objects.order_by("device_id", "number"):
            channels.setdefault(channel.device_id, []).append(channel)
        user = create_user(email="caller@example.com", password=None)
        grant_membership(tenant_id=tenant.pk, user_id=user.pk, role=Role.ANALYST, actor_id=None)
        reader = tokens.application(
            tenant_id=tenant.pk, scopes=("facilities:read", "devices:read", "readings:read")
        )
        token, _ = tokens.issue(reader, user_id=user.pk, lifetime=timedelta(hours=12))
    return Own(stack, scope, at, end, meters, fleet, channels, {"Authorization": f"Bearer {token}"})


# --- Writing ----------------------------------------------------------------------------------


def ingested(own: Own) -> dict[str, float]:
    """Let the meters bring their readings over TLS; every frame acknowledged is a frame stored."""
    files = []
    for place, meter in enumerate(own.meters):
        path = own.stack.folder / f"{place}.frames"
        write_messages(path, list(_messages(meter, own.end)))
        files.append(str(path))
    options = ReplayOptions(
        port=own.stack.bridge_port,
        ca=str(settings.TLS_DIR / "ca.pem"),
        devices=own.fleet,
        files=files,
    )
    own.stack.start_writer()
    own.stack.start_bridge()
    before = own.stack.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "devices.benchmarks.replay"],
        input=json.dumps(asdict(options)),
        capture_output=True,
        text=True,
        cwd=settings.BASE_DIR,
        env=own.stack.environment,
        check=False,
    )
    after = own.stack.cpu_seconds()
    for name in ("bridge", "writer"):
        own.stack.stop(name)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise StackError(f"the devices failed: {reason[0]}")
    sent: dict[str, Any] = json.loads(done.stdout)
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    writer_s = spent["writer"] + spent["postgres"]
    return {
        "frames": sent["acknowledged"],
        "seconds": sent["seconds"],
        "values_per_s": round(own.readings / sent["seconds"]),
        # What the writer and PostgreSQL would store, if frames came as fast as they take them.
        "values_per_s_of_the_writer": round(own.readings / writer_s),
        "cpu_s": round(sum(spent.values()), 1),
        "sent_bytes_per_value": round(sent["sent_bytes"] / own.readings, 3),
    }


def _messages(meter: Meter, end: datetime) -> Iterator[bytes]:
    times = history.times_of(meter, end)
    numbers = tuple(range(meter.raw.shape[0]))
    for sequence, at in enumerate(range(0, len(times), history.SAMPLES), start=1):
        part = slice(at, at + history.SAMPLES)
        block = Block(times[part], numbers, np.ascontiguousarray(meter.raw[:, part]))
        yield seal(MessageType.DATA, encode_data(sequence, [block]))


def settled(own: Own, empty: dict[str, int]) -> dict[str, float]:
    """Roll up and move what has come, and count its bytes; `empty` are the sizes before."""
    storage.maintain("ANALYZE")
    began, used = time.perf_counter(), own.stack.cpu_seconds()["postgres"] + time.process_time()
    storage.roll_all(own.scope)
    took = time.perf_counter() - began
    spent = own.stack.cpu_seconds()["postgres"] + time.process_time() - used
    stored = history.stored_rows()
    if (stored["readings"], stored["frames"]) != (own.readings, 0):
        raise StackError(f"of {own.readings} values sent {stored['readings']} are in segments")
    # What rewriting left behind is given back by autovacuum in operation.
    storage.maintain("VACUUM FULL")
    full = storage.sizes()
    parts = {name: (full[name] - empty[name]) / own.readings for name in full}
    return {
        "bytes_per_value": round(sum(parts.values()), 3),
        "bytes_per_value_of_segments": round(parts["telemetry_segment"], 3),
        "roll_and_move_s": round(took, 1),
        "roll_and_move_cpu_s": round(spent, 1),
    }


def repeat_quarters(own: Own, days: int) -> None:
    """Quarters of an hour of a year: those that were rolled up, again and again."""
    history.repeat(own.end, quarters=days, segments=history.PATTERN_DAYS)
    history.sum_all(own.scope, own.facility, own.end, days)
    with connections["owner"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


# --- What peers get ---------------------------------------------------------------------------


def raw_tables(own: Own) -> Iterator[Table]:
    """The readings of each meter, in the units of its channels."""
    for meter in own.meters:
        channels = own.channels[meter.device.pk]
        ratios = [one.resolution.as_integer_ratio() for one in channels]
        yield Table(
            meter.device.pk,
            tuple(one.key for one in channels),
            history.times_of(meter, own.end),
            [raw * up / down for raw, (up, down) in zip(meter.raw, ratios, strict=True)],
        )


def quarter_tables(own: Own, days: int) -> Iterator[Table]:
    """The mean of each channel in each quarter of an hour of the last days."""
    with open_scope(own.scope):
        for meter in own.meters:
            found = read_series(
                channels=[one.pk for one in own.channels[meter.device.pk]],
                start=own.end - timedelta(days=days),
                end=own.end,
                resolution=Resolution.QUARTER,
            )
            periods = [one.periods for one in found.channels if one.periods is not None]
            yield Table(
                meter.device.pk,
                tuple(one.channel.key for one in found.channels),
                periods[0].starts,
                [one.mean for one in periods],
            )


# --- Asking -----------------------------------------------------------------------------------


def asked_outside(own: Own, options: Namespace, http: Http) -> dict[str, Callable[[], int]]:
    """The REST API, by an access token: one request for all channels of a question."""
    own.stack.environment["WATTLINE_API_REQUESTS_PER_MINUTE"] = "10000000"
    uvicorn = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--lifespan", "off"]
    how = ["--port", str(own.stack.web_port), "--no-access-log", "--log-level", "warning"]
    # Others are asked in between, and a new connection is no part of a question.
    own.stack.start("web", [*uvicorn, *how, "--timeout-keep-alive", "600"])
    own.stack.wait("web", lambda: answers(own.stack.web_port))
    return {name: _asking(own, http, path) for name, path in _paths(own, options).items()}


def _paths(own: Own, options: Namespace) -> dict[str, str]:
    rows = [channel for channels in own.channels.values() for channel in channels]
    powers = [one.pk for one in rows if one.key == "active_power"]
    every = [one.pk for one in rows]
    span = timedelta(days=options.span_days)

    def path(channels: Sequence[int], length: timedelta, **asked: object) -> str:
        values = {
            "channels": ",".join(map(str, channels)),
            "start": (own.end - length).isoformat(),
            "end": own.end.isoformat(),
            **asked,
        }
        return f"/api/v1/facilities/{own.facility.pk}/series/?{urlencode(values)}"

    hour, day = timedelta(hours=1), timedelta(days=1)
    month, fifty = min(30 * day, span), every[:: history.CHANNELS // 50]
    return {
        "last_hour_raw_8_channels": path(powers[:8], hour, resolution="raw"),
        "day_raw_8_channels_in_2000_points": path(powers[:8], day, resolution="raw", points=2_000),
        "month_by_quarter_50_channels": path(fifty, month, resolution="quarter"),
        "year_by_day_200_channels": path(every, span, resolution="day"),
        "facility_total_of_a_year": path(powers[:1], span, resolution="month"),
    }


def _asking(own: Own, http: Http, path: str) -> Callable[[], int]:
    """Ask and take the whole answer; its rows are counted once, outside of what is measured."""
    headers = own.authorization | {"Accept": MEDIA_TYPE}
    status, body = http.ask("GET", path, headers=headers)
    if status != 200:
        raise StackError(f"the API answered {status}: {body[:300]!r}")
    head = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    rows = 0
    for channel in head["channels"]:
        columns = channel["columns"]
        rows += (columns.get("time") or columns.get("begin"))[2] if columns else 0

    def ask() -> int:
        http.ask("GET", path, headers=headers)
        return rows

    return ask
