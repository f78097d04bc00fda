"""Customers and billing settings: made, changed, protected; numbers checked; behind the wall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from billing.domain import customers_operations as operations
from billing.domain import customers_queries as queries
from billing.domain import identifiers, settings_operations, settings_queries
from billing.domain.customers_operations import CustomerValues
from billing.domain.customers_queries import CustomerNotFound
from billing.domain.settings_operations import SettingsValues
from billing.models import Agreement, Customer
from billing.tests import factories
from devices.tests.factories import facility, member
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

ADA = CustomerValues(name="Ada Byron", country="DE")


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


def _create(here: Tenant, **values: Any) -> Customer:
    return operations.create_customer(
        tenant_id=here.pk, values=replace(ADA, **values), actor_id=None
    )


def _refused(call: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refused:
        call()
    return refused.value.message_dict


def test_customers_get_consecutive_numbers_and_their_makers_are_told(here: Tenant) -> None:
    _create(here, number="C00002")
    made = [_create(here) for _ in range(2)]
    assert [one.number for one in made] == ["C00001", "C00003"]
    told = AuditEntry.objects.filter(action="customer.create").values_list("subject_name")
    assert len(told) == 3


def test_a_number_belongs_to_one_customer_of_a_tenant(here: Tenant) -> None:
    _create(here, number="7")
    assert list(_refused(lambda: _create(here, number="7"))) == ["number"]
    other = tenant()
    with open_scope(Scope((other.pk,))):
        assert _create(other, number="7").number == "7"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"country": "Germany"}, "country"),
        ({"email": "nobody"}, "email"),
        ({"vat_id": "DE136695977"}, "vat_id"),
        ({"name": "x" * 121}, "name"),
        ({"language": "xx"}, "language"),
        ({"user_id": 2**40}, "user"),
    ],
)
def test_what_is_wrong_of_a_customer_is_told_at_its_field(
    here: Tenant, values: dict[str, Any], field: str
) -> None:
    assert list(_refused(lambda: _create(here, **values))) == [field]
    assert not Customer.objects.exists()


def test_a_change_sets_everything_but_the_protection(here: Tenant) -> None:
    made = _create(here, vat_id="136 695 976")
    assert made.vat_id == "DE136695976"
    operations.protect_customer(
        customer_id=made.pk, reason="Dialysis", until=date(2027, 1, 1), actor_id=None
    )
    changed = operations.change_customer(
        customer_id=made.pk, values=CustomerValues(name="Ada"), actor_id=None
    )
    assert (changed.name, changed.number, changed.vat_id) == ("Ada", made.number, "")
    assert changed.protected


def test_another_account_of_a_customer_gets_the_agreements(here: Tenant) -> None:
    made = _create(here)
    agreement = factories.agreement(facility(here), of=made)
    user = member(here, Role.CONSUMER).user
    operations.change_customer(
        customer_id=made.pk, values=replace(ADA, user_id=user.pk), actor_id=None
    )
    assert Agreement.objects.get(pk=agreement.pk).user_id == user.pk


def test_an_account_of_another_tenant_is_refused(here: Tenant) -> None:
    other = tenant()
    with open_scope(Scope((other.pk,))):
        stranger = member(other, Role.CONSUMER).user
    assert list(_refused(lambda: _create(here, user_id=stranger.pk))) == ["user"]


def test_protection_begins_and_ends_with_a_reason(here: Tenant) -> None:
    made = _create(here)
    refused = _refused(
        lambda: operations.protect_customer(customer_id=made.pk, reason=" ", actor_id=None)
    )
    assert list(refused) == ["reason"]
    operations.protect_customer(customer_id=made.pk, reason="Dialysis", actor_id=None)
    refused = _refused(
        lambda: operations.unprotect_customer(customer_id=made.pk, reason="", actor_id=None)
    )
    assert list(refused) == ["reason"]
    operations.unprotect_customer(customer_id=made.pk, reason="Has moved", actor_id=None)
    entry = AuditEntry.objects.get(action="customer.unprotect")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["protected_reason"], entry.after["reason"]) == ("Dialysis", "Has moved")


def test_customers_are_searched_and_paged(here: Tenant) -> None:
    made = [_create(here, name=name, city="Ulm") for name in ("Ada", "Bob", "Cy")]
    assert [one.name for one in queries.customer_rows(search="ulm b")] == ["Bob"]
    first = queries.customer_page(limit=2, search="ulm")
    assert [one.pk for one in first.items] == [made[0].pk, made[1].pk]
    assert first.next_after is not None
    rest = queries.customer_page(limit=2, after=first.next_after)
    assert ([one.pk for one in rest.items], rest.next_after) == ([made[2].pk], None)


def test_customers_of_others_are_neither_seen_nor_changed(here: Tenant) -> None:
    made = _create(here)
    place = facility(here)
    for scope in (Scope((tenant().pk,)), Scope((here.pk,), (place.pk,))):
        with open_scope(scope):
            assert not queries.customer_rows()
            with pytest.raises(CustomerNotFound):
                queries.customer(customer_id=made.pk)
            with pytest.raises(CustomerNotFound):
                operations.change_customer(customer_id=made.pk, values=ADA, actor_id=None)
            with pytest.raises(CustomerNotFound):
                operations.protect_customer(customer_id=made.pk, reason="x", actor_id=None)
    assert Customer.objects.get().name == "Ada Byron"


SELLER = SettingsValues(
    legal_name="Fennel GmbH",
    country="de",
    vat_id="DE 136695976",
    iban="de89 3704 0044 0532 0130 00",
    bic="cobadeffxxx",
)


def test_settings_are_kept_in_canonical_form(here: Tenant) -> None:
    made = settings_operations.change_settings(tenant_id=here.pk, values=SELLER, actor_id=None)
    told = (made.country, made.vat_id, made.iban, made.bic)
    assert told == ("DE", "DE136695976", "DE89370400440532013000", "COBADEFFXXX")
    settings_operations.change_settings(
        tenant_id=here.pk, values=replace(SELLER, footer="Thank you"), actor_id=None
    )
    found = settings_queries.settings_of(tenant_id=here.pk)
    assert found is not None
    assert (found.pk, found.footer) == (made.pk, "Thank you")
    with open_scope(Scope((tenant().pk,))):
        assert settings_queries.settings_of(tenant_id=here.pk) is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"legal_name": ""}, "legal_name"),
        ({"iban": "DE89370400440532013001"}, "iban"),
        ({"bic": "COBA"}, "bic"),
        ({"vat_id": "DE1"}, "vat_id"),
        ({"currency": "XXZ"}, "currency"),
        ({"country": "DEU"}, "country"),
        ({"estimate_percent": Decimal(101)}, "estimate_percent"),
        ({"email": "x"}, "email"),
    ],
)
def test_what_is_wrong_of_settings_is_told_at_its_field(
    here: Tenant, values: dict[str, Any], field: str
) -> None:
    refused = _refused(
        lambda: settings_operations.change_settings(
            tenant_id=here.pk, values=replace(SELLER, **values), actor_id=None
        )
    )
    assert list(refused) == [field]
    assert settings_queries.settings_of(tenant_id=here.pk) is None


@pytest.mark.parametrize(
    ("text", "country", "canonical"),
    [
        ("", "DE", ""),
        ("ATU12345675", "AT", "ATU12345675"),
        ("u12345675", "AT", "ATU12345675"),
        ("094259216", "GR", "EL094259216"),
        ("CHE-107.787.577 IVA", "CH", "CHE107787577IVA"),
        ("12-3456789", "US", "123456789"),
    ],
)
def test_vat_ids_are_brought_into_form(text: str, country: str, canonical: str) -> None:
    assert identifiers.checked_vat_id(text, country) == canonical
