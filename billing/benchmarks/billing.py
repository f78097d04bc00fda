"""Bills of a month, from roll-ups to final bills in the database, by two workers.

Every account is a household with a meter whose quarters of an hour are packed as the product packs
them: PATTERN_DAYS days of readings, a minute apart, that the roller has computed, dealt out to the
accounts. They are billed by time of use × tiers × demand with tax, checked, accepted, approved.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.db import connections

from billing.domain import runs_operations
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Bill,
    BillRun,
    BillState,
    Customer,
    NumberSeries,
    RunState,
    Tariff,
    TariffVersion,
    VersionState,
)
from billing.tariffs.document import sha256_of
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.domain.operations import ChannelSpec, create_device_type
from devices.models import Channel, Device, DeviceState, DeviceType, Facility, FacilityKind
from devices.telemetry.rollup import roll
from devices.telemetry.rollup_codec import DAY_MS, encode
from devices.telemetry.rollup_samples import Kind, Samples, Series
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope

ACCOUNTS: Final = 2_000
WORKERS: Final = 2
GOAL: Final = 300.0
PDF_GOAL: Final = 20.0
PATTERN_DAYS: Final = 64
FIRST: Final = date(2026, 3, 1)
END: Final = date(2026, 4, 1)
ZONE: Final = "Europe/Berlin"
_KNOWN: Final = datetime(2020, 1, 1, tzinfo=UTC)
_STEP_MS: Final = 60_000
_RESOLUTION: Final = Decimal("0.1")
_AT_ONCE: Final = 5_000
_SEED: Final = 6
_WAIT_S: Final = 0.05
_LONGEST_S: Final = 3_600.0
DOCUMENT: Final[dict[str, Any]] = {
    "tariff": 1,
    "name": "Households",
    "currency": "EUR",
    "holidays": "DE-BY",
    "seasons": {"summer": ["04-01..09-30"], "winter": ["10-01..03-31"]},
    "schedules": {
        "use": [
            {"period": "low", "days": ["sat", "sun", "holiday"]},
            {"period": "low", "days": ["mon", "tue", "wed", "thu", "fri"], "to": "06:00"},
            {
                "period": "peak",
                "days": ["mon", "tue", "wed", "thu", "fri"],
                "from": "06:00",
                "to": "20:00",
            },
            {"period": "mid", "days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00"},
        ]
    },
    "components": [
        {"kind": "standing", "name": "base", "amount": "9.90", "per": "month"},
        {
            "kind": "energy",
            "name": "energy",
            "schedule": "use",
            "prices": {
                "low": [{"up_to": "100", "price": "0.24"}, {"price": "0.22"}],
                "mid": [{"up_to": "100", "price": "0.29"}, {"price": "0.27"}],
                "peak": [{"up_to": "100", "price": "0.36"}, {"price": "0.33"}],
            },
            "tiers": {"per": "month"},
        },
        {"kind": "demand", "name": "demand", "window_min": 15, "prices": "4.20"},
        {"kind": "tax", "name": "vat", "percent": "19", "of": "all"},
    ],
}


def add_arguments(parser: ArgumentParser) -> None:
    """How many accounts are billed, and how long documents are made."""
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--pdf-seconds", type=int, default=10)


def run(options: Namespace) -> dict[str, object]:
    """Measure; `ok` is False when bills are missing, numbers have a gap, or it takes too long.

    `bills_per_s` counts everything from asking for the run until the last bill is final, accepting
    what the checklist holds included; `rss_mb` is the most that the workers held together until
    then. `pdf_per_s`: documents that they then make, none of which is kept.
    """
    with open_stack() as stack:
        began = time.perf_counter()
        tenant_id = _fill(options.accounts)
        filled_s = time.perf_counter() - began
        with _workers(stack) as workers:
            before = stack.cpu_seconds()["postgres"]
            took = _bill(tenant_id)
            postgres_s = stack.cpu_seconds()["postgres"] - before
            documents = _documents(workers, tenant_id, options.pdf_seconds)
            used = [_ended(worker) for worker in workers]
        stored = _stored(tenant_id)
    whole_s = sum(took.values())
    complete = stored["bills"] == stored["entries"] == stored["numbers"] == options.accounts
    rate = options.accounts / whole_s
    return {
        "ok": complete and rate >= GOAL and documents >= PDF_GOAL,
        "complete": complete,
        "goal_bills_per_s": GOAL,
        "goal_pdf_per_s": PDF_GOAL,
        "accounts": options.accounts,
        "bills_per_s": round(rate, 1),
        "pdf_per_s": documents,
        "rss_mb": round(sum(one["rss_mb"] for one in used)),
        "workers_cpu_s": round(sum(one["cpu_s"] for one in used), 1),
        "postgres_cpu_s": round(postgres_s, 1),
        "filled_s": round(filled_s, 1),
        "seconds": {name: round(value, 2) for name, value in took.items()},
        "stored": stored,
    }


def _bill(tenant_id: int) -> dict[str, float]:
    """A run from its beginning to its end; how long each part of it took."""
    scope = Scope((tenant_id,))
    clock = [time.perf_counter()]
    with open_scope(scope):
        made = runs_operations.start(
            tenant_id=tenant_id, first_on=FIRST, now=datetime.now(UTC), actor_id=None
        )
    clock.append(time.perf_counter())
    _wait(scope, made.pk, RunState.CHECKING)
    clock.append(time.perf_counter())
    with open_scope(scope):
        runs_operations.accept(
            run_id=made.pk, reason="Measured.", now=datetime.now(UTC), actor_id=None
        )
        runs_operations.approve(run_id=made.pk, issued_on=END, now=datetime.now(UTC), actor_id=None)
    clock.append(time.perf_counter())
    _wait(scope, made.pk, RunState.FINISHED)
    clock.append(time.perf_counter())
    names = ("ask", "drafts", "decide", "final")
    return dict(zip(names, np.diff(clock).tolist(), strict=True))


def _wait(scope: Scope, run_id: int, state: RunState) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while True:
        with open_scope(scope):
            if BillRun.objects.get(pk=run_id).state == state:
                return
        if time.monotonic() > deadline:
            raise StackError(f"the run was not {state} within {_LONGEST_S:.0f} s")
        time.sleep(_WAIT_S)


# --- Workers ------------------------------------------------------------------------------------


@contextmanager
def _workers(stack: Stack) -> Iterator[list[subprocess.Popen[str]]]:
    """Workers that are ready, as processes; they end with the block at the latest."""
    command = [sys.executable, "-m", "billing.benchmarks.worker"]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=settings.BASE_DIR,
            env=stack.environment,
            text=True,
        )
        for _ in range(WORKERS)
    ]
    try:
        for worker in started:
            if worker.stdout is None or worker.stdout.readline().strip() != "ready":
                raise StackError("a worker of the benchmark did not start")
        yield started
    finally:
        for worker in started:
            worker.kill()
            worker.wait()


def _documents(workers: Sequence[subprocess.Popen[str]], tenant_id: int, seconds: int) -> float:
    """How many documents of bills all workers together make in a second: PDF with the e-invoice in
    it, and UBL.
    """
    for part, worker in enumerate(workers):
        assert worker.stdin is not None
        worker.stdin.write(f"{tenant_id} {part} {len(workers)} {seconds}\n")
        worker.stdin.flush()
    rate = 0.0
    for worker in workers:
        assert worker.stdout is not None
        made = json.loads(worker.stdout.readline())
        rate += made["made"] / made["seconds"]
    return round(rate, 1)


def _ended(worker: subprocess.Popen[str]) -> dict[str, float]:
    """What a worker has used, asked for by the end of its input."""
    answer, _ = worker.communicate(timeout=60)
    used: dict[str, float] = json.loads(answer.strip().splitlines()[-1])
    return used


def _stored(tenant_id: int) -> dict[str, float]:
    """What is in the database; `numbers` is how many there are if they have no gap, else 0."""
    with open_scope(Scope((tenant_id,))):
        final = Bill.objects.filter(state=BillState.FINAL)
        numbers = sorted(final.values_list("number", flat=True))
        following = NumberSeries.objects.get(code="bill").next_number
        prefix = NumberSeries.objects.get(code="bill").prefix
        expected = [f"{prefix}{number:06}" for number in range(1, following)]
        found = {
            "bills": final.count(),
            "entries": AccountEntry.objects.count(),
            "numbers": len(numbers) if numbers == sorted(expected) else 0,
        }
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM billing_billline), (SELECT count(*) FROM rollup_packed),"
            " (SELECT coalesce(avg(length(body)), 0)::int FROM billing_billevidence)"
        )
        row: Any = cursor.fetchone()
    return found | dict(zip(("lines", "packed_days", "evidence_bytes"), row, strict=True))


# --- What is billed -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    tenant: Tenant
    kind: DeviceType
    tariff: Tariff


def _fill(accounts: int) -> int:
    """Accounts with their meters and roll-ups; returns the tenant."""
    tenant_id = (
        Tenant.objects.using("owner")
        .create(kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark")
        .pk
    )
    with open_scope(Scope((tenant_id,))):
        tenant = Tenant.objects.get(pk=tenant_id)
        made = _Made(tenant, _device_type(tenant), _tariff(tenant))
        for begin in range(0, accounts, _AT_ONCE):
            _accounts(made, range(begin, min(begin + _AT_ONCE, accounts)))
    _roll_ups()
    with connections["owner"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return tenant_id


def _device_type(tenant: Tenant) -> DeviceType:
    channel = ChannelSpec(
        number=0,
        key="active_power",
        name="Active power",
        quantity="active_power",
        resolution=_RESOLUTION,
        minimum=Decimal(-20_000),
        maximum=Decimal(20_000),
    )
    return create_device_type(
        tenant_id=tenant.pk, code="bench", name="Meter", channels=[channel], actor_id=None
    )


def _tariff(tenant: Tenant) -> Tariff:
    tariff = Tariff.objects.create(tenant=tenant, name="Households", currency="EUR")
    TariffVersion.objects.create(
        tenant=tenant,
        tariff=tariff,
        valid_from=date(2020, 1, 1),
        state=VersionState.PUBLISHED,
        document=DOCUMENT,
        sha256=sha256_of(DOCUMENT),
        published_at=_KNOWN,
    )
    return tariff


def _accounts(made: _Made, numbers: Sequence[int]) -> None:
    tenant = made.tenant
    facilities = Facility.objects.bulk_create(
        Facility(tenant=tenant, name=f"House {n:06}", kind=FacilityKind.HOUSEHOLD, time_zone=ZONE)
        for n in numbers
    )
    devices = Device.objects.bulk_create(
        Device(
            tenant=tenant,
            facility=at,
            device_type=made.kind,
            serial=f"BENCH-{n:06}",
            name="Meter",
            state=DeviceState.ACTIVE,
            secret_sha256=n.to_bytes(32, "big"),
        )
        for n, at in zip(numbers, facilities, strict=True)
    )
    channels = Channel.objects.bulk_create(
        Channel(
            tenant=tenant,
            device=device,
            number=0,
            key="active_power",
            name="Active power",
            quantity="active_power",
            unit="W",
            resolution=_RESOLUTION,
            minimum=Decimal(-20_000),
            maximum=Decimal(20_000),
        )
        for device in devices
    )
    customers = Customer.objects.bulk_create(
        Customer(tenant=tenant, number=f"C{n:06}", name=f"Customer {n:06}", country="DE")
        for n in numbers
    )
    agreements = Agreement.objects.bulk_create(
        Agreement(
            tenant=tenant,
            customer=customer,
            facility=at,
            number=f"A{n:06}",
            currency="EUR",
            starts_on=FIRST,
        )
        for n, customer, at in zip(numbers, customers, facilities, strict=True)
    )
    AgreementTariff.objects.bulk_create(
        AgreementTariff(
            tenant=tenant,
            agreement=agreement,
            facility_id=agreement.facility_id,
            tariff=made.tariff,
            starts_on=FIRST,
        )
        for agreement in agreements
    )
    AgreementMeter.objects.bulk_create(
        AgreementMeter(
            tenant=tenant,
            agreement=agreement,
            facility_id=agreement.facility_id,
            channel=channel,
            starts_at=_KNOWN,
        )
        for agreement, channel in zip(agreements, channels, strict=True)
    )


def _roll_ups() -> None:
    """The packed days of all devices: each day of each one of the patterns."""
    first = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) - timedelta(days=1)
    days = (END - FIRST).days + 2
    with connections["owner"].cursor() as cursor:
        for day in range(days):
            start = first + timedelta(days=day)
            bodies = list(_patterns(int(start.timestamp()) * 1000))
            cursor.execute(
                "INSERT INTO rollup_packed (starts_at, tenant_id, device_id, body)"
                " SELECT %s, d.tenant_id, d.id, p.body FROM devices_device d"
                " JOIN unnest(%s::bytea[]) WITH ORDINALITY AS p(body, n)"
                " ON p.n = 1 + (d.id * 7 + %s) %% %s ORDER BY d.id",
                [start, bodies, day, len(bodies)],
            )


def _patterns(start_ms: int) -> Iterator[bytes]:
    """Days of a household, rolled up and packed: a load that goes on and off around a base."""
    draw = np.random.default_rng(_SEED)
    series = [Series(0, 0, _RESOLUTION, Kind.POWER, _STEP_MS)]
    times = np.arange(start_ms, start_ms + DAY_MS, _STEP_MS, dtype=np.int64)
    nothing = np.zeros(len(times), np.int64)
    shape = 1.3 - np.cos(2 * np.pi * np.arange(len(times)) / len(times))
    for _ in range(PATTERN_DAYS):
        noise = np.repeat(draw.lognormal(0.0, 0.8, len(times) // 15), 15)
        raw = np.rint(2_000 * shape * noise).clip(0, 199_990).astype(np.int64)
        quarters = roll(Samples(nothing, times, nothing, raw), series)
        inside = (quarters.starts >= start_ms) & (quarters.starts < start_ms + DAY_MS)
        own = quarters.only(inside)
        yield encode(start_ms, own.series, own, {0: _RESOLUTION.as_integer_ratio()})
