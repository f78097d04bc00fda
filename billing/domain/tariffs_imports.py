"""Published tariffs taken in as drafts.

Needs an open scope that holds the tenant. What is refused is a ValidationError with a sentence at
its field.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import tariffs_operations
from billing.domain.sentences import spoken
from billing.models import Tariff, TariffVersion
from billing.tariffs.importing import Note, Refused
from billing.tariffs.recognising import Wishes, import_any
from billing.tariffs.writing import yaml_of


@dataclass(frozen=True, slots=True)
class Taken:
    """A tariff that was taken in: its drafts in order of their days, and what the record says
    beside prices.
    """

    tariff: Tariff
    versions: tuple[TariffVersion, ...]
    notes: tuple[Note, ...]


@transaction.atomic
def import_tariff(
    *,
    tenant_id: int,
    content: str | bytes,
    wishes: Wishes | None = None,
    name: str = "",
    valid_from: date | None = None,
    actor_id: int | None,
) -> Taken:
    """A new tariff with a draft for each version of a published one: a JSON text of OpenEI's URDB,
    of open-energy-tariffs, or of an Australian retailer or network.

    `name` and `valid_from` are used where given: a record without a day needs one. What the record
    says beside prices stands as comments in the drafts.
    """
    answer = import_any(content, wishes)
    if isinstance(answer, Refused):
        raise ValidationError(
            {"content": [f"{one.field}: {spoken(one.text)}" for one in answer.problems]}
        )
    if valid_from is not None and len(answer.documents) > 1:
        raise ValidationError(
            {"valid_from": [_("The record has several versions with days of their own.")]}
        )
    latest = answer.documents[-1].document
    tariff = tariffs_operations.create_tariff(
        tenant_id=tenant_id,
        name=name or latest["name"],
        currency=latest["currency"],
        actor_id=actor_id,
    )
    versions = []
    for dated in answer.documents:
        first = valid_from or dated.first
        if first is None:
            raise ValidationError(
                {"valid_from": [_("The record does not say from which day it holds: give one.")]}
            )
        comments = [f"{one.field}: {spoken(one.text)}" for one in dated.notes]
        if dated.end is not None:
            comments.append(_("It holds until %(day)s, exclusive.") % {"day": dated.end})
        versions.append(
            tariffs_operations.draft_version(
                tariff_id=tariff.pk,
                valid_from=first,
                source=yaml_of(dated.document, comments),
                actor_id=actor_id,
            )
        )
    return Taken(tariff, tuple(versions), answer.notes)
