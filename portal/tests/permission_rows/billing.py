"""Pages of billing."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from billing.models import (
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Bill,
    BillRun,
    PaygToken,
    PaygUnit,
    Restatement,
    Tariff,
    TariffComparison,
    TariffVersion,
    VersionState,
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
    """Of the first facility; gone with the test."""
    with open_scope(world.park.scope):
        facility = world.park.branches[0].facility
        # One with all that belongs to it: others make some of their own.
        billed = Agreement.objects.filter(
            facility=facility, bills__isnull=False, meters__isnull=False, wallet__isnull=False
        )
        made = billed.order_by("pk").first()
    if made is not None:
        return made
    factories.billing_of(world.park)
    return _agreement(world)


def _bill(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return Bill.objects.filter(agreement=agreement)[0].pk


def _restatement(world: World) -> int:
    bill = _bill(world)
    with open_scope(world.park.scope):
        made = Restatement.objects.filter(bill_id=bill, ended_at=None).first()
        if made is None:
            row = Bill.objects.get(pk=bill)
            made = Restatement.objects.create(
                tenant_id=row.tenant_id,
                bill=row,
                facility_id=row.facility_id,
                found_at=factories.START,
            )
        return made.pk


def _comparison(world: World) -> int:
    of = _agreement(world)
    with open_scope(world.park.scope):
        made = TariffComparison.objects.filter(facility=of.facility).first()
        return (made or factories.comparison(of, user=of.user)).pk


def _address(_world: World) -> dict[str, object]:
    return {"to": "customer@example.org"}


def _tariff(world: World) -> int:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return AgreementTariff.objects.filter(agreement=agreement)[0].tariff_id


def _run(world: World) -> int:
    _agreement(world)
    with open_scope(world.park.scope):
        return BillRun.objects.filter(tenant=world.park.tenant)[0].pk


def _unit(world: World) -> PaygUnit:
    _agreement(world)
    with open_scope(world.park.scope):
        return PaygUnit.objects.filter(device=world.park.branches[0].device).get()


def _token_request(world: World) -> int:
    unit = _unit(world)
    with open_scope(world.park.scope):
        return factories.token_request(unit).pk


def _token(world: World) -> int:
    unit = _unit(world)
    with open_scope(world.park.scope):
        return PaygToken.objects.filter(unit=unit).order_by("pk")[0].pk


def _meter(world: World) -> tuple[int, int]:
    agreement = _agreement(world)
    with open_scope(world.park.scope):
        return agreement.pk, AgreementMeter.objects.filter(agreement=agreement)[0].pk


def _place(world: World) -> dict[str, object]:
    return {"facility": world.park.branches[0].facility.pk}


def _seller(_world: World) -> dict[str, object]:
    return {"legal_name": "Energy Ltd", "currency": "EUR", "estimate_percent": "20"}


def _customer(_world: World) -> dict[str, object]:
    return {"name": "A. Customer", "kind": "person", "language": "en"}


def _draft(world: World) -> int:
    tariff = _tariff(world)
    with open_scope(world.park.scope):
        of = Tariff.objects.get(pk=tariff)
        made = TariffVersion.objects.filter(tariff=of, state=VersionState.DRAFT).first()
        if made is not None:
            return made.pk
        return factories.version(of, {}, valid_from=date(2100, 1, 1), published=False).pk


def _tariff_named(_world: World) -> dict[str, object]:
    return {"name": f"Tariff {number()}", "currency": "EUR"}


def _why(_world: World) -> dict[str, object]:
    return {"reason": "Asked for"}


# fmt: off
AREA = Area(
    rows=(
        #    route              method roles  may  far  others newcomer nobody subject
        Row("prepaid",          "GET", _SEES, 200, 404, 403,   403,     302, "agreement"),
        Row("prepaid-top-up", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("prepaid-top-up", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("prepaid-adjust", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("prepaid-adjust", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("prepaid-limits", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("prepaid-limits", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("payg-token-list", "GET", _SEES, 200, 200, 403, 403, 302),
        # It is prepaid: it has no unit, and none can be registered.
        Row("payg-register", "GET",  _CHANGES, 404, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("payg-register", "POST", _CHANGES, 404, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("payg-issue", "GET",  _CHANGES, 200, 404, 403, 403, 302, "paying by the day", elsewhere=403),
        Row("payg-issue", "POST", _CHANGES, 422, 404, 403, 403, 302, "paying by the day", elsewhere=403),
        Row("payg-request-agree", "GET",  _CHANGES, 200, 404, 403, 403, 302, "token request", elsewhere=403),
        Row("payg-request-agree", "POST", _CHANGES, 302, 404, 403, 403, 302, "token request", elsewhere=403),
        Row("payg-request-refuse", "GET",  _CHANGES, 200, 404, 403, 403, 302, "token request", elsewhere=403),
        Row("payg-request-refuse", "POST", _CHANGES, 302, 404, 403, 403, 302, "token request", elsewhere=403, form=_why),
        Row("payg-token-send", "POST", _CHANGES, 302, 404, 403, 403, 302, "payg token", elsewhere=403),
        Row("outage-search",    "GET", _SEES, 200, 200, 403,   403,     302),
        Row("outage",           "GET", _SEES, 200, 404, 403,   403,     302, "unit"),
        Row("bill-list",        "GET", _SEES, 200, 200, 403,   403,     302),
        Row("bill",             "GET", _SEES, 200, 404, 403,   403,     302, "bill"),
        Row("bill-mail",        "GET",  _CHANGES, 200, 404, 403, 403, 302, "bill", elsewhere=403),
        Row("bill-mail",        "POST", _CHANGES, 302, 404, 403, 403, 302, "bill", elsewhere=403, form=_address),
        Row("bill-journal",     "GET", _SEES, 200, 200, 403,   403,     302),
        Row("revenue",          "GET", _SEES, 200, 200, 403,   403,     302),
        Row("cost-centres",     "GET", _SEES, 200, 200, 403,   403,     302),
        Row("agreement-list",   "GET", _SEES, 200, 200, 403,   403,     302),
        Row("agreement",        "GET", _SEES, 200, 404, 403,   403,     302, "agreement"),
        Row("customer-list",    "GET", _SEES, 200, 200, 403,   403,     302),
        Row("customer",         "GET", _SEES, 200, 404, 403,   403,     302, "customer"),
        Row("tariff-list",      "GET", _SEES, 200, 200, 403,   403,     302),
        Row("tariff",           "GET", _SEES, 200, 404, 403,   403,     302, "tariff"),
        Row("bill-run-list",    "GET", _SEES, 200, 200, 403,   403,     302),
        Row("bill-run",         "GET", _SEES, 200, 404, 403,   403,     302, "bill run"),
        Row("comparison-create", "GET",  _SEES, 200, 200, 403, 403, 302),
        Row("comparison-create", "POST", _SEES, 422, 422, 403, 403, 302),
        Row("comparison",        "GET",  _SEES, 200, 404, 403, 403, 302, "comparison"),
        Row("tariff-create",   "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("tariff-create",   "POST", _CHANGES, 302, 302, 403, 403, 302, elsewhere=403, form=_tariff_named),
        Row("tariff-import",   "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("tariff-import",   "POST", _CHANGES, 422, 422, 403, 403, 302, elsewhere=403),
        Row("tariff-check",    "POST", _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("tariff-edit",     "GET",  _CHANGES, 200, 404, 403, 403, 302, "tariff", elsewhere=403),
        Row("tariff-edit",     "POST", _CHANGES, 302, 404, 403, 403, 302, "tariff", elsewhere=403, form=_tariff_named),
        Row("tariff-archive",  "POST", _CHANGES, 302, 404, 403, 403, 302, "tariff", elsewhere=403),
        Row("tariff-restore",  "POST", _CHANGES, 302, 404, 403, 403, 302, "tariff", elsewhere=403),
        Row("tariff-draft",    "GET",  _CHANGES, 200, 404, 403, 403, 302, "tariff", elsewhere=403),
        Row("tariff-draft",    "POST", _CHANGES, 422, 404, 403, 403, 302, "tariff", elsewhere=403),
        Row("tariff-version",  "GET",  _SEES,    200, 404, 403, 403, 302, "draft version"),
        Row("tariff-version-edit",      "GET",  _CHANGES, 200, 404, 403, 403, 302, "draft version", elsewhere=403),
        Row("tariff-version-edit",      "POST", _CHANGES, 422, 404, 403, 403, 302, "draft version", elsewhere=403),
        Row("tariff-version-publish",   "POST", _CHANGES, 302, 404, 403, 403, 302, "draft version", elsewhere=403),
        # An empty document is no tariff: the draft is refused, and that is told.
        Row("tariff-version-duplicate", "POST", _CHANGES, 302, 404, 403, 403, 302, "draft version", elsewhere=403),
        Row("tariff-version-delete",    "POST", _CHANGES, 302, 404, 403, 403, 302, "draft version", elsewhere=403),
        # Its evidence is empty: that is told on the page of the bill.
        Row("bill-line",  "GET",  _SEES,    302, 404, 403, 403, 302, "bill and line"),
        # Its file was never stored: that is told on the page of the bill.
        Row("bill-file",  "GET",  _SEES,    302, 404, 403, 403, 302, "bill and file"),
        Row("tariff-version-preview", "GET", _SEES, 200, 404, 403, 403, 302, "draft version"),
        Row("bill-void",  "GET",  _CHANGES, 200, 404, 403, 403, 302, "bill", elsewhere=403),
        Row("bill-void",  "POST", _CHANGES, 422, 404, 403, 403, 302, "bill", elsewhere=403),
        Row("bill-run-create",    "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("bill-run-create",    "POST", _CHANGES, 422, 422, 403, 403, 302, elsewhere=403),
        Row("bill-run-accept",    "POST", _CHANGES, 302, 404, 403, 403, 302, "bill run", elsewhere=403,
            form=lambda world: {"item": 1, "reason": "Known"}),
        Row("bill-run-leave-out", "POST", _CHANGES, 302, 404, 403, 403, 302, "bill run", elsewhere=403,
            form=lambda world: {"item": 1, "reason": "Known"}),
        Row("bill-run-again",     "POST", _CHANGES, 302, 404, 403, 403, 302, "bill run", elsewhere=403,
            form=lambda world: {"item": 1}),
        Row("bill-run-approve",   "GET",  _CHANGES, 200, 404, 403, 403, 302, "bill run", elsewhere=403),
        Row("bill-run-approve",   "POST", _CHANGES, 422, 404, 403, 403, 302, "bill run", elsewhere=403),
        Row("bill-run-cancel",    "GET",  _CHANGES, 200, 404, 403, 403, 302, "bill run", elsewhere=403),
        Row("bill-run-cancel",    "POST", _CHANGES, 422, 404, 403, 403, 302, "bill run", elsewhere=403),
        Row("restatement-list",    "GET",  _SEES,    200, 200, 403, 403, 302),
        Row("restatement",         "GET",  _SEES,    200, 404, 403, 403, 302, "open restatement"),
        Row("restatement-settle",  "GET",  _CHANGES, 200, 404, 403, 403, 302, "open restatement", elsewhere=403),
        Row("restatement-settle",  "POST", _CHANGES, 422, 404, 403, 403, 302, "open restatement", elsewhere=403),
        Row("restatement-dismiss", "GET",  _CHANGES, 200, 404, 403, 403, 302, "open restatement", elsewhere=403),
        Row("restatement-dismiss", "POST", _CHANGES, 422, 404, 403, 403, 302, "open restatement", elsewhere=403),
        Row("billing-settings", "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("billing-settings", "POST", _CHANGES, 302, 302, 403, 403, 302, elsewhere=403, form=_seller),
        Row("customer-create",  "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        Row("customer-create",  "POST", _CHANGES, 302, 302, 403, 403, 302, elsewhere=403, form=_customer),
        Row("customer-edit",    "GET",  _CHANGES, 200, 404, 403, 403, 302, "customer", elsewhere=403),
        Row("customer-edit",    "POST", _CHANGES, 302, 404, 403, 403, 302, "customer", elsewhere=403, form=_customer),
        Row("customer-protect", "GET",  _CHANGES, 200, 404, 403, 403, 302, "customer", elsewhere=403),
        Row("customer-protect", "POST", _CHANGES, 302, 404, 403, 403, 302, "customer", elsewhere=403, form=_why),
        Row("customer-unprotect", "GET",  _CHANGES, 200, 404, 403, 403, 302, "customer", elsewhere=403),
        # It is not protected: that is told.
        Row("customer-unprotect", "POST", _CHANGES, 422, 404, 403, 403, 302, "customer", elsewhere=403, form=_why),
        Row("agreement-place",  "GET",  _CHANGES, 200, 200, 403, 403, 302, elsewhere=403),
        # Those above and elsewhere work in another tenant, which has not this facility.
        Row("agreement-create", "GET",  _CHANGES, 200, 404, 403, 403, 302, elsewhere=403, form=_place,
            but={"above operator": 404, "above admin": 404}),
        Row("agreement-create", "POST", _CHANGES, 404, 404, 403, 403, 302, elsewhere=403),
        Row("agreement-edit",      "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-edit",      "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-move-out",  "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-move-out",  "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-reopen",    "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-reopen",    "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403, form=_why),
        Row("agreement-payment",   "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-payment",   "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-tariff",    "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-tariff",    "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-meter-add", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-meter-add", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement", elsewhere=403),
        Row("agreement-meter-change", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement and meter", elsewhere=403),
        Row("agreement-meter-change", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement and meter", elsewhere=403),
        Row("agreement-meter-end", "GET",  _CHANGES, 200, 404, 403, 403, 302, "agreement and meter", elsewhere=403),
        Row("agreement-meter-end", "POST", _CHANGES, 422, 404, 403, 403, 302, "agreement and meter", elsewhere=403),
    ),
    subjects={
        "paying by the day": lambda world: _unit(world).agreement_id,
        "token request": _token_request,
        "payg token": _token,
        "agreement and meter": _meter,
        "bill": _bill,
        "agreement": lambda world: _agreement(world).pk,
        "customer": lambda world: _agreement(world).customer_id,
        "open restatement": _restatement,
        "bill and file": lambda world: (_bill(world), "pdf"),
        "bill and line": lambda world: (_bill(world), 1),
        "tariff": _tariff,
        "draft version": _draft,
        "bill run": _run,
        "comparison": _comparison,
        "unit": lambda world: world.park.branches[0].device.pk,
    },
)
# fmt: on
