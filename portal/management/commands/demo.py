"""`manage.py demo`: the demo tenants, with the secrets that the simulator needs to play them."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from redis import Redis

from devices.domain import operations
from devices.domain.operations import Address, Eviction
from devices.management import provision
from devices.management.provision import WantedDevice
from devices.models import (
    Allocation,
    Channel,
    Device,
    Facility,
    FacilityKind,
    Load,
    LoadCategory,
    Placement,
)
from devices.simulator import keyring
from devices.simulator.park import CHAIN, FACILITIES, UTILITY, ParkFacility
from devices.simulator.replay import ReplayError
from devices.simulator.replay import load as load_recording
from portal.management.demo_firmware import ensure_firmware
from portal.management.demo_gateways import ensure_gateways
from portal.management.demo_groups import ensure_groups
from portal.management.demo_people import OPERATOR, ensure_people
from portal.management.demo_prepaid import ensure_payg
from portal.management.demo_stock import ensure_stock
from portal.oauth import own
from tenants.domain import operations as people
from tenants.domain.queries import all_tenant_ids
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope

_TENANTS: Final = (
    (OPERATOR, "Wattline", TenantKind.OPERATOR, "UTC"),
    (CHAIN, "Fennel & Rye Markets", TenantKind.CLIENT, "Europe/Berlin"),
    (UTILITY, "Auental Energie", TenantKind.CLIENT, "Europe/Berlin"),
)

# All loads were installed at the turn of the year; one sub-meter has changed its load since.
INSTALLED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
MOVED_AT: Final = datetime(2026, 6, 30, 22, tzinfo=UTC)
MOVED_SERIAL: Final = "FR02-BAKERY"
MOVED_FROM: Final = ("Delicatessen counter", LoadCategory.COOKING)

RECORDING: Final = "house-redd-h5-3s/grid-2011-05-31.csv.gz"
RECORDED_HOUSE: Final = "House (recording)"
_RECORDED_MAINS: Final = ("mains_1", "mains_2")
_RECORDED_CATEGORIES: Final = {
    "lighting": LoadCategory.LIGHTING,
    "furnace": LoadCategory.HVAC,
    "electric_heat": LoadCategory.HVAC,
    "refrigerator": LoadCategory.REFRIGERATION,
    "microwave": LoadCategory.COOKING,
    "kitchen": LoadCategory.COOKING,
    "washer": LoadCategory.WASHING,
    "dishwasher": LoadCategory.WASHING,
    "electronics": LoadCategory.IT,
}


class Command(BaseCommand):
    """Makes what is missing and keeps what is there; prints logins and claim codes as JSON."""

    _waiting: list[dict[str, str]]  # claim codes that nobody has used

    help = "Make the demo tenants, their users and devices, as far as they are missing."

    def handle(self, *args: object, **options: Any) -> None:
        path = settings.HOME / "demo.json"
        try:
            state = keyring.load(path)
            evictions = self._ensure(state)
            keyring.save(path, state)
        except (keyring.KeyringError, provision.ProvisionError) as error:
            raise CommandError(f"demo: {error}") from error
        if evictions:
            with Redis.from_url(settings.REDIS_URL) as redis:
                for eviction in evictions:
                    redis.publish(eviction.channel, eviction.payload)
        printed = {"path": "/", "logins": state["logins"], "claim_codes": self._waiting}
        self.stdout.write(json.dumps(printed, ensure_ascii=False))

    def _ensure(self, state: dict[str, Any]) -> list[Eviction]:
        """Complete database and state; returns notices for the bridges, to be sent now."""
        # Registers begin two days before the first midnight (UTC) of the demo and count on from
        # there: so far back go the readings of the devices.
        state.setdefault("epoch_s", (int(time.time()) // 86_400 - 2) * 86_400)
        devices: dict[str, Any] = state.setdefault("devices", {})
        tenants = _ensure_tenants()
        evictions: list[Eviction] = []
        for slug in (CHAIN, UTILITY):
            tenant = tenants[slug]
            with open_scope(Scope((tenant.pk,))):
                for facility in FACILITIES:
                    if facility.tenant == slug:
                        evictions += _ensure_facility(tenant, facility, devices)
                if slug == UTILITY:
                    evictions += self._ensure_recording(tenant, state)
                if slug == CHAIN:
                    evictions += ensure_gateways(tenant, state)
                ensure_groups(tenant)
        ensure_payg(devices)
        state["logins"] = ensure_people(tenants, state.get("logins", []))
        self._waiting = ensure_stock(
            tenants[OPERATOR], all_tenant_ids(), state.setdefault("claim_codes", {})
        )
        ensure_firmware(tenants[OPERATOR], settings.HOME, state)
        own.keep_all()
        return evictions

    def _ensure_recording(self, tenant: Tenant, state: dict[str, Any]) -> list[Eviction]:
        """The recorded house, where its recording is at hand."""
        path = recordings_folder() / RECORDING
        if not path.is_file():
            self.stderr.write(
                f"demo: {path} is not there, so no recorded house: all devices are modelled"
            )
            return []
        try:
            recorded = load_recording(path)[0]
        except ReplayError as error:
            self.stderr.write(f"demo: no recorded house: {error}")
            return []
        columns = [name for group in recorded.groups for name in group.names]
        circuits = [name for name in columns if name not in _RECORDED_MAINS]
        wanted = []
        channels = {}
        for serial, name, placement, chosen in (
            ("AE900-MAINS", "Mains", Placement.MAINS, _RECORDED_MAINS),
            ("AE900-CIRCUITS", "Circuits", Placement.SUBMETER, circuits),
        ):
            code = f"REC-REDD-{name.upper()}"
            meter, played = provision.recorded_type(
                code, f"Recorded house, {name.lower()}", recorded, chosen
            )
            wanted.append(WantedDevice(serial, name, meter, placement))
            channels[serial] = played
        facility = provision.ensure_facility(
            tenant.pk,
            RECORDED_HOUSE,
            kind=FacilityKind.HOUSEHOLD,
            time_zone="America/New_York",
            address=Address(city="Boston", region="Massachusetts", country="US"),
        )
        evictions = provision.ensure_devices(facility, wanted, state["devices"])
        for serial, played in channels.items():
            state["devices"][serial]["channels"] = played
        _allocate_circuits(facility)
        state["recording"] = {"path": str(path), "devices": list(channels)}
        return evictions


def recordings_folder() -> Path:
    """Where recordings lie: WATTLINE_DATA, else beside the checkout."""
    configured = os.environ.get("WATTLINE_DATA")
    return Path(configured) if configured else settings.BASE_DIR.parent / "shared" / "data"


def _ensure_tenants() -> dict[str, Tenant]:
    with open_scope(Scope(all_tenant_ids())):
        slugs = [slug for slug, *_ in _TENANTS]
        tenants = {tenant.slug: tenant for tenant in Tenant.objects.filter(slug__in=slugs)}
    for slug, name, kind, time_zone in _TENANTS:
        if slug not in tenants:
            parent = None if kind is TenantKind.OPERATOR else tenants[OPERATOR].pk
            tenants[slug] = people.create_tenant(
                name=name, slug=slug, kind=kind, parent_id=parent, time_zone=time_zone,
                actor_id=None,
            )  # fmt: skip
    return tenants


def _ensure_facility(tenant: Tenant, park: ParkFacility, devices: dict[str, Any]) -> list[Eviction]:
    spot = park.spot
    facility = provision.ensure_facility(
        tenant.pk,
        park.name,
        kind=FacilityKind(park.kind),
        time_zone=spot.time_zone,
        address=Address(
            street=spot.street,
            postal_code=spot.postal_code,
            city=spot.city,
            country=spot.country,
            latitude=Decimal(f"{spot.latitude:.6f}"),
            longitude=Decimal(f"{spot.longitude:.6f}"),
        ),
    )
    wanted = [
        WantedDevice(device.serial, device.name, device.type, Placement(device.placement))
        for device in park.devices
    ]
    evictions = provision.ensure_devices(facility, wanted, devices)
    loads = {
        device.serial: (device.load[0], LoadCategory(device.load[1]))
        for device in park.devices
        if device.load
    }
    _allocate(facility, loads)
    return evictions


def _allocate(facility: Facility, loads: dict[str, tuple[str, LoadCategory]]) -> None:
    """Let the additive channels of sub-meters, inverters and batteries measure their loads."""
    allocated = set(
        Allocation.objects.filter(facility=facility).values_list("channel_id", flat=True)
    )
    for device in Device.objects.filter(facility=facility, serial__in=loads):
        channels = [
            channel.pk
            for channel in Channel.objects.filter(device=device, in_total=True)
            if channel.pk not in allocated
        ]
        if not channels:
            continue
        load = _load(facility, *loads[device.serial])
        starts_at = INSTALLED_AT
        if device.serial == MOVED_SERIAL:
            former = _load(facility, *MOVED_FROM)
            for channel_id in channels:
                operations.allocate_channel(
                    channel_id=channel_id, load_id=former.pk, starts_at=INSTALLED_AT,
                    ends_at=MOVED_AT, actor_id=None,
                )  # fmt: skip
            starts_at = MOVED_AT
        for channel_id in channels:
            operations.allocate_channel(
                channel_id=channel_id, load_id=load.pk, starts_at=starts_at, actor_id=None
            )


def _allocate_circuits(facility: Facility) -> None:
    """One load for each circuit of the recorded house."""
    allocated = set(
        Allocation.objects.filter(facility=facility).values_list("channel_id", flat=True)
    )
    circuits = Channel.objects.filter(device__facility=facility, device__placement="submeter")
    for channel in circuits:
        if channel.pk in allocated:
            continue
        category = next(
            (
                category
                for beginning, category in _RECORDED_CATEGORIES.items()
                if channel.key.startswith(beginning)
            ),
            LoadCategory.GENERAL,
        )
        operations.allocate_channel(
            channel_id=channel.pk,
            load_id=_load(facility, channel.name, category).pk,
            starts_at=INSTALLED_AT,
            actor_id=None,
        )


def _load(facility: Facility, name: str, category: LoadCategory) -> Load:
    found = Load.objects.filter(facility=facility, name=name).first()
    return found or operations.create_load(
        tenant_id=facility.tenant_id,
        facility_id=facility.pk,
        name=name,
        category=category,
        actor_id=None,
    )
