"""What somebody is billed by stays with whom it bills for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from billing.models import Agreement
from billing.tests import factories
from devices.domain import claims_operations as claims
from devices.domain.claims_operations import ClaimRefused
from devices.models import Channel, Device, DeviceState, Placement
from devices.tests.factories import device, facility
from tenants.scope import Scope, open_scope
from tenants.tests.factories import operator, tenant

pytestmark = pytest.mark.django_db


def _billed(of: Device) -> Agreement:
    channel = Channel.objects.filter(device=of)[0]
    return factories.agreement(of.facility, channels=(channel,))


def _sold(of: Device) -> object:
    return factories.payg_unit(factories.agreement(of.facility), of)


@pytest.mark.parametrize("use", [_billed, _sold])
def test_a_device_that_bills_rest_on_cannot_be_claimed(use: Callable[[Device], object]) -> None:
    maker = operator()
    client = tenant(maker)
    with open_scope(Scope((maker.pk,))):
        planned = device(facility(maker), state=DeviceState.PLANNED).device
        (issued,) = claims.issue_codes(
            device_ids=[planned.pk],
            lifetime=timedelta(days=30),
            now=datetime.now(UTC),
            actor_id=None,
        )
        use(planned)
    assert issued.code is not None
    with open_scope(Scope((client.pk,))), pytest.raises(ClaimRefused) as refused:
        claims.claim(
            code=issued.code.text,
            facility_id=facility(client).pk,
            name="Main meter",
            placement=Placement.MAINS,
            actor_id=None,
        )
    assert refused.value.reason == "taken"
    with open_scope(Scope((maker.pk,))):
        assert Device.objects.get(pk=planned.pk).tenant == maker
