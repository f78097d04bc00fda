"""What the pages of applications show, prepared."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import django_filters
import django_tables2 as columns
from django.conf import settings
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.enterprise.administration.application_forms import KIND_TEXTS
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable
from tenants.domain.application_queries import ApplicationDetail
from tenants.models import Application, ApplicationKind
from tenants.permissions import ACCESS_SCOPES


class ApplicationTable(PortalTable):
    """Applications with what `application_queries.application_rows` counts."""

    empty_icon = "apps"
    empty_title = gettext_lazy("No applications yet")
    empty_body = gettext_lazy(
        "Register one to let a program sign people in or read data by itself."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    kind = columns.Column(verbose_name=gettext_lazy("Kind"), orderable=False)
    tenant = columns.Column(verbose_name=gettext_lazy("Tenant"), accessor="tenant__name")
    people = NumberColumn(verbose_name=gettext_lazy("People"))
    tokens = NumberColumn(verbose_name=gettext_lazy("Valid tokens"))
    is_active = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels={True: gettext_lazy("Active"), False: gettext_lazy("Deactivated")},
        tones={True: "good", False: "warn"},
    )

    def render_name(self, value: str, record: Application) -> str:
        """The name, as the way to its page."""
        return format_html('<a href="{}">{}</a>', reverse("application", args=[record.pk]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_kind(self, record: Application) -> str:
        """The kind in words."""
        return str(record.kind.label)


def _kind_condition(kind: ApplicationKind) -> Q:
    return Q(authorization_grant_type=kind.grant_type, client_type=kind.client_type)


class ApplicationFilterSet(PortalFilterSet):
    """Search by name and client ID; filter by kind and state."""

    search_fields = ("name", "client_id")

    kind = django_filters.ChoiceFilter(
        label=gettext_lazy("Kind"),
        choices=ApplicationKind.choices,
        method="of_kind",
        empty_label=gettext_lazy("All"),
    )
    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        choices=[("active", gettext_lazy("Active")), ("off", gettext_lazy("Deactivated"))],
        method="in_state",
        empty_label=gettext_lazy("All"),
    )

    def of_kind(self, rows: QuerySet[Application], name: str, value: str) -> QuerySet[Application]:
        """Those of one kind."""
        del name
        return rows.filter(_kind_condition(ApplicationKind(value)))

    def in_state(self, rows: QuerySet[Application], name: str, value: str) -> QuerySet[Application]:
        """Those that are let in, or not."""
        del name
        return rows.filter(is_active=value == "active")


def kinds() -> list[dict[str, Any]]:
    """The kinds to choose from."""
    return [
        {"code": kind.value, "label": kind.label, "icon": icon, "text": text}
        for kind, (icon, text) in KIND_TEXTS.items()
    ]


def detail(found: ApplicationDetail, *, may_change: bool) -> dict[str, Any]:
    """The context of an application's page."""
    row = found.application
    return {
        "application": row,
        "kind": row.kind.label,
        "redirects": row.redirect_uris.split(),
        "after_logout": row.post_logout_redirect_uris.split(),
        "scopes": [
            {"name": name, "label": ACCESS_SCOPES[name].label if name in ACCESS_SCOPES else name}
            for name in row.allowed_scopes
        ],
        "facilities": None if row.facility_ids is None else len(row.facility_ids),
        "is_service": row.kind is ApplicationKind.SERVICE,
        "keeps_secret": row.client_type == Application.CLIENT_CONFIDENTIAL,
        "people": found.people,
        "tokens": found.tokens,
        "last_issued_at": found.last_issued_at,
        "consents": [
            {
                "pk": consent.pk,
                "person": consent.user.get_full_name(),
                "email": consent.user.email,
                "tenant": consent.tenant.name,
                "granted_at": consent.granted_at,
                "scopes": [
                    str(ACCESS_SCOPES[name].label)
                    for name in consent.scopes
                    if name in ACCESS_SCOPES
                ],
            }
            for consent in found.consents
        ],
        "snippet": snippet(row),
        "may_change": may_change and not row.skip_authorization,
        "may_stop": may_change,
    }


def snippet(row: Application) -> list[dict[str, str]]:
    """Steps to try the application at a command line: what each does, and its lines."""
    base = settings.PUBLIC_URL
    scopes = " ".join(row.allowed_scopes)
    token = base + reverse("oauth:token")
    read = {
        "text": _("Read with the access token"),
        "code": f'curl -H "Authorization: Bearer $TOKEN" {base}{reverse("api:facility-list")}',
    }
    if row.kind is ApplicationKind.SERVICE:
        first = {
            "text": _("Get an access token; the secret is shown when the application is made"),
            "code": f'TOKEN=$(curl -s -u "{row.client_id}:$CLIENT_SECRET" \\\n'
            f"  -d grant_type=client_credentials -d scope='{scopes}' {token} \\\n"
            '  | sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\')',
        }
        return [first, read]
    if row.kind is ApplicationKind.DEVICE:
        ask = {
            "text": _("Ask for a code, and show it with the address to the person"),
            "code": f"curl -s -d client_id={row.client_id} -d scope='{scopes}' \\\n"
            f"  {base}{reverse('oauth:device-authorization')}",
        }
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        poll = {
            "text": _("Ask for the token every five seconds until the person has allowed it"),
            "code": f"curl -s -d client_id={row.client_id} -d device_code=$DEVICE_CODE \\\n"
            f"  -d grant_type={grant} {token}",
        }
        return [ask, poll, read]
    redirect = (row.redirect_uris.split() or ["https://…"])[0]
    query = urlencode(
        {
            "response_type": "code",
            "client_id": row.client_id,
            "redirect_uri": redirect,
            "scope": scopes,
            "code_challenge_method": "S256",
        }
    )
    keeps = row.client_type == Application.CLIENT_CONFIDENTIAL
    secret = f' -u "{row.client_id}:$CLIENT_SECRET"' if keeps else ""
    named = "" if secret else f" -d client_id={row.client_id}"
    return [
        {
            "text": _("Make a verifier and its challenge (PKCE)"),
            "code": "VERIFIER=$(openssl rand -hex 32)\n"
            'CHALLENGE=$(printf %s "$VERIFIER" | openssl dgst -sha256 -binary'
            " | openssl base64 -A | tr '+/' '-_' | tr -d '=')",
        },
        {
            "text": _("Open this address in a browser, and take the code from where it leads"),
            "code": f'echo "{base}{reverse("oauth:authorize")}?{query}&code_challenge=$CHALLENGE"',
        },
        {
            "text": _("Exchange the code for tokens"),
            "code": f"curl -s{secret}{named} -d grant_type=authorization_code -d code=$CODE \\\n"
            f"  -d redirect_uri={redirect} -d code_verifier=$VERIFIER {token}",
        },
        read,
    ]
