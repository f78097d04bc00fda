"""Making the files of bills, once each. Needs an open scope that sees the bills."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from billing.documents.making import make
from billing.documents.values import DocumentError
from billing.domain import documents_queries, documents_store
from billing.domain.documents_queries import Content
from billing.domain.documents_sweep_operations import hold_kept
from billing.models import Bill, BillFile, FileKind
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, open_scope

logger = logging.getLogger(__name__)

# Of bills that became final longer ago, files are made when somebody asks for them.
LOOKS_BACK: Final = timedelta(days=7)
_AT_ONCE: Final = 100


def ensure(*, bill_id: int, now: datetime, user_id: int | None = None) -> tuple[BillFile, ...]:
    """The files of a final bill, made now unless they are there; they never change afterwards.

    Several at once make the same, and one of them is kept. Raises NoDocument, DocumentError where
    the page cannot be set, EvidenceError.
    """
    files = documents_queries.files_of(bill_id=bill_id, user_id=user_id)
    if files:
        return files
    document = documents_queries.document_of(bill_id=bill_id, user_id=user_id)
    made = make(document)
    contents = {FileKind.PDF: made.pdf, FileKind.CII: made.cii, FileKind.UBL: made.ubl}
    bill = Bill.objects.only("tenant_id", "facility_id").get(pk=bill_id)
    rows = [
        BillFile(
            tenant_id=bill.tenant_id,
            bill_id=bill_id,
            facility_id=bill.facility_id,
            kind=kind,
            sha256=documents_store.write(content),
            size=len(content),
            problem=made.problem[:400] if kind is FileKind.PDF else "",
            created_at=now,
        )
        for kind, content in contents.items()
        if content
    ]
    with transaction.atomic():
        # Who made them meanwhile holds the bill, so that the files of a bill are of one making.
        Bill.objects.select_for_update(of=("self",)).filter(pk=bill_id).values("pk").get()
        if not BillFile.objects.filter(bill_id=bill_id).exists():
            for row in rows:
                hold_kept(contents[FileKind(row.kind)], sha256=row.sha256)
            BillFile.objects.bulk_create(rows)
    return documents_queries.files_of(bill_id=bill_id, user_id=user_id)


def download(*, bill_id: int, kind: FileKind, now: datetime, user_id: int | None = None) -> Content:
    """A file of a final bill to be sent, made now unless it is there. Raises DocumentError where
    the bill could not be an e-invoice, with the reason, and what `ensure` and
    `documents_queries.content_of` raise.
    """
    files = {file.kind: file for file in ensure(bill_id=bill_id, now=now, user_id=user_id)}
    if kind not in files:
        raise DocumentError(files[FileKind.PDF].problem)
    return documents_queries.content_of(files[kind])


def tenants_lately_billed(*, now: datetime) -> list[int]:
    """Tenants with bills that became final within LOOKS_BACK. Opens scopes itself."""
    found: list[int] = []
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            rows = documents_queries.final_bills().filter(
                tenant_id__in=tenant_ids, finalised_at__gte=now - LOOKS_BACK
            )
            found += sorted(set(rows.order_by().values_list("tenant_id", flat=True).distinct()))
    return found


def make_waiting(
    *,
    tenant_id: int,
    part: int,
    parts: int,
    go_on: Callable[[], bool],
    clock: Callable[[], datetime],
) -> int:
    """Make the files of a tenant's bills that became final lately, those of one of `parts` workers;
    each in a transaction of its own. Returns how many. Opens the scope itself.

    A bill whose page cannot be set holds up no other: it is told of in the log, and tried again.
    """
    done, behind = 0, 0
    while go_on():
        with open_scope(Scope((tenant_id,))):
            waiting = _waiting(clock() - LOOKS_BACK, part, parts, behind)
        if not waiting:
            break
        for bill_id in waiting:
            behind = bill_id
            if not go_on():
                break
            try:
                with open_scope(Scope((tenant_id,))):
                    ensure(bill_id=bill_id, now=clock())
            except DocumentError:
                logger.exception("bill.document_failed bill=%d", bill_id)
            else:
                done += 1
    return done


def _waiting(since: datetime, part: int, parts: int, behind: int) -> list[int]:
    rows = (
        documents_queries.final_bills()
        .filter(finalised_at__gte=since, pk__gt=behind)
        .alias(rest=F("pk") % parts)
        .filter(~Exists(BillFile.objects.filter(bill=OuterRef("pk"))), rest=part)
    )
    return list(rows.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE])
