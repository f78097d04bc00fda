"""Roll-ups of channels for tests. Call them inside an open scope that contains the tenant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection

from billing.models import Agreement, AgreementMeter, Flow, Tariff
from billing.tests import factories
from devices.models import Channel, Facility
from devices.telemetry import rollup_store
from devices.telemetry.rollup import QUARTER_MS, Quarters
from devices.telemetry.segment_store import milliseconds
from devices.tests.factories import device

# Energy by time of use and tier, and demand: what a bill has at its fullest.
DOCUMENT: dict[str, Any] = {
    "tariff": 1,
    "name": "Shops",
    "currency": "EUR",
    "schedules": {
        "use": [
            {"period": "day", "from": "06:00", "to": "22:00"},
            {"period": "night", "from": "00:00", "to": "06:00"},
            {"period": "night", "from": "22:00", "to": "24:00"},
        ]
    },
    "components": [
        {"name": "base", "kind": "standing", "amount": "10.00", "per": "month"},
        {
            "name": "energy",
            "kind": "energy",
            "schedule": "use",
            "prices": {
                "day": [{"up_to": "100", "price": "0.30"}, {"price": "0.25"}],
                "night": "0.20",
            },
            "tiers": {"per": "month"},
        },
        {
            "name": "demand",
            "kind": "demand",
            "window_min": 15,
            "prices": "5.00",
        },
        {"name": "vat", "kind": "tax", "percent": "19", "of": "all"},
    ],
}


def power(at: Facility) -> Channel:
    """The channel of a new device that measures active power."""
    return device(at).device.channels.get(key="active_power")


def quarters(
    of: Channel,
    start: datetime,
    energy: Sequence[float],
    *,
    returned: Sequence[float] | float = 0.0,
    coverage: Sequence[float] | float = 1.0,
) -> None:
    """Roll-ups of a power from an instant on: the Wh of each quarter, in both directions together,
    what of it flowed back, and how much of it was measured.
    """
    count = len(energy)
    first = milliseconds(start)
    wh = np.array(energy, np.float64)
    mean = wh * 4
    rollup_store.keep(
        connection,
        Quarters(
            np.zeros(count, np.int64),
            first + QUARTER_MS * np.arange(count),
            np.full(count, 450),
            mean,
            mean,
            mean,
            mean,
            mean,
            wh,
            np.broadcast_to(np.asarray(returned, np.float64), count).copy(),
            np.broadcast_to(np.asarray(coverage, np.float64), count).copy(),
        ),
        tenants=np.full(count, of.tenant_id),
        devices=np.full(count, of.device_id),
        channels=np.full(count, of.number),
    )


def meter(
    of: Agreement,
    channel: Channel,
    starts_at: datetime,
    *,
    ends_at: datetime | None = None,
    share: str = "1",
    flow: Flow = Flow.IMPORT,
) -> AgreementMeter:
    """A channel that an agreement is billed by."""
    return AgreementMeter.objects.create(
        tenant_id=of.tenant_id,
        agreement=of,
        facility_id=of.facility_id,
        channel=channel,
        flow=flow,
        share=share,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def tariff(at: Facility, document: dict[str, Any] | None = None) -> Tariff:
    """A tariff of the facility's tenant, by DOCUMENT unless said otherwise."""
    return factories.tariff(at.tenant, document or DOCUMENT)
