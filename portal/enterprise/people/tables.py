"""The tables of people and of invitations, and their filters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
import django_tables2 as columns
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, PortalTable
from tenants.domain.queries_invitations import InvitationState
from tenants.domain.queries_people import ACTIVE, CLOSED, SUSPENDED
from tenants.models import Invitation, Membership

STATES: dict[str, str | Promise] = {
    ACTIVE: gettext_lazy("Active"),
    SUSPENDED: gettext_lazy("Deactivated"),
    CLOSED: gettext_lazy("Account closed"),
}
STATE_TONES = {ACTIVE: "good", SUSPENDED: "warn", CLOSED: "bad"}
INVITATION_STATES: dict[str, str | Promise] = {
    InvitationState.OPEN: pgettext_lazy("state", "Open"),
    InvitationState.ACCEPTED: gettext_lazy("Accepted"),
    InvitationState.EXPIRED: gettext_lazy("Expired"),
    InvitationState.REVOKED: gettext_lazy("Revoked"),
}
INVITATION_TONES: dict[str, str] = {
    InvitationState.OPEN: "",
    InvitationState.ACCEPTED: "good",
    InvitationState.EXPIRED: "warn",
    InvitationState.REVOKED: "",
}


class MomentColumn(columns.Column):
    """An instant: the day for people, with the time as a title; ISO 8601 in the export."""

    def render(self, value: datetime) -> str:
        """The day, in the reader's zone."""
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            value.isoformat(),
            date_format(value, "DATETIME_FORMAT"),
            date_format(value, "DATE_FORMAT"),
        )

    def value(self, **kwargs: Any) -> str:
        """The instant."""
        moment: datetime | None = kwargs["value"]
        return moment.isoformat(timespec="seconds") if moment else ""


class PeopleTable(PortalTable):
    """Memberships with what `devices.domain.people.people_rows` says of them."""

    empty_icon = "users"
    empty_title = gettext_lazy("No people yet")
    empty_body = gettext_lazy("Invite somebody to work with the facilities of this tenant.")

    person = columns.Column(verbose_name=gettext_lazy("Name"))
    tenant = columns.Column(
        verbose_name=gettext_lazy("Tenant"), accessor="tenant__name", order_by="tenant__name"
    )
    role = columns.Column(
        verbose_name=gettext_lazy("Role"), accessor="role_label", order_by="role_label"
    )
    reach = columns.Column(
        verbose_name=gettext_lazy("Facilities"),
        accessor="narrowed",
        order_by=("narrowed", "facility_count"),
    )
    last_login = MomentColumn(
        verbose_name=gettext_lazy("Last sign-in"),
        accessor="user__last_login",
        order_by="user__last_login",
    )
    second_factor = BadgeColumn(
        verbose_name=gettext_lazy("Second factor"),
        labels={"yes": gettext_lazy("On"), "no": gettext_lazy("Off")},
        tones={"yes": "good"},
    )
    state = BadgeColumn(verbose_name=gettext_lazy("State"), labels=STATES, tones=STATE_TONES)
    created_at = MomentColumn(verbose_name=gettext_lazy("Member since"))

    class Meta:
        order_by = ("person",)

    def render_person(self, record: Membership, value: str) -> str:
        """Name and address, leading to the person."""
        return format_html(
            '<a href="{}">{}</a><br><span class="wl-quiet">{}</span>',
            reverse("person", args=[record.pk]),
            value,
            record.user.email,
        )

    def value_person(self, record: Membership, value: str) -> str:
        """Name and address in one cell."""
        return value if value == record.user.email else f"{value} <{record.user.email}>"

    def render_reach(self, record: Any) -> str:
        """All facilities, or how many."""
        if not record.narrowed:
            return _("All")
        count = record.facility_count
        if not count:
            return _("None")
        return ngettext("%(count)d facility", "%(count)d facilities", count) % {"count": count}

    def value_reach(self, record: Any) -> str:
        """As on the page."""
        return self.render_reach(record)


class PeopleOfOneTenantTable(PeopleTable):
    """Where there is but one tenant, its name in every row says nothing."""

    class Meta(PeopleTable.Meta):
        exclude = ("tenant",)


