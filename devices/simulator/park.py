"""The park of the demo: who has which facilities, what stands in them, and how the model plays it.

Plain data for two readers: the demo command, which registers facilities and devices, and the
simulator, which plays them. All names and house numbers are invented; the cities are real, so that
sun, weather and clock changes are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from devices.simulator.catalogue import (
    BATTERY,
    GATEWAY,
    INVERTER,
    MAINS,
    SMART_METER,
    SUBMETER,
    MeterType,
)
from devices.simulator.faults import UpdateFaults
from devices.simulator.model import commerce, site
from devices.simulator.model.household import Equipment, household_loads
from devices.simulator.model.loads import Load, Opening
from devices.simulator.model.site import Layout, Site
from devices.simulator.model.sources import Battery, Photovoltaics
from devices.simulator.model.weather import Place

CHAIN: Final = "fennel-rye"
UTILITY: Final = "auental-energie"


@dataclass(frozen=True, slots=True)
class Spot:
    """Address and zone of a facility."""

    street: str
    postal_code: str
    city: str
    country: str
    latitude: float
    longitude: float
    time_zone: str


@dataclass(frozen=True, slots=True)
class ParkDevice:
    """A device of a facility: `meter` is the key of what it measures in the model.

    `placement` and `load` (name, category) are codes of the portal's models; None: no load.
    """

    meter: str
    serial: str
    name: str
    type: MeterType
    placement: str
    load: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ParkFacility:
    """A facility with its devices; `layout(seed)` is its model."""

    number: int
    tenant: str
    name: str
    kind: str
    spot: Spot
    devices: tuple[ParkDevice, ...]
    layout: Callable[[int], Layout]

    @property
    def seed(self) -> int:
        """What makes this facility's loads different from its neighbours'."""
        return 1_000 + self.number

    def site(self, epoch_s: int) -> Site:
        """The model of the facility from an epoch on."""
        return Site(seed=self.seed, layout=self.layout(self.seed), epoch_s=epoch_s)


# What the chain measures apart: name of the sub-meter, its load, and the loads behind it.
_FEEDERS: Final = {
    "refrigeration": ("Refrigeration", ("Refrigeration", "refrigeration")),
    "hvac": ("HVAC", ("Heating, ventilation, air conditioning", "hvac")),
    "lighting": ("Lighting", ("Lighting", "lighting")),
    "bakery": ("Bakery", ("Bakery ovens", "cooking")),
    "car_wash": ("Car wash", ("Car wash", "washing")),
    "pumps": ("Fuel pumps", ("Fuel pumps", "pumps")),
    "general": ("Tills and sockets", ("Tills and sockets", "general")),
}


def _feeder(key: str, seed: int, area: float, hours: Opening) -> tuple[Load, ...]:
    loads: dict[str, Callable[[], list[Load]]] = {
        "refrigeration": lambda: commerce.refrigeration(seed, commerce.Shop(area, hours)),
        "hvac": lambda: commerce.hvac(seed, area, hours),
        "lighting": lambda: commerce.lighting(seed, area, hours),
        "bakery": lambda: commerce.bakery(seed, hours),
        "car_wash": lambda: commerce.car_wash(seed, hours),
        "pumps": lambda: commerce.fuel_pumps(seed, hours),
        "general": lambda: commerce.general(seed, area, hours),
    }
    return tuple(loads[key]())


def _chain_facility(
    number: int,
    name: str,
    kind: str,
    spot: Spot,
    feeders: tuple[str, ...],
    *,
    area: float,
    hours: Opening,
    photovoltaics: Photovoltaics | None = None,
) -> ParkFacility:
    code = f"FR{number:02d}"
    devices = [
        ParkDevice(site.MAINS, f"{code}-MAINS", "Mains", MAINS, "mains"),
        *(
            ParkDevice(
                key, f"{code}-{key.upper().replace('_', '')}", _FEEDERS[key][0], SUBMETER,
                "submeter", _FEEDERS[key][1],
            )
            for key in feeders
        ),
    ]  # fmt: skip
    if photovoltaics:
        devices.append(
            ParkDevice(
                site.PHOTOVOLTAICS, f"{code}-PV", "Roof photovoltaics", INVERTER, "generation",
                ("Roof photovoltaics", "generation"),
            )
        )  # fmt: skip

    def layout(seed: int) -> Layout:
        return Layout(
            place=Place(spot.latitude, spot.longitude),
            time_zone=spot.time_zone,
            feeders={key: _feeder(key, seed, area, hours) for key in feeders},
            photovoltaics=photovoltaics,
            impedance=0.02,
            region=number,
        )

    return ParkFacility(number, CHAIN, name, kind, spot, tuple(devices), layout)


_SHOP: Final = ("refrigeration", "hvac", "lighting", "bakery", "general")
_STATION: Final = ("refrigeration", "hvac", "lighting", "car_wash", "pumps")

CHAIN_FACILITIES: Final = (
    _chain_facility(
        1, "Hamburg Winterhude", "shop",
        Spot("Barmbeker Straße 188", "22303", "Hamburg", "DE", 53.5917, 10.0142, "Europe/Berlin"),
        _SHOP, area=950, hours=commerce.SHOP_HOURS,
    ),
    _chain_facility(
        2, "Lisboa Alvalade", "shop",
        Spot("Avenida da Igreja 61", "1700-237", "Lisboa", "PT", 38.7531, -9.1440,
             "Europe/Lisbon"),
        _SHOP, area=620, hours=Opening(8, 22, 8.5, 21),
    ),
    _chain_facility(
        3, "Helsinki Kallio", "shop",
        Spot("Fleminginkatu 27", "00530", "Helsinki", "FI", 60.1869, 24.9504, "Europe/Helsinki"),
        ("refrigeration", "hvac", "lighting", "general"), area=480,
        hours=Opening(6, 23, 7, 23),
    ),
    _chain_facility(
        4, "Kraków Wieliczka A4", "fuel_station",
        Spot("Autostrada A4 km 429", "32-020", "Wieliczka", "PL", 49.9976, 20.0561,
             "Europe/Warsaw"),
        _STATION, area=230, hours=commerce.STATION_HOURS,
    ),
    _chain_facility(
        5, "Las Palmas Tamaraceite", "shop",
        Spot("Carretera General del Norte 214", "35018", "Las Palmas de Gran Canaria", "ES",
             28.0996, -15.4620, "Atlantic/Canary"),
        ("refrigeration", "hvac", "lighting", "general"), area=740,
        hours=Opening(8.5, 21.5, 8.5, 21.5),
        photovoltaics=Photovoltaics(58_000, 50_000, tilt=12, azimuth=170),
    ),
    _chain_facility(
        6, "Dubai Al Quoz", "fuel_station",
        Spot("18th Street 7, Al Quoz 3", "", "Dubai", "AE", 25.1412, 55.2374, "Asia/Dubai"),
        _STATION, area=310, hours=Opening(0.5, 23.5, 0.5, 23.5),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Home:
    """A household of the utility."""

    name: str
    street: str
    equipment: Equipment
    photovoltaics: Photovoltaics | None = None
    battery: Battery | None = None


_HOMES: Final = (
    _Home("Ahornweg 3", "Ahornweg 3", Equipment(4, 2_100, 11_000),
          Photovoltaics(9_800, 9_000), Battery(10_200, 5_000)),
    _Home("Ahornweg 5", "Ahornweg 5", Equipment(2)),
    _Home("Birkenallee 12", "Birkenallee 12", Equipment(3, 1_800),
          Photovoltaics(7_200, 6_600, azimuth=215)),
    _Home("Birkenallee 14", "Birkenallee 14", Equipment(1, dryer=False)),
    _Home("Dorfplatz 1", "Dorfplatz 1", Equipment(5, 0, 3_700)),
    _Home("Dorfplatz 8", "Dorfplatz 8", Equipment(2, 1_600),
          Photovoltaics(11_500, 10_000, tilt=40), Battery(7_700, 4_600)),
    _Home("Im Grün 22", "Im Grün 22", Equipment(2, dryer=False)),
    _Home("Im Grün 24", "Im Grün 24", Equipment(4, 2_400, 11_000),
          Photovoltaics(14_000, 12_000, azimuth=160), Battery(12_800, 6_000)),
    _Home("Mühlgasse 9", "Mühlgasse 9", Equipment(3)),
    _Home("Rebstockweg 17", "Rebstockweg 17", Equipment(1, 0, 3_700)),
    _Home("Rebstockweg 19", "Rebstockweg 19", Equipment(4, 0, 11_000),
          Photovoltaics(6_400, 5_000, azimuth=110), Battery(5_100, 2_500)),
    _Home("Sonnhalde 2", "Sonnhalde 2", Equipment(2, 2_000)),
)  # fmt: skip


def _household(number: int, home: _Home) -> ParkFacility:
    code = f"AE{number:03d}"
    spot = Spot(home.street, "79312", "Emmendingen", "DE", 48.1211 + number * 0.0007,
                7.8493 + number % 5 * 0.0011, "Europe/Berlin")  # fmt: skip
    devices = [ParkDevice(site.MAINS, f"{code}-METER", "Smart meter", SMART_METER, "mains")]
    if home.photovoltaics:
        devices.append(
            ParkDevice(
                site.PHOTOVOLTAICS, f"{code}-PV", "Photovoltaics", INVERTER, "generation",
                ("Photovoltaics", "generation"),
            )
        )  # fmt: skip
    if home.battery:
        devices.append(
            ParkDevice(
                site.BATTERY, f"{code}-BATTERY", "Battery", BATTERY, "storage",
                ("Battery", "storage"),
            )
        )  # fmt: skip

    def layout(seed: int) -> Layout:
        return Layout(
            place=Place(spot.latitude, spot.longitude),
            time_zone=spot.time_zone,
            feeders={"home": tuple(household_loads(seed, home.equipment))},
            photovoltaics=home.photovoltaics,
            battery=home.battery,
            impedance=0.12,
            region=100,
        )

    return ParkFacility(100 + number, UTILITY, home.name, "household", spot, tuple(devices), layout)


HOUSEHOLDS: Final = tuple(_household(number, home) for number, home in enumerate(_HOMES, start=1))

FACILITIES: Final = (*CHAIN_FACILITIES, *HOUSEHOLDS)

# Beside the meters, in the cabinets of some facilities: they have no part in the model, and ask for
# their updates over HTTP.
GATEWAYS: Final = tuple(
    (facility.name, ParkDevice("", f"FR{number:02d}-GATEWAY", "Edge gateway", GATEWAY, "sensor"))
    for number, facility in enumerate(CHAIN_FACILITIES, start=1)
    if number <= 3
)

# What goes wrong with their updates: one has worn out its memory, one does not come back from the
# restart into a new firmware (until somebody switches it off and on again).
WORN: Final = "AE009-METER"
LOST: Final = "AE004-METER"
FAULTS: Final = MappingProxyType(
    {WORN: UpdateFaults(bad_flash=True), LOST: UpdateFaults(never_returns=True)}
)
