"""What a document of a bill says, before it has a form.

Amounts, quantities and prices are `Decimal` in the currency and unit that stand beside them; those
of a credit note are negative, as in the ledger, and each form turns them as its rules ask. Periods
are half-open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final, TypeVar

# How old the form of a snapshot is; a reader of an older one fills what is missing with nothing.
SNAPSHOT: Final = 1


class DocumentError(Exception):
    """A document cannot be made; the message is a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody is; `country` by ISO 3166-1 alpha-2."""

    street: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who bills: `billing.models.BillingSettings` as they were. `footer` stands on every page."""

    name: str
    address: Address = field(default_factory=Address)
    vat_id: str = ""
    tax_number: str = ""
    email: str = ""
    phone: str = ""
    iban: str = ""
    bic: str = ""
    bank_name: str = ""
    footer: str = ""


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who is billed: `billing.models.Customer` as it was; `company` or a person."""

    name: str
    number: str = ""
    company: bool = False
    address: Address = field(default_factory=Address)
    vat_id: str = ""
    reference: str = ""
    email: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Supply:
    """What is supplied: the number of the agreement, and the facility as it was called."""

    agreement: str
    facility: str = ""
    address: Address = field(default_factory=Address)
    cost_centre: str = ""


_P = TypeVar("_P", Seller, Buyer, Supply)


@dataclass(frozen=True, slots=True)
class Parties:
    """Everybody whom a bill names, kept with it: `Bill.parties` is `as_json()` of this."""

    seller: Seller
    buyer: Buyer
    supply: Supply

    def as_json(self) -> dict[str, Any]:
        """The same as JSON; `of` makes it a value again."""
        return {"format": SNAPSHOT, **asdict(self)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Parties:
        """What `as_json` made, now or earlier: names that are not known are left out."""
        return cls(
            seller=_party(Seller, kept.get("seller", {}), name=""),
            buyer=_party(Buyer, kept.get("buyer", {}), name=""),
            supply=_party(Supply, kept.get("supply", {}), agreement=""),
        )


def _party(kind: type[_P], kept: Mapping[str, Any], **least: Any) -> _P:
    known = {one.name for one in fields(kind)}
    values = least | {name: value for name, value in kept.items() if name in known}
    values["address"] = Address(
        **{one.name: kept.get("address", {}).get(one.name, "") for one in fields(Address)}
    )
    return kind(**values)


@dataclass(frozen=True, slots=True)
class Brand:
    """How the seller looks: `colour` as `#rrggbb`, the logo a PNG or WebP file."""

    name: str = ""
    colour: str = "#0b6bcb"
    logo: bytes | None = None


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """A line of a bill (`billing.tariffs.values.Line`); `estimated` is a part of `quantity`."""

    kind: str
    label: str
    first: date
    end: date
    quantity: Decimal
    unit: str
    price: Decimal | None
    amount: Decimal
    period: str = ""
    tier: int = 0
    estimated: Decimal = Decimal(0)
    tax_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class UseOfDay:
    """Energy drawn from the grid on a local day, and given to it."""

    day: date
    imported_kwh: Decimal
    exported_kwh: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was drawn in the period before this and in the same of the year before; None where no
    bill is known. Per day, because periods differ in length: `days` of each.
    """

    before_kwh: Decimal | None = None
    before_days: int = 0
    year_ago_kwh: Decimal | None = None
    year_ago_days: int = 0


@dataclass(frozen=True, slots=True)
class BillDocument:
    """A bill or a credit note as its reader gets it.

    `lines` are those of the bill in their order, taxes (kind `tax`) and rounding included; `net` +
    `tax` = `total`, which is what is asked for. `corrects` is the number of the bill that is taken
    back, or replaced, and `corrected_on` its date; `cause` says why. `use` may be empty.
    """

    credit_note: bool
    number: str
    issued_on: date
    due_on: date
    first: date
    end: date
    currency: str
    parties: Parties
    lines: tuple[DocumentLine, ...]
    net: Decimal
    tax: Decimal
    total: Decimal
    imported_kwh: Decimal = Decimal(0)
    exported_kwh: Decimal = Decimal(0)
    estimated_kwh: Decimal = Decimal(0)
    brand: Brand = field(default_factory=Brand)
    use: tuple[UseOfDay, ...] = ()
    comparison: Comparison = field(default_factory=Comparison)
    corrects: str = ""
    corrected_on: date | None = None
    cause: str = ""

    @property
    def language(self) -> str:
        """`de` or `en`: that of the reader where documents are written in it."""
        return "de" if self.parties.buyer.language[:2].lower() == "de" else "en"
