"""What the pages of revenue and of cost centres show, prepared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.revenue_details import Detail
from billing.domain.revenue_values import (
    NOTHING,
    Centre,
    Centres,
    CentreSum,
    Month,
    Part,
    Revenue,
    UnbilledThen,
)
from portal.charts.bars import Value, bar_chart
from portal.charts.stacks import Piece, Stack, stack_chart
from portal.enterprise.billing import words
from portal.frame import quantities
from portal.frame.exporting import csv_text

# Kinds that have a hue of their own; what is rare shares the last one.
_HUES: Final = ("standing", "energy", "dynamic", "demand", "export", "levy", "discount")
_OTHER: Final = len(_HUES) + 1
AGES: Final = {
    "current": gettext_lazy("Not due yet"),
    "days_1_30": gettext_lazy("1 to 30 days over due"),
    "days_31_60": gettext_lazy("31 to 60 days over due"),
    "days_61_90": gettext_lazy("61 to 90 days over due"),
    "over_90": gettext_lazy("More than 90 days over due"),
}


def revenue(found: Revenue, today: date) -> dict[str, Any]:
    """The whole page but for its form."""
    currency = found.asked.currency
    kinds = sorted({kind for one in found.months for kind in one.kinds}, key=_order)
    chart = stack_chart([_stack(one, kinds, currency) for one in found.months])
    waiting = bar_chart([_then(one, currency) for one in found.unbilled_days])
    return {
        "found": found,
        "cards": _cards(found, today),
        "chart": chart,
        "scale": quantities.money(Decimal(str(chart.most)), currency) if chart else "",
        "keys": _keys(kinds),
        "waiting": waiting,
        "waiting_scale": quantities.money(Decimal(str(waiting.most)), currency) if waiting else "",
        "kinds": [_kind(kind) for kind in kinds],
        "months": [
            {
                "title": date_format(one.first, "F Y"),
                "kinds": [
                    (_kind(kind), quantities.money(one.kinds.get(kind, NOTHING), currency))
                    for kind in kinds
                ],
                "net": quantities.money(one.net, currency),
                "tax": quantities.money(one.tax, currency),
            }
            for one in found.months
        ],
        "parts": _parts(found),
        "taxes": [
            {
                "rate": f"{quantities.exact(one.percent)}\N{NO-BREAK SPACE}%",
                "base": quantities.money(one.base, currency),
                "tax": quantities.money(one.tax, currency),
            }
            for one in found.taxes
        ],
        "ages": [
            (AGES[code], quantities.money(amount, currency), _share(amount, found.receivables.owed))
            for code, amount in found.receivables.ages.items()
        ],
    }


def _cards(found: Revenue, today: date) -> list[dict[str, str]]:
    currency, owed, waits = found.asked.currency, found.receivables, found.unbilled
    age = waits.age(today)
    late = owed.owed - owed.ages["current"]
    return [
        {
            "label": _("Net revenue"),
            "value": quantities.money(found.net, currency),
            "sub": _("%(tax)s tax") % {"tax": quantities.money(found.tax, currency)},
        },
        {
            "label": _("Not billed yet"),
            "value": quantities.money(waits.net, currency),
            "sub": _("%(energy)s, net, not final")
            % {"energy": quantities.quantity(waits.imported_kwh * 1000, "Wh")},
        },
        {
            "label": _("Oldest day that is not billed"),
            "value": quantities.NOTHING if age is None else _days(age),
            "sub": _("of %(count)s accounts") % {"count": quantities.number(waits.accounts)},
        },
        {
            "label": _("Open items"),
            "value": quantities.money(owed.owed, currency),
            "sub": _("%(late)s over due") % {"late": quantities.money(late, currency)},
        },
        {
            "label": _("Days of sales outstanding"),
            "value": quantities.number(owed.days_outstanding, 1),
            "sub": _("(open items − open credit) ÷ billed with tax in 90 days × 90"),
        },
        {
            "label": _("Estimated"),
            "value": quantities.percent(found.known.estimated_share, 1),
            "sub": _("%(share)s of the intervals missing")
            % {"share": quantities.percent(found.known.missing_share, 1)},
        },
    ]


def _then(one: UnbilledThen, currency: str) -> Value:
    told = quantities.money(one.net, currency)
    energy = _energy(one.imported_kwh)
    title = f"{date_format(one.on, 'SHORT_DATE_FORMAT')}: {told} · {energy}"
    return Value(float(one.net), date_format(one.on, "j M"), title)


def _days(count: int) -> str:
    return _("%(count)s days") % {"count": quantities.number(count)}


def _parts(found: Revenue) -> list[dict[str, Any]]:
    """The tables by tariff, cost centre and facility."""
    others = (Part(None, _("All others"), found.others),) if found.others else ()
    return [
        {"title": title, "head": head, "rows": _shares(parts, found, empty)}
        for title, head, parts, empty in (
            (_("By tariff"), _("Tariff"), found.tariffs, _("Other")),
            (_("By cost centre"), _("Cost centre"), found.cost_centres, _("Without one")),
            (_("By facility"), _("Facility"), (*found.facilities, *others), _("Other")),
        )
    ]


def _shares(parts: Sequence[Part], found: Revenue, empty: str) -> list[tuple[str, str, str]]:
    return [
        (
            one.name or empty,
            quantities.money(one.net, found.asked.currency),
            _share(one.net, found.net),
        )
        for one in parts
    ]


def _share(part: Decimal, whole: Decimal) -> str:
    return quantities.percent(part / whole, 1) if whole else quantities.NOTHING


def _order(kind: str) -> int:
    known = list(words.LINE_KINDS)
    return known.index(kind) if kind in known else len(known)


def _kind(kind: str) -> str:
    return str(words.LINE_KINDS.get(kind, kind))


def _hue(kind: str) -> int:
    return _HUES.index(kind) + 1 if kind in _HUES else _OTHER


def _keys(kinds: Sequence[str]) -> list[tuple[int, str]]:
    """The legend: hue and name."""
    own = [(_hue(kind), _kind(kind)) for kind in kinds if _hue(kind) != _OTHER]
    rare = [_kind(kind) for kind in kinds if _hue(kind) == _OTHER]
    return [*own, *([(_OTHER, ", ".join(rare))] if rare else [])]


def _stack(month: Month, kinds: Sequence[str], currency: str) -> Stack:
    title = date_format(month.first, "F Y")
    return Stack(
        date_format(month.first, "M y"),
        [
            Piece(
                float(month.kinds[kind]),
                _hue(kind),
                f"{title} · {_kind(kind)}: {quantities.money(month.kinds[kind], currency)}",
            )
            for kind in kinds
            if month.kinds.get(kind)
        ],
    )


# --- the file ----------------------------------------------------------------------------


def csv_head() -> str:
    """The first line of the file."""
    return csv_text(
        [
            [
                _("Month"), _("Kind"), _("Tariff"), _("Cost centre"), _("Facility"), _("Amount"),
                _("Currency"),
            ]
        ]
    )  # fmt: skip


def csv_rows(details: Sequence[Detail], currency: str) -> str:
    """Lines of the file; amounts as they are before rounding, with a point."""
    return csv_text(
        [
            f"{one.month:%Y-%m}",
            _kind(one.kind),
            one.tariff,
            one.cost_centre,
            one.facility,
            one.amount.normalize().__format__("f"),
            currency,
        ]
        for one in details
    )


# --- cost centres ------------------------------------------------------------------------


def cost_centres(found: Centres) -> dict[str, Any]:
    """The table and what stands above it."""
    return {
        "found": found,
        "title": date_format(found.month, "F Y"),
        "net": quantities.money(found.net, found.currency),
        "energy": _energy(sum((one.now.kwh for one in found.centres), NOTHING)),
        "count": quantities.number(len(found.centres)),
        "rows": [_centre(found, one) for one in found.centres],
    }


def _centre(found: Centres, one: Centre) -> dict[str, Any]:
    return {
        "name": one.name or _("Without one"),
        "sites": quantities.number(one.now.sites),
        "energy": _energy(one.now.kwh),
        "peak": quantities.quantity(
            None if one.now.peak_kw is None else one.now.peak_kw * 1000, "W"
        ),
        "net": quantities.money(one.now.net, found.currency),
        "share": quantities.percent(found.share(one), 1),
        "before": _change(one.now, one.before),
        "year_before": _change(one.now, one.year_before),
    }


def _change(now: CentreSum, then: CentreSum) -> dict[str, str]:
    """By how much net and energy have changed since."""
    return {"net": _difference(now.net, then.net), "kwh": _difference(now.kwh, then.kwh)}


def _difference(now: Decimal, then: Decimal) -> str:
    if not then:
        return quantities.NOTHING
    text = quantities.percent(now / then - 1, 1)
    return f"+{text}" if now > then else text


def _energy(kwh: Decimal) -> str:
    return quantities.quantity(kwh * 1000, "Wh")
