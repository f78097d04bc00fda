"""The shapes of parameters and answers; the schema is made from them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.domain.series_bounds import DEFAULT_POINTS
from devices.models.device import DeviceState, Placement
from devices.models.facility import FacilityKind
from devices.quantities import QUANTITIES
from devices.telemetry.estimates import Method, Refusal
from devices.telemetry.periods import Reason, Resolution
from devices.telemetry.series import LEAST_POINTS
from portal.frame import days
from tenants.models import TenantKind

PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 500
MAX_POINTS: Final = 20_000
MAX_ID: Final = 2**63 - 1
_CURSOR_PREFIX: Final = b"after:"
# Longer than any that is made: what is longer is not decoded.
_CURSOR_LENGTH: Final = 64


def cursor_after(key: int) -> str:
    """The opaque cursor of the page that begins after the row `key`."""
    return base64.urlsafe_b64encode(_CURSOR_PREFIX + str(key).encode()).decode().rstrip("=")


@extend_schema_field({"type": "string", "maxLength": _CURSOR_LENGTH})
class CursorField(serializers.Field[int, str, str, Any]):
    """A cursor as an earlier answer gave it; its value is the key to begin after."""

    default_error_messages = {"cursor": "This is no cursor of an earlier answer."}

    def to_internal_value(self, data: str) -> int:
        """The key, 0 … 2⁶³-1; fails on anything that `cursor_after` does not make."""
        try:
            padded = data[:_CURSOR_LENGTH] + "=" * (-len(data) % 4)
            raw = base64.b64decode(padded, altchars=b"-_", validate=True)
            key = int(raw.removeprefix(_CURSOR_PREFIX))
        except (binascii.Error, ValueError):
            self.fail("cursor")
        if not 0 <= key <= MAX_ID or cursor_after(key) != data:
            self.fail("cursor")
        return key


class DayField(serializers.DateField):
    """A day that calendars and readings know."""

    def to_internal_value(self, value: Any) -> date:
        """The day; one that is far away is refused."""
        day: date = super().to_internal_value(value)
        days.known(day)
        return day


class InstantField(serializers.DateTimeField):
    """An instant of such a day."""

    def to_internal_value(self, value: Any) -> datetime:
        """The instant; one that is far away is refused."""
        instant: datetime = super().to_internal_value(value)
        days.known(instant)
        return instant


class Query(serializers.Serializer[Any]):
    """Parameters of a request; one that is not known is refused, so that a typing error in a
    filter never answers with everything."""

    def to_internal_value(self, data: Any) -> Any:
        """The values by name."""
        unknown = sorted(set(data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError(
                {name: ["There is no such parameter."] for name in unknown}
            )
        repeated = [name for name in data if len(data.getlist(name)) > 1]
        if repeated:
            raise serializers.ValidationError({name: ["Give it once."] for name in repeated})
        return super().to_internal_value(data)


class Body(serializers.Serializer[Any]):
    """The body of a request; a member that is not known is refused, as parameters are."""

    def to_internal_value(self, data: Any) -> Any:
        """The values by name."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError(
                {name: ["There is no such parameter."] for name in unknown}
            )
        return super().to_internal_value(data)


class PageQuery(Query):
    """The parameters of every list."""

    cursor = CursorField(
        required=False, source="after", help_text="`next_cursor` of the page before."
    )
    limit = serializers.IntegerField(
        required=False,
        default=PAGE_SIZE,
        min_value=1,
        max_value=MAX_PAGE_SIZE,
        help_text="Items in a page.",
    )


def _id(text: str) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID, help_text=text)


class FacilityQuery(PageQuery):
    """Filters of the list of facilities."""

    kind = serializers.ChoiceField(FacilityKind.choices, required=False)
    # DRF takes fields out of the class; the name is free.
    parent = _id("Only the areas directly in this facility.")  # type: ignore[assignment]
    name = serializers.CharField(
        required=False, max_length=120, help_text="Part of the name, in any case."
    )


class DeviceQuery(PageQuery):
    """Filters of the list of devices."""

    facility = _id("Only devices of this facility.")
    state = serializers.ChoiceField(DeviceState.choices, required=False)
    placement = serializers.ChoiceField(Placement.choices, required=False)
    serial = serializers.CharField(required=False, max_length=64, help_text="The whole serial.")


class ChannelQuery(PageQuery):
    """Filters of the list of channels."""

    facility = _id("Only channels of devices of this facility.")
    device = _id("Only channels of this device.")
    quantity = serializers.ChoiceField(sorted(QUANTITIES), required=False)


