"""What a bill was computed from, as bytes that are kept with it and hashed, and back.

    magic        4 bytes: WLB1
    head         length (u32, little endian) and zlib (RFC 1950) of a JSON object: agreement and
                 period, what was known, terms, tariff documents by their SHA-256 (each once),
                 prices, peaks and credits, the grid of intervals and the names of its columns
    columns      of each its length and the zlib of its planes: differences as zigzag integers, all
                 least significant bytes first, then the next ones, as many as the largest needs

Decimals are text, days and instants ISO 8601. `reproduce` computes a bill from its evidence alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from billing.domain.terms import Dated, tariff_of
from billing.models import BillEvidence, BillKind
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Int64s, Line, Peak, Period, Prices, Rating, Usage

FORMAT: Final = 1
_MAGIC: Final = b"WLB1"
_LENGTH: Final = struct.Struct("<I")
_LEVEL: Final = 3
# Longer than the evidence of ten years; what unpacks to more is none of ours.
_MOST_INTERVALS: Final = 1_000_000


class EvidenceError(Exception):
    """The bytes are no evidence, or not those of the hash that the bill names."""


class EvidenceNotFound(LookupError):  # noqa: N818 - it reads as what happened
    """There is no such bill in the scope, or it has no evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a bill is computed from; `change` is the number of the last change of the past
    (`devices.domain.changes`) that was known.
    """

    agreement_id: int
    number: str
    currency: str
    period: Period
    known_at: datetime
    change: int
    dated: tuple[Dated, ...]
    usage: Usage
    context: Context

    @property
    def terms(self) -> tuple[Terms, ...]:
        """What was agreed, in order."""
        return tuple(one.terms for one in self.dated)

    def rating(self) -> Rating:
        """The bill that follows."""
        return rate(self.terms, self.usage, self.period, self.context)


def sha256_of(body: bytes) -> str:
    """The hash that a bill names (hex)."""
    return hashlib.sha256(body).hexdigest()


def pack(of: Evidence) -> bytes:
    """The bytes of evidence; the same evidence always gives the same."""
    columns = _columns(of.usage)
    head = _head(of) | {
        "step_s": of.usage.step_s,
        "start": int(of.usage.starts[0]) if len(of.usage.starts) else 0,
        "intervals": len(of.usage.starts),
        "columns": list(columns),
    }
    text = json.dumps(head, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    parts = [zlib.compress(text.encode(), _LEVEL), *map(_packed, columns.values())]
    return _MAGIC + b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack(body: bytes) -> Evidence:
    """What `pack` has packed; raises EvidenceError."""
    if body[:4] != _MAGIC:
        raise EvidenceError("this is no evidence of a bill")
    try:
        first, *packed = _parts(body)
        head = json.loads(zlib.decompress(first))
        count = int(head["intervals"])
        if count > _MOST_INTERVALS or len(packed) != len(head["columns"]):
            raise EvidenceError("the evidence of the bill is damaged")
        columns = {
            name: _unpacked(part, count) for name, part in zip(head["columns"], packed, strict=True)
        }
        return _evidence(head, _usage(head, count, columns))
    except (zlib.error, struct.error, ValueError, KeyError) as error:
        raise EvidenceError("the evidence of the bill is damaged") from error


def evidence_of(*, bill_id: int) -> Evidence:
    """The evidence of a bill, checked against its hash; one query. Raises EvidenceNotFound and
    EvidenceError. Needs an open scope.
    """
    return _checked(_row(bill_id))


def reproduce(*, bill_id: int) -> Rating:
    """A bill computed again from its evidence alone, of a credit note with its signs turned; one
    query. Raises EvidenceNotFound and EvidenceError. Needs an open scope.
    """
    row = _row(bill_id)
    rating = _checked(row).rating()
    return negated(rating) if row.bill.kind == BillKind.CREDIT_NOTE else rating


def negated(rating: Rating) -> Rating:
    """What takes a bill back, line by line."""
    return replace(
        rating,
        lines=tuple(negated_line(one) for one in rating.lines),
        net=-rating.net,
        tax=-rating.tax,
        total=-rating.total,
    )


def negated_line(line: Line) -> Line:
    """The same line given back: quantity and amount turned, the price as it was."""
    return replace(line, quantity=-line.quantity, amount=-line.amount, estimated=-line.estimated)


def _row(bill_id: int) -> BillEvidence:
    row = BillEvidence.objects.select_related("bill").filter(bill_id=bill_id).first()
    if row is None:
        raise EvidenceNotFound(f"evidence of bill {bill_id}")
    return row


def _checked(row: BillEvidence) -> Evidence:
    body = bytes(row.body)
    if sha256_of(body) != row.sha256 or row.sha256 != row.bill.sha256:
        raise EvidenceError(f"the evidence of bill {row.bill_id} does not have the hash it names")
    return unpack(body)


# --- The head -----------------------------------------------------------------------------------


def _head(of: Evidence) -> dict[str, Any]:
    documents = {one.canonical: hashlib.sha256(one.canonical).hexdigest() for one in of.dated}
    context = of.context
    return {
        "agreement": {"id": of.agreement_id, "number": of.number, "currency": of.currency},
        "period": [of.period.first.isoformat(), of.period.end.isoformat(), of.period.zone],
        "known_at": of.known_at.isoformat(),
        "change": of.change,
        "documents": {sha: canonical.decode() for canonical, sha in documents.items()},
        "terms": [
            [
                one.terms.first.isoformat(),
                one.terms.end.isoformat(),
                documents[one.canonical],
                _text(one.terms.contracted_kw),
            ]
            for one in of.dated
        ],
        "prices": {
            name: [series.step_s, series.starts.tolist(), list(map(str, series.prices))]
            for name, series in context.prices.items()
        },
        "carried": carried_of(context.peaks, context.credit, context.credit_milliwh),
    }


def carried_of(
    peaks: Sequence[Peak], credit: Decimal, credit_milliwh: Mapping[str, int]
) -> dict[str, Any]:
    """What goes from one bill into the next, as JSON."""
    return {
        "peaks": [[one.component, one.period, one.month.isoformat(), str(one.kw)] for one in peaks],
        "credit": str(credit),
        "credit_milliwh": dict(credit_milliwh),
    }


def peaks_of(carried: Mapping[str, Any]) -> tuple[Peak, ...]:
    """The peaks in what `carried_of` made."""
    return tuple(
        Peak(component, period, date.fromisoformat(month), Decimal(kw))
        for component, period, month, kw in carried.get("peaks", ())
    )


def _evidence(head: Mapping[str, Any], usage: Usage) -> Evidence:
    first, end, zone = head["period"]
    carried = head["carried"]
    return Evidence(
        agreement_id=head["agreement"]["id"],
        number=head["agreement"]["number"],
        currency=head["agreement"]["currency"],
        period=Period(date.fromisoformat(first), date.fromisoformat(end), zone),
        known_at=datetime.fromisoformat(head["known_at"]),
        change=head["change"],
        dated=tuple(_dated(head["documents"], *one) for one in head["terms"]),
        usage=usage,
        context=Context(
            prices={
                name: Prices(step_s, np.array(starts, np.int64), tuple(map(Decimal, prices)))
                for name, (step_s, starts, prices) in head["prices"].items()
            },
            peaks=peaks_of(carried),
            credit=Decimal(carried["credit"]),
            credit_milliwh=carried["credit_milliwh"],
        ),
    )


def _dated(
    documents: Mapping[str, str], first: str, end: str, sha: str, contracted: str | None
) -> Dated:
    canonical = documents[sha].encode()
    if hashlib.sha256(canonical).hexdigest() != sha:
        raise EvidenceError("a tariff in the evidence of the bill does not have the hash it names")
    power = None if contracted is None else Decimal(contracted)
    terms = Terms(date.fromisoformat(first), date.fromisoformat(end), tariff_of(canonical), power)
    return Dated(terms, canonical)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


# --- Columns --------------------------------------------------------------------------------------


def _columns(usage: Usage) -> dict[str, Int64s]:
    """The columns of use that say anything; `starts` where intervals do not follow each other."""
    columns = {"imported": usage.imported}
    if usage.exported.any():
        columns["exported"] = usage.exported
    if usage.quality.any():
        columns["quality"] = usage.quality.astype(np.int64)
    if usage.reactive is not None:
        columns["reactive"] = usage.reactive
    if (np.diff(usage.starts) != usage.step_s).any():
        columns["starts"] = usage.starts
    return columns


def _usage(head: Mapping[str, Any], count: int, columns: Mapping[str, Int64s]) -> Usage:
    step_s, start = int(head["step_s"]), int(head["start"])
    nothing = np.zeros(count, np.int64)
    grid = start + step_s * np.arange(count, dtype=np.int64)
    return Usage(
        step_s,
        columns.get("starts", grid),
        columns["imported"],
        columns.get("exported", nothing),
        columns.get("quality", nothing).astype(np.uint8),
        columns.get("reactive"),
    )


def _packed(column: Int64s) -> bytes:
    # Differences of int64 wrap around, and so do their sums.
    steps = np.diff(column, prepend=np.int64(0))
    zigzag = ((steps << 1) ^ (steps >> 63)).astype(np.int64).view(np.uint64)
    width = max(1, (int(zigzag.max(initial=0)).bit_length() + 7) // 8)
    planes = zigzag.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T
    return zlib.compress(np.ascontiguousarray(planes).tobytes(), _LEVEL)


def _unpacked(part: bytes, count: int) -> Int64s:
    inflater = zlib.decompressobj()
    planes = inflater.decompress(part, 8 * count + 1)
    width = len(planes) // count if count else 0
    if len(planes) != width * count or width > 8 or not inflater.eof:
        raise EvidenceError("the evidence of the bill is damaged")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = np.frombuffer(planes, np.uint8).reshape(width, count).T
    zigzag = wide.view("<u8").reshape(count).astype(np.uint64)
    steps = (zigzag >> np.uint64(1)).view(np.int64) ^ -(zigzag & np.uint64(1)).view(np.int64)
    return np.cumsum(steps, dtype=np.int64)


def _parts(body: bytes) -> Iterator[bytes]:
    at = len(_MAGIC)
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        if at + length > len(body):
            raise EvidenceError("the evidence of the bill is damaged")
        yield body[at : at + length]
        at += length
