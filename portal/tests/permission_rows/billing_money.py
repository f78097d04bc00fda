"""Pages of payments, open items, dunning, plans of payments and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from billing.models import (
    AccountEntry,
    Agreement,
    DunningCase,
    EntryKind,
    InstalmentPlan,
    Payment,
    PriceSeries,
)
from billing.tests import factories
from devices.tests.factories import number
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager analyst"
_CHANGES = "operator admin"


def _agreement(world: World) -> Agreement:
    """Of the first facility, with a case, a plan and a payment; gone with the test."""
    with open_scope(world.park.scope):
        rows = Agreement.objects.filter(
            facility=world.park.branches[0].facility,
            dunning__isnull=False,
            plans__isnull=False,
            payments__isnull=False,
        )
        made = rows.order_by("pk").first()
    if made is not None:
        return made
    factories.billing_of(world.park)
    return _agreement(world)


def _case(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return DunningCase.objects.filter(agreement=agreement).order_by("pk")[0].pk


def _plan(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return InstalmentPlan.objects.filter(agreement=agreement).order_by("pk")[0].pk


def _payment(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        rows = Payment.objects.filter(agreement=agreement, amount__gt=0)
        return rows.order_by("pk")[0].pk


def _entry(world: World) -> int:
    """One that is owed."""
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        owed = factories.entry(agreement, Decimal(7), EntryKind.FEE)
        return AccountEntry.objects.get(pk=owed.pk).pk


def _series(world: World) -> int:
    with open_scope(world.park.scope):
        made = PriceSeries.objects.create(
            tenant=world.park.tenant, name=f"spot {number()}", currency="EUR"
        )
    return made.pk


def _new_series(_world: World) -> dict[str, object]:
    return {"name": f"series {number()}", "currency": "EUR", "step_s": "3600"}


# fmt: off
AREA = Area(
    rows=(
        #    route                method roles  may  far  others newcomer nobody subject
        Row("dunning-list",       "GET", _SEES, 200, 200, 403, 403, 302),
        Row("dunning-case",       "GET", _SEES, 200, 404, 403, 403, 302, "case"),
        Row("agreement-dunning",  "GET", _SEES, 200, 404, 403, 403, 302, "dunned agreement"),
        Row("dunning-policy",     "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("dunning-policy",     "POST", _CHANGES, 422, 422, 403, 403, 302, elsewhere=403),
        Row("dunning-pause",      "GET",  _CHANGES, 200, 404, 403, 403, 302, "case", elsewhere=403),
        Row("dunning-pause",      "POST", _CHANGES, 422, 404, 403, 403, 302, "case", elsewhere=403),
        # It is not paused: that is told.
        Row("dunning-resume",     "POST", _CHANGES, 302, 404, 403, 403, 302, "case", elsewhere=403),
        Row("dunning-close",      "GET",  _CHANGES, 200, 404, 403, 403, 302, "case", elsewhere=403),
        Row("dunning-close",      "POST", _CHANGES, 422, 404, 403, 403, 302, "case", elsewhere=403),
        Row("plan-list",          "GET", _SEES, 200, 200, 403, 403, 302),
        Row("plan",               "GET", _SEES, 200, 404, 403, 403, 302, "plan"),
        Row("plan-agree",         "GET",  _CHANGES, 200, 404, 403, 403, 302, "dunned agreement", elsewhere=403),
        Row("plan-agree",         "POST", _CHANGES, 422, 404, 403, 403, 302, "dunned agreement", elsewhere=403),
        Row("plan-end",           "GET",  _CHANGES, 200, 404, 403, 403, 302, "plan", elsewhere=403),
        Row("plan-end",           "POST", _CHANGES, 302, 404, 403, 403, 302, "plan", elsewhere=403),
        Row("payment-list",       "GET", _SEES, 200, 200, 403, 403, 302),
        Row("payment",            "GET", _SEES, 200, 404, 403, 403, 302, "payment", elsewhere=404),
        Row("payment-assign",     "GET",  _CHANGES, 200, 404, 403, 403, 302, "payment", elsewhere=403),
        Row("payment-assign",     "POST", _CHANGES, 422, 404, 403, 403, 302, "payment", elsewhere=403),
        Row("payment-refund",     "GET",  _CHANGES, 200, 404, 403, 403, 302, "payment", elsewhere=403),
        Row("payment-refund",     "POST", _CHANGES, 422, 404, 403, 403, 302, "payment", elsewhere=403),
        Row("payment-import-list", "GET", _SEES, 200, 200, 403, 403, 302),
        Row("payment-import",     "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("payment-import",     "POST", _CHANGES, 422, 422, 403, 403, 302, elsewhere=403),
        # There is no such file: that is told on the page that takes one.
        Row("payment-import-take", "POST", _CHANGES, 302, 302, 403, 403, 302, elsewhere=403),
        Row("payment-service",    "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("payment-service",    "POST", _CHANGES, 422, 422, 403, 403, 302, elsewhere=403),
        Row("open-item-list",     "GET", _SEES, 200, 200, 403, 403, 302),
        Row("open-item-write-off", "GET",  _CHANGES, 200, 404, 403, 403, 302, "owed", elsewhere=403),
        Row("open-item-write-off", "POST", _CHANGES, 422, 404, 403, 403, 302, "owed", elsewhere=403),
        Row("price-series-list",  "GET", _SEES, 200, 200, 403, 403, 302),
        Row("price-series",       "GET", _SEES, 200, 404, 403, 403, 302, "series", elsewhere=404),
        Row("price-series-create", "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("price-series-create", "POST", _CHANGES, 302, 302, 403, 403, 302, elsewhere=403, form=_new_series),
        Row("price-import",       "GET",  _CHANGES, 200, 404, 403, 403, 302, "series", elsewhere=403),
        Row("price-import",       "POST", _CHANGES, 422, 404, 403, 403, 302, "series", elsewhere=403),
        Row("price-enter",        "GET",  _CHANGES, 200, 404, 403, 403, 302, "series", elsewhere=403),
        Row("price-enter",        "POST", _CHANGES, 422, 404, 403, 403, 302, "series", elsewhere=403),
    ),
    subjects={
        "case": _case,
        "dunned agreement": lambda world: _agreement(world).pk,
        "plan": _plan,
        "payment": _payment,
        "owed": _entry,
        "series": _series,
    },
)
# fmt: on
