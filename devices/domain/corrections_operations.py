"""Making and withdrawing corrections. Nothing is ever changed or deleted: both add a row.

As everywhere: an open scope, `actor_id` (None is the system), sentences at fields. Whoever corrects
a device holds its row, so that corrections get their numbers in the order in which they are known.
"""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from devices.domain.corrections_checks import Draft, Sound, channel_of, checked, standing_of
from devices.domain.corrections_preview import Preview, compared
from devices.domain.corrections_queries import (
    CorrectionEntry,
    CorrectionNotFound,
    correction_entry,
)
from devices.domain.rollups import series_of
from devices.models import Channel, Correction, CorrectionWithdrawal, Device
from devices.models.correction import REASON_LENGTH
from devices.telemetry.corrected_reads import Changes
from devices.telemetry.correction_store import packed
from devices.telemetry.corrections import Layer, Window, concerned
from devices.telemetry.redo_store import Cause, Redo, ask_again
from devices.telemetry.segment_store import moment
from tenants.domain import audit


@transaction.atomic
def make_correction(
    *, draft: Draft, reason: str, now: datetime, actor_id: int | None
) -> Correction:
    """Lay a correction over what was measured, and let what rests on it be computed again.

    Raises ChannelNotFound, and ValidationError at the field at fault.
    """
    reason = _reasoned(reason)
    channel = channel_of(draft.channel_id)
    Device.objects.select_for_update(no_key=True).get(pk=channel.device_id)
    sound = checked(draft, now=now)
    row = audit.insert(
        _row(sound, reason, actor_id),
        actor_id=actor_id,
        action="correction.make",
        after=_told(sound, reason),
    )
    _ask_again(row, concerned(sound.layer, [*sound.standing, sound.layer]))
    return row


@transaction.atomic
def withdraw_correction(
    *, correction_id: int, reason: str, actor_id: int | None
) -> CorrectionWithdrawal:
    """Let a correction count no more, from now on: as of earlier instants it still does.

    Raises CorrectionNotFound, and ValidationError when it is withdrawn already or there is no
    reason.
    """
    reason = _reasoned(reason)
    row, channel = _found(correction_id)
    Device.objects.select_for_update(no_key=True).get(pk=row.device_id)
    layers = standing_of(channel)
    layer = _standing(row, layers)
    withdrawal = audit.insert(
        CorrectionWithdrawal(
            tenant_id=row.tenant_id,
            correction=row,
            device_id=row.device_id,
            reason=reason,
            author_id=actor_id,
        ),
        actor_id=actor_id,
        action="correction.withdraw",
        after={"correction": row.pk, "channel": str(channel), "reason": reason},
    )
    _ask_again(row, concerned(layer, layers))
    return withdrawal


def make_entry(
    *, draft: Draft, reason: str, now: datetime, actor_id: int | None
) -> CorrectionEntry:
    """`make_correction`, and the correction as readers see it."""
    row = make_correction(draft=draft, reason=reason, now=now, actor_id=actor_id)
    return correction_entry(correction_id=row.pk)


def withdraw_entry(*, correction_id: int, reason: str, actor_id: int | None) -> CorrectionEntry:
    """`withdraw_correction`, and the correction as readers see it then."""
    withdraw_correction(correction_id=correction_id, reason=reason, actor_id=actor_id)
    return correction_entry(correction_id=correction_id)


def preview_withdrawal(*, correction_id: int) -> Preview:
    """What withdrawing a correction would change, and not written. Raises as withdrawing does."""
    row, channel = _found(correction_id)
    layers = standing_of(channel)
    layer = _standing(row, layers)
    series = next(
        one
        for one in series_of([channel.device_id])[channel.device_id]
        if one.number == channel.number
    )
    without = Changes(left=frozenset({layer.layer_id}))
    return compared(channel, series, concerned(layer, layers), Changes(), without)


def _reasoned(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise ValidationError(
            {"reason": [_("Say why: whoever asks about these readings later will want to know.")]}
        )
    if len(reason) > REASON_LENGTH:
        raise ValidationError(
            {"reason": [_("Write at most %(count)s characters.") % {"count": REASON_LENGTH}]}
        )
    return reason


def _row(sound: Sound, reason: str, actor_id: int | None) -> Correction:
    given = sound.layer.given
    return Correction(
        tenant_id=sound.channel.tenant_id,
        device_id=sound.channel.device_id,
        channel=sound.channel.number,
        kind=sound.kind,
        starts_at=moment(sound.layer.start_ms),
        ends_at=moment(sound.layer.end_ms),
        factor=sound.factor,
        offset=sound.offset,
        shift_ms=sound.layer.shift_ms or None,
        readings=None if given is None else packed(given.times, given.raw),
        reading_count=None if given is None else len(given),
        reason=reason,
        author_id=actor_id,
    )


def _told(sound: Sound, reason: str) -> audit.JsonObject:
    """What the audit trail keeps: what was done, not the readings themselves."""
    layer = sound.layer
    told: audit.JsonObject = {
        "channel": str(sound.channel),
        "kind": str(sound.kind),
        "starts_at": moment(layer.start_ms).isoformat(),
        "ends_at": moment(layer.end_ms).isoformat(),
        "reason": reason,
    }
    if sound.factor is not None:
        told |= {"factor": str(sound.factor), "offset": str(sound.offset)}
    if layer.shift_ms:
        told["shift_ms"] = layer.shift_ms
    if layer.given is not None:
        told["readings"] = len(layer.given)
    return told


def _found(correction_id: int) -> tuple[Correction, Channel]:
    row = Correction.objects.defer("readings").filter(pk=correction_id).first()
    if row is None:
        raise CorrectionNotFound(f"correction {correction_id}")
    channels = Channel.objects.select_related("device__facility")
    return row, channels.get(device=row.device_id, number=row.channel)


def _standing(row: Correction, layers: list[Layer]) -> Layer:
    for layer in layers:
        if layer.layer_id == row.pk:
            return layer
    raise ValidationError(_("The correction has been withdrawn already."))


def _ask_again(row: Correction, windows: list[Window]) -> None:
    ask_again(
        connection,
        [Redo(row.device_id, *window) for window in windows],
        cause=Cause.CORRECTION,
        cause_id=row.pk,
    )
