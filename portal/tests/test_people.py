"""The pages of people: what they show, what they change, whom they refuse."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from devices.domain.queries import scope_for
from devices.models import FacilityAccess
from devices.tests import factories
from portal.benchmarks import tokens
from portal.enterprise.people import announce
from portal.oauth import bearer
from tenants.domain import operations
from tenants.models import CustomRole, Membership, Tenant, TenantKind, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import custom_role

pytestmark = pytest.mark.django_db

# Session, user, access and scope take seven.
PEOPLE_QUERIES = 12
ROLES_QUERIES = 11


@pytest.fixture
def ours() -> Tenant:
    return factories.tenant()


@pytest.fixture
def admin(ours: Tenant) -> User:
    with open_scope(Scope((ours.pk,))):
        return factories.member(ours, Role.ADMIN).user


@pytest.fixture
def client(admin: User) -> Client:
    return signed_in(admin)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def member(of: Tenant, role: Role | int = Role.ANALYST, name: str = "") -> Membership:
    with open_scope(Scope((of.pk,))):
        made = factories.member(of, role)
        if name:
            made.user.name = name
            made.user.save(update_fields=["name"])
        return made


def reload(membership: Membership) -> Membership:
    with open_scope(Scope((membership.tenant_id,))):
        return Membership.objects.get(pk=membership.pk)


def told(response: object) -> str:
    """The toasts of the page that a change leads to."""
    html = response.content.decode()  # type: ignore[attr-defined]
    return " ".join(re.findall(r'<div class="wl-toast".*?<p>(.*?)</p>', html, re.DOTALL))


# --- the list -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_people_take_a_fixed_number_of_queries(
    ours: Tenant,
    client: Client,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(count):
        member(ours)
    client.get(reverse("people"))
    with django_assert_num_queries(PEOPLE_QUERIES):
        response = client.get(reverse("people"))
    assert response.context["table"].page.paginator.count == count + 1


def test_people_are_listed_with_role_restriction_and_state(ours: Tenant, client: Client) -> None:
    ada = member(ours, Role.TECHNICIAN, "Ada")
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours)
        narrowed = factories.member(ours, Role.CONSUMER)
        operations.suspend_membership(membership_id=ada.pk, now=datetime.now(UTC), actor_id=None)
    bob = member(ours, role.pk, "Bob")
    text = client.get(reverse("people"), {"export": "csv"}).getvalue().decode("utf-8-sig")
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(text))}
    assert rows[f"Ada <{ada.user.email}>"][:2] == ["Technician", "All"]
    assert "Deactivated" in rows[f"Ada <{ada.user.email}>"]
    assert rows[f"Bob <{bob.user.email}>"][:2] == [role.name, "All"]
    assert rows[narrowed.user.email][:2] == ["Consumer", "None"]


def test_people_are_found_by_role_and_by_words(ours: Tenant, client: Client) -> None:
    member(ours, Role.TECHNICIAN, "Ada Byron")
    member(ours, Role.ANALYST, "Bob Byron")

    def found(**query: str) -> list[str]:
        table = client.get(reverse("people"), query).context["table"]
        return [row.record.person for row in table.page.object_list]

    assert found(q="byron ada") == ["Ada Byron"]
    assert found(role="analyst") == ["Bob Byron"]
    assert found(q="byron", sort="-person") == ["Bob Byron", "Ada Byron"]


def test_people_of_tenants_below_are_listed_and_of_siblings_are_not() -> None:
    root = factories.operator()
    reseller = factories.tenant(root, TenantKind.RESELLER)
    below, sibling = factories.tenant(reseller), factories.tenant(root)
    theirs, siblings = member(below, name="Below"), member(sibling, name="Sibling")
    with open_scope(Scope((reseller.pk,))):
        admin = factories.member(reseller, Role.ADMIN).user
    client = signed_in(admin)
    html = client.get(reverse("people")).content.decode()
    assert theirs.user.email in html
    assert below.name in html
    assert siblings.user.email not in html
    assert client.get(reverse("person", args=[siblings.pk])).status_code == 404
    change = client.post(reverse("person-role", args=[siblings.pk]), {"role": "manager"})
    assert change.status_code == 404


def test_role_of_a_tenant_above_is_named_below() -> None:
    reseller = factories.tenant(kind=TenantKind.RESELLER)
    below = factories.tenant(reseller)
    with open_scope(Scope((reseller.pk,))):
        role = custom_role(reseller, Permission.DEVICES_VIEW)
    theirs = member(below, role.pk)
    with open_scope(Scope((below.pk,))):
        admin = factories.member(below, Role.ADMIN).user
    client = signed_in(admin)
    assert role.name in client.get(reverse("people")).content.decode()
    html = client.get(reverse("person", args=[theirs.pk])).content.decode()
    assert role.name in html
    page = client.get(reverse("role", args=[role.pk]))
    assert page.context["own"] is False
    assert client.get(reverse("role-edit", args=[role.pk])).status_code == 404


# --- a person -----------------------------------------------------------------------------------


def test_role_is_changed_and_announced(
    ours: Tenant,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    someone = member(ours)
    heard: list[int] = []
    monkeypatch.setattr(announce, "memberships_changed", heard.append)
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(reverse("person-role", args=[someone.pk]), {"role": "manager"})
    assert response.status_code == 302
    assert reload(someone).role == "manager"
    assert heard == [someone.user_id]


def test_role_above_the_own_is_not_offered_and_not_given(ours: Tenant, client: Client) -> None:
    someone = member(ours)
    page = client.get(reverse("person", args=[someone.pk]))
    offered = [key for _label, group in page.context["role_form"].fields["role"].choices
               for key, _name in group]  # fmt: skip
    assert set(offered) == {"admin", "manager", "technician", "analyst", "consumer"}
    client.post(reverse("person-role", args=[someone.pk]), {"role": "operator"})
    assert reload(someone).role == "analyst"


def test_nobody_changes_himself(ours: Tenant, admin: User, client: Client) -> None:
    with open_scope(Scope((ours.pk,))):
        own = Membership.objects.get(user=admin)
    assert client.get(reverse("person", args=[own.pk])).context["person"]["obstacle"] == "self"
    response = client.post(reverse("person-end", args=[own.pk]), follow=True)
    assert "own membership" in told(response)
    assert reload(own) == own


def test_last_administrator_is_kept(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        last = factories.member(ours, Role.ADMIN)
    parent_id = ours.parent_id
    assert parent_id is not None
    with open_scope(Scope((parent_id,))):
        root = Tenant.objects.get(pk=parent_id)
        client = signed_in(factories.member(root, Role.OPERATOR).user)
    for name, form in (("role", {"role": "analyst"}), ("end", {}), ("suspend", {})):
        response = client.post(reverse(f"person-{name}", args=[last.pk]), form, follow=True)
        assert "last administrator" in told(response)
    assert reload(last).role == "admin"


def test_restriction_is_set_changed_and_lifted(ours: Tenant, client: Client) -> None:
    someone = member(ours)
    with open_scope(Scope((ours.pk,))):
        one, two = factories.facility(ours), factories.facility(ours)
        area = factories.facility(ours, one)
    address = reverse("person-facilities", args=[someone.pk])
    client.post(address, {"reach": "chosen", "facilities": [one.pk]})
    assert scope_for(user=someone.user).facility_ids == (one.pk, area.pk)
    client.post(address, {"reach": "chosen", "facilities": [two.pk]})
    assert scope_for(user=someone.user).facility_ids == (two.pk,)
    client.post(address, {"reach": "chosen"})
    assert scope_for(user=someone.user).facility_ids == ()
    client.post(address, {"reach": "all"})
    assert scope_for(user=someone.user).facility_ids is None


def test_restriction_takes_no_facility_of_another_tenant(ours: Tenant, client: Client) -> None:
    someone, other = member(ours), factories.tenant()
    with open_scope(Scope((other.pk,))):
        theirs = factories.facility(other)
    address = reverse("person-facilities", args=[someone.pk])
    response = client.post(address, {"reach": "chosen", "facilities": [theirs.pk]}, follow=True)
    assert "does not exist in this tenant" in told(response)
    assert not reload(someone).narrowed
    with open_scope(Scope((ours.pk, other.pk))):
        assert not FacilityAccess.objects.exists()


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 30, "-1", "²", "x"])
def test_what_is_no_facility_is_refused_in_words(ours: Tenant, client: Client, number: str) -> None:
    someone = member(ours)
    form = {"reach": "chosen", "facilities": number}
    refused = client.post(reverse("person-facilities", args=[someone.pk]), form)
    assert "Choose facilities from the list." in str(refused.context["form"].errors["facilities"])
    assert not reload(someone).narrowed
    invited = client.post(reverse("invitation-new"), {**form, "email": "ada@example.org"})
    assert "Choose facilities from the list." in str(invited.context["form"].errors["facilities"])
    query = {"facilities": number, "tenant": number, "facility-search": "a\0b"}
    assert client.get(reverse("facility-choices"), query).status_code == 200


def test_facilities_are_searched_by_name_site_and_city(ours: Tenant, client: Client) -> None:
    with open_scope(Scope((ours.pk,))):
        site, other = factories.facility(ours), factories.facility(ours)
        area = factories.facility(ours, site)
    address = reverse("facility-choices")
    html = client.get(address, {"facility-search": site.name}).content.decode()
    assert site.name in html
    assert area.name in html
    assert other.name not in html
    chosen = client.get(address, {"facility-search": "nothing", "facilities": str(other.pk)})
    assert f'value="{other.pk}" checked' in chosen.content.decode()


def test_suspended_person_has_no_access_until_restored(ours: Tenant, client: Client) -> None:
    someone = member(ours, Role.MANAGER)
    theirs = signed_in(someone.user)
    assert theirs.get(reverse("people")).status_code == 200
    client.post(reverse("person-suspend", args=[someone.pk]))
    assert theirs.get(reverse("people")).status_code == 403
    client.post(reverse("person-restore", args=[someone.pk]))
    assert theirs.get(reverse("people")).status_code == 200


def test_ended_membership_is_gone(ours: Tenant, client: Client) -> None:
    someone = member(ours, Role.MANAGER)
    response = client.post(reverse("person-end", args=[someone.pk]), follow=True)
    assert "no longer a member" in told(response)
    assert signed_in(someone.user).get(reverse("people")).status_code == 403
    assert client.get(reverse("person", args=[someone.pk])).status_code == 404


def test_narrowed_administrator_sees_no_people(ours: Tenant, client: Client) -> None:
    someone = member(ours, Role.ADMIN)
    client.post(reverse("person-facilities", args=[someone.pk]), {"reach": "chosen"})
    assert reload(someone).narrowed
    assert signed_in(someone.user).get(reverse("people")).status_code == 403


# --- roles --------------------------------------------------------------------------------------


def test_role_is_made_given_changed_and_deleted(ours: Tenant, client: Client) -> None:
    form = {"name": "Auditor", "description": "Reads", "permission-devices.change": "on"}
    client.post(reverse("role-new"), form)
    with open_scope(Scope((ours.pk,))):
        role = CustomRole.objects.get()
    assert role.permissions == ["devices.change", "devices.view", "facilities.view"]
    someone = member(ours, role.pk, "Carla")
    refused = client.post(reverse("role-delete", args=[role.pk]), follow=True)
    assert "Carla" in told(refused)
    client.post(
        reverse("role-edit", args=[role.pk]), {"name": "Auditor", "permission-bills.view": "on"}
    )
    with open_scope(Scope((ours.pk,))):
        assert CustomRole.objects.get().permissions == ["bills.view"]
    client.post(reverse("person-role", args=[someone.pk]), {"role": "analyst"})
    client.post(reverse("role-delete", args=[role.pk]))
    with open_scope(Scope((ours.pk,))):
        assert not CustomRole.objects.exists()


def test_role_has_no_permission_that_its_maker_lacks(ours: Tenant, client: Client) -> None:
    page = client.get(reverse("role-new"))
    assert page.context["form"].fields["permission-members.impersonate"].disabled
    form = {"name": "Spy", "permission-members.impersonate": "on", "permission-bills.view": "on"}
    client.post(reverse("role-new"), form)
    with open_scope(Scope((ours.pk,))):
        assert CustomRole.objects.get().permissions == ["bills.view"]


def test_role_of_a_taken_name_or_without_permission_is_refused(
    ours: Tenant, client: Client
) -> None:
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours)
    same = client.post(
        reverse("role-new"), {"name": role.name.upper(), "permission-bills.view": "on"}
    )
    assert same.context["form"].non_field_errors()
    empty = client.post(reverse("role-new"), {"name": "Nothing"})
    assert "at least one permission" in str(empty.context["form"].non_field_errors())


@pytest.mark.parametrize("count", [1, 3])
def test_roles_take_a_fixed_number_of_queries(
    ours: Tenant,
    client: Client,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with open_scope(Scope((ours.pk,))):
        made = [custom_role(ours) for _ in range(count)]
    client.get(reverse("roles"))
    with django_assert_num_queries(ROLES_QUERIES):
        html = client.get(reverse("roles")).content.decode()
    assert [role.name in html for role in made] == [True] * count


def test_changed_role_is_effective_at_once_in_tokens_and_pages(
    ours: Tenant,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours, Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
        someone = factories.member(ours, role.pk)
        application = tokens.application(tenant_id=ours.pk, scopes=["devices:read"])
        token, _row = tokens.issue(application, user_id=someone.user_id)
    heard: list[int] = []
    monkeypatch.setattr(announce, "memberships_changed", heard.append)
    assert bearer.authenticate(token).allows(Permission.DEVICES_VIEW)  # and is remembered
    with django_capture_on_commit_callbacks(execute=True):
        form = {"name": role.name, "permission-bills.view": "on"}
        client.post(reverse("role-edit", args=[role.pk]), form)
    assert not bearer.authenticate(token).allows(Permission.DEVICES_VIEW)
    assert heard == [someone.user_id]
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("person-suspend", args=[someone.pk]))
    with pytest.raises(bearer.InvalidToken):
        bearer.authenticate(token)


def test_role_that_is_only_renamed_disturbs_nobody(
    ours: Tenant,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    role = custom_role_of(ours)
    member(ours, role.pk)
    heard: list[int] = []
    monkeypatch.setattr(announce, "memberships_changed", heard.append)
    with django_capture_on_commit_callbacks(execute=True):
        form = {"name": "Reader", "permission-readings.view": "on"}
        client.post(reverse("role-edit", args=[role.pk]), form)
    assert custom_role_of(ours, make=False).name == "Reader"
    assert heard == []


def test_role_is_not_changed_by_who_has_it(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours, Permission.ROLES_CHANGE, Permission.BILLS_VIEW)
        own = signed_in(factories.member(ours, role.pk).user)
    form = {"name": "Mine", "permission-roles.change": "on"}
    response = own.post(reverse("role-edit", args=[role.pk]), form)
    assert "You have this role yourself" in str(response.context["form"].non_field_errors())


def test_role_mightier_than_the_reader_is_not_changed(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        mighty = custom_role(ours, Permission.TENANTS_CHANGE)
        lesser = custom_role(ours, Permission.ROLES_CHANGE)
        client = signed_in(factories.member(ours, lesser.pk).user)
    response = client.post(reverse("role-edit", args=[mighty.pk]), {"name": "Weak"})
    assert "do not have yourself" in str(response.context["form"].non_field_errors())
    deleted = client.post(reverse("role-delete", args=[mighty.pk]), follow=True)
    assert "do not have yourself" in told(deleted)


def custom_role_of(of: Tenant, *, make: bool = True) -> CustomRole:
    with open_scope(Scope((of.pk,))):
        return custom_role(of) if make else CustomRole.objects.get()
