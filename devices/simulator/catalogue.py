"""The device types that the model plays: channels, resolutions and physical limits.

Plain data, from which the demo makes device types and the model its integers. Numbers are stored
with the readings for ever: a type is never changed, a new one is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class ChannelType:
    """One channel: reading = integer × `resolution`, within `minimum` … `maximum`.

    Units are those of the quantity (`devices.quantities`). `in_total`: counts into the facility's
    total when the device measures the mains.
    """

    number: int
    key: str
    name: str
    quantity: str
    resolution: Decimal
    minimum: Decimal
    maximum: Decimal
    in_total: bool = False

    @property
    def scale(self) -> float:
        """Integers per unit."""
        return float(1 / self.resolution)


@dataclass(frozen=True, slots=True)
class MeterType:
    """A device type by its code, with its channels in order of their number."""

    code: str
    name: str
    manufacturer: str
    channels: tuple[ChannelType, ...]
    step_ms: int = 2_000
    samples: int = 30
    capabilities: tuple[str, ...] = ("live",)

    def number(self, key: str) -> int:
        """The number of the channel with a key; KeyError when there is none."""
        for channel in self.channels:
            if channel.key == key:
                return channel.number
        raise KeyError(f"{self.code} has no channel {key}")


_Spec = tuple[str, str, str, str, str, str]  # key, name, quantity, resolution, minimum, maximum
_REGISTER_MAX: Final = "1000000000000"  # 1 TWh in Wh: no register of a facility gets there


def _channels(*specs: _Spec, in_total: tuple[str, ...] = ()) -> tuple[ChannelType, ...]:
    return tuple(
        ChannelType(
            number, key, name, quantity, Decimal(resolution), Decimal(low), Decimal(high),
            key in in_total,
        )
        for number, (key, name, quantity, resolution, low, high) in enumerate(specs)
    )  # fmt: skip


def _three_phase(phase_watts: int, amperes: int) -> tuple[ChannelType, ...]:
    """P, U, I and power factor of each phase, the sum, the frequency and both registers.

    Power, power factor and the sum are positive when energy is imported.
    """
    watts = str(phase_watts)
    power = [
        (f"active_power_l{n}", f"Active power L{n}", "active_power", "1", f"-{watts}", watts)
        for n in (1, 2, 3)
    ]
    total = str(3 * phase_watts)
    voltage = [(f"voltage_l{n}", f"Voltage L{n}", "voltage", "0.1", "0", "300") for n in (1, 2, 3)]
    current = [
        (f"current_l{n}", f"Current L{n}", "current", "0.01", "0", str(amperes)) for n in (1, 2, 3)
    ]
    factor = [
        (f"power_factor_l{n}", f"Power factor L{n}", "power_factor", "0.001", "-1", "1")
        for n in (1, 2, 3)
    ]
    return _channels(
        *power,
        ("active_power", "Active power", "active_power", "1", f"-{total}", total),
        *voltage,
        *current,
        *factor,
        ("frequency", "Frequency", "frequency", "0.001", "40", "70"),
        ("energy_import", "Energy imported", "energy_import", "1", "0", _REGISTER_MAX),
        ("energy_export", "Energy exported", "energy_export", "1", "0", _REGISTER_MAX),
        in_total=("active_power", "energy_import", "energy_export"),
    )


MAINS: Final = MeterType(
    "M3-CT", "Three-phase mains meter, current transformers", "Wattline Labs",
    _three_phase(150_000, 750),
)  # fmt: skip
SMART_METER: Final = MeterType(
    "M3-63", "Three-phase household smart meter, 63 A", "Wattline Labs", _three_phase(25_000, 120)
)
SUBMETER: Final = MeterType(
    "S3-CT",
    "Three-phase sub-meter",
    "Wattline Labs",
    _channels(
        ("active_power", "Active power", "active_power", "1", "-10", "250000"),
        ("reactive_power", "Reactive power", "reactive_power", "1", "-250000", "250000"),
        ("power_factor", "Power factor", "power_factor", "0.001", "-1", "1"),
        ("energy_import", "Energy", "energy_import", "1", "0", _REGISTER_MAX),
        in_total=("active_power", "reactive_power", "energy_import"),
    ),
)
INVERTER: Final = MeterType(
    "PV-I1",
    "Photovoltaic inverter",
    "Wattline Labs",
    _channels(
        ("active_power", "Output power", "active_power", "1", "-100", "150000"),
        ("voltage_dc", "String voltage", "voltage", "0.1", "0", "1500"),
        ("current_dc", "String current", "current", "0.01", "0", "300"),
        ("irradiance", "Irradiance on the modules", "irradiance", "1", "0", "1800"),
        ("temperature", "Module temperature", "temperature", "0.1", "-50", "120"),
        ("energy_export", "Energy generated", "energy_export", "1", "0", _REGISTER_MAX),
        in_total=("active_power", "energy_export"),
    ),
)
BATTERY: Final = MeterType(
    "BAT-1",
    "Battery inverter",
    "Wattline Labs",
    _channels(
        ("active_power", "Power, charging positive", "active_power", "1", "-50000", "50000"),
        ("state_of_charge", "State of charge", "state_of_charge", "0.1", "0", "100"),
        ("voltage_dc", "Battery voltage", "voltage", "0.01", "0", "1000"),
        ("current_dc", "Battery current, charging positive", "current", "0.01", "-300", "300"),
        ("temperature", "Cell temperature", "temperature", "0.1", "-40", "90"),
        ("energy_import", "Energy charged", "energy_import", "1", "0", _REGISTER_MAX),
        ("energy_export", "Energy discharged", "energy_export", "1", "0", _REGISTER_MAX),
        in_total=("active_power", "energy_import", "energy_export"),
    ),
)

# Measures nothing: it stands in a cabinet and joins meters to the network.
GATEWAY: Final = MeterType(
    "EG-1", "Edge gateway, updated over HTTP", "Wattline Labs", (), capabilities=("ddi",)
)

METER_TYPES: Final = MappingProxyType(
    {meter.code: meter for meter in (MAINS, SMART_METER, SUBMETER, INVERTER, BATTERY, GATEWAY)}
)
