"""Pages of billing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.models import Agreement, AgreementTariff, Bill, BillRun
from billing.tests import factories
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager analyst"


def _agreement(world: World) -> Agreement:
    """Of the first facility; gone with the test."""
    with open_scope(world.park.scope):
        facility = world.park.branches[0].facility
        made = Agreement.objects.filter(facility=facility).order_by("pk").first()
    if made is not None:
        return made
    factories.billing_of(world.park)
    return _agreement(world)


def _bill(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return Bill.objects.filter(agreement=agreement)[0].pk


def _tariff(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return AgreementTariff.objects.filter(agreement=agreement)[0].tariff_id


def _run(world: World) -> int:
    _agreement(world)
    with open_scope(world.park.scope):
        return BillRun.objects.filter(tenant=world.park.tenant)[0].pk


# fmt: off
AREA = Area(
    rows=(
        #    route              method roles  may  far  others newcomer nobody subject
        Row("bill-list",        "GET", _SEES, 200, 200, 403,   403,     302),
        Row("bill",             "GET", _SEES, 200, 404, 403,   403,     302, "bill"),
        Row("agreement-list",   "GET", _SEES, 200, 200, 403,   403,     302),
        Row("agreement",        "GET", _SEES, 200, 404, 403,   403,     302, "agreement"),
        Row("customer-list",    "GET", _SEES, 200, 200, 403,   403,     302),
        Row("customer",         "GET", _SEES, 200, 404, 403,   403,     302, "customer"),
        Row("tariff-list",      "GET", _SEES, 200, 200, 403,   403,     302),
        Row("tariff",           "GET", _SEES, 200, 404, 403,   403,     302, "tariff"),
        Row("bill-run-list",    "GET", _SEES, 200, 200, 403,   403,     302),
        Row("bill-run",         "GET", _SEES, 200, 404, 403,   403,     302, "bill run"),
    ),
    subjects={
        "bill": _bill,
        "agreement": lambda world: _agreement(world).pk,
        "customer": lambda world: _agreement(world).customer_id,
        "tariff": _tariff,
        "bill run": _run,
    },
)
# fmt: on
