"""Versions of a tariff: read, written with checks while one writes, published, duplicated."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.domain import pages_queries, tariffs_operations, tariffs_queries
from billing.domain.tariffs_queries import VersionNotFound
from billing.models import Tariff, TariffVersion, VersionState
from portal.enterprise.billing import pages_tariffs
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_tariffs import TEMPLATE, VersionForm
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission

_EDITOR = "enterprise/billing/editor.html"


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What a version says: in words, as maps of its periods, as it was written."""
    row = _version(pk)
    changes = may(request, Permission.TARIFFS_CHANGE)
    context = pages_tariffs.version(row) | {"may_change": changes}
    return render(request, "enterprise/billing/version.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def draft(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new draft, which begins with what the newest version says."""
    today = datetime.now(UTC).date()
    try:
        found = pages_queries.tariff_page(tariff_id=pk, today=today)
    except pages_queries.NotThere as error:
        raise Http404 from error
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    form = VersionForm(posted(request), initial={"valid_from": first, "source": _begin(found)})

    def do() -> Done:
        made = tariffs_operations.draft_version(
            tariff_id=pk, **form.cleaned_data, actor_id=actor_id(request)
        )
        return Done(_("The draft was kept."), reverse("tariff-version", args=[made.pk]))

    page = FormPage(_("New version"), _parents(found.tariff), _("Keep the draft"))
    return answer(request, form, page, do, template=_EDITOR, context=_beside(request, form))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Write a draft anew."""
    row = _version(pk)
    initial = {
        "valid_from": row.valid_from,
        "source": pages_tariffs.source_of(row),
        "reason": row.reason,
    }
    form = VersionForm(posted(request), initial=initial)

    def do() -> Done:
        tariffs_operations.change_draft(
            version_id=pk, **form.cleaned_data, actor_id=actor_id(request)
        )
        return Done(_("The draft was kept."), reverse("tariff-version", args=[pk]))

    page = FormPage(_("Write the draft"), _parents(row.tariff), _("Keep the draft"))
    return answer(request, form, page, do, template=_EDITOR, context=_beside(request, form))


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def check(request: HttpRequest) -> HttpResponse:
    """What a source says while it is written, and what is wrong with it; nothing is kept."""
    form = VersionForm(request.POST)
    form.full_clean()
    return render(request, "enterprise/billing/check.html", _beside(request, form))


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def publish(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Make a draft final."""
    try:
        row = tariffs_operations.publish_version(
            version_id=pk, now=datetime.now(UTC), actor_id=actor_id(request)
        )
    except VersionNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("tariff-version", pk=pk)
    messages.success(request, _("The version is published and stays as it is."))
    return redirect("tariff", pk=row.tariff_id)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def duplicate(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The next revision of a version, as a draft."""
    row = _version(pk)
    try:
        made = tariffs_operations.duplicate_version(
            version_id=pk, valid_from=row.valid_from, actor_id=actor_id(request)
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("tariff-version", pk=pk)
    messages.success(request, _("A draft says the same: change it, give a reason and publish it."))
    return redirect("tariff-version-edit", pk=made.pk)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def delete(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Remove a draft."""
    row = _version(pk)
    try:
        tariffs_operations.delete_draft(version_id=pk, actor_id=actor_id(request))
    except VersionNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("tariff-version", pk=pk)
    messages.success(request, _("The draft was deleted."))
    return redirect("tariff", pk=row.tariff_id)


def _version(pk: int) -> TariffVersion:
    try:
        return pages_queries.version(version_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error


def _parents(row: Tariff) -> tuple[tuple[str, str], ...]:
    return (
        (_("Tariffs"), reverse("tariff-list")),
        (row.name, reverse("tariff", args=[row.pk])),
    )


def _begin(found: pages_queries.TariffPage) -> str:
    """What the newest published version says, else an example."""
    published = [one for one in found.versions if one.state == VersionState.PUBLISHED]
    if published:
        return pages_tariffs.source_of(published[-1])
    quoted = pages_tariffs.quoted(found.tariff.name)
    return TEMPLATE.format(name=quoted, currency=found.tariff.currency)


def _beside(request: HttpRequest, form: VersionForm) -> dict[str, Any]:
    """What stands beside the source: the summary, or what is wrong."""
    if form.is_bound:
        given = form.cleaned_data if hasattr(form, "cleaned_data") else {}
        source = given.get("source") or form.data.get("source", "")
        valid_from = given.get("valid_from")
    else:
        source, valid_from = form.initial["source"], form.initial["valid_from"]
    checked = tariffs_queries.check_source(
        tenant_id=own_tenant_id(request),
        source=source,
        valid_from=valid_from if isinstance(valid_from, date) else datetime.now(UTC).date(),
        now=datetime.now(UTC),
    )
    return pages_tariffs.check(checked, source)
