"""Bills, runs and payments over the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from billing.domain import drafts, finalising
from billing.domain.drafts import Known
from billing.models import (
    Agreement,
    Bill,
    BillRun,
    Mode,
    PaygToken,
    PaygUnit,
    RunState,
    TokenKind,
)
from billing.tests import factories
from devices.tests.factories import number
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager analyst consumer"
# What is of the business, and not of a customer.
_OFFICE = "operator admin manager analyst"
_CHANGES = "operator admin"
_READ = "bills:read"
_WRITE = "bills:read bills:write"
_RESTATED = "bills:read devices:read"
_PAYMENTS = "payments:read"
_PAY = "payments:read payments:write"


def _agreement(world: World) -> Agreement:
    """One of the tenant's consumer, in the first facility."""
    with open_scope(world.park.scope):
        user = world.person("own consumer").user
        return factories.agreement(world.park.branches[0].facility, user=user)


def _bill(world: World) -> int:
    made = _agreement(world)
    with open_scope(world.park.scope):
        return factories.bill(made).pk


def _computed(world: World) -> int:
    """A final bill of the tenant's consumer that was computed from something."""
    at = world.park.branches[0].facility
    with open_scope(world.park.scope):
        user = world.person("own consumer").user
        by = factories.tariff(world.park.tenant, _FLAT)
        made = factories.agreement(at, by=by, user=user)
        known = Known(_NOW, 0)
        draft = drafts.compute(made.pk, first=factories.FIRST, end=factories.END, known=known)
        [stored] = drafts.store([draft], run_id=None)
        [final] = finalising.finalise([stored.pk], issued_on=factories.END, now=_NOW)
    return final.pk


def _run(world: World) -> int:
    with open_scope(world.park.scope):
        made = BillRun.objects.create(
            tenant=world.park.tenant,
            first_on=factories.FIRST,
            end_on=factories.END,
            known_at=factories.START,
            state=RunState.CHECKING,
        )
    return made.pk


def _comparison(world: World) -> int:
    """Of the tenant's consumer."""
    made = _agreement(world)
    with open_scope(world.park.scope):
        return factories.comparison(made, user=made.user).pk


def _case(world: World) -> int:
    """Of the tenant's consumer."""
    made = _agreement(world)
    with open_scope(world.park.scope):
        return factories.dunned(made).pk


def _plan(world: World) -> int:
    made = _agreement(world)
    with open_scope(world.park.scope):
        return factories.plan(made).pk


def _promised(_world: World) -> dict[str, object]:
    """For an agreement of nobody."""
    return {"agreement": 2**40, "instalments": [{"due_on": "2030-01-01", "amount": "1.00"}]}


def _payment(world: World) -> int:
    with open_scope(world.park.scope):
        return factories.payment(world.park.tenant, Decimal(5)).pk


def _paid(world: World) -> dict[str, object]:
    """For an agreement that nobody has."""
    del world
    return {
        "agreement": 2**40,
        "amount": "5",
        "currency": "EUR",
        "received_on": "2026-03-01",
        "request_key": f"{number()}",
    }


def _year(world: World) -> dict[str, object]:
    del world
    return {"since": "2026-01-01", "until": "2027-01-01", "currency": "EUR"}


def _tried(world: World) -> dict[str, object]:
    """The same."""
    del world
    text = "tariff: 1\nname: F\ncurrency: EUR\ncomponents: [{name: e, kind: energy, prices: 1}]"
    days = {"first_on": "2026-03-01", "end_on": "2026-03-02"}
    return {"agreement": 2**40, "text": text, **days}


def _too_much(world: World) -> dict[str, object]:
    """More than was paid: to whoever may, that is told."""
    del world
    return {
        "amount": "1000000",
        "refunded_on": "2026-03-02",
        "reason": "Twice",
        "request_key": f"{number()}",
    }


def _registered(world: World) -> dict[str, object]:
    """A unit for an agreement that nobody has."""
    del world
    keys = {"key": "0" * 32, "starting_code": 1}
    return {"agreement": 2**40, "device": 2**40, "price_per_day": "1", **keys}


def _restatement(world: World) -> int:
    pk = _bill(world)
    with open_scope(world.park.scope):
        return factories.restatement(Bill.objects.get(pk=pk)).pk


def _prepaid(world: World) -> int:
    """A wallet of the tenant's consumer."""
    made = _agreement(world)
    with open_scope(world.park.scope):
        Agreement.objects.filter(pk=made.pk).update(mode=Mode.PREPAID)
        factories.wallet(made)
    return made.pk


def _unit(world: World) -> PaygUnit:
    """The unit of the first device, which the tenant's consumer pays."""
    units = PaygUnit.objects.filter(device=world.park.branches[0].device)
    with open_scope(world.park.scope):
        found = units.first()
    if found is None:
        factories.billing_of(world.park)
        return _unit(world)
    with open_scope(world.park.scope):
        user = world.person("own consumer").user
        Agreement.objects.filter(pk=found.agreement_id).update(user=user)
    return found


