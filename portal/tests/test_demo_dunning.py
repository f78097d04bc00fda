"""The demo's account that does not pay, part by part, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connections

from billing.domain import ledger_queries
from billing.models import DunningCase, DunningEvent
from billing.tests import factories as billing
from devices.domain.operations import Registered
from devices.models import Channel, Command, CommandEvent, DeviceConfiguration
from devices.tests import factories
from portal.management.demo_contracts import BEHIND, Metered
from portal.management.demo_dunning import OVERDUE, Overdue
from portal.management.demo_history import Counter
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

NOW = datetime(2026, 3, 29, 3, tzinfo=UTC)


class Scene:
    """A tenant with the unit of the story."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.tenant()
        self.scope = Scope((self.tenant.pk,))
        with open_scope(self.scope):
            self.unit: Registered = factories.device(factories.facility(self.tenant))
            channel = Channel.objects.get(device=self.unit.device, key="active_power")
            self.agreement = billing.agreement(
                self.unit.device.facility, channels=(channel,), number=BEHIND.number
            )
        counter = Counter(self.unit.device.serial, channel.key)
        self.story: Overdue = replace(OVERDUE, contract=replace(BEHIND, meters=(Metered(counter),)))

    def act(self) -> bool:
        with open_scope(self.scope):
            return self.story.act(self.tenant, NOW)

    def connect(self) -> None:
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "UPDATE device_link SET connected = true, connection = 1 WHERE device_id = %s",
                [self.unit.device.pk],
            )

    def says(self, output: int) -> None:
        with open_scope(self.scope):
            DeviceConfiguration.objects.filter(device=self.unit.device).update(
                reported={"output": output}
            )

    def asked(self) -> list[dict[str, int]]:
        with open_scope(self.scope):
            return list(Command.objects.order_by("pk").values_list("arguments", flat=True))

    def happened(self) -> list[str]:
        with open_scope(self.scope):
            return list(DunningEvent.objects.order_by("pk").values_list("kind", flat=True))


@pytest.fixture
def scene() -> Iterator[Scene]:
    yield Scene()
    factories.remove_everything()


def test_the_account_is_dunned_disabled_paid_and_restored(scene: Scene) -> None:
    # Nothing before the unit is there.
    assert not scene.act()
    assert scene.asked() == []
    scene.connect()
    for _ in range(2):
        assert not scene.act()
    assert scene.happened() == ["reminder", "fee", "disable"]
    with open_scope(scene.scope):
        # The account says that it is switched off when the unit is asked to go off.
        at = DunningEvent.objects.get(kind="disable").at
        asked = CommandEvent.objects.get(step="asked").at
        days = DunningEvent.objects.filter(kind="reminder").values_list("at", flat=True)
        assert [at - day for day in days] == [timedelta(days=18)]
    assert (at, asked) == (NOW, NOW)
    assert scene.asked() == [{"output": 0}]
    scene.says(1)
    assert not scene.act()
    scene.says(0)
    assert scene.act()
    assert scene.asked() == [{"output": 0}, {"output": 1}]
    assert scene.act()
    assert scene.happened() == ["reminder", "fee", "disable", "restored", "closed"]
    with open_scope(scene.scope):
        pk = scene.agreement.pk
        balances = ledger_queries.balances(agreement_ids=[pk], on=NOW.date())
        assert balances[pk].balance == Decimal(0)
        assert DunningCase.objects.get().outcome == "paid"


def test_where_the_unit_is_missing_there_is_no_story(scene: Scene) -> None:
    with open_scope(scene.scope):
        nowhere = replace(BEHIND, meters=(Metered(Counter("NONE", "active_power")),))
        assert replace(OVERDUE, contract=nowhere).act(scene.tenant, NOW)
        assert DunningCase.objects.count() == 0
