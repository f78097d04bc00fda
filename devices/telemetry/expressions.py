"""What the tables of telemetry say of a row of the ORM, as expressions of its queries.

They name the ORM's tables as Django does where they are the first of a query.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db.models import FloatField
from django.db.models.expressions import RawSQL

from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of

# Only the quarters that are over: the running one would look like a drop.
_USED: Final = """(
SELECT array_agg(ARRAY[extract(epoch FROM q.starts_at),
    4 * CASE WHEN q.import_wh IS NOT NULL
        THEN q.import_wh - coalesce(q.export_wh, 0) + coalesce(q.generation_wh, 0)
          + coalesce(q.discharge_wh, 0) - coalesce(q.charge_wh, 0)
      WHEN n.mains = 0 THEN q.generation_wh END])
FROM facility_15m q JOIN devices_facilitynow n ON n.facility_id = q.facility_id
WHERE q.facility_id = devices_facility.id AND q.starts_at BETWEEN %s AND %s
)"""


def used_power(*, now: datetime, length: timedelta) -> RawSQL:
    """Of a facility: pairs of a quarter of an hour that was over by `now` (its start, s since the
    Unix epoch) and the mean power (W) of its loads in it, in any order; of a plant without a meter
    at the mains, what it generated. Null without any.
    """
    last = quarter_of(now) - QUARTER
    return RawSQL(  # noqa: S611 - a constant
        _USED,
        [last - length + QUARTER, last],
        output_field=ArrayField(ArrayField(FloatField(null=True))),
    )