def _token_request(world: World) -> int:
    unit = _unit(world)
    with open_scope(world.park.scope):
        return factories.token_request(unit).pk


def _token(world: World) -> int:
    unit = _unit(world)
    with open_scope(world.park.scope):
        made = PaygToken.objects.create(
            tenant_id=unit.tenant_id,
            unit=unit,
            facility_id=unit.facility_id,
            kind=TokenKind.ADD_TIME,
            token="123456789",
            count=number() * 2,
            value=1,
            issued_at=_NOW,
        )
    return made.pk


_NOW: Final = datetime(2026, 4, 2, tzinfo=UTC)
_FLAT: Final[dict[str, Any]] = {
    "tariff": 1,
    "name": "Flat",
    "currency": "EUR",
    "components": [{"name": "base", "kind": "standing", "amount": 10, "per": "month"}],
}
# What concerns the tenant as a whole, for those who reach some facilities alone.
_TENANT: Final[Mapping[str, Any]] = {"elsewhere": 404, "but": {"own consumer": 404}}

# fmt: off
AREA = Area(
    rows=(
        #    route                     method  roles     may  far  others newcomer nobody subject
        Row("api:bill-list",           "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_READ),
        Row("api:bill",                "GET",  _SEES,    200, 404, 403, 403, 401, "api bill", scopes=_READ),
        Row("api:bill-line-intervals", "GET",  _SEES,    200, 404, 403, 403, 401, "api line", scopes=_READ),
        Row("api:bill-file",           "GET",  _SEES,    200, 404, 403, 403, 401, "api computed", scopes=_READ),
        Row("api:bill-run-list",       "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_READ),
        Row("api:bill-run-list",       "POST", _CHANGES, 201, 201, 403, 403, 401, scopes=_WRITE, elsewhere=403,
            form=lambda world: {"first_on": "2026-01-01"}),
        Row("api:bill-run",            "GET",  _SEES,    200, 404, 403, 403, 401, "api run", scopes=_READ, **_TENANT),
        Row("api:bill-run-items",      "GET",  _SEES,    200, 404, 403, 403, 401, "api run", scopes=_READ, **_TENANT),
        Row("api:bill-run-items",      "POST", _CHANGES, 200, 404, 403, 403, 401, "api run", scopes=_WRITE, elsewhere=403,
            form=lambda world: {"decision": "accept", "reason": "Looked at"}),
        Row("api:bill-run-approve",    "POST", _CHANGES, 200, 404, 403, 403, 401, "api run", scopes=_WRITE, elsewhere=403,
            form=lambda world: {"issued_on": "2026-04-01"}),
        Row("api:bill-run-cancel",     "POST", _CHANGES, 200, 404, 403, 403, 401, "api run", scopes=_WRITE, elsewhere=403,
            form=lambda world: {"reason": "Twice"}),
        Row("api:tariff-preview",      "POST", _CHANGES, 404, 404, 403, 403, 401, scopes="bills:read tariffs:read tariffs:write",
            elsewhere=403, form=_tried),
        Row("api:comparison-list",     "POST", _SEES,    404, 404, 403, 403, 401, scopes=_READ,
            form=lambda world: {"agreement": 2**40}),
        Row("api:comparison",          "GET",  _SEES,    200, 404, 403, 403, 401, "api comparison", scopes=_READ),
        Row("api:revenue",             "GET",  _OFFICE,  200, 200, 403, 403, 401, scopes=_READ, form=_year),
        Row("api:cost-centres",        "GET",  _OFFICE,  200, 200, 403, 403, 401, scopes=_READ,
            form=lambda world: {"month": "2026-03-01", "currency": "EUR"}),
        Row("api:payment-list",        "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_PAYMENTS),
        Row("api:payment-list",        "POST", _CHANGES, 404, 404, 403, 403, 401, scopes=_PAY, elsewhere=403, form=_paid),
        # Nobody has that agreement.
        # A file is sent as a form: nothing of this body is one.
        Row("api:payment-import",      "POST", _CHANGES, 415, 415, 403, 403, 401, scopes=_PAY, elsewhere=403),
        Row("api:dunning-case-list",   "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_PAYMENTS),
        Row("api:dunning-case",        "GET",  _SEES,    200, 404, 403, 403, 401, "api case", scopes=_PAYMENTS),
        Row("api:plan-list",           "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_PAYMENTS),
        Row("api:plan-list",           "POST", _CHANGES, 404, 404, 403, 403, 401, scopes=_PAY, elsewhere=403, form=_promised),
        Row("api:plan-cancel",         "POST", _CHANGES, 200, 404, 403, 403, 401, "api plan", scopes=_PAY, elsewhere=403),
        Row("api:payment-assign",      "POST", _CHANGES, 404, 404, 403, 403, 401, "api payment", scopes=_PAY, elsewhere=403,
            form=lambda world: {"agreement": 2**40}),
        Row("api:agreement-account",   "GET",  _SEES,    200, 404, 403, 403, 401, "api account", scopes=_PAYMENTS),
        Row("api:agreement-entries",   "GET",  _SEES,    200, 404, 403, 403, 401, "api account", scopes=_PAYMENTS),
        Row("api:payment-refund",      "POST", _CHANGES, 400, 404, 403, 403, 401, "api payment", scopes=_PAY, elsewhere=403,
            form=_too_much),
        Row("api:bill-deliveries",     "GET",  _SEES,    200, 404, 403, 403, 401, "api bill", scopes=_READ),
        Row("api:restatement-list",    "GET",  _OFFICE,  200, 200, 403, 403, 401, scopes=_RESTATED),
        Row("api:restatement",         "GET",  _OFFICE,  200, 404, 403, 403, 401, "api restatement", scopes=_RESTATED),
        # It is still to be computed: that is told.
        Row("api:restatement-settle",  "POST", _CHANGES, 400, 404, 403, 403, 401, "api restatement", scopes=_WRITE, elsewhere=403,
            form=lambda world: {"issued_on": "2026-04-01"}),
        Row("api:restatement-dismiss", "POST", _CHANGES, 200, 404, 403, 403, 401, "api restatement", scopes=_WRITE, elsewhere=403,
            form=lambda world: {"reason": "Known"}),
        Row("api:wallet-list",         "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_PAYMENTS),
        Row("api:wallet",              "GET",  _SEES,    200, 404, 403, 403, 401, "api prepaid", scopes=_PAYMENTS),
        Row("api:wallet",              "PUT",  _CHANGES, 200, 404, 403, 403, 401, "api prepaid", scopes=_PAY, elsewhere=403,
            form=lambda world: {"low_balance": "3"}),
        Row("api:wallet-movements",    "GET",  _SEES,    200, 404, 403, 403, 401, "api prepaid", scopes=_PAYMENTS),
        Row("api:wallet-adjust",       "POST", _CHANGES, 200, 404, 403, 403, 401, "api prepaid", scopes=_PAY, elsewhere=403,
            form=lambda world: {"amount": "1", "reason": "Goodwill", "request_key": f"{number()}"}),
        Row("api:payg-unit-list",      "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_PAYMENTS),
        # Nobody has that agreement.
        Row("api:payg-unit-list",      "POST", _CHANGES, 404, 404, 403, 403, 401, scopes=_PAY, elsewhere=403, form=_registered),
        Row("api:payg-unit",           "GET",  _SEES,    200, 404, 403, 403, 401, "api unit", scopes=_PAYMENTS),
        Row("api:payg-unit",           "PATCH", _CHANGES, 200, 404, 403, 403, 401, "api unit", scopes=_PAY, elsewhere=403,
            form=lambda world: {"price_per_day": "0.60"}),
        Row("api:payg-unit-tokens",    "GET",  _SEES,    200, 404, 403, 403, 401, "api unit", scopes=_PAYMENTS),
        Row("api:payg-unit-tokens",    "POST", _CHANGES, 201, 404, 403, 403, 401, "api unit", scopes=_PAY, elsewhere=403,
            form=lambda world: {"kind": "add_time", "days": "1", "reason": "Goodwill"}),
        Row("api:payg-request-list",   "GET",  _OFFICE,  200, 200, 403, 403, 401, scopes="payments:read devices:read"),
        Row("api:payg-request-decide", "POST", _CHANGES, 200, 404, 403, 403, 401, "api token request", scopes=_PAY, elsewhere=403,
            form=lambda world: {"decision": "refuse", "reason": "Paid"}),
        Row("api:payg-token-send",     "POST", _CHANGES, 200, 404, 403, 403, 401, "api token", scopes=f"{_PAY} commands:write", elsewhere=403),
        Row("api:device-outage",       "GET",  _OFFICE,  200, 404, 403, 403, 401, "api unit's device", scopes=_RESTATED),
    ),
    subjects={
        "api restatement": _restatement,
        "api prepaid": _prepaid,
        "api unit": lambda world: _unit(world).pk,
        "api unit's device": lambda world: world.park.branches[0].device.pk,
        "api token request": _token_request,
        "api token": _token,
        "api bill": _bill,
        "api computed": _computed,
        "api line": lambda world: (_computed(world), 1),
        "api run": _run,
        "api comparison": _comparison,
        "api payment": _payment,
        "api case": _case,
        "api plan": _plan,
        "api account": lambda world: _agreement(world).pk,
    },
)
# fmt: on
