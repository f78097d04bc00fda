"""Applications and what they hold: consents, codes, tokens.

The models of django-oauth-toolkit, each with a tenant. An application belongs to the tenant that
registered it and serves that tenant and all below it; everything that is issued belongs to the
tenant whose data it opens. Secrets are stored as SHA-256 alone.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    AbstractDeviceGrant,
    AbstractGrant,
    AbstractIDToken,
    AbstractRefreshToken,
)

from tenants import oidc_keys, token_cache
from tenants.models.fields import DigestField
from tenants.models.tenant import TenantOwned
from tenants.models.uris import check_callback, check_redirect
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES


class ApplicationKind(models.TextChoices):
    """What an application is, in one word: it stands for grant type and client type."""

    WEB = "web", _("Web application")
    NATIVE = "native", _("Mobile or desktop application")
    DEVICE = "device", _("Device without a keyboard")
    SERVICE = "service", _("Service account")

    @property
    def grant_type(self) -> str:
        """The one grant of OAuth2 that it may use."""
        return str(
            {
                ApplicationKind.DEVICE: AbstractApplication.GRANT_DEVICE_CODE,
                ApplicationKind.SERVICE: AbstractApplication.GRANT_CLIENT_CREDENTIALS,
            }.get(self, AbstractApplication.GRANT_AUTHORIZATION_CODE)
        )

    @property
    def client_type(self) -> str:
        """Whether it can keep a secret."""
        keeps = self in (ApplicationKind.WEB, ApplicationKind.SERVICE)
        return str(
            AbstractApplication.CLIENT_CONFIDENTIAL if keeps else AbstractApplication.CLIENT_PUBLIC
        )


class Application(TenantOwned, AbstractApplication):
    """A client of OAuth2: a web or mobile application, a device, or a service account.

    A service account (grant type client-credentials) acts for its tenant, in all facilities or in
    `facility_ids` alone. That list is no foreign key, because facilities belong to a higher layer:
    a number in it that is no facility of the tenant opens nothing, since the wall compares both.
    """

    is_active = models.BooleanField(default=True)
    allowed_scopes = ArrayField(models.CharField(max_length=64))
    facility_ids = ArrayField(
        models.BigIntegerField(), null=True, blank=True, help_text="Null: all facilities."
    )
    backchannel_logout_uri = models.CharField(max_length=500, blank=True, default="")

    class Meta(AbstractApplication.Meta):
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    authorization_grant_type__in=[
                        AbstractApplication.GRANT_AUTHORIZATION_CODE,
                        AbstractApplication.GRANT_DEVICE_CODE,
                        AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    ]
                ),
                name="tenants_application_grant_type_safe",
            ),
            models.CheckConstraint(
                condition=~models.Q(
                    authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    client_type=AbstractApplication.CLIENT_PUBLIC,
                ),
                name="tenants_application_service_account_has_secret",
            ),
            models.CheckConstraint(
                condition=models.Q(facility_ids__isnull=True)
                | models.Q(authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS),
                name="tenants_application_facilities_of_service_account",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="tenants_application_named"),
        ]

    def __str__(self) -> str:
        return str(self.client_id)

    @property
    def kind(self) -> ApplicationKind:
        """What it is."""
        for kind in ApplicationKind:
            if (kind.grant_type, kind.client_type) == (
                self.authorization_grant_type,
                self.client_type,
            ):
                return kind
        return ApplicationKind.DEVICE  # one that keeps a secret, registered elsewhere

    def is_usable(self, request: Any) -> bool:
        """Whether tokens may be issued and used."""
        del request
        return self.is_active

    def clean(self) -> None:
        """Raises ValidationError for addresses that could leak a code, and for unfit scopes."""
        found: dict[str, list[str]] = {}
        interactive = self.authorization_grant_type == self.GRANT_AUTHORIZATION_CODE
        for name in ("redirect_uris", "post_logout_redirect_uris"):
            messages = [check_redirect(uri) for uri in getattr(self, name).split()]
            found[name] = [message for message in messages if message]
        if interactive and not self.redirect_uris.split():
            found["redirect_uris"].append(str(_("Name at least one redirect address.")))
        if self.backchannel_logout_uri and (
            message := check_callback(self.backchannel_logout_uri, https=settings.HTTPS)
        ):
            found["backchannel_logout_uri"] = [message]
        found["allowed_scopes"] = self._unfit_scopes()
        if any(found.values()):
            raise ValidationError({name: messages for name, messages in found.items() if messages})

    def _unfit_scopes(self) -> list[str]:
        service = self.authorization_grant_type == self.GRANT_CLIENT_CREDENTIALS
        messages = [
            str(_("%(scope)s is not a scope.") % {"scope": scope})
            for scope in self.allowed_scopes
            if scope not in ACCESS_SCOPES
        ]
        if service and PERSONAL_SCOPES & set(self.allowed_scopes):
            messages.append(
                str(_("A service account is no person: openid, profile and email are not for it."))
            )
        return messages

    @property
    def jwk_key(self) -> Any:
        """The key that signs ID tokens: the toolkit asks the application for it, all have one."""
        return oidc_keys.signing_key()


class SignOn(TenantOwned):
    """An application that somebody signed in to, in one session of a browser (`sid`).

    Signing out of that session ends it in all applications at once.
    """

    sid = models.UUIDField()
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    authenticated_at = models.DateTimeField()
    # How the person signed in then (`domain/authentication_context.py`).
    methods = ArrayField(models.CharField(max_length=16), default=list, db_default=[], blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["sid", "application", "tenant"], name="tenants_signon_once_a_session"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sid} {self.application_id}"


class Consent(TenantOwned):
    """What a user has allowed an application to do in a tenant, until somebody revokes it."""

    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    # The name that was shown when the user agreed.
    application_name = models.CharField(max_length=255)
    scopes = ArrayField(models.CharField(max_length=64))
    granted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["application_name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "application", "user"], name="tenants_consent_one_each"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} to {self.application_id} in {self.tenant_id}"

    @property
    def audit_name(self) -> str:
        """What was allowed something."""
        return self.application_name


class Grant(TenantOwned, AbstractGrant):
    """An authorization code: valid once, for a minute; kept for a while to notice a replay.

    `token_family` is given to every token that comes of it.
    """

    code = DigestField(unique=True)
    sign_on = models.ForeignKey(SignOn, on_delete=models.CASCADE, related_name="+")
    token_family = models.UUIDField()
    used_at = models.DateTimeField(null=True)


class IDToken(TenantOwned, AbstractIDToken):
    """An ID token that was issued."""


class RefreshToken(TenantOwned, AbstractRefreshToken):
    """A refresh token: valid once; used a second time, it ends its whole family."""

    sign_on = models.ForeignKey(SignOn, on_delete=models.CASCADE, null=True, related_name="+")

    class Meta(AbstractRefreshToken.Meta):
        pass

    def revoke(self) -> None:
        """End this token and the access token beside it."""
        RefreshToken.revoke_where(pk=self.pk)

    @classmethod
    def revoke_family(cls, token_family: UUID | None) -> None:
        """End every token that descends from one authorization."""
        if token_family is not None:
            cls.revoke_where(token_family=token_family)
            AccessToken.revoke_where(token_family=token_family)

    @classmethod
    def revoke_where(cls, **condition: Any) -> None:
        """End the matching tokens and their access tokens; needs a scope, sees what it holds."""
        with transaction.atomic():
            found = cls.objects.select_for_update().filter(revoked__isnull=True, **condition)
            rows = list(found.order_by("pk").values_list("pk", "access_token_id"))
            now = timezone.now()
            cls.objects.filter(pk__in=[pk for pk, _access in rows]).update(revoked=now, updated=now)
            AccessToken.revoke_where(pk__in=[access for _pk, access in rows if access])


class AccessToken(TenantOwned, AbstractAccessToken):
    """An access token. A revoked one is deleted, and buried in the cache of token checks."""

    token_family = models.UUIDField(null=True, db_index=True)
    sign_on = models.ForeignKey(SignOn, on_delete=models.CASCADE, null=True, related_name="+")

    def revoke(self) -> None:
        """Make the token invalid in every process, once the transaction is committed."""
        AccessToken.revoke_where(pk=self.pk)

    @classmethod
    def revoke_where(cls, **condition: Any) -> None:
        """Revoke the matching tokens; needs a scope, sees what it holds."""
        with transaction.atomic():
            found = cls.objects.select_for_update().filter(**condition).order_by("pk")
            rows = dict(found.values_list("pk", "token_checksum"))
            cls.objects.filter(pk__in=rows).delete()
            token_cache.revoke(rows.values())


class DeviceGrant(TenantOwned, AbstractDeviceGrant):
    """A device that waits for a person to allow it (RFC 8628).

    Until then it belongs to the tenant of its application.
    """

    REDEEMED = "redeemed"

    device_code = DigestField()
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="+")
    client_id = models.CharField(max_length=255, db_index=True)
    # When the device asked last: it must wait `interval` seconds between two questions.
    last_checked = models.DateTimeField(null=True)

    class Meta(AbstractDeviceGrant.Meta):
        constraints = [
            *AbstractDeviceGrant.Meta.constraints,
            models.UniqueConstraint(fields=["user_code"], name="tenants_devicegrant_user_code"),
        ]
