"""Filters and tags of all pages: quantities, times, pagers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django import template
from django.core.paginator import Page
from django.template import Context
from django.urls import reverse
from django.utils.html import format_html

from portal.frame import quantities
from portal.frame.permissions import may
from portal.frame.quantities import Number
from tenants.permissions import Permission

register = template.Library()


@register.filter
def number(value: Number | None, decimals: int = 0) -> str:
    """A number in the reader's format: `{{ count|number }}`, `{{ ratio|number:2 }}`."""
    return quantities.number(value, decimals)


@register.filter
def exact(value: Decimal) -> str:
    """A number with all of its digits: `{{ channel.resolution|exact }}` gives `0.01`."""
    return quantities.exact(value)


@register.filter
def quantity_name(code: str) -> str:
    """What a quantity is called: `{{ channel.quantity|quantity_name }}`."""
    return quantities.quantity_name(code)


@register.filter
def channel_name(name: str, code: str) -> str:
    """A channel's name as the reader says it: `{{ channel.name|channel_name:channel.quantity }}`
    gives `Spannung L1`.
    """
    return quantities.channel_name(name, code)


@register.filter
def unit(value: Number | None, of: str) -> str:
    """A value with its unit: `{{ voltage|unit:"V" }}`."""
    return quantities.quantity(value, of)


@register.filter
def power(watts: Number | None) -> str:
    """Watts: `{{ now.grid_w|power }}` gives `4.21 kW`."""
    return quantities.power(watts)


@register.filter
def energy(watt_hours: Number | None) -> str:
    """Watt-hours: `{{ day.import_wh|energy }}` gives `12.3 kWh`."""
    return quantities.energy(watt_hours)


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """An amount of money: `{{ bill.total|money:bill.currency }}` gives `119.00 EUR`."""
    return quantities.money(amount, currency)


@register.filter
def price(amount: Decimal | None, currency: str) -> str:
    """A price with all of its digits: `{{ line.price|price:bill.currency }}` gives `0.3125 EUR`."""
    return quantities.price(amount, currency)


@register.filter
def percent(ratio: Number | None, decimals: int = 0) -> str:
    """A ratio of 0 to 1 in per cent: `{{ day.coverage|percent }}`."""
    return quantities.percent(ratio, decimals)


@register.filter
def local_time(moment: datetime | None, zone: str) -> str:
    """Date and time in a facility's zone: `{{ seen_at|local_time:facility.zone }}`."""
    return quantities.local_time(moment, zone)


@register.filter
def local_date(moment: datetime | None, zone: str) -> str:
    """The day in a facility's zone."""
    return quantities.local_time(moment, zone, "DATE_FORMAT")


@register.filter
def local_clock(moment: datetime | None, zone: str) -> str:
    """The time of day in a facility's zone."""
    return quantities.local_time(moment, zone, "TIME_FORMAT")


@register.simple_tag
def moment(at: datetime | None, zone: str) -> str:
    """A `time` element: date and time in the zone, the zone's name in its title."""
    if at is None:
        return quantities.NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        zone,
        quantities.local_time(at, zone),
    )


@register.filter
def page_numbers(page: Page[object]) -> list[int | None]:
    """The numbers that a pager shows; None where some are left out."""
    shown = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return [number if isinstance(number, int) else None for number in shown]


@register.inclusion_tag("components/history_link.html", takes_context=True)
def history_link(context: Context, label: str, key: int) -> dict[str, object]:
    """The way to the audit log of one object, `{% history_link "devices.device" device.pk %}`, for
    whoever may see it.
    """
    shown = may(context["request"], Permission.AUDIT_VIEW)
    return {"url": f"{reverse('audit')}?subject={label}:{key}" if shown else ""}
