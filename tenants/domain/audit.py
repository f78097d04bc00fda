"""The audit trail, written inside the transaction of the change it tells of."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.forms.models import model_to_dict

from tenants.models import AuditEntry

JsonObject = dict[str, Any]

# Never in an audit row, whatever model they belong to.
_SECRET_FIELDS = frozenset({"password", "secret_sha256", "certificate_sha256", "client_secret"})


def snapshot(row: models.Model) -> JsonObject:
    """The editable columns of a row as JSON values, secrets left out."""
    # `_meta` is documented API of Django in spite of its name.
    fields = row._meta.concrete_fields  # noqa: SLF001
    names = [field.name for field in fields if field.name not in _SECRET_FIELDS]
    return model_to_dict(row, fields=names)


def record(
    *,
    tenant_id: int,
    actor_id: int | None,
    action: str,
    subject: models.Model,
    before: JsonObject | None = None,
    after: JsonObject | None = None,
) -> None:
    """Append one entry; `action` is a stable code such as `device.register`.

    `actor_id` None means the system itself. Needs an open scope that contains the tenant.
    """
    assert subject.pk is not None
    AuditEntry.objects.create(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action=action,
        subject_type=subject._meta.label_lower,  # noqa: SLF001
        subject_id=subject.pk,
        before=before,
        after=after,
    )