class SeriesQuery(Query):
    """What of a channel's history is wanted."""

    start = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="Its begin; a day before the end."
    )
    end = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="Its end, not part of it; now."
    )
    resolution = serializers.ChoiceField(
        [one.value for one in Resolution],
        required=False,
        default=Resolution.AUTO.value,
        help_text="Readings as measured (raw), periods of the facility's calendar, or the coarsest "
        "of these that gives `points` (auto).",
    )
    points = serializers.IntegerField(
        required=False,
        min_value=LEAST_POINTS,
        max_value=MAX_POINTS,
        help_text=f"auto: how many are wanted, {DEFAULT_POINTS} unless given. raw: how many there "
        "may be; chosen so that lowest, highest and gaps stay.",
    )
    as_of = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="What had arrived by this instant."
    )


class ChannelSeriesQuery(SeriesQuery):
    """What of a channel's history is wanted, perhaps with estimates."""

    estimate = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Tell, beside what was measured, an estimate of the energy that was not.",
    )


class FacilitySeriesQuery(SeriesQuery):
    """What of the history of a facility's channels is wanted."""

    channels = serializers.RegexField(
        r"^[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*$",
        max_length=10_000,
        help_text="Ids of channels of the facility, separated by commas.",
        error_messages={"invalid": "Give the ids of channels, separated by commas."},
    )

    def validate_channels(self, value: str) -> list[int]:
        """The ids, in the order asked for."""
        return [int(one) for one in value.split(",")]


class FacilitySerializer(serializers.Serializer[Any]):
    """A place with electricity, perhaps an area of a larger one."""

    id = serializers.IntegerField(source="facility_id")
    parent = serializers.IntegerField(  # type: ignore[assignment]
        source="parent_id", allow_null=True
    )
    name = serializers.CharField()
    kind = serializers.ChoiceField(FacilityKind.choices)
    address = serializers.CharField(help_text="In one line; empty when unknown.")
    time_zone = serializers.CharField(help_text="IANA name.")
    latitude = serializers.FloatField(allow_null=True, help_text="Degrees north, WGS 84.")
    longitude = serializers.FloatField(allow_null=True, help_text="Degrees east, WGS 84.")


class DeviceSerializer(serializers.Serializer[Any]):
    """A sensor or meter."""

    id = serializers.IntegerField(source="device_id")
    facility = serializers.IntegerField(source="facility_id")
    serial = serializers.CharField()
    name = serializers.CharField()
    device_type = serializers.CharField()
    placement = serializers.ChoiceField(
        Placement.choices,
        help_text="A facility's total is the sum over its mains devices alone; everything else "
        "lies behind them.",
    )
    state = serializers.ChoiceField(DeviceState.choices)
    hardware_revision = serializers.CharField()
    firmware_version = serializers.CharField(help_text="Empty before the first connection.")
    connected = serializers.BooleanField()
    last_seen_at = serializers.DateTimeField(allow_null=True)


class ChannelSerializer(serializers.Serializer[Any]):
    """One measured quantity of a device."""

    id = serializers.IntegerField(source="channel_id")
    device = serializers.IntegerField(source="device_id")
    facility = serializers.IntegerField(source="facility_id")
    number = serializers.IntegerField(help_text="Number in the device, 0 to 255.")
    key = serializers.CharField(help_text="Stable code, for example active_power_l1.")
    name = serializers.CharField()
    quantity = serializers.ChoiceField(sorted(QUANTITIES))
    unit = serializers.CharField()
    resolution = serializers.FloatField(help_text="Smallest step of a value, in `unit`.")
    in_total = serializers.BooleanField(
        help_text="Counts into the facility's total when the device is placed at the mains."
    )
    derived = serializers.BooleanField(help_text="Computed by a formula, not measured.")


class LatestValueSerializer(serializers.Serializer[Any]):
    """The last stored reading of a channel."""

    device = serializers.IntegerField()
    channel = serializers.IntegerField()
    key = serializers.CharField()
    quantity = serializers.ChoiceField(sorted(QUANTITIES))
    unit = serializers.CharField()
    in_total = serializers.BooleanField(
        help_text="Counts into the facility's total: of its quantity, the sum of all that do."
    )
    value = serializers.FloatField()
    time = serializers.DateTimeField(help_text="When it was measured, UTC.")
    age_s = serializers.FloatField(
        help_text="Seconds between `time` and this answer; negative when the device's clock is "
        "ahead."
    )


class LatestSerializer(serializers.Serializer[Any]):
    """The latest value of every channel that has reported, by device and channel."""

    values = LatestValueSerializer(many=True)


def _numbers(text: str, *, allow_null: bool = False) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.FloatField(allow_null=allow_null), help_text=text
    )


def _integers(text: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.IntegerField(), help_text=text)


