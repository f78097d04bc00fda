"""Whose signatures a tenant accepts."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from firmware.artifacts import signing
from firmware.artifacts.errors import ArtifactError
from firmware.domain.release_checks import in_words
from firmware.models import SigningKey
from tenants.domain import audit

LONGEST_NAME = 120


class SigningKeyNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such key in the scope, or none that the scope may change."""


@transaction.atomic
def add_key(*, tenant_id: int, name: str, pem: bytes, actor_id: int | None) -> SigningKey:
    """Accept signatures of a public key (PEM) from now on; raises ValidationError.

    A private key is refused, and neither kept nor told of.
    """
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        message = _("Name the key, in at most %(most)d characters.")
        raise ValidationError({"name": [message % {"most": LONGEST_NAME}]})
    try:
        public = signing.public_key_of(pem)
    except ArtifactError as error:
        raise ValidationError({"public_key": [in_words(error)]}) from error
    key_id = signing.key_id(public)
    row, made = SigningKey.objects.get_or_create(
        tenant_id=tenant_id,
        key_id=key_id,
        defaults={"name": name, "public_key": public, "added_by_id": actor_id},
    )
    if not made:
        message = _("This key is there already, as %(name)s.")
        raise ValidationError({"public_key": [message % {"name": row.name}]})
    after = {"name": name, "key_id": key_id}
    audit.record(
        tenant_id=tenant_id, actor_id=actor_id, action="signing_key.add", subject=row, after=after
    )
    return row


@transaction.atomic
def retire_key(*, key_id: int, now: datetime, actor_id: int | None) -> SigningKey:
    """Accept nothing new that this key signs; for ever. Raises SigningKeyNotFound, ValidationError.

    `key_id` is the row's. What is approved already stays so: whether it is to be retired as well
    is for people to decide, who know why the key was.
    """
    row = SigningKey.objects.select_for_update(no_key=True).filter(pk=key_id).first()
    if row is None:
        raise SigningKeyNotFound(f"signing key {key_id}")
    if row.retired_at is not None:
        raise ValidationError(_("The key was retired already."))
    row.retired_at = now
    row.save(update_fields=["retired_at"])
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="signing_key.retire",
        subject=row,
        after={"name": row.name, "key_id": row.key_id},
    )
    return row
