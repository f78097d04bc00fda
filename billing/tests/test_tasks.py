"""The tasks that bring bill runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing import tasks
from billing.models import RunState, UnbilledAccount, UnbilledDay
from billing.tests.test_runs_beside import accounts, agree, decide, start, state
from devices.tests.factories import remove_everything
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    remove_everything()


def test_ticks_bring_all_runs_on_until_they_wait_or_are_over(settings: Any) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    several = [accounts(2), accounts(2)]
    runs = [(of, ids, start(of)) for of, ids in several]
    for _ in range(3):
        tasks.drive_runs()
    assert {state(of, run_id) for of, _, run_id in runs} == {RunState.CHECKING}
    for of, _, run_id in runs:
        decide(of, run_id)
    for _ in range(3):
        tasks.drive_runs()
    assert {state(of, run_id) for of, _, run_id in runs} == {RunState.FINISHED}
    for of, ids, _ in runs:
        agree(of, ids)
    tasks.drive_runs(unknown="of a newer release")


def test_the_unbilled_energy_of_every_tenant_is_valued(settings: Any) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    several = [accounts(2), accounts(1)]
    for _ in range(2):
        tasks.value_unbilled(unknown="of a newer release")
    for of, ids in several:
        with open_scope(Scope((of.pk,))):
            valued = list(UnbilledAccount.objects.values_list("agreement_id", flat=True))
            assert sorted(valued) == sorted(ids)
            assert UnbilledDay.objects.count() == 1
