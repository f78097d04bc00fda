"""The page on which a tenant sets its look, and the public files that follow from it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from portal.frame import brand
from portal.frame.colours import accent_problem, tokens
from portal.frame.forms import FieldGroup, GroupedForm
from portal.frame.logos import MAX_BYTES, LogoRefused, clean_logo
from portal.frame.permissions import access_of, requires
from tenants.domain.branding import Look, brand_files, look_of, set_look
from tenants.models import User
from tenants.permissions import Permission


def _colour(label: Any, theme: str, help_text: Any) -> forms.CharField:
    return forms.RegexField(
        r"\A#[0-9a-fA-F]{6}\Z",
        label=label,
        help_text=help_text,
        required=False,
        max_length=7,
        error_messages={"invalid": gettext_lazy("Write the colour as # and six digits: #1d4ed8.")},
        widget=forms.TextInput(
            attrs={"spellcheck": "false", "autocomplete": "off", "data-accent": theme}
        ),
    )


class BrandingForm(GroupedForm, forms.Form):
    """Name, logo and accents; what is left empty comes from the tenant above."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("Shown in place of the portal's name."),
        required=False,
        max_length=60,
    )
    logo = forms.FileField(
        label=gettext_lazy("Logo"),
        help_text=gettext_lazy("PNG or WebP of at most 1 MB, on a transparent background."),
        required=False,
        widget=forms.FileInput(attrs={"accept": "image/png,image/webp"}),
    )
    remove_logo = forms.BooleanField(label=gettext_lazy("Remove the present logo"), required=False)
    accent_light = _colour(
        gettext_lazy("Accent on light pages"),
        "light",
        gettext_lazy("Links, buttons and marks. A dark colour: it must be readable on white."),
    )
    accent_dark = _colour(
        gettext_lazy("Accent on dark pages"),
        "dark",
        gettext_lazy("The same on dark pages. A bright colour: it must be readable on black."),
    )

    groups = (
        FieldGroup(gettext_lazy("Name and logo"), ("name", "logo", "remove_logo")),
        FieldGroup(gettext_lazy("Colours"), ("accent_light", "accent_dark")),
    )

    def clean_logo(self) -> bytes | None:
        """The logo written anew."""
        upload = self.cleaned_data["logo"]
        if not isinstance(upload, UploadedFile):
            return None
        try:
            # One byte more than allowed is enough to know.
            return clean_logo(upload.read(MAX_BYTES + 1))
        except LogoRefused as error:
            raise ValidationError(str(error)) from error

    def clean_accent_light(self) -> str:
        """A colour that is readable on light surfaces."""
        return self._readable("accent_light", "light")

    def clean_accent_dark(self) -> str:
        """A colour that is readable on dark surfaces."""
        return self._readable("accent_dark", "dark")

    def clean(self) -> dict[str, Any]:
        """Both accents or none."""
        cleaned: dict[str, Any] = self.cleaned_data
        accents = ("accent_light", "accent_dark")
        if all(name in cleaned for name in accents):
            missing = [name for name in accents if not cleaned[name]]
            if len(missing) == 1:
                self.add_error(missing[0], _("Give both accents, or none."))
        return cleaned

    def _readable(self, name: str, theme: str) -> str:
        colour = str(self.cleaned_data[name]).lower()
        if colour and (problem := accent_problem(colour, theme)):
            raise ValidationError(problem)
        return colour


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.TENANTS_CHANGE)
def page(request: HttpRequest) -> HttpResponse:
    """Set the look of the tenant that the user acts in."""
    access = access_of(request)
    assert access is not None
    assert isinstance(request.user, User)
    tenant_id = access.tenant.tenant_id
    if request.method != "POST":
        look = look_of(tenant_id=tenant_id)
        initial = {
            "name": look.name,
            "accent_light": look.accent_light,
            "accent_dark": look.accent_dark,
        }
        return _page(request, BrandingForm(initial=initial))
    form = BrandingForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form, status=422)
    given = form.cleaned_data
    set_look(
        tenant_id=tenant_id,
        look=Look(given["name"], given["accent_light"], given["accent_dark"]),
        logo=given["logo"],
        remove_logo=given["remove_logo"],
        actor_id=request.user.pk,
    )
    transaction.on_commit(lambda: brand.forget_brand(tenant_id))
    messages.success(request, _("The look of %(name)s is saved.") % {"name": access.tenant.name})
    return HttpResponseRedirect(reverse("branding"))


def _page(request: HttpRequest, form: BrandingForm, *, status: int = 200) -> HttpResponse:
    access = access_of(request)
    context = {
        "form": form,
        "tenant": access.tenant if access else None,
        "accents": {theme: own["accent"] for theme, own in tokens().items()},
    }
    return render(request, "tenants/branding.html", context, status=status)


@require_safe
def brand_file(request: HttpRequest, tenant_id: int, version: str, extension: str) -> HttpResponse:
    """The style sheet or the logo of a tenant, open to everybody and kept by browsers for ever."""
    del request
    files = brand_files(tenant_id=tenant_id, version=version)
    if files is not None and extension == "css" and files.accent_light:
        response = HttpResponse(brand.style_sheet(files), content_type="text/css; charset=utf-8")
    elif files is not None and extension == "png" and files.logo is not None:
        response = HttpResponse(files.logo, content_type="image/png")
    else:
        raise Http404
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
