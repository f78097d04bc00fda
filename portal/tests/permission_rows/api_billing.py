"""Billing over the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from billing.domain import tariffs_operations
from billing.models import Agreement, AgreementMeter, PriceSeries, Tariff, TariffVersion
from billing.tests import factories
from devices.tests.factories import number
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager analyst consumer"
_CHANGES = "operator admin"
_BILLS = "bills:read"
_BILLS_WRITE = "bills:read bills:write"
_TARIFFS = "tariffs:read"
_TARIFFS_WRITE = "tariffs:read tariffs:write"
_TEXT = """\
tariff: 1
name: Flat
currency: EUR
components: [{name: energy, kind: energy, prices: 0.3}]
"""


def _tariff(world: World) -> Tariff:
    with open_scope(world.park.scope):
        return factories.tariff(world.park.tenant)


def _draft(world: World) -> TariffVersion:
    made = _tariff(world)
    with open_scope(world.park.scope):
        return tariffs_operations.draft_version(
            tariff_id=made.pk, valid_from=date(2030, 1, 1), source=_TEXT, actor_id=None
        )


def _series(world: World) -> int:
    with open_scope(world.park.scope):
        made = PriceSeries.objects.create(
            tenant=world.park.tenant, name=f"spot {number()}", currency="EUR"
        )
    return made.pk


def _fresh(world: World) -> Agreement:
    """An agreement of the first facility without any bill."""
    branch = world.park.branches[0]
    with open_scope(world.park.scope):
        return factories.agreement(branch.facility, channels=(branch.channel,))


def _held(world: World) -> int:
    """One of the tenant's consumer."""
    with open_scope(world.park.scope):
        user = world.person("own consumer").user
        return factories.agreement(world.park.branches[0].facility, user=user).pk


def _meter(world: World) -> tuple[int, int]:
    made = _fresh(world)
    with open_scope(world.park.scope):
        return made.pk, AgreementMeter.objects.get(agreement=made).pk


def _version(world: World) -> dict[str, object]:
    del world
    return {"valid_from": "2030-01-01", "text": _TEXT}


def _nobody(world: World) -> dict[str, object]:
    """An agreement of nobody: as far as its own errors."""
    del world
    return {"customer": 2**40, "facility": 2**40, "starts_on": "2030-01-01", "tariff": 2**40}


def _prices(world: World) -> dict[str, object]:
    del world
    return {"prices": [{"starts_at": "2030-01-01T00:00:00Z", "price": "0.1"}]}


# What concerns the tenant as a whole, for those who reach some facilities alone.
_TENANT: Final[Mapping[str, Any]] = {"elsewhere": 404, "but": {"own consumer": 404}}

