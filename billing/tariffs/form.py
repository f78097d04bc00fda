"""The form of a tariff's document, version 1, and its published JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from billing.tariffs import parts
from billing.tariffs.sentences import sentence
from billing.tariffs.shapes import (
    NUMBER_SCHEMA,
    ByKey,
    ByType,
    Choice,
    Flag,
    Many,
    Named,
    Number,
    Record,
    Shape,
    Text,
    Whole,
)

SCHEMA_PATH: Final = "/schemas/tariff-1.json"
SCHEMA_FILE: Final = Path(__file__).parent / "schema" / "tariff-1.json"
_CLOCK: Final = sentence("a time such as 07:30")

NAME: Final = Text(40, r"^[a-z][a-z0-9_]*$", sentence("a name of small letters, digits and _"))
PERIOD: Final = Text(60, r"^\S(.*\S)?$", sentence("a name"))
LABEL: Final = Text(120, r"^\S(.*\S)?$", sentence("a label"))
NUMBER: Final = Number()
POSITIVE: Final = Number(above=0)
NOT_NEGATIVE: Final = Number(least=0)
PERCENT: Final = Number(least=0, most=100)

RULE: Final = Record(
    {
        "period": PERIOD,
        "seasons": Many(NAME, most=24),
        "days": Many(Choice(parts.DAYS), most=8),
        "from": Text(5, r"^([01][0-9]|2[0-3]):[0-5][0-9]$", _CLOCK),
        "to": Text(5, r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", _CLOCK),
    },
    needed=("period",),
)
TIER_PRICES: Final = Many(Record({"up_to": POSITIVE, "price": NUMBER}, needed=("price",)), most=30)
PRICES: Final = ByType(
    mapping=Named(
        PERIOD, ByType(listed=TIER_PRICES, plain=NUMBER, means=sentence("a price or tiers"))
    ),
    listed=TIER_PRICES,
    plain=NUMBER,
)
SELL_PRICES: Final = ByType(
    mapping=Named(PERIOD, NUMBER), plain=NUMBER, means=sentence("a price, or one for each period")
)
TIERS: Final = Record(
    {
        "per": Choice(tuple(parts.Pool)),
        "unit": Choice(tuple(parts.LimitUnit)),
        "pro_rated": Flag(),
        "shared": Choice(tuple(parts.Shared)),
        "window_min": Choice((15, 30, 60)),
    }
)
FLOW: Final = Choice(tuple(parts.Flow))
OF: Final = ByType(
    listed=Many(NAME, most=60),
    plain=Choice(("all",)),
    means=sentence("a list of components, or all"),
)
PER_MONTH: Final = Choice((parts.Per.DAY, parts.Per.MONTH, parts.Per.KW_MONTH))


def _component(
    kind: str, fields: dict[str, Shape], needed: tuple[str, ...], one_of: tuple[str, ...] = ()
) -> Record:
    common: dict[str, Shape] = {"kind": Choice((kind,)), "name": NAME, "label": LABEL}
    return Record(common | fields, ("kind", "name", *needed), one_of)


COMPONENTS: Final = {
    "standing": _component(
        "standing", {"amount": NUMBER, "per": Choice(tuple(parts.Per))}, ("amount", "per")
    ),
    "energy": _component(
        "energy",
        {"flow": FLOW, "schedule": NAME, "prices": PRICES, "tiers": TIERS},
        ("prices",),
    ),
    "dynamic": _component(
        "dynamic",
        {
            "flow": FLOW,
            "series": Text(60, r"^\S(.*\S)?$", sentence("the name of a price series")),
            "factor": NUMBER,
            "adder": NUMBER,
            "floor": NUMBER,
        },
        ("series",),
    ),
    "demand": _component(
        "demand",
        {
            "window_min": Choice((15, 30, 60)),
            "schedule": NAME,
            "prices": PRICES,
            "minimum_kw": NOT_NEGATIVE,
            "ratchet": Record(
                {
                    "percent": PERCENT,
                    "months": Whole(1, 36),
                    "of_months": Many(Whole(1, 12), most=12),
                },
                needed=("percent", "months"),
            ),
        },
        ("prices",),
    ),
    "power_factor": _component(
        "power_factor",
        {
            "target": Number(above=0, most=1),
            "of": OF,
            "surcharge": ByType(
                mapping=Record(
                    {"percent": NOT_NEGATIVE, "step": POSITIVE, "per_kvarh": NOT_NEGATIVE}
                ),
                plain=Choice(("ratio",)),
                means=sentence("“ratio”, or percent and step, or per_kvarh"),
            ),
        },
        ("target", "surcharge"),
    ),
    "netting": _component(
        "netting",
        {
            "within": Choice(tuple(parts.Within)),
            "schedule": NAME,
            "carry": Choice(tuple(parts.Carry)),
            "settle_month": Whole(1, 12),
            "sell_price": SELL_PRICES,
        },
        ("within", "sell_price"),
    ),
    "minimum": _component(
        "minimum", {"amount": NOT_NEGATIVE, "per": PER_MONTH, "of": OF}, ("amount", "of")
    ),
    "discount": _component(
        "discount",
        {"percent": PERCENT, "amount": NOT_NEGATIVE, "per": PER_MONTH, "of": OF},
        ("of",),
        one_of=("percent", "amount"),
    ),
    "levy": _component(
        "levy", {"percent": NUMBER, "per_kWh": NUMBER, "of": OF}, (), one_of=("percent", "per_kWh")
    ),
    "tax": _component("tax", {"percent": PERCENT, "of": OF}, ("percent", "of")),
}

DOCUMENT: Final = Record(
    {
        "tariff": Choice((1,)),
        "name": LABEL,
        "currency": Text(3, r"^[A-Z]{3}$", sentence("a currency such as EUR")),
        "description": Text(2000),
        "holidays": ByType(
            listed=Many(Text(16), most=60),
            plain=Text(16),
            means=sentence("a region such as DE-BY, a date, or a list of these"),
        ),
        "interval_min": Choice((5, 15, 30, 60)),
        "seasons": Named(
            NAME,
            Many(
                Text(
                    12,
                    r"^(0[1-9]|1[0-2])-[0-3][0-9]\.\.(0[1-9]|1[0-2])-[0-3][0-9]$",
                    sentence("a part of the year such as 04-01..10-31"),
                ),
                most=24,
            ),
            most=24,
        ),
        "schedules": Named(NAME, Many(RULE, most=500), most=20),
        "components": Many(ByKey("kind", COMPONENTS), most=60),
        "rounding": Record(
            {
                "step": POSITIVE,
                "mode": Choice(tuple(parts.Mode)),
                "at": Choice(tuple(parts.At)),
                "total_step": POSITIVE,
            }
        ),
    },
    needed=("tariff", "name", "currency", "components"),
)


def schema() -> dict[str, Any]:
    """The form as JSON Schema, draft 2020-12, as it is published."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_PATH,
        "title": "Tariff",
        "description": "An electricity tariff. Its meaning is told in docs/tariffs.md.",
        "$defs": {"number": NUMBER_SCHEMA},
        **DOCUMENT.schema(),
    }


def schema_text() -> str:
    """The text of the published file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text())
