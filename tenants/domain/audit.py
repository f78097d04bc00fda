"""The audit trail, written inside the transaction of the change it tells of.

`insert`, `update` and `delete` change a row and append the entry about it; `record` appends one
where a change is more than a row; `record_event` tells of what has no row, such as a sign-in.

Where a change comes from is known to the process's edge alone (middleware, task, command). The edge
opens an `origin` around what it does, and every entry made meanwhile carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.db import models, transaction
from django.forms.models import model_to_dict

from tenants.domain.queries import memberships_of
from tenants.models import AuditChannel, AuditEntry, Tenant
from tenants.models.fields import DigestField
from tenants.scope import Scope, open_scope

JsonObject = dict[str, Any]
Row = TypeVar("Row", bound=models.Model)

# Never in an audit row, whatever model they belong to: a field whose name contains one of these.
_SECRET_WORDS: Final = ("password", "secret", "sha256", "token", "digest", "private", "recovery")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where changes come from.

    `address` is the client's IP address. `impersonator_id` is the person who really acts while the
    one named as actor is impersonated, and `reason` why.
    """

    channel: AuditChannel
    address: str | None = None
    impersonator_id: int | None = None
    reason: str = ""


# What nobody else has claimed is done by somebody at the command line.
_COMMAND: Final = Origin(AuditChannel.COMMAND)
_origin: ContextVar[Origin] = ContextVar("wattline_audit_origin", default=_COMMAND)


@contextmanager
def origin(of: Origin) -> Iterator[None]:
    """Every entry made in the block comes from `of`."""
    token = _origin.set(of)
    try:
        yield
    finally:
        _origin.reset(token)


def current_origin() -> Origin:
    """Where changes come from at the moment."""
    return _origin.get()


def snapshot(row: models.Model) -> JsonObject:
    """The editable columns of a row as JSON values, secrets left out."""
    # `_meta` is documented API of Django in spite of its name.
    fields = row._meta.concrete_fields  # noqa: SLF001
    return model_to_dict(row, fields=[field.name for field in fields if not _is_secret(field)])


def _is_secret(field: Any) -> bool:
    return isinstance(field, DigestField) or any(word in field.name for word in _SECRET_WORDS)


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
    _entry(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action=action,
        subject_type=subject._meta.label_lower,  # noqa: SLF001
        subject_id=subject.pk,
        subject_name=_name_of(subject),
        before=before,
        after=after,
    ).save(force_insert=True)


def insert(row: Row, *, actor_id: int | None, action: str, after: JsonObject | None = None) -> Row:
    """Save a new row and tell of it; `after` where its snapshot does not say all.

    The caller has validated the row. Needs an open scope that contains the row's tenant.
    """
    with transaction.atomic():
        row.save(force_insert=True)
        record(
            tenant_id=_tenant_of(row),
            actor_id=actor_id,
            action=action,
            subject=row,
            after=snapshot(row) if after is None else after,
        )
    return row


def update(
    row: Row, values: Mapping[str, Any], *, actor_id: int | None, action: str, validate: bool = True
) -> bool:
    """Give a row that was read with a lock new values, save these columns alone and tell of it.

    Returns whether anything changed: when not, nothing is saved and nothing told. Raises
    ValidationError for a bad value unless `validate` is False.
    """
    before = snapshot(row)
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return False
    for name, value in changed.items():
        setattr(row, name, value)
    if validate:
        # The other columns were valid when they were saved, and may lie outside the scope.
        others = {f.name for f in row._meta.fields} - changed.keys()  # noqa: SLF001
        row.full_clean(exclude=others)
    with transaction.atomic():
        row.save(update_fields=[*changed, *_moved_by_save(row)])
        record(
            tenant_id=_tenant_of(row),
            actor_id=actor_id,
            action=action,
            subject=row,
            before=before,
            after=snapshot(row),
        )
    return True


def delete(row: models.Model, *, actor_id: int | None, action: str) -> None:
    """Tell of a row as it was, then delete it; the object keeps its key."""
    key = row.pk
    with transaction.atomic():
        record(
            tenant_id=_tenant_of(row),
            actor_id=actor_id,
            action=action,
            subject=row,
            before=snapshot(row),
        )
        row.delete()
    row.pk = key


def record_event(
    *,
    user_id: int | None,
    action: str,
    details: JsonObject | None = None,
    tenant_ids: tuple[int, ...] | None = None,
) -> None:
    """Append an entry about what a person did or what happened to an account.

    Such as `session.begin`, `session.refused`, `mfa.add`, `password.change`, `export.audit`. The
    subject is the person's account; `details` must hold no secret. The tenants of `tenant_ids`, by
    default all in which the person is a member, each get an entry: their administrators shall see
    it. For somebody without any membership nothing is written. Needs no scope.

    A refused sign-in is told of by a task that is sent for unknown addresses as well: writing it in
    the request would tell by its time which addresses have an account.
    """
    if tenant_ids is None:
        assert user_id is not None, "without a person the event needs its tenants"
        found = memberships_of(user_id=user_id)
        tenant_ids = tuple(membership.tenant.tenant_id for membership in found)
    if not tenant_ids:
        return
    with open_scope(Scope(tenant_ids)):
        AuditEntry.objects.bulk_create(
            _entry(
                tenant_id=tenant_id,
                actor_id=user_id,
                action=action,
                subject_type="" if user_id is None else "tenants.user",
                subject_id=user_id,
                after=details,
            )
            for tenant_id in tenant_ids
        )


def _entry(**fields: Any) -> AuditEntry:
    where = _origin.get()
    return AuditEntry(
        channel=where.channel,
        address=where.address,
        impersonator_id=where.impersonator_id,
        reason=where.reason,
        **fields,
    )


def _tenant_of(row: models.Model) -> int:
    tenant_id = row.pk if isinstance(row, Tenant) else getattr(row, "tenant_id", None)
    assert isinstance(tenant_id, int), f"{row._meta.label} belongs to no tenant"  # noqa: SLF001
    return tenant_id


def _name_of(row: models.Model) -> str:
    """What a reader knows the row by: a name or title of its own, else how it shows itself."""
    for attribute in ("audit_name", "name", "email"):
        if isinstance(found := getattr(row, attribute, None), str) and found:
            return found[:254]
    return str(row)[:254]


def _moved_by_save(row: models.Model) -> list[str]:
    """Columns such as `updated` that every save sets to the present."""
    fields = row._meta.concrete_fields  # noqa: SLF001
    return [field.name for field in fields if getattr(field, "auto_now", False)]
