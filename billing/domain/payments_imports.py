"""Files of payments: what they would do, and doing it. Needs an open scope."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import zstandard
from django.db import transaction

from billing.domain import payments_operations
from billing.domain.payments_matching import Match, matches
from billing.models import BillingSettings, Payment, PaymentImport, Provider, StatementFormat
from billing.payments import camt053, csv_statement
from billing.payments.values import Received, StatementError, gettext_noop
from tenants.domain import audit

_PROVIDERS: Final = {
    StatementFormat.CAMT053: Provider.BANK,
    StatementFormat.CSV: Provider.CSV,
}
_NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """The hash (hex) by which the file is known."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class PaymentLine:
    """A payment of a file: whose it would be, and whether it was taken before. `other_currency`:
    the account that it names is in another one.
    """

    received: Received
    match: Match | None
    known: bool
    other_currency: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file would do. `taken_before`: this very file was taken already."""

    format: StatementFormat
    lines: tuple[PaymentLine, ...]
    ignored: int
    taken_before: bool

    @property
    def new(self) -> int:
        """How many payments would be taken."""
        return sum(not line.known for line in self.lines)

    @property
    def unmatched(self) -> int:
        """How many of them nobody knows the account of."""
        return sum(
            not line.known and (line.match is None or line.other_currency) for line in self.lines
        )


def preview(*, tenant_id: int, upload: Upload) -> Preview:
    """What taking a file would do; changes nothing. Raises StatementError."""
    kind, payments, ignored = _read(tenant_id, upload)
    known = _known(tenant_id, kind, payments)
    found = matches(tenant_id=tenant_id, payments=payments)
    lines = tuple(
        PaymentLine(
            received,
            match,
            received.external_id in known,
            match is not None and match.currency != received.currency,
        )
        for received, match in zip(payments, found, strict=True)
    )
    before = PaymentImport.objects.filter(tenant_id=tenant_id, sha256=upload.sha256).exists()
    return Preview(kind, lines, ignored, before)


@transaction.atomic
def import_statement(
    *, tenant_id: int, upload: Upload, now: datetime, actor_id: int | None
) -> PaymentImport:
    """Take the payments of a file. The same file again changes nothing and gives the former import;
    payments that another file had are not taken again. Raises StatementError.
    """
    before = PaymentImport.objects.filter(tenant_id=tenant_id, sha256=upload.sha256).first()
    if before is not None:
        return before
    kind, payments, _ignored = _read(tenant_id, upload)
    taken = payments_operations.take(
        tenant_id=tenant_id,
        provider=_PROVIDERS[kind],
        payments=payments,
        now=now,
        actor_id=actor_id,
    )
    row, made = PaymentImport.objects.get_or_create(
        tenant_id=tenant_id,
        sha256=upload.sha256,
        defaults={
            "file_name": upload.name[:_NAME_LENGTH],
            "format": kind,
            "content": zstandard.ZstdCompressor().compress(upload.data),
            "size": len(upload.data),
            "lines": len(payments),
            "taken": len(taken.payments),
            "matched": taken.matched,
            "created_by_id": actor_id,
        },
    )
    if made:
        audit.record(
            tenant_id=tenant_id,
            actor_id=actor_id,
            action="payment.import",
            subject=row,
            after={"file": row.file_name, "lines": row.lines, "taken": row.taken},
        )
    return row


def _read(tenant_id: int, upload: Upload) -> tuple[StatementFormat, tuple[Received, ...], int]:
    if not upload.data.strip():
        raise StatementError(gettext_noop("The file is empty."))
    if upload.data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        statements = camt053.read(upload.data)
        payments = tuple(one for of in statements for one in of.payments)
        return StatementFormat.CAMT053, payments, sum(of.ignored for of in statements)
    currency = (
        BillingSettings.objects.filter(tenant_id=tenant_id)
        .values_list("currency", flat=True)
        .first()
    )
    table = csv_statement.read(upload.data, currency=currency or "EUR")
    return StatementFormat.CSV, table.payments, table.ignored


def _known(tenant_id: int, kind: StatementFormat, payments: Sequence[Received]) -> set[str]:
    ids = [one.external_id for one in payments]
    rows = Payment.objects.filter(
        tenant_id=tenant_id, provider=_PROVIDERS[kind], external_id__in=ids
    )
    return set(rows.values_list("external_id", flat=True))
