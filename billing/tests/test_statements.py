"""Bank statements and tables of payments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.payments import camt053, csv_statement
from billing.payments.values import Received, StatementError

IBAN = "DE89370400440532013000"
DAY = date(2026, 3, 31)


def transaction(
    amount: str = "", *, name: str = "Anna Berg", text: str = "", version: int = 8, extra: str = ""
) -> str:
    party = f"<Nm>{name}</Nm>"
    told = f'<Amt Ccy="EUR">{amount}</Amt>'
    if version < 8:
        told = f"<AmtDtls><TxAmt>{told}</TxAmt></AmtDtls>"
    else:
        party = f"<Pty>{party}</Pty>"
    return (
        f"<TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>{told if amount else ''}{extra}"
        f"<RltdPties><Dbtr>{party}</Dbtr><DbtrAcct><Id><IBAN>{IBAN}</IBAN></Id></DbtrAcct>"
        f"</RltdPties><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>"
    )


def entry(
    amount: str,
    *details: str,
    sign: str = "CRDT",
    version: int = 8,
    status: str = "BOOK",
    reference: str = "",
    reversal: bool = False,
) -> str:
    told = f"<Sts><Cd>{status}</Cd></Sts>" if version >= 8 else f"<Sts>{status}</Sts>"
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{sign}</CdtDbtInd>'
        f"{'<RvslInd>true</RvslInd>' if reversal else ''}{told}"
        f"<BookgDt><Dt>{DAY}</Dt></BookgDt><AcctSvcrRef>{reference}</AcctSvcrRef>"
        f"<NtryDtls>{''.join(details)}</NtryDtls></Ntry>"
    )


def statement(*entries: str, version: int = 8, balances: Sequence[str] = ()) -> bytes:
    told = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>'
        for code, amount in zip(("OPBD", "CLBD"), balances, strict=False)
    )
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version:02}">'
        f"<BkToCstmrStmt><Stmt><Acct><Id><IBAN>{IBAN}</IBAN></Id></Acct>{told}"
        f"{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def payments(data: bytes) -> list[Received]:
    return [one for of in camt053.read(data) for one in of.payments]


def test_an_entry_of_nothing_is_no_payment() -> None:
    data = statement(
        entry("0.00", transaction(text="Account fee")), entry("5.00", transaction(text="RE 1"))
    )
    (found,) = camt053.read(data)
    assert ([one.amount for one in found.payments], found.ignored) == ([Decimal(5)], 1)


@pytest.mark.parametrize("version", [2, 8])
def test_a_payment_is_read_from_old_and_new_versions(version: int) -> None:
    paid = transaction("119.00", text="RE-2026-0001", version=version)
    (one,) = payments(statement(entry("119.00", paid, version=version), version=version))
    assert (one.amount, one.currency, one.received_on) == (Decimal("119.00"), "EUR", DAY)
    assert (one.payer, one.payer_account, one.text) == ("Anna Berg", IBAN, "RE-2026-0001")
    assert one.external_id.startswith("camt:")


def test_the_same_payment_has_the_same_id_in_every_version_and_file() -> None:
    old = statement(
        entry("5", transaction("5.00", text="A", version=2), version=2, reference="R1"), version=2
    )
    new = statement(
        entry("7", transaction("7", text="B")),
        entry("5.00", transaction("5", text="A"), reference="R1"),
    )
    assert payments(old)[0].external_id == payments(new)[1].external_id


def test_two_payments_that_say_the_same_are_two() -> None:
    twice = entry("5", transaction("5", text="A"))
    ids = [one.external_id for one in payments(statement(twice, twice))]
    assert (len(set(ids)), ids[1]) == (2, f"{ids[0]}:2")


def test_a_collected_entry_is_parted_where_its_parts_add_up() -> None:
    parts = [transaction("30", text="A"), transaction("20", text="B")]
    found = payments(statement(entry("50", *parts)))
    assert [(int(one.amount), one.text) for one in found] == [(30, "A"), (20, "B")]
    (whole,) = payments(statement(entry("51", *parts)))
    assert (int(whole.amount), whole.text) == (51, "")
    (untold,) = payments(statement(entry("50", transaction(text="A"), transaction(text="B"))))
    assert untold.amount == 50


def test_debits_are_no_payments_but_for_what_takes_one_back() -> None:
    returned = "<RtrInf><Rsn><Cd>AM04</Cd></Rsn></RtrInf>"
    (of,) = camt053.read(
        statement(
            entry("9", transaction("9"), sign="DBIT"),
            entry("8", transaction("8"), sign="DBIT", reversal=True),
            entry("7", transaction("7", extra=returned), sign="DBIT"),
            entry("6", transaction("6"), status="PDNG"),
        )
    )
    assert [one.amount for one in of.payments] == [-8, -7]
    assert of.ignored == 2


def test_a_structured_reference_is_kept_apart() -> None:
    told = transaction("5", text="thanks").replace(
        "<RmtInf>", "<RmtInf><Strd><CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd>"
    )
    (one,) = payments(statement(entry("5", told)))
    assert (one.reference, one.text) == ("RF18539007547034", "thanks")


def test_a_statement_that_does_not_add_up_is_refused() -> None:
    paid = entry("5", transaction("5"))
    assert len(payments(statement(paid, balances=("10.00", "15.00")))) == 1
    with pytest.raises(StatementError, match="does not add up"):
        camt053.read(statement(paid, balances=("10.00", "16.00")))


_BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&b;</Document>'
)
_FILE = b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><Document>&a;</Document>'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (_BOMB, "document type"),
        (_FILE, "document type"),
        (b"<Document", "no XML"),
        (b"", "no XML"),
        (b"<Document/>", "no bank statement"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "no XML"),
        (statement().replace(b"Stmt>", b"Rpt>"), "no statement"),
        (statement(entry("1,5", transaction())), "no amount"),
        (statement(entry("NaN", transaction())), "no amount"),
        (statement(entry("5", transaction(), sign="")), "no amount"),
        (statement(entry("5", transaction())).replace(b"2026-03-31", b"soon"), "no day"),
        (statement(entry("5", transaction())).replace(b"2026-03-31", b"0001-01-01"), "no day"),
        (b" " * (camt053.MOST_BYTES + 1), "at most 20 MB"),
    ],
)
def test_what_is_no_statement_is_refused_with_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(StatementError, match=says):
        camt053.read(data)


def test_a_table_in_german_is_read() -> None:
    data = (
        "\ufeffBuchungstag;Betrag;Währung;Auftraggeber;IBAN;Verwendungszweck\r\n"
        f"31.03.2026;1.119,00;EUR;Anna Berg;{IBAN[:4]} {IBAN[4:]};RE-2026-0001\r\n"
        "31.03.26;-5,00;EUR;;;Gebühr\r\n\r\n"
    ).encode()
    of = csv_statement.read(data, currency="CHF")
    (one,) = of.payments
    assert (one.amount, one.currency, one.received_on) == (Decimal("1119.00"), "EUR", DAY)
    assert (one.payer, one.payer_account, one.text) == ("Anna Berg", IBAN, "RE-2026-0001")
    assert of.ignored == 1


def test_a_table_in_english_is_read() -> None:
    data = b'date,amount,id,text\n2026-03-31,"1,119.00",T1,one\n2026-03-31,2,T2,two\n'
    of = csv_statement.read(data, currency="EUR")
    assert [(int(one.amount), one.text) for one in of.payments] == [(1119, "one"), (2, "two")]
    assert {one.currency for one in of.payments} == {"EUR"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no headings"),
        (b"a,b\n1,2\n", "No column is the day"),
        (b"date\n2026-03-31\n", "No column is the amount"),
        (b"date,amount,betrag\n", "Two columns are the amount"),
        (b"date,amount\n2026-03-31,ten\n", "no number.*line 2"),
        (b"date;amount\n2026-03-31;1,50\n2026-03-31;1.50\n", "written unlike"),
        (b"date;amount\n2026-03-31;1.234\n", "not clear"),
        (b"date,amount\n31-3-2026,1\n", "A day is written.*line 2"),
        (b"date,amount,currency\n2026-03-31,1,euro\n", "three letters.*line 2"),
        (b"date,amount\n\x81\x8d,1\n", "no text"),
        (b'date,amount\n2026-03-31,"1\n', "no table"),
        (b"date,amount\n9999-12-31,1\n", "A day is written.*line 2"),
        (b"date,amount\n2026-03-31," + b"9" * 20 + b"\n", "no number.*line 2"),
        ("date,amount\n2026-03-31,\u0661\n".encode(), "no number.*line 2"),
        (b"date,amount\n" + b"2026-03-31,1\n" * (csv_statement.MOST_ROWS + 1), "at most 50000"),
    ],
)
def test_what_is_no_table_is_refused_with_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(StatementError, match=says):
        csv_statement.read(data, currency="EUR")


@given(
    st.binary(max_size=300) | st.text(alphabet='dateamount;,\n"1.0-', max_size=80).map(str.encode)
)
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    found: list[object] = []
    for name, read in (("camt", camt053.read), ("csv", _read_table)):
        try:
            found += read(data)
        except StatementError as error:
            found.append((name, str(error)))
    assert found


def _read_table(data: bytes) -> list[object]:
    return [csv_statement.read(data, currency="EUR")]