class RoleFilterSet(PortalFilterSet):
    """Base of filters that ask for a role; `roles` are those that may occur, by key."""

    role = django_filters.ChoiceFilter(
        label=gettext_lazy("Role"),
        field_name="role_key",
        choices=(),
        empty_label=gettext_lazy("All roles"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = getattr(self, "roles", {})
        self.filters["role"].extra["choices"] = sorted(roles.items(), key=lambda item: item[1])

    @classmethod
    def of(cls, roles: dict[str, str]) -> type[RoleFilterSet]:
        """The filter set with these roles to choose from."""
        return type(cls.__name__, (cls,), {"roles": roles})


class PeopleFilterSet(RoleFilterSet):
    """Search by name and address, role, state."""

    search_fields = ("user__name", "user__email")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        choices=list(STATES.items()),
        empty_label=gettext_lazy("All states"),
    )


class InvitationsTable(PortalTable):
    """Invitations with what `queries_people.invitation_rows` says of them."""

    empty_icon = "mail"
    empty_title = gettext_lazy("No invitations")
    empty_body = gettext_lazy(
        "Whoever is invited gets a link by e-mail that is valid for seven days."
    )

    email = columns.Column(verbose_name=gettext_lazy("Address"))
    tenant = columns.Column(
        verbose_name=gettext_lazy("Tenant"), accessor="tenant__name", order_by="tenant__name"
    )
    role = columns.Column(
        verbose_name=gettext_lazy("Role"), accessor="role_label", order_by="role_label"
    )
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=INVITATION_STATES, tones=INVITATION_TONES
    )
    inviter = columns.Column(verbose_name=gettext_lazy("Invited by"))
    created_at = MomentColumn(verbose_name=gettext_lazy("Invited"))
    expires_at = MomentColumn(verbose_name=gettext_lazy("Valid until"))
    actions = columns.Column(
        verbose_name=gettext_lazy("Actions"),
        empty_values=(),
        orderable=False,
        exclude_from_export=True,
        attrs={"td": {"class": "wl-right"}, "th": {"class": "wl-right"}},
    )

    class Meta:
        order_by = ("-created_at",)

    def render_role(self, record: Any, value: str) -> str:
        """The role, and how far it reaches."""
        return format_html('{}<small class="wl-quiet">{}</small>', value, _reach(record))

    def value_role(self, record: Any, value: str) -> str:
        """As on the page, in one line."""
        return f"{value} ({_reach(record)})"

    def render_state(self, record: Any, column: BadgeColumn, bound_column: Any) -> str:
        """The state, and whether the mail of an open invitation has gone out."""
        badge = column.render(record=record, bound_column=bound_column)
        if record.state != InvitationState.OPEN:
            return badge
        sent = _("E-mail sent") if record.sent_at else _("E-mail not sent yet")
        return format_html('{}<small class="wl-quiet">{}</small>', badge, sent)

    def render_actions(self, record: Any) -> str:
        """Send again and revoke, while the invitation is open."""
        waiting = record.state in {InvitationState.OPEN, InvitationState.EXPIRED}
        return render_to_string(
            "enterprise/people/invitation_actions.html",
            {
                "invitation": record,
                "waiting": waiting,
                "csrf_token": get_token(self.request),
            },
        )


def _reach(invitation: Invitation) -> str:
    if invitation.facility_ids is None:
        return _("all facilities")
    count = len(invitation.facility_ids)
    if not count:
        return _("no facility")
    return ngettext("%(count)d facility", "%(count)d facilities", count) % {"count": count}


def invitations_table(*, several: bool, may_change: bool) -> type[InvitationsTable]:
    """The table without the columns that say nothing to the reader: the tenant where there is but
    one, the actions for whoever may not change people.
    """
    left_out = [*([] if several else ["tenant"]), *([] if may_change else ["actions"])]
    meta = type("Meta", (InvitationsTable.Meta,), {"exclude": tuple(left_out)})
    return type("InvitationsTable", (InvitationsTable,), {"Meta": meta})


class InvitationFilterSet(RoleFilterSet):
    """Search by address, role, state; invitations that wait for an answer come first to mind."""

    search_fields = ("email",)

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        choices=list(INVITATION_STATES.items()),
        empty_label=gettext_lazy("All states"),
    )
