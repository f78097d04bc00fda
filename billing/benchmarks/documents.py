"""Documents of bills: PDF with the e-invoice in it, and UBL, by several processes.

Each bill differs from every other in its names, figures and use by day, as in real runs. What is
measured is their making from values to bytes, without database and store.
"""

from __future__ import annotations

import resource
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from multiprocessing import get_context
from typing import Final

from billing.documents.figures import rounded
from billing.documents.making import make
from billing.documents.values import (
    Address,
    BillDocument,
    Brand,
    Buyer,
    Comparison,
    DocumentLine,
    Parties,
    Seller,
    Supply,
    UseOfDay,
)

DOCUMENTS: Final = 400
WORKERS: Final = 2
GOAL: Final = 20.0
_FIRST: Final = date(2026, 3, 1)
_END: Final = date(2026, 4, 1)
_SELLER: Final = Seller(
    "Stadtwerke Musterstadt GmbH",
    Address("Energieplatz 1", "80331", "München", "DE"),
    vat_id="DE136695976",
    tax_number="143/123/45678",
    email="service@stadtwerke.example",
    phone="+49 89 1234567",
    iban="DE89370400440532013000",
    bic="COBADEFFXXX",
    bank_name="Musterbank",
    footer="Geschäftsführung: Dr. Erika Beispiel · Amtsgericht München HRB 12345",
)
_PRICES: Final = (
    ("energy", "Arbeitspreis", "Tag", 1, "kWh", "0.3215"),
    ("energy", "Arbeitspreis", "Tag", 2, "kWh", "0.2915"),
    ("energy", "Arbeitspreis", "Nacht", 0, "kWh", "0.24123456"),
    ("demand", "Leistungspreis", "Spitze", 0, "kW", "8.20"),
    ("levy", "Stromsteuer", "", 0, "kWh", "0.0205"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """What a process has made: documents, bytes of PDF, by how much processor time, and its
    largest memory.
    """

    documents: int
    pdf_bytes: int
    cpu_s: float
    rss_mb: float


def pdf_per_s(*, documents: int = DOCUMENTS, workers: int = WORKERS) -> float:
    """Documents that so many processes make in a second, their start not counted."""
    return float(str(measured(documents=documents, workers=workers)["pdf_per_s"]))


def measured(*, documents: int, workers: int) -> dict[str, object]:
    """The whole result; see `run`."""
    share = -(-documents // workers)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # Both are up, and have read template and fonts.
        list(pool.map(_make, [(worker, 1) for worker in range(workers)]))
        start = time.perf_counter()
        parts = list(pool.map(_make, [(1 + worker * share, share) for worker in range(workers)]))
        seconds = time.perf_counter() - start
    count = sum(one.documents for one in parts)
    rate = count / seconds
    return {
        "documents": count,
        "workers": workers,
        "seconds": round(seconds, 2),
        "pdf_per_s": round(rate, 1),
        "cpu_ms_each": round(sum(one.cpu_s for one in parts) / count * 1000, 1),
        "pdf_kb": round(sum(one.pdf_bytes for one in parts) / count / 1024, 1),
        "rss_mb": round(max(one.rss_mb for one in parts), 1),
        "goal": GOAL,
        "ok": rate >= GOAL,
    }


def add_arguments(parser: ArgumentParser) -> None:
    """How many, by how many."""
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="documents to be made")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that make them")


def run(options: Namespace) -> dict[str, object]:
    """`pdf_per_s` with `cpu_ms_each` of processor time, `pdf_kb`, and `rss_mb` of a process."""
    return measured(
        documents=getattr(options, "documents", DOCUMENTS),
        workers=getattr(options, "workers", WORKERS),
    )


def _make(part: tuple[int, int]) -> Made:
    first, count = part
    before = time.process_time()
    size = sum(len(make(_document(n)).pdf) for n in range(first, first + count))
    spent = time.process_time() - before
    return Made(count, size, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _document(n: int) -> BillDocument:
    lines = tuple(
        DocumentLine(
            kind=kind,
            label=label,
            first=_FIRST,
            end=_END,
            quantity=quantity,
            unit=unit,
            price=Decimal(price),
            amount=rounded(quantity * Decimal(price), 2),
            period=period,
            tier=tier,
            tax_percent=Decimal(19),
        )
        for at, (kind, label, period, tier, unit, price) in enumerate(_PRICES)
        for quantity in (Decimal(100 + n * 37 % 811) + Decimal(at * 17 + n % 1000) / 1000,)
    )
    net = sum((one.amount for one in lines), Decimal(0))
    tax = rounded(net * Decimal("0.19"), 2)
    vat = DocumentLine("tax", "USt", _FIRST, _END, Decimal(19), "%", None, tax)
    buyer = Buyer(
        f"Kundin {n}",
        f"C-{n:06}",
        address=Address(f"Hauptstraße {n % 200}", "80333", "München", "DE"),
        language="de" if n % 2 else "en",
    )
    use = tuple(
        UseOfDay(_FIRST + timedelta(days=day), Decimal(50 + (day * 37 + n * 11) % 61) / 10)
        for day in range((_END - _FIRST).days)
    )
    return BillDocument(
        credit_note=False,
        number=f"R-2026-{n:06}",
        issued_on=date(2026, 4, 3),
        due_on=date(2026, 4, 17),
        first=_FIRST,
        end=_END,
        currency="EUR",
        parties=Parties(_SELLER, buyer, Supply(f"A-{n}", f"Haus {n}")),
        lines=(*lines, vat),
        net=net,
        tax=tax,
        total=net + tax,
        imported_kwh=sum((one.imported_kwh for one in use), Decimal(0)),
        brand=Brand("Stadtwerke"),
        use=use,
        comparison=Comparison(Decimal(200 + n % 90), 28, Decimal(210 + n % 70), 31),
    )
