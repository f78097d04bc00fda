"""What stands on the page of a bill: every word and figure as it is written, in the order of the
page (`bill.typ` says where).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, Decimal
from itertools import groupby
from typing import Any, Final

from babel import Locale

from billing.documents import figures, payment_code
from billing.documents.values import Address, BillDocument, Comparison, DocumentLine, UseOfDay
from billing.documents.words import unit, word

# More bars than days of two months cannot be told apart: months then.
_MOST_BARS: Final = 62
_TICKS: Final = 4
_SAME_PERCENT: Final = Decimal("0.5")
_LABEL_EVERY: Final = 7
_NOT_IN_TABLE: Final = ("tax", "rounding")


@dataclass(frozen=True, slots=True)
class Sheet:
    """`page` is what the template reads; `code` the QR code as SVG, empty without one."""

    page: dict[str, Any]
    code: bytes = b""


def sheet(document: BillDocument, *, embedded: bool) -> Sheet:
    """The page of a document; `embedded` says that it has the bill as data, too."""
    language = document.language
    code = _payment_text(document)
    seller, brand = document.parties.seller, document.brand
    kind = word(language, "credit_note" if document.credit_note else "bill")
    issued = document.issued_on
    page = {
        "lang": language,
        "colour": brand.colour,
        "brand": brand.name or seller.name,
        "logo": "logo" if brand.logo else "",
        "author": seller.name,
        "title": word(language, "title", kind=f"{seller.name}: {kind}", number=document.number),
        "heading": word(language, "title", kind=kind, number=document.number),
        "subject": _subject(document),
        "date": [issued.year, issued.month, issued.day],
        "sender": " · ".join(_known(seller.name, seller.address.street, _town(seller.address))),
        "address": [
            document.parties.buyer.name,
            *_postal(document.parties.buyer.address),
            *_abroad(document),
        ],
        "facts": _facts(document),
        "notices": _notices(document),
        "key": _key(document),
        "chart": _chart(document.use, language),
        "lines-title": word(language, "lines"),
        "columns": [word(language, name) for name in ("line", "quantity", "price")]
        + [f"{word(language, 'amount')} ({document.currency})"],
        "rows": [_row(line, document) for line in document.lines if _in_table(line)],
        "sums": _sums(document),
        "remarks": _remarks(document),
        "pay": _pay(document, has_code=bool(code)),
        "footer": _footer(document),
        "note": seller.footer,
        "page": word(language, "page", page="{page}", pages="{pages}"),
        "embedded": embedded,
        "embedded-words": word(language, "embedded"),
        **_compared(document),
    }
    return Sheet(page, payment_code.drawn(code) if code else b"")


def reference(document: BillDocument) -> str:
    """What a payer names, so that the payment finds its bill: number, customer."""
    return " ".join(_known(document.number, document.parties.buyer.number))


def _known(*texts: str) -> list[str]:
    return [text for text in texts if text.strip()]


def _town(address: Address) -> str:
    return " ".join(_known(address.postal_code, address.city))


def _postal(address: Address) -> list[str]:
    return _known(address.street, _town(address))


def _abroad(document: BillDocument) -> list[str]:
    """The country of the address, for letters that leave that of the sender."""
    here = document.parties.seller.address.country
    there = document.parties.buyer.address.country
    if there in ("", here):
        return []
    return [str(Locale(document.language).territories.get(there, there)).upper()]


def _subject(document: BillDocument) -> str:
    language = document.language
    period = figures.period(document.first, document.end, language)
    supply = document.parties.supply
    place = ", ".join(_known(supply.facility, supply.address.street, supply.address.city))
    if not place:
        return word(language, "for_nothing", period=period)
    return word(language, "for", facility=place, period=period)


def _facts(document: BillDocument) -> list[list[str]]:
    language, parties = document.language, document.parties
    told = {
        "number": document.number,
        "issued": figures.day(document.issued_on, language),
        "period": figures.period(document.first, document.end, language),
        "customer": parties.buyer.number,
        "agreement": parties.supply.agreement,
        "reference": parties.buyer.reference,
        "cost_centre": parties.supply.cost_centre,
        "buyer_vat": parties.buyer.vat_id,
    }
    return [[word(language, key), value] for key, value in told.items() if value]


def _notices(document: BillDocument) -> list[str]:
    language, notices = document.language, []
    if document.corrects and document.corrected_on:
        notices.append(
            word(
                language,
                "takes_back" if document.credit_note else "replaces",
                number=document.corrects,
                date=figures.day(document.corrected_on, language),
            )
        )
    if document.cause:
        notices.append(word(language, "cause", cause=document.cause))
    return notices


def _key(document: BillDocument) -> list[dict[str, Any]]:
    language = document.language
    total = figures.money(abs(document.total), document.currency, language)
    pay = {"label": word(language, "pay"), "value": total, "large": True, "more": ""}
    if document.total > 0:
        pay["more"] = word(language, "pay_by", date=figures.day(document.due_on, language))
    else:
        pay["label"] = word(language, "credit" if document.total else "nothing")
    key = [pay]
    for name, energy in (("used", document.imported_kwh), ("given", document.exported_kwh)):
        if energy > 0 or (name == "used" and not document.credit_note):
            value = f"{figures.number(energy, language, most=1)} kWh"
            key.append({"label": word(language, name), "value": value, "large": False, "more": ""})
    return key


def _months(use: Sequence[UseOfDay]) -> list[UseOfDay]:
    return [
        UseOfDay(
            day=start,
            imported_kwh=sum((one.imported_kwh for one in days), Decimal(0)),
            exported_kwh=sum((one.exported_kwh for one in days), Decimal(0)),
        )
        for start, group in groupby(use, key=lambda one: one.day.replace(day=1))
        for days in (list(group),)
    ]


def _chart(use: Sequence[UseOfDay], language: str) -> dict[str, Any] | None:
    """Bars of the use, by day or by month; nothing where there is no use."""
    by_month = len(use) > _MOST_BARS
    bars = _months(use) if by_month else list(use)
    highest = max((max(one.imported_kwh, one.exported_kwh) for one in bars), default=Decimal(0))
    if highest <= 0:
        return None
    step = _step(highest)
    top = step * (highest / step).to_integral_value(ROUND_CEILING)
    fed = any(one.exported_kwh for one in bars)

    def said(when: date) -> str:
        return figures.month(when, language) if by_month else figures.day(when, language)

    most = max(bars, key=lambda one: one.imported_kwh)
    least = min(bars, key=lambda one: one.imported_kwh)
    total = sum((one.imported_kwh for one in bars), Decimal(0))
    return {
        "title": word(language, "use_by_month" if by_month else "use_by_day") + " (kWh)",
        "alt": word(
            language,
            "chart_month" if by_month else "chart",
            sum=figures.number(total, language, most=1),
            count=len(bars),
            units=word(language, "months" if by_month else "days"),
            most_on=said(most.day),
            most=figures.number(most.imported_kwh, language, most=1),
            least_on=said(least.day),
            least=figures.number(least.imported_kwh, language, most=1),
        ),
        "fed": fed,
        "words": [word(language, "drawn"), word(language, "fed")],
        "ticks": [
            {"at": float(step * n / top), "text": figures.number(step * n, language)}
            for n in range(int(top / step) + 1)
        ],
        # Heights of bars on a page: the only place where a float is precise enough.
        "bars": [
            {
                "drawn": float(one.imported_kwh / top),
                "fed": float(one.exported_kwh / top),
                "text": _bar_text(one.day, by_month=by_month),
            }
            for one in bars
        ],
    }


def _bar_text(when: date, *, by_month: bool) -> str:
    if by_month:
        return f"{when.month}/{when.year % 100:02}"
    return f"{when.day}.{when.month}." if when.day % _LABEL_EVERY == 1 else ""


def _step(highest: Decimal) -> Decimal:
    """A round step (1, 2 or 5 times a power of ten), so that a few of them reach the highest."""
    raw = highest / _TICKS
    power = Decimal(1).scaleb(raw.adjusted())
    return next(power * n for n in (1, 2, 5, 10) if power * n >= raw)


def _compared(document: BillDocument) -> dict[str, Any]:
    language, other = document.language, document.comparison
    now = _per_day(document.imported_kwh, (document.end - document.first).days)
    told = [("compare_now", now)]
    told += [(f"compare_{name}", value) for name, value in _former(other)]
    none: dict[str, Any] = {"comparison": "", "compared": [], "compared-words": ""}
    highest = max(value for _name, value in told)
    if len(told) == 1 or highest <= 0:
        return none
    sentences = [
        _difference(now, value, word(language, f"when_{name}"), language)
        for name, value in _former(other)
        if value > 0
    ]
    text = "; ".join(sentences)
    return {
        "comparison": word(language, "comparison"),
        "compared": [
            {
                "label": word(language, name),
                "now": name == "compare_now",
                "part": float(value / highest),
                "value": word(language, "per_day", value=figures.number(value, language, most=1)),
            }
            for name, value in told
        ],
        "compared-words": f"{text[:1].upper()}{text[1:]}." if text else "",
    }


def _former(other: Comparison) -> Iterable[tuple[str, Decimal]]:
    if other.before_kwh is not None:
        yield "before", _per_day(other.before_kwh, other.before_days)
    if other.year_ago_kwh is not None:
        yield "year", _per_day(other.year_ago_kwh, other.year_ago_days)


def _per_day(energy: Decimal, days: int) -> Decimal:
    return energy / max(days, 1)


def _difference(now: Decimal, then: Decimal, when: str, language: str) -> str:
    percent = (now - then) / then * 100
    if abs(percent) < _SAME_PERCENT:
        return word(language, "same", when=when)
    told = figures.number(abs(percent), language, most=0)
    return word(language, "more" if percent > 0 else "less", percent=told, when=when)


def _in_table(line: DocumentLine) -> bool:
    return line.kind not in _NOT_IN_TABLE


def _row(line: DocumentLine, document: BillDocument) -> dict[str, str]:
    language = document.language
    more = _known(
        line.period,
        word(language, "tier", tier=line.tier) if line.tier else "",
        figures.period(line.first, line.end, language)
        if (line.first, line.end) != (document.first, document.end)
        else "",
        word(
            language,
            "estimated",
            quantity=figures.number(line.estimated, language),
            unit=unit(language, line.unit),
        )
        if line.estimated
        else "",
    )
    units = unit(language, line.unit, one=abs(line.quantity) == 1)
    return {
        "label": line.label,
        "more": " · ".join(more),
        "quantity": f"{figures.number(line.quantity, language)} {units}".strip(),
        "price": ""
        if line.price is None
        else figures.price(line.price, document.currency, language),
        "amount": figures.amount(line.amount, document.currency, language),
    }


def _sums(document: BillDocument) -> list[dict[str, Any]]:
    language, currency = document.language, document.currency
    sums = [(word(language, "net"), document.net)]
    sums += [(_tax_label(line, language), line.amount) for line in _merged(document.lines, "tax")]
    sums += [
        (word(language, "rounding"), line.amount) for line in _merged(document.lines, "rounding")
    ]
    told = [
        {"label": label, "value": figures.amount(value, currency, language), "strong": False}
        for label, value in sums
    ]
    total = figures.money(document.total, currency, language)
    return [*told, {"label": word(language, "total"), "value": total, "strong": True}]


def _tax_label(line: DocumentLine, language: str) -> str:
    """What the tariff calls a tax, with its percentage unless that is in the name."""
    percent = figures.number(abs(line.quantity), language)
    if line.unit != "%" or percent in line.label:
        return line.label
    return f"{line.label} {percent}\u00a0%"


def _merged(lines: Sequence[DocumentLine], kind: str) -> list[DocumentLine]:
    """Lines of a kind, those of one label (the parts of a period) as one."""
    found: dict[str, DocumentLine] = {}
    for line in lines:
        if line.kind == kind:
            had = found.get(line.label)
            found[line.label] = (
                line if had is None else replace(had, amount=had.amount + line.amount)
            )
    return list(found.values())


def _remarks(document: BillDocument) -> list[str]:
    language, remarks = document.language, []
    if document.estimated_kwh > 0:
        quantity = figures.number(document.estimated_kwh, language)
        remarks.append(word(language, "estimate", quantity=quantity))
    digits = figures.minor_units(document.currency)
    if any(line.amount != figures.rounded(line.amount, digits) for line in document.lines):
        remarks.append(word(language, "exact"))
    return remarks


def _payment_text(document: BillDocument) -> str:
    seller = document.parties.seller
    if document.credit_note:
        return ""
    return payment_code.text(
        name=seller.name,
        iban=seller.iban,
        bic=seller.bic,
        amount=document.total,
        currency=document.currency,
        reference=reference(document),
    )


def _pay(document: BillDocument, *, has_code: bool) -> dict[str, Any]:
    language, seller = document.language, document.parties.seller
    values = {
        "amount": figures.money(abs(document.total), document.currency, language),
        "date": figures.day(document.due_on, language),
        "reference": reference(document),
        "name": seller.name,
        "iban": payment_code.spaced_iban(seller.iban),
    }
    facts: list[list[str]] = []
    if document.total > 0:
        key = "pay_to" if seller.iban else "no_bank"
    else:
        key = "pay_credit" if document.total else "pay_nothing"
    if key == "pay_to":
        told = {
            "name": seller.name,
            "iban": values["iban"],
            "bic": seller.bic,
            "bank": seller.bank_name,
            "remittance": values["reference"],
        }
        facts = [[word(language, name), value] for name, value in told.items() if value]
    return {
        "title": word(language, "how_to_pay" if document.total > 0 else "your_credit"),
        "text": word(language, key, **values),
        "facts": facts,
        "code": "code.svg" if has_code else "",
        "scan": word(language, "scan"),
        "alt": word(language, "scan_alt", **values) if has_code else "",
    }


def _footer(document: BillDocument) -> list[list[str]]:
    language, seller = document.language, document.parties.seller
    return [
        [seller.name, *_postal(seller.address)],
        _known(seller.email, f"{word(language, 'phone')} {seller.phone}" if seller.phone else ""),
        _known(
            f"{word(language, 'vat_id')} {seller.vat_id}" if seller.vat_id else "",
            f"{word(language, 'tax_number')} {seller.tax_number}" if seller.tax_number else "",
            f"IBAN {payment_code.spaced_iban(seller.iban)}" if seller.iban else "",
            f"BIC {seller.bic}" if seller.iban and seller.bic else "",
        ),
    ]