# fmt: off
AREA = Area(
    rows=(
        #    route                     method   roles     may  far  others newcomer nobody subject
        Row("api:tariff-list",         "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_TARIFFS),
        Row("api:tariff-list",         "POST",   _CHANGES, 201, 201, 403, 403, 401, scopes=_TARIFFS_WRITE, elsewhere=403,
            form=lambda world: {"name": f"T{number()}", "currency": "EUR"}),
        # An empty record is no tariff: to whoever may, that is told.
        Row("api:tariff-import",       "POST",   _CHANGES, 400, 400, 403, 403, 401, scopes=_TARIFFS_WRITE, elsewhere=403,
            form=lambda world: {"record": "{}"}),
        Row("api:tariff-check",        "POST",   _SEES,    200, 200, 403, 403, 401, scopes=_TARIFFS, form=_version),
        Row("api:tariff",              "GET",    _SEES,    200, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS, **_TENANT),
        Row("api:tariff",              "PUT",    _CHANGES, 200, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS_WRITE, elsewhere=403,
            form=lambda world: {"name": f"T{number()}"}),
        Row("api:tariff-archive",      "POST",   _CHANGES, 200, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS_WRITE, elsewhere=403),
        # It is not archived: to whoever may, that is told.
        Row("api:tariff-restore",      "POST",   _CHANGES, 400, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS_WRITE, elsewhere=403),
        Row("api:version-list",        "GET",    _SEES,    200, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS, **_TENANT),
        Row("api:version-list",        "POST",   _CHANGES, 201, 404, 403, 403, 401, "api kept tariff", scopes=_TARIFFS_WRITE, elsewhere=403,
            form=_version),
        Row("api:version",             "GET",    _SEES,    200, 404, 403, 403, 401, "api draft", scopes=_TARIFFS, **_TENANT),
        Row("api:version",             "PUT",    _CHANGES, 200, 404, 403, 403, 401, "api draft", scopes=_TARIFFS_WRITE, elsewhere=403,
            form=_version),
        Row("api:version",             "DELETE", _CHANGES, 204, 404, 403, 403, 401, "api draft", scopes=_TARIFFS_WRITE, elsewhere=403),
        Row("api:version-check",       "GET",    _SEES,    200, 404, 403, 403, 401, "api draft", scopes=_TARIFFS, **_TENANT),
        Row("api:version-publish",     "POST",   _CHANGES, 200, 404, 403, 403, 401, "api draft", scopes=_TARIFFS_WRITE, elsewhere=403),
        Row("api:version-duplicate",   "POST",   _CHANGES, 201, 404, 403, 403, 401, "api draft", scopes=_TARIFFS_WRITE, elsewhere=403,
            form=lambda world: {"valid_from": "2031-01-01"}),
        Row("api:price-series-list",   "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_TARIFFS),
        Row("api:price-series-list",   "POST",   _CHANGES, 201, 201, 403, 403, 401, scopes=_TARIFFS_WRITE, elsewhere=403,
            form=lambda world: {"name": f"S{number()}", "currency": "EUR"}),
        Row("api:price-list",          "GET",    _SEES,    200, 404, 403, 403, 401, "api series", scopes=_TARIFFS, **_TENANT,
            form=lambda world: {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}),
        Row("api:price-list",          "POST",   _CHANGES, 200, 404, 403, 403, 401, "api series", scopes=_TARIFFS_WRITE, elsewhere=403,
            form=_prices),

        Row("api:customer-list",       "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_BILLS),
        Row("api:customer-list",       "POST",   _CHANGES, 201, 201, 403, 403, 401, scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"name": "Ada"}),
        Row("api:customer",            "GET",    _SEES,    200, 404, 403, 403, 401, "api somebody", scopes=_BILLS, **_TENANT),
        Row("api:customer",            "PUT",    _CHANGES, 200, 404, 403, 403, 401, "api somebody", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"name": "Ada"}),
        Row("api:customer-protection", "PUT",    _CHANGES, 200, 404, 403, 403, 401, "api somebody", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"protected": True, "reason": "Dialysis"}),
        Row("api:agreement-list",      "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_BILLS),
        Row("api:agreement-list",      "POST",   _CHANGES, 400, 400, 403, 403, 401, scopes=_BILLS_WRITE, elsewhere=403,
            form=_nobody),
        Row("api:agreement",           "GET",    _SEES,    200, 404, 403, 403, 401, "api held", scopes=_BILLS),
        Row("api:agreement",           "PATCH",  _CHANGES, 200, 404, 403, 403, 401, "api fresh", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"payment_days": 30}),
        Row("api:agreement-move-out",  "POST",   _CHANGES, 200, 404, 403, 403, 401, "api fresh", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"ends_on": "2030-01-01"}),
        # It has no end: to whoever may, that is told.
        Row("api:agreement-reopen",    "POST",   _CHANGES, 400, 404, 403, 403, 401, "api fresh", scopes=_BILLS_WRITE, elsewhere=403),
        Row("api:agreement-meters",    "POST",   _CHANGES, 400, 404, 403, 403, 401, "api fresh", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"channel": 2**40}),
        Row("api:agreement-meter",     "POST",   _CHANGES, 200, 404, 403, 403, 401, "api meter of it", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"at": "2030-01-01T00:00:00Z"}),
        Row("api:agreement-tariffs",   "POST",   _CHANGES, 400, 404, 403, 403, 401, "api fresh", scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"tariff": 2**40, "on": "2030-01-01"}),
        Row("api:billing-settings",    "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_BILLS),
        Row("api:billing-settings",    "PUT",    _CHANGES, 200, 200, 403, 403, 401, scopes=_BILLS_WRITE, elsewhere=403,
            form=lambda world: {"legal_name": "Fennel"}),
    ),
    subjects={
        "api kept tariff": lambda world: _tariff(world).pk,
        "api draft": lambda world: _draft(world).pk,
        "api series": _series,
        "api somebody": lambda world: _fresh(world).customer_id,
        "api held": _held,
        "api fresh": lambda world: _fresh(world).pk,
        "api meter of it": _meter,
    },
)
# fmt: on
