"""What the page of a comparison of tariffs shows, prepared."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from billing.domain.comparison_values import ABSENT, PLACE, LeftOut, Question, Sums, Total
from billing.domain.sentences import spoken
from billing.models import ComparisonState, TariffComparison
from portal.charts.months import Month, month_chart
from portal.enterprise.billing import words
from portal.frame import quantities

# Tariffs that chart and months show: what is agreed, and the cheapest others.
_SHOWN: Final = 4
_TONES: Final = {"waiting": "accent", "done": "good", "failed": "bad"}


def comparison(row: TariffComparison) -> dict[str, Any]:
    """A comparison with what has been computed so far."""
    sums, question = Sums.read(row.sums), Question.read(row.question)
    count = len(row.agreements)
    return {
        "comparison": row,
        "title": title(row),
        "days": words.days(row.first_on, row.end_on),
        "state": row.get_state_display(),
        "tone": _TONES[row.state],
        "moves": row.state == ComparisonState.WAITING,
        "failed": row.state == ComparisonState.FAILED,
        "progress": _("%(done)d of %(count)d agreements are computed.")
        % {"done": row.done, "count": count},
        "percent": 100 * row.done // count,
        "changes": _changes(question),
        "offered": question.offered,
        **(_result(row, sums) if row.state == ComparisonState.DONE else {}),
    }


def title(row: TariffComparison) -> str:
    """What is compared."""
    return row.title or _("All that are billed in %(currency)s") % {"currency": row.currency}


def entry(row: TariffComparison) -> dict[str, Any]:
    """A line of the list of those that are kept."""
    return {
        "url": reverse("comparison", args=[row.pk]),
        "title": title(row),
        "days": words.days(row.first_on, row.end_on),
        "changes": _changes(Question.read(row.question)),
        "state": row.get_state_display(),
        "tone": _TONES[row.state],
        "asked_at": row.asked_at,
    }


def _changes(question: Question) -> list[str]:
    """Photovoltaics and battery in a sentence each."""
    told = []
    if panels := question.panels:
        told.append(
            _("With %(power)s of photovoltaics, tilted by %(tilt)s°, towards %(azimuth)s°")
            % {
                "power": _figure(panels.kwp, "kWp"),
                "tilt": quantities.exact(_decimal(panels.tilt)),
                "azimuth": quantities.exact(_decimal(panels.azimuth)),
            }
        )
    if battery := question.battery:
        told.append(
            _("With a battery of %(capacity)s and %(power)s, efficiency %(efficiency)s")
            % {
                "capacity": _figure(battery.capacity_kwh, "kWh"),
                "power": _figure(battery.power_kw, "kW"),
                "efficiency": quantities.percent(battery.efficiency, 1),
            }
        )
        if question.lowest_peak:
            told.append(_("The battery keeps the peak as low as it can"))
        elif battery.peak_kw is not None:
            power = _figure(battery.peak_kw, "kW")
            told.append(_("The battery keeps the peak at %(power)s") % {"power": power})
    return told


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))


def _figure(value: float, unit: str) -> str:
    return f"{quantities.exact(_decimal(value))}\N{NO-BREAK SPACE}{unit}"


def _kwh(value: Decimal) -> str:
    return quantities.quantity(value * 1000, "Wh")


def _result(row: TariffComparison, sums: Sums) -> dict[str, Any]:
    ranked = sums.ranked()
    sound = [one for one in ranked if not one.problem]
    covered = sums.covered(row.first_on, row.end_on)
    return {
        "count": sums.count,
        "currency": row.currency,
        "covered": words.days(*covered) if covered else "",
        "shorter": covered not in (None, (row.first_on, row.end_on)),
        "current": quantities.money(sums.current.total, row.currency) if sums.current else "–",
        "best": _row(sound[0], sums, row) if sound else None,
        "rows": [_row(one, sums, row) for one in ranked],
        "left_out": [_left_out(one) for one in sums.left_out],
        "missing": sums.missing,
        "estimated": _kwh(sums.energies.estimated) if sums.energies.estimated else "",
        "facts": _facts(row, sums),
        **_months(row, sums, sound),
    }


def _row(one: Total, sums: Sums, of: TariffComparison) -> dict[str, Any]:
    current = sums.current
    difference = None if one.problem or current is None else one.total - current.total
    months = len(one.months)
    return {
        "pk": one.tariff_id,
        "version": one.version_id,
        "name": one.name,
        "current": one.version_id is None and sums.current_ids == {one.tariff_id},
        "problem": spoken(one.problem),
        "total": quantities.money(None if one.problem else one.total, of.currency),
        "net": quantities.money(None if one.problem else one.net, of.currency),
        "month": quantities.money(one.total / months, of.currency) if months else "–",
        "difference": "–" if difference is None else _signed(difference, of.currency),
        "share": quantities.percent(difference / current.total, 1)
        if difference is not None and current and current.total
        else "",
        "tone": "" if not difference else "bad" if difference > 0 else "good",
    }


def _signed(amount: Decimal, currency: str) -> str:
    text = quantities.money(amount, currency)
    return f"+{text}" if amount > 0 else text


def _left_out(one: LeftOut) -> dict[str, Any]:
    sentences = {
        ABSENT: _("It does not hold on these days, or is gone."),
        PLACE: _("Where its facility lies is not known: enter latitude and longitude there."),
    }
    return {
        "pk": one.agreement_id if one.number else None,
        "number": one.number or f"#{one.agreement_id}",
        "text": sentences.get(one.code, one.text)
        or _("What it costs by its own tariff cannot be computed."),
    }


def _facts(row: TariffComparison, sums: Sums) -> list[tuple[str, str]]:
    energies, question = sums.energies, Question.read(row.question)
    told = [(_("Drawn from the grid"), _kwh(energies.imported))]
    if energies.exported or question.panels:
        told.append((_("Given to the grid"), _kwh(energies.exported)))
    if sums.peak_kw and sums.count == 1:
        told.append((_("Highest demand"), quantities.quantity(sums.peak_kw * 1000, "W")))
    if question.panels:
        told.append((_("From photovoltaics"), _kwh(energies.generated)))
    if question.battery:
        told += [
            (_("Loaded into the battery"), _kwh(energies.loaded)),
            (_("Taken out of the battery"), _kwh(energies.unloaded)),
            (_("Lost in the battery"), _kwh(energies.lost)),
            (_("Left in the battery at the end"), _kwh(energies.left)),
        ]
    return told


def _months(row: TariffComparison, sums: Sums, sound: Sequence[Total]) -> dict[str, Any]:
    """Chart and table of the months of what is agreed and of the cheapest others."""
    others = [one for one in sound if one.version_id or sums.current_ids != {one.tariff_id}]
    shown: list[tuple[str, Total]] = [(one.name, one) for one in others]
    if sums.current:
        shown.insert(0, (_("As agreed"), sums.current))
    shown = shown[:_SHOWN]
    days = sorted({day for _name, one in shown for day in one.months})
    if not days:
        return {}
    chart = month_chart(
        [
            Month(
                date_format(day, "M"),
                tuple(float(one.months.get(day, 0)) for _name, one in shown),
                tuple(
                    f"{date_format(day, 'F Y')}, {name}: "
                    f"{quantities.money(one.months.get(day), row.currency)}"
                    for name, one in shown
                ),
            )
            for day in days
        ]
    )
    return {
        "chart": chart,
        "scale": quantities.money(_decimal(chart.most), row.currency) if chart else "",
        "names": [(f"s{place}", name) for place, (name, _one) in enumerate(shown)],
        "months": [
            (
                date_format(day, "F Y"),
                [
                    (name, quantities.money(one.months.get(day), row.currency))
                    for name, one in shown
                ],
            )
            for day in days
        ],
    }
