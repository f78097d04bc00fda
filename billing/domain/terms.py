"""By which tariffs agreements are billed, day by day.

Needs an open scope that sees tariffs: one that is narrowed to facilities does not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from billing.models import AgreementTariff, TariffVersion, VersionState
from billing.tariffs import document
from billing.tariffs.document import Tariff
from billing.tariffs.rating import Terms

# Tariffs that are kept read; a tenant has some dozens.
_KEPT: Final = 512


class Dated(NamedTuple):
    """Terms with the document of their tariff in its canonical form."""

    terms: Terms
    canonical: bytes


class _Version(NamedTuple):
    valid_from: date
    canonical: bytes


def terms_of(
    agreement_ids: Sequence[int], *, first: date, end: date, known_at: datetime
) -> dict[int, tuple[Terms, ...]]:
    """What holds for agreements on the days [first, end), as far as they hold then, in order and
    with neighbours that say the same joined; days without a tariff are left out.

    Of the versions published by `known_at`, the one with the highest revision holds from its date
    until that of the next. Two queries. Raises `TariffError` for a version that cannot be read.
    """
    found = dated_of(agreement_ids, first=first, end=end, known_at=known_at)
    return {agreement_id: tuple(one.terms for one in some) for agreement_id, some in found.items()}


def dated_of(
    agreement_ids: Sequence[int], *, first: date, end: date, known_at: datetime
) -> dict[int, tuple[Dated, ...]]:
    """`terms_of` with the documents."""
    rows = list(
        AgreementTariff.objects.filter(agreement_id__in=list(agreement_ids), starts_on__lt=end)
        .exclude(ends_on__lte=first)
        .order_by("agreement_id", "starts_on")
        .values_list(
            "agreement_id", "tariff_id", "contracted_kw", "starts_on", "ends_on",
            "agreement__starts_on", "agreement__ends_on",
        )
    )  # fmt: skip
    versions = _versions({row[1] for row in rows}, known_at)
    found: dict[int, list[Dated]] = defaultdict(list)
    for agreement_id, tariff_id, contracted, starts, ends, since, until in rows:
        begin = max(first, starts, since)
        stop = min([end, *(day for day in (ends, until) if day is not None)])
        for piece in _pieces(versions.get(tariff_id, ()), begin, stop, contracted):
            _join(found[agreement_id], piece)
    return {agreement_id: tuple(found.get(agreement_id, ())) for agreement_id in agreement_ids}


def missing_days(
    terms: Sequence[Terms], *, first: date, end: date
) -> tuple[tuple[date, date], ...]:
    """The periods of [first, end) for which there is no tariff."""
    missing, reached = [], first
    for one in terms:
        if one.first > reached:
            missing.append((reached, one.first))
        reached = max(reached, one.end)
    if reached < end:
        missing.append((reached, end))
    return tuple(missing)


@lru_cache(maxsize=_KEPT)
def tariff_of(canonical: bytes) -> Tariff:
    """The tariff of a document in its canonical form, read once; raises `TariffError`."""
    return document.read(json.loads(canonical))


def _versions(tariff_ids: set[int], known_at: datetime) -> dict[int, list[_Version]]:
    rows = TariffVersion.objects.filter(
        tariff_id__in=tariff_ids, state=VersionState.PUBLISHED, published_at__lte=known_at
    )
    canonical: dict[int, dict[date, bytes]] = defaultdict(dict)
    for tariff_id, valid_from, of in rows.order_by("tariff", "valid_from", "revision").values_list(
        "tariff_id", "valid_from", "document"
    ):
        canonical[tariff_id][valid_from] = document.canonical(of)
    return {
        tariff_id: [_Version(*one) for one in sorted(found.items())]
        for tariff_id, found in canonical.items()
    }


def _pieces(
    versions: Sequence[_Version], first: date, end: date, contracted_kw: Decimal | None
) -> Iterator[Dated]:
    for place, (valid_from, canonical) in enumerate(versions):
        until = versions[place + 1].valid_from if place + 1 < len(versions) else end
        begin, stop = max(first, valid_from), min(end, until)
        if begin < stop:
            yield Dated(Terms(begin, stop, tariff_of(canonical), contracted_kw), canonical)


def _join(found: list[Dated], piece: Dated) -> None:
    """What goes on as before is one piece, since a bill is cut where terms change."""
    terms = piece.terms
    if found and found[-1].canonical == piece.canonical:
        last = found[-1].terms
        if (last.end, last.contracted_kw) == (terms.first, terms.contracted_kw):
            found[-1] = piece._replace(
                terms=Terms(last.first, terms.end, last.tariff, last.contracted_kw)
            )
            return
    found.append(piece)
