"""Invitations from the form to the membership: mail, link, acceptance, and every way it ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from devices.domain.queries import scope_for
from devices.tests import factories
from portal.tasks import send_invitation
from tenants.domain import bulk_invitations, operations, operations_invitations, operations_roles
from tenants.domain.operations_invitations import LIFETIME, MAX_REQUESTS, Offer
from tenants.domain.operations_roles import RoleDraft
from tenants.models import AuditEntry, Invitation, Membership, Tenant, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import custom_role, invitation

pytestmark = pytest.mark.django_db

PASSWORD = "eleven quiet ferries"


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


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def invited(
    of: Tenant,
    by: User,
    role: Role | int = Role.ANALYST,
    *,
    email: str | None = None,
    facility_ids: tuple[int, ...] | None = None,
) -> Invitation:
    with open_scope(Scope((of.pk,))):
        return invitation(of, role, by=by, email=email, facility_ids=facility_ids)


def reload(of: Invitation) -> Invitation:
    with open_scope(Scope((of.tenant_id,))):
        return Invitation.objects.get(pk=of.pk)


def link(of: Invitation, outbox: list[EmailMultiAlternatives]) -> str:
    """Have the mail sent, and follow its link."""
    before = len(outbox)
    send_invitation(tenant_id=of.tenant_id, invitation_id=of.pk)
    assert len(outbox) == before + 1
    message = outbox[-1]
    assert message.to == [of.email]
    found = re.search(r"/invitations/accept/[\w-]+/", str(message.body))
    assert found is not None
    return found[0]


def filled(**changes: str) -> dict[str, str]:
    return {"name": "Ada", "password": PASSWORD, "repeated": PASSWORD, **changes}


def membership(of: Tenant, email: str) -> Membership | None:
    with open_scope(Scope((of.pk,))):
        return Membership.objects.filter(user__email=email).first()


# --- a new person -------------------------------------------------------------------------------


def test_invited_person_becomes_a_member_and_is_signed_in(
    ours: Tenant, admin: User, client: Client, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    with open_scope(Scope((ours.pk,))):
        site = factories.facility(ours)
    form = {
        "email": "Ada@Example.org",
        "role": "technician",
        "reach": "chosen",
        "facilities": [site.pk],
        "language": "en",
        "message": "Hello <b>Ada</b>",
    }
    assert client.post(reverse("invitation-new"), form).status_code == 302
    with open_scope(Scope((ours.pk,))):
        made = Invitation.objects.get()
    assert made.email == "ada@example.org"
    address = link(made, mailoutbox)
    message = mailoutbox[-1]
    assert ours.name in message.subject
    assert "Hello <b>Ada</b>" in str(message.body)
    assert "Hello &lt;b&gt;Ada&lt;/b&gt;" in str(message.alternatives[0][0])
    browser = Client()
    assert admin.get_full_name() in browser.get(address).content.decode()
    response = browser.post(address, filled(time_zone="Europe/Berlin"))
    assert (response.status_code, response["Location"]) == (302, reverse("overview"))
    user = User.objects.get(email="ada@example.org")
    assert (user.name, user.time_zone) == ("Ada", "Europe/Berlin")
    assert user.check_password(PASSWORD)
    assert scope_for(user=user) == Scope((ours.pk,), (site.pk,))
    assert browser.get(reverse("overview")).status_code == 200
    with open_scope(Scope((ours.pk,))):
        trail = AuditEntry.objects.filter(actor=user).values_list("action", flat=True)
        assert set(trail) >= {"membership.grant", "invitation.accept"}


def test_link_works_once(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    address = link(made, mailoutbox)
    assert Client().post(address, filled()).status_code == 302
    for answer in (Client().get(address), Client().post(address, filled(name="Eve"))):
        assert answer.status_code == 410
        assert "has been used already" in answer.content.decode()
    assert User.objects.get(email=made.email).name == "Ada"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "short", "repeated": "short"}, "password"),
        ({"repeated": "another one altogether"}, "repeated"),
        ({"name": ""}, "name"),
    ],
)
def test_bad_passwords_and_names_are_told(
    ours: Tenant,
    admin: User,
    mailoutbox: list[EmailMultiAlternatives],
    changes: dict[str, str],
    field: str,
) -> None:
    made = invited(ours, admin)
    response = Client().post(link(made, mailoutbox), filled(**changes))
    assert field in response.context["form"].errors
    assert membership(ours, made.email) is None


def test_time_zone_that_does_not_exist_is_no_obstacle(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    Client().post(link(made, mailoutbox), filled(time_zone="Middle/Earth"))
    assert User.objects.get(email=made.email).time_zone == "UTC"


# --- an existing person -------------------------------------------------------------------------


def test_existing_person_signs_in_first_and_accepts(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    user = factories.user()
    address = link(invited(ours, admin, email=user.email), mailoutbox)
    page = Client().get(address)
    assert page.context["sign_in_url"].startswith(reverse("login"))
    assert Client().post(address, filled()).context["sign_in_url"]
    assert membership(ours, user.email) is None
    assert signed_in(user).post(address).status_code == 302
    assert scope_for(user=user) == Scope((ours.pk,))
    assert not user.check_password(PASSWORD)


def test_invitation_of_somebody_else_is_refused(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    other = signed_in(factories.user())
    address = link(made, mailoutbox)
    for answer in (other.get(address), other.post(address), other.post(address, filled())):
        assert "is for" in answer.content.decode()
    assert membership(ours, made.email) is None
    assert not User.objects.filter(email=made.email).exists()


def test_membership_that_came_otherwise_stays_as_it_is(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    user = factories.user()
    address = link(invited(ours, admin, Role.MANAGER, email=user.email), mailoutbox)
    with open_scope(Scope((ours.pk,))):
        operations.grant_membership(
            tenant_id=ours.pk, user_id=user.pk, role=Role.CONSUMER, actor_id=None
        )
    signed_in(user).post(address)
    found = membership(ours, user.email)
    assert found is not None
    assert (found.role, found.narrowed) == ("consumer", True)


# --- how it ends --------------------------------------------------------------------------------


def test_expired_revoked_and_unknown_links_are_told_in_words(
    ours: Tenant, admin: User, client: Client, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made, late = invited(ours, admin), invited(ours, admin)
    address, expired = link(made, mailoutbox), link(late, mailoutbox)
    client.post(reverse("invitation-revoke", args=[made.pk]))
    told = Client().get(address)
    assert (told.status_code, "was taken back" in told.content.decode()) == (410, True)
    with time_machine.travel(datetime.now(UTC) + LIFETIME, tick=False):
        told = Client().post(expired, filled())
    assert (told.status_code, "has expired" in told.content.decode()) == (410, True)
    told = Client().get(reverse("invitation-accept", args=["x" * 43]))
    assert (told.status_code, "does not exist" in told.content.decode()) == (404, True)
    assert User.objects.filter(email__in=[made.email, late.email]).count() == 0


def test_sending_again_makes_a_new_link_and_ends_the_former(
    ours: Tenant, admin: User, client: Client, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    former = link(made, mailoutbox)
    soon = client.post(reverse("invitation-resend", args=[made.pk]), follow=True)
    assert "a moment ago" in soon.content.decode()
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        client.force_login(admin)
        client.post(reverse("invitation-resend", args=[made.pk]))
        assert Client().get(former).status_code == 404
        newer = link(made, mailoutbox)
        assert newer != former
        assert Client().post(newer, filled()).status_code == 302


def test_a_mailbox_is_not_flooded(ours: Tenant, admin: User) -> None:
    made = invited(ours, admin)
    with open_scope(Scope((ours.pk,))):
        now = datetime.now(UTC)
        for n in range(1, MAX_REQUESTS):
            operations_invitations.resend(
                invitation_id=made.pk, now=now + n * timedelta(minutes=2), actor_id=admin.pk
            )
        with pytest.raises(operations_invitations.CannotInvite, match="5 times"):
            operations_invitations.resend(
                invitation_id=made.pk, now=now + timedelta(hours=1), actor_id=admin.pk
            )


def test_mail_of_a_closed_invitation_is_not_sent(
    ours: Tenant, admin: User, client: Client, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    client.post(reverse("invitation-revoke", args=[made.pk]))
    send_invitation(tenant_id=ours.pk, invitation_id=made.pk)
    assert mailoutbox == []
    assert reload(made).sent_at is None


def test_invitation_ends_with_the_right_of_the_inviter(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    """Whoever is dismissed has not left a door open for himself."""
    made = invited(ours, admin, Role.MANAGER)
    address = link(made, mailoutbox)
    with open_scope(Scope((ours.pk,))):
        factories.member(ours, Role.ADMIN)
        own = Membership.objects.get(user=admin)
        operations.end_membership(membership_id=own.pk, actor_id=None)
    told = Client().post(address, filled())
    assert (told.status_code, "may not give this role any more" in told.content.decode()) == (
        410,
        True,
    )
    assert not User.objects.filter(email=made.email).exists()


def test_facility_that_was_deleted_narrows(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    with open_scope(Scope((ours.pk,))):
        gone = factories.facility(ours)
    made = invited(ours, admin, facility_ids=(gone.pk,))
    address = link(made, mailoutbox)
    with open_scope(Scope((ours.pk,))):
        gone.delete()
    Client().post(address, filled())
    assert scope_for(user=User.objects.get(email=made.email)) == Scope((ours.pk,), ())


def test_secret_of_the_link_is_stored_nowhere(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    made = invited(ours, admin)
    token = link(made, mailoutbox).split("/")[-2]
    stored = reload(made)
    assert stored.token_sha256 is not None
    assert token not in str(vars(stored))
    with open_scope(Scope((ours.pk,))):
        for entry in AuditEntry.objects.all():
            assert token not in f"{entry.before}{entry.after}"
            assert stored.token_sha256 not in f"{entry.before}{entry.after}"


def test_mail_becomes_a_file_without_a_mail_server(
    ours: Tenant, admin: User, settings: Settings, tmp_path: Path
) -> None:
    settings.EMAIL_BACKEND, settings.MAIL_DIR = "portal.mail.FolderBackend", tmp_path
    made = invited(ours, admin, Role.CONSUMER)
    send_invitation(tenant_id=ours.pk, invitation_id=made.pk)
    (file,) = tmp_path.glob("*.eml")
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert message["To"] == made.email
    assert reload(made).sent_at is not None


# --- whom one can invite ------------------------------------------------------------------------


def test_nobody_is_told_whether_an_address_has_an_account(ours: Tenant, client: Client) -> None:
    """Of tenants elsewhere, above, or none: the answer is the same as for an unknown address."""
    with open_scope(Scope(((other := factories.tenant()).pk,))):
        elsewhere = factories.member(other, Role.MANAGER).user.email
    answers = set()
    for email in (elsewhere, factories.user().email, "unknown@example.org"):
        form = {"email": email, "role": "analyst", "reach": "all", "language": "en"}
        response = client.post(reverse("invitation-new"), form, follow=True)
        answers.add(response.content.decode().count("has been invited"))
    assert answers == {1}


def test_member_and_invited_are_not_invited_again(
    ours: Tenant, admin: User, client: Client
) -> None:
    made = invited(ours, admin)
    form = {"role": "analyst", "reach": "all", "language": "en"}
    for email, reason in ((made.email, "open invitation"), (admin.email, "member")):
        response = client.post(reverse("invitation-new"), {**form, "email": email})
        assert reason in str(response.context["form"].errors["email"])
    with time_machine.travel(datetime.now(UTC) + LIFETIME):
        client.force_login(admin)
        client.post(reverse("invitation-new"), {**form, "email": made.email})
    assert reload(made).revoked_at is not None


def test_role_above_the_own_cannot_be_offered(ours: Tenant, client: Client) -> None:
    form = {"email": "a@example.org", "role": "operator", "reach": "all", "language": "en"}
    response = client.post(reverse("invitation-new"), form)
    assert "role" in response.context["form"].errors


def test_consumer_is_invited_to_chosen_facilities_only(ours: Tenant, client: Client) -> None:
    form = {"email": "a@example.org", "role": "consumer", "reach": "all", "language": "en"}
    response = client.post(reverse("invitation-new"), form)
    assert "reach" in response.context["form"].errors


def test_role_that_is_offered_is_not_deleted(ours: Tenant, admin: User) -> None:
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours)
        made = invitation(ours, role.pk, by=admin)
        with pytest.raises(operations_roles.RoleInUse, match=made.email):
            operations_roles.delete_role(role_id=role.pk, actor_id=admin.pk)
        operations_invitations.revoke(
            invitation_id=made.pk, now=datetime.now(UTC), actor_id=admin.pk
        )
        operations_roles.delete_role(role_id=role.pk, actor_id=admin.pk)
    assert reload(made).custom_role_id is None


def test_role_that_grew_beyond_its_inviter_is_not_given(
    ours: Tenant, admin: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    with open_scope(Scope((ours.pk,))):
        role = custom_role(ours)
        made = invitation(ours, role.pk, by=admin)
        grown = RoleDraft("Grown", "", frozenset({Permission.MEMBERS_IMPERSONATE}))
        operations_roles.change_custom_role(role_id=role.pk, draft=grown, actor_id=None)
    told = Client().post(link(made, mailoutbox), filled())
    assert told.status_code == 410
    assert membership(ours, made.email) is None


# --- many at once -------------------------------------------------------------------------------


def test_list_is_checked_then_invited(ours: Tenant, admin: User, client: Client) -> None:
    waiting = invited(ours, admin)
    lines = [
        "Ada Byron <ada@example.org>",
        "",
        "bob@example.org; Technician",
        "bob@example.org",
        "no address",
        "carl@example.org, Pope",
        f"{waiting.email}",
        f"{admin.email}",
        "dora@example.org\tmanager",
    ]
    form = {
        "people": "\n".join(lines),
        "role": "analyst",
        "reach": "all",
        "language": "en",
    }
    page = client.post(reverse("invitation-bulk"), form)
    outcome = {
        line.number: (line.email, line.problem.split(":")[0]) for line in page.context["plan"]
    }
    assert outcome == {
        1: ("ada@example.org", ""),
        3: ("bob@example.org", ""),
        4: ("bob@example.org", "The same address stands in line 3."),
        5: (outcome[5][0], "This is no e-mail address."),
        6: ("carl@example.org", "There is no role “Pope” that you may give."),
        7: (waiting.email, "This address has an open invitation"),
        8: (admin.email, "This person is a member of the tenant already."),
        9: ("dora@example.org", ""),
    }
    with open_scope(Scope((ours.pk,))):
        assert Invitation.objects.count() == 1
    client.post(reverse("invitation-bulk"), {**form, "confirm": "yes"})
    with open_scope(Scope((ours.pk,))):
        made = dict(Invitation.objects.exclude(pk=waiting.pk).values_list("email", "role"))
    assert made == {
        "ada@example.org": "analyst",
        "bob@example.org": "technician",
        "dora@example.org": "manager",
    }


@pytest.mark.parametrize("count", [1, 3])
def test_plan_takes_six_queries(
    ours: Tenant, admin: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    text = "\n".join(f"person{n}@example.org" for n in range(count))
    offer = Offer(Role.ANALYST, None, "en")
    with open_scope(Scope((ours.pk,))), django_assert_num_queries(6):
        plan = bulk_invitations.plan(
            tenant_id=ours.pk, text=text, offer=offer, now=datetime.now(UTC), actor_id=admin.pk
        )
    assert len(plan) == count


def test_list_that_is_too_long_is_refused(ours: Tenant, client: Client) -> None:
    text = "\n".join(f"person{n}@example.org" for n in range(bulk_invitations.MAX_LINES + 1))
    form = {"people": text, "role": "analyst", "reach": "all", "language": "en"}
    response = client.post(reverse("invitation-bulk"), form)
    assert "Split it" in str(response.context["form"].errors["people"])


@pytest.mark.parametrize("count", [1, 3])
def test_invitations_take_twelve_queries(
    ours: Tenant,
    admin: User,
    client: Client,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(count):
        invited(ours, admin)
    client.get(reverse("invitations"))
    with django_assert_num_queries(12):
        response = client.get(reverse("invitations"))
    assert response.context["table"].page.paginator.count == count