class _GapSerializer(serializers.Serializer[Any]):
    """What both kinds of columns have."""

    gap_before = serializers.ListField(
        child=serializers.BooleanField(),
        help_text="Nothing is known between the one before and this one: draw no line.",
    )


class RawColumnsSerializer(_GapSerializer):
    """Readings as measured: columns of one length."""

    time_ms = _integers("When it was measured, ms since the Unix epoch, rising.")
    value = _numbers("In `unit`.")


class PeriodColumnsSerializer(_GapSerializer):
    """Periods in which anything is known: columns of one length."""

    start_ms = _integers("ms since the Unix epoch, rising.")
    end_ms = _integers("The first ms that is not part of it.")
    n = _integers("Readings in it.")
    minimum = _numbers("In `unit`; null without readings.", allow_null=True)
    maximum = _numbers("In `unit`; null without readings.", allow_null=True)
    mean = _numbers("In `unit`, weighted by the time that each reading stands for.")
    first = _numbers("In `unit`; null without readings.", allow_null=True)
    last = _numbers("In `unit`; null without readings.", allow_null=True)
    energy_wh = _numbers("Null for a channel that is no energy.", allow_null=True)
    returned_wh = _numbers("What power was negative, as a positive number.", allow_null=True)
    coverage = _numbers("How much of the period was measured, 0 to 1.")


class EstimatedGapSerializer(serializers.Serializer[Any]):
    """Quarters of an hour in a row that were not fully measured."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    method = serializers.ChoiceField(
        [one.value for one in Method],
        allow_null=True,
        help_text="interpolated between neighbours, the mean of like_days, or even: a register's "
        "count shared evenly; null: not estimated.",
    )
    wh = serializers.FloatField(help_text="What is estimated to be missing.")
    scaled = serializers.BooleanField(help_text="Scaled to what a register counted meanwhile.")
    reason = serializers.ChoiceField(
        [one.value for one in Refusal], allow_null=True, help_text="Why it was not estimated."
    )


class EstimatesSerializer(serializers.Serializer[Any]):
    """Estimates by period; what was measured does not contain them."""

    start_ms = _integers("Begin of each period in which anything was estimated.")
    end_ms = _integers("End of each.")
    wh = _numbers("To be added to its energy_wh.")
    share = _numbers("0 to 1: the part of the period that this stands for.")
    gaps = EstimatedGapSerializer(many=True)


class SeriesSerializer(serializers.Serializer[Any]):
    """The history of a channel; `raw` or `periods` is null."""

    channel = serializers.IntegerField()
    device = serializers.IntegerField()
    key = serializers.CharField()
    quantity = serializers.ChoiceField(sorted(QUANTITIES))
    unit = serializers.CharField()
    time_zone = serializers.CharField(help_text="IANA name; of its calendar are the periods.")
    start = serializers.DateTimeField(help_text="UTC; periods begin at full quarters of an hour.")
    end = serializers.DateTimeField()
    resolution = serializers.ChoiceField(
        [one.value for one in Resolution if one is not Resolution.AUTO]
    )
    reason = serializers.ChoiceField(
        [one.value for one in Reason],
        help_text="Why this resolution: it was asked for, gives enough points, the period is short "
        "enough for readings, or too long for them.",
    )
    as_of = serializers.DateTimeField(allow_null=True)
    raw = RawColumnsSerializer(allow_null=True)
    periods = PeriodColumnsSerializer(allow_null=True)
    estimates = EstimatesSerializer(allow_null=True, help_text="Null unless asked for.")


class FacilitySeriesSerializer(serializers.Serializer[Any]):
    """The history of some channels of a facility, in the order asked for."""

    facility = serializers.IntegerField()
    series = SeriesSerializer(many=True)


class TenantSerializer(serializers.Serializer[Any]):
    """The tenant that the caller acts in."""

    id = serializers.IntegerField(source="tenant_id")
    name = serializers.CharField()
    slug = serializers.CharField()
    kind = serializers.ChoiceField(TenantKind.choices)


class UserSerializer(serializers.Serializer[Any]):
    """The person; `name` needs the scope `profile`, `email` the scope `email`, else null."""

    id = serializers.IntegerField()
    name = serializers.CharField(allow_null=True)
    email = serializers.EmailField(allow_null=True)


class MeSerializer(serializers.Serializer[Any]):
    """Who the caller is and what it may do."""

    user = UserSerializer(allow_null=True, help_text="Null for a service account.")
    tenant = TenantSerializer()
    permissions = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="Of the access token; null for a signed-in browser.",
    )


class ProblemErrorSerializer(serializers.Serializer[Any]):
    """One parameter at fault."""

    parameter = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="A stable word for programs.")
    errors = ProblemErrorSerializer(many=True, required=False)  # type: ignore[assignment]
