"""Latest values: a plan that a connection keeps sees what each scope holds, and no more."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from devices.domain.latest import latest_of_device, latest_of_facility
from devices.domain.queries import FacilityNotFound
from devices.models import Device
from devices.tests import factories
from tenants.scope import NoScope, Scope, open_scope

# Frames are written by another connection than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

# More often than a connection runs a statement before it is prepared, and PostgreSQL a plan of its
# own for each run.
OFTEN = 15


def _reporting() -> Device:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        device = factories.device(factories.facility(of)).device
    factories.telemetry(device)
    return device


def _prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [row[0] for row in cursor.fetchall()]


def test_prepared_statement_sees_what_each_scope_holds() -> None:
    ours, theirs = _reporting(), _reporting()
    our_scope, their_scope = Scope((ours.tenant_id,)), Scope((theirs.tenant_id,))
    nowhere = Scope((ours.tenant_id,), ())
    with transaction.atomic():
        with open_scope(our_scope):
            for _ in range(OFTEN):
                values = latest_of_facility(facility_id=ours.facility_id)
        assert any("device_cursor" in statement for statement in _prepared())
        assert [(one.device_id, one.value) for one in values] == [
            (ours.pk, 101.0),
            (ours.pk, 230.1),
        ]
        for scope in (their_scope, nowhere):
            with open_scope(scope), pytest.raises(FacilityNotFound):
                latest_of_facility(facility_id=ours.facility_id)
        with open_scope(their_scope):
            assert latest_of_facility(facility_id=theirs.facility_id)[0].device_id == theirs.pk
        with pytest.raises(NoScope), transaction.atomic():
            latest_of_facility(facility_id=ours.facility_id)
        with open_scope(our_scope):
            assert latest_of_device(device_id=ours.pk) == values
