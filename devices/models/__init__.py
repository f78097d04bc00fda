"""The park: facilities, device types, devices, channels, loads."""

from devices.models.device import Channel, Device, DeviceState, Placement
from devices.models.device_type import DeviceType, DeviceTypeChannel, Measurement
from devices.models.facility import Facility, FacilityAccess, FacilityKind
from devices.models.load import Allocation, Load, LoadCategory

__all__ = [
    "Allocation",
    "Channel",
    "Device",
    "DeviceState",
    "DeviceType",
    "DeviceTypeChannel",
    "Facility",
    "FacilityAccess",
    "FacilityKind",
    "Load",
    "LoadCategory",
    "Measurement",
    "Placement",
]
