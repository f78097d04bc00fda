"""The park: facilities, device types, devices, channels, loads; claims and imports of them."""

from devices.models.claim import ClaimCode
from devices.models.command import (
    Command,
    CommandBatch,
    CommandEvent,
    CommandOrigin,
    CommandPolicy,
    CommandState,
)
from devices.models.control import (
    ConfigurationChange,
    DeviceConfiguration,
    DeviceGroup,
    DeviceGroupMember,
    Drift,
)
from devices.models.correction import Correction, CorrectionWithdrawal
from devices.models.data_export import (
    DataExport,
    DataExportPart,
    ExportFormat,
    ExportResolution,
    ExportState,
)
from devices.models.device import Channel, Device, DeviceState, Placement
from devices.models.device_type import FROM_FILES, DeviceType, DeviceTypeChannel, Measurement
from devices.models.facility import Facility, FacilityAccess, FacilityKind
from devices.models.formula import FormulaVersion
from devices.models.history_import import (
    HistoryImport,
    HistoryImportPart,
    HistoryState,
    KeptFile,
)
from devices.models.import_run import ImportKind, ImportRow, ImportRun, ImportState, Outcome
from devices.models.load import Allocation, Load, LoadCategory
from devices.models.now import DevicePower, FacilityNow
from devices.models.retention import LEAST_DAYS, DataClass, Hold, HoldCause, Retention

__all__ = [
    "FROM_FILES",
    "LEAST_DAYS",
    "Allocation",
    "Channel",
    "ClaimCode",
    "Command",
    "CommandBatch",
    "CommandEvent",
    "CommandOrigin",
    "CommandPolicy",
    "CommandState",
    "ConfigurationChange",
    "Correction",
    "CorrectionWithdrawal",
    "DataClass",
    "DataExport",
    "DataExportPart",
    "Device",
    "DeviceConfiguration",
    "DeviceGroup",
    "DeviceGroupMember",
    "DevicePower",
    "DeviceState",
    "DeviceType",
    "DeviceTypeChannel",
    "Drift",
    "ExportFormat",
    "ExportResolution",
    "ExportState",
    "Facility",
    "FacilityAccess",
    "FacilityKind",
    "FacilityNow",
    "FormulaVersion",
    "HistoryImport",
    "HistoryImportPart",
    "HistoryState",
    "Hold",
    "HoldCause",
    "ImportKind",
    "ImportRow",
    "ImportRun",
    "ImportState",
    "KeptFile",
    "Load",
    "LoadCategory",
    "Measurement",
    "Outcome",
    "Placement",
    "Retention",
]
