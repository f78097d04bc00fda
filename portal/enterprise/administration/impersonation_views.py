"""Acting as somebody else: whom, why, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import django_tables2 as columns
from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal import impersonation as edge
from portal.frame.filters import PortalFilterSet
from portal.frame.listing import render_list
from portal.frame.permissions import access_of, requires
from portal.frame.tables import PortalTable
from portal.tasks import send_mail
from tenants.domain import impersonation
from tenants.domain.impersonation import ImpersonationRefused
from tenants.models import Impersonation, Membership, User
from tenants.models.impersonation import MAX_DURATION, MIN_REASON
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import Permission

MINUTES: Final = int(MAX_DURATION.total_seconds()) // 60


class CandidateTable(PortalTable):
    """Members whom support may act as."""

    empty_icon = "users"
    empty_title = gettext_lazy("Nobody to act as")
    empty_body = gettext_lazy(
        "Operators, support and the administrators of your own tenant are nobody's to act as."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"), accessor="user__name")
    email = columns.Column(verbose_name=gettext_lazy("E-mail"), accessor="user__email")
    role = columns.Column(verbose_name=gettext_lazy("Role"))
    tenant = columns.Column(verbose_name=gettext_lazy("Tenant"), accessor="tenant__name")
    act = columns.Column(
        verbose_name=gettext_lazy("Action"),
        accessor="pk",
        orderable=False,
        exclude_from_export=True,
    )

    def render_name(self, value: str, record: Membership) -> str:
        """The name, or the address of who has none."""
        return value or record.user.email

    def render_role(self, record: Membership) -> str:
        """The role in words."""
        if record.custom_role is not None:
            return record.custom_role.name
        return str(ROLE_TEXTS[record.role].label)

    def render_act(self, record: Membership) -> str:
        """The way to the question for the reason."""
        return format_html(
            '<a href="{}" aria-label="{}">{}</a>',
            reverse("impersonation-begin", args=[record.pk]),
            _("Act as %(person)s") % {"person": record.user.email},
            _("Act as"),
        )


class CandidateFilterSet(PortalFilterSet):
    """Search for people and tenants."""

    search_fields = ("user__name", "user__email", "tenant__name")


class ReasonForm(forms.Form):
    """Why somebody is to be acted as."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        min_length=MIN_REASON,
        max_length=240,
        widget=forms.Textarea({"rows": 3}),
        help_text=gettext_lazy(
            "What you are asked to solve, in at least 10 characters. The person gets it by e-mail, "
            "and it stands beside everything that you do in the person's name."
        ),
    )
    ticket = forms.CharField(
        label=gettext_lazy("Ticket"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("Its number in your help desk."),
    )


@require_safe
@never_cache
@requires(Permission.MEMBERS_IMPERSONATE)
def candidates(request: HttpRequest) -> HttpResponseBase:
    """The members whom the user may act as."""
    access = access_of(request)
    assert access is not None
    return render_list(
        request,
        table_class=CandidateTable,
        rows=impersonation.candidate_rows(access=access),
        filterset_class=CandidateFilterSet,
        template="enterprise/administration/impersonation_people.html",
        context={"minutes": MINUTES},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.MEMBERS_IMPERSONATE)
def begin(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask for the reason, then act as the member."""
    access = access_of(request)
    assert access is not None
    form = ReasonForm(request.POST if request.method == "POST" else None)
    try:
        if request.method == "POST" and form.is_valid():
            row = impersonation.begin(
                access=access, membership_id=pk, now=datetime.now(UTC), **form.cleaned_data
            )
            return _begun(request, row)
        membership = impersonation.candidate(membership_id=pk, access=access)
    except Membership.DoesNotExist:
        raise Http404 from None
    except ImpersonationRefused as refused:
        messages.error(request, str(refused))
        return redirect("impersonation")
    context: dict[str, Any] = {"form": form, "member": membership, "minutes": MINUTES}
    status = 422 if form.is_bound else 200
    template = "enterprise/administration/impersonation_begin.html"
    return render(request, template, context, status=status)


def _begun(request: HttpRequest, row: Impersonation) -> HttpResponse:
    edge.note(request, row)
    assert isinstance(request.user, User)
    person = row.person
    with override(person.language):
        until = date_format(row.ends_at.astimezone(ZoneInfo(person.time_zone)), "DATETIME_FORMAT")
    context = {
        "name": person.get_full_name(),
        "supporter": request.user.get_full_name(),
        "tenant": row.tenant.name,
        "reason": row.full_reason,
        "until": f"{until} ({person.time_zone})",
        "minutes": MINUTES,
    }
    transaction.on_commit(
        partial(
            send_mail.delay,
            template="impersonated",
            to=person.email,
            language=person.language,
            context=context,
        )
    )
    return redirect("overview")


@require_POST
@never_cache
def end(request: HttpRequest) -> HttpResponse:
    """Be oneself again."""
    shown = getattr(request, "impersonation", None)
    if isinstance(shown, edge.Shown):
        edge.leave(request, user_id=shown.supporter.pk)
        messages.success(request, _("You are yourself again."))
    return redirect("overview")
