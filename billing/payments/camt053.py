"""Bank statements in XML: ISO 20022 camt.053 (bank to customer statement), versions 02 to 13.

Of each statement the booked entries count. An entry that collects several payments (`TxDtls`) is
parted into them where they add up to it; else it stays one. Credits are payments. Debits are none,
but for what takes a payment back: a reversal (`RvslInd`) or a return (`RtrInf`). Where both
balances are given, they must agree with the entries: else something is missing.
Source: ISO 20022 message definition report, bank-to-customer cash management.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from billing.payments.values import (
    MOST_ACCOUNT,
    MOST_NAME,
    MOST_TEXT,
    Received,
    Statement,
    StatementError,
    gettext_noop,
    identified,
)
from tenants.days import possible

# A statement of a busy day has a few thousand entries of a kilobyte; more is no statement.
MOST_BYTES: Final = 20_000_000
_NAMESPACE: Final = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(\d\d)\}")
_AMOUNT: Final = re.compile(r"\d{1,13}(\.\d{1,5})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# What banks write where there is no reference.
_NO_REFERENCE: Final = frozenset({"", "NONREF", "NOTPROVIDED", "NOT PROVIDED"})


class _Node:
    """An element of the message, asked by local names."""

    def __init__(self, element: Element, namespace: str) -> None:
        self._element = element
        self._namespace = namespace

    def _path(self, path: str) -> str:
        return "/".join(self._namespace + name for name in path.split("/"))

    def all(self, path: str) -> list[_Node]:
        return [_Node(one, self._namespace) for one in self._element.findall(self._path(path))]

    def text(self, *paths: str) -> str:
        """The text of the first of the paths that is there, without space around it."""
        for path in paths:
            found = self._element.find(self._path(path))
            if found is not None and found.text and found.text.strip():
                return found.text.strip()
        return ""

    def first(self, *paths: str) -> _Node | None:
        for path in paths:
            found = self._element.find(self._path(path))
            if found is not None:
                return _Node(found, self._namespace)
        return None

    def attribute(self, name: str) -> str:
        return self._element.get(name, "")

    def own_text(self) -> str:
        return (self._element.text or "").strip()


def read(data: bytes) -> tuple[Statement, ...]:
    """The statements of a file. Raises StatementError."""
    if len(data) > MOST_BYTES:
        raise StatementError(
            gettext_noop("A statement has at most %(most)s MB."), most=MOST_BYTES // 1_000_000
        )
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise StatementError(
            gettext_noop("The file has a document type or entities, which no bank statement has.")
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise StatementError(
            gettext_noop("The file is no XML: %(problem)s."), problem=error
        ) from error
    match = _NAMESPACE.match(root.tag)
    if match is None:
        raise StatementError(gettext_noop("The file is no bank statement: export it as camt.053."))
    top = _Node(root, match[0])
    statements = top.all("BkToCstmrStmt/Stmt")
    if not statements:
        raise StatementError(gettext_noop("The file has no statement in it."))
    return tuple(_statement(one) for one in statements)


def _statement(node: _Node) -> Statement:
    account = node.text("Acct/Id/IBAN", "Acct/Id/Othr/Id")
    found: list[Received] = []
    ignored, booked = 0, Decimal(0)
    for number, entry in enumerate(node.all("Ntry"), 1):
        # Text in older versions, a code below it in newer ones.
        if entry.text("Sts/Cd", "Sts") != "BOOK":
            ignored += 1
            continue
        amount, currency = _amount(entry, number)
        booked += amount
        payments = list(_payments(entry, amount, currency, number))
        found += payments
        ignored += not payments
    _check_balances(node, booked)
    return Statement(account, identified(account, found, "camt"), ignored)


def _check_balances(node: _Node, booked: Decimal) -> None:
    balances: dict[str, Decimal] = {}
    for one in node.all("Bal"):
        code = one.text("Tp/CdOrPrtry/Cd")
        balances.setdefault("OPBD" if code == "PRCD" else code, _amount(one, None)[0])
    opening, closing = balances.get("OPBD"), balances.get("CLBD")
    if opening is not None and closing is not None and opening + booked != closing:
        raise StatementError(
            gettext_noop(
                "The statement does not add up: %(opening)s and its entries of %(booked)s are not"
                " %(closing)s. It is not complete: fetch it from the bank again."
            ),
            opening=opening,
            booked=booked,
            closing=closing,
        )


def _amount(node: _Node, number: int | None) -> tuple[Decimal, str]:
    """Amount, negative for a debit, and currency."""
    amount = node.first("Amt", "AmtDtls/TxAmt/Amt")
    text = "" if amount is None else amount.own_text()
    currency = "" if amount is None else amount.attribute("Ccy")
    sign = node.text("CdtDbtInd")
    if (
        _AMOUNT.fullmatch(text) is None
        or _CURRENCY.fullmatch(currency) is None
        or sign not in ("CRDT", "DBIT")
    ):
        raise StatementError(
            gettext_noop("An entry has no amount, currency and direction."), number
        )
    return (Decimal(text) if sign == "CRDT" else -Decimal(text)), currency


def _payments(entry: _Node, amount: Decimal, currency: str, number: int) -> Iterator[Received]:
    """The payments of an entry; none for what is no payment of a customer."""
    day = _day(entry, number)
    reference = _reference(entry.text("AcctSvcrRef"), entry.text("NtryRef"))
    details = entry.all("NtryDtls/TxDtls")
    reversal = entry.text("RvslInd").lower() in ("true", "1")
    parts = _parts(details, amount, currency)
    for number_of, (detail, part) in enumerate(parts):
        takes_back = reversal or (detail is not None and detail.first("RtrInf") is not None)
        # Nothing was paid, or the tenant itself has paid it.
        if not part or (part < 0 and not takes_back):
            continue
        own = "" if detail is None else _reference(detail.text("Refs/AcctSvcrRef", "Refs/TxId"))
        yield _received(detail, part, currency, day, own or f"{reference}/{number_of}", entry)


def _parts(
    details: list[_Node], amount: Decimal, currency: str
) -> list[tuple[_Node | None, Decimal]]:
    """The transactions of an entry with their amounts; the whole entry where they do not add up."""
    if len(details) == 1:
        return [(details[0], amount)]
    parts: list[tuple[_Node | None, Decimal]] = []
    for one in details:
        told = one.first("Amt", "AmtDtls/TxAmt/Amt")
        if told is None or told.attribute("Ccy") != currency:
            return [(None, amount)]
        if _AMOUNT.fullmatch(told.own_text()) is None:
            return [(None, amount)]
        # Without a direction of its own it has the entry's.
        debit = (one.text("CdtDbtInd") or ("DBIT" if amount < 0 else "CRDT")) == "DBIT"
        parts.append((one, -Decimal(told.own_text()) if debit else Decimal(told.own_text())))
    return parts if sum((part for _, part in parts), Decimal(0)) == amount else [(None, amount)]


def _received(
    detail: _Node | None,
    amount: Decimal,
    currency: str,
    day: date,
    own: str,
    entry: _Node,
) -> Received:
    if detail is None:
        text = entry.text("AddtlNtryInf")
        return Received(own, amount, currency, day, text=_clean(text, MOST_TEXT))
    lines = [one.own_text() for one in detail.all("RmtInf/Ustrd")]
    text = " ".join(line for line in lines if line) or detail.text("AddtlTxInf")
    structured = [one.own_text() for one in detail.all("RmtInf/Strd/CdtrRefInf/Ref")]
    end_to_end = _reference(detail.text("Refs/EndToEndId"))
    return Received(
        own,
        amount,
        currency,
        day,
        payer=_clean(detail.text("RltdPties/Dbtr/Pty/Nm", "RltdPties/Dbtr/Nm"), MOST_NAME),
        payer_account=_clean(
            detail.text("RltdPties/DbtrAcct/Id/IBAN", "RltdPties/DbtrAcct/Id/Othr/Id"), MOST_ACCOUNT
        ),
        text=_clean(text, MOST_TEXT),
        reference=_clean(" ".join([*structured, end_to_end]), MOST_TEXT),
    )


def _reference(*texts: str) -> str:
    return next((text for text in texts if text.upper() not in _NO_REFERENCE), "")


def _clean(text: str, most: int) -> str:
    return " ".join(text.split())[:most]


def _day(entry: _Node, number: int) -> date:
    told = entry.text("BookgDt/Dt", "BookgDt/DtTm", "ValDt/Dt", "ValDt/DtTm")
    try:
        # A date may carry a zone, as XML allows: the day is the bank's.
        day = datetime.fromisoformat(told).date() if "T" in told else date.fromisoformat(told[:10])
    except ValueError as error:
        raise StatementError(gettext_noop("An entry has no day of booking."), number) from error
    if not possible(day):
        raise StatementError(gettext_noop("An entry has no day of booking."), number)
    return day
