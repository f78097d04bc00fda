"""What the toolkit asks about requests: tenants, digests, replay, reuse.

Every method runs in the scope of the application that the request names (`portal/oauth/edge.py`)
and in the transaction that comes with it, so a row locked here stays locked until the answer is
decided: of two requests with the same code or refresh token, the second sees what the first did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.utils import timezone
from jwcrypto import jws
from jwcrypto.common import JWException
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant

from tenants import oidc_keys
from tenants.domain import audit
from tenants.domain.authentication_context import acr_of, amr_of
from tenants.domain.oauth_queries import checksum_of
from tenants.domain.queries import reaches
from tenants.models import (
    AccessToken,
    Application,
    DeviceGrant,
    Grant,
    IDToken,
    RefreshToken,
    SignOn,
    User,
)
from tenants.permissions import ACCESS_SCOPES

DEVICE_CODE_LIFETIME: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a token descends from: kept at oauthlib's request as `authorization`.

    That object also answers with the parameters of the request when asked for an attribute that
    nobody set. They are texts, so only what is of this type is believed.
    """

    tenant_id: int
    sign_on: SignOn | None
    token_family: UUID
    device_grant_id: int | None = None


class ApplicationScopes(BaseScopes):
    """The scopes that exist, and those that an application may ask for."""

    def get_all_scopes(self) -> dict[str, str]:
        """Every scope with its words."""
        return {name: str(scope.label) for name, scope in ACCESS_SCOPES.items()}

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """What the application was registered for; all scopes when none is named."""
        del request, args, kwargs
        return list(ACCESS_SCOPES) if application is None else list(application.allowed_scopes)

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """A request that names no scope asks for all that the application was registered for."""
        return self.get_available_scopes(application, request, *args, **kwargs)


class Validator(OAuth2Validator):
    """The toolkit's validator with tenants."""

    oidc_claim_scope = {**OAuth2Validator.oidc_claim_scope, "sid": "openid"}

    def _load_application(self, client_id: str | None, request: Any) -> Any:
        """The application; PostgreSQL has no text with a zero byte, so nobody has such a name."""
        if not client_id or "\x00" in client_id:
            return None
        return super()._load_application(client_id, request)

    # --- codes ----------------------------------------------------

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Whether the code is good; one that was used before ends all that came of it."""
        grant = Grant.objects.select_for_update().filter(code=code, application=client).first()
        if grant is None:
            return False
        if grant.used_at is not None:
            _tell_of_reuse(client, grant.tenant_id, grant.user_id, grant.token_family)
            RefreshToken.revoke_family(grant.token_family)
            return False
        if not _may_act(grant.user, grant.tenant_id) or not super().validate_code(
            client_id, code, client, request, *args, **kwargs
        ):
            return False
        request.authorization = Authorization(grant.tenant_id, grant.sign_on, grant.token_family)
        return True

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Mark the code as used; raises InvalidGrantError when it is already."""
        del client_id, args, kwargs
        fresh = Grant.objects.filter(code=code, application=request.client, used_at__isnull=True)
        if not fresh.update(used_at=timezone.now()):
            raise errors.InvalidGrantError(request=request)

    def _create_authorization_code(
        self, request: Any, code: dict[str, str], expires: datetime | None = None
    ) -> Any:
        lifetime = timedelta(seconds=settings.AUTHORIZATION_CODE_S)
        authorization = _authorization_of(request)
        assert authorization.sign_on is not None  # the page that issues a code has made it
        return Grant.objects.create(
            tenant_id=authorization.tenant_id,
            sign_on=authorization.sign_on,
            token_family=authorization.token_family,
            application=request.client,
            user=request.user,
            code=code["code"],
            expires=expires or timezone.now() + lifetime,
            redirect_uri=request.redirect_uri,
            scope=" ".join(request.scopes),
            code_challenge=request.code_challenge,
            code_challenge_method=request.code_challenge_method,
            nonce=request.nonce or "",
            claims=json.dumps(request.claims or {}),
        )

    # --- refresh --------------------------------------------------

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Whether the token is good; one that was used before ends its whole family."""
        rows = RefreshToken.objects.select_for_update().filter(
            token_checksum=checksum_of(refresh_token), application=client
        )
        row = rows.first()
        if row is None or not row.user.is_active:
            return False
        if row.revoked is not None:
            _tell_of_reuse(client, row.tenant_id, row.user_id, row.token_family)
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kwargs):
            return False
        if not _may_act(row.user, row.tenant_id):
            return False
        request.authorization = Authorization(row.tenant_id, row.sign_on, row.token_family)
        return True

    def revoke_token(
        self, token: str, token_type_hint: str | None, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """End a token of the application (RFC 7009), and tell of it."""
        condition = {"token_checksum": checksum_of(token), "application": request.client}
        found = (
            RefreshToken.objects.filter(**condition, revoked__isnull=True).first()
            or AccessToken.objects.filter(**condition).first()
        )
        super().revoke_token(token, token_type_hint, request, *args, **kwargs)
        if found is not None:
            audit.record(
                tenant_id=found.tenant_id,
                actor_id=found.user_id,
                action="token.revoke",
                subject=request.client,
            )

    # --- what is issued -------------------------------------------

    def _check_and_set_request_resource(self, request: Any) -> None:
        """There is one resource, the API: naming it (RFC 8707) is allowed and changes nothing."""
        super()._check_and_set_request_resource(request)
        if any(not uri.startswith(f"{settings.PUBLIC_URL}/api/") for uri in request.resource):
            raise errors.CustomOAuth2Error(error="invalid_target", request=request)
        request.resource = []

    def _create_access_token(
        self,
        expires: datetime,
        request: Any,
        token: dict[str, Any],
        source_refresh_token: Any = None,
    ) -> Any:
        id_token = token.get("id_token")
        authorization = _authorization_of(request)
        row = AccessToken(
            tenant_id=authorization.tenant_id,
            sign_on=authorization.sign_on,
            token_family=authorization.token_family,
            user=request.user,
            scope=token["scope"],
            expires=expires,
            id_token=self._load_id_token(id_token) if id_token else None,
            application=request.client,
            source_refresh_token=source_refresh_token,
        )
        self._set_token_value(row, token["access_token"])
        row.save()
        return row

    def _create_refresh_token(
        self, request: Any, refresh_token_code: str, access_token: Any, previous_refresh_token: Any
    ) -> Any:
        del previous_refresh_token
        row = RefreshToken(
            tenant_id=access_token.tenant_id,
            sign_on=access_token.sign_on,
            token_family=access_token.token_family,
            user=request.user,
            application=request.client,
            access_token=access_token,
        )
        self._set_token_value(row, refresh_token_code)
        row.save()
        return row

    # --- ID tokens ------------------------------------------------

    def _save_id_token(
        self, jti: str, request: Any, expires: datetime, *args: Any, **kwargs: Any
    ) -> Any:
        del args, kwargs
        return IDToken.objects.create(
            tenant_id=_authorization_of(request).tenant_id,
            user=request.user,
            scope=" ".join(request.scopes),
            expires=expires,
            jti=jti,
            application=request.client,
        )

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        """Claims about the person; those whose scope was not granted are left out."""
        user: User = request.user
        return {
            "name": user.get_full_name(),
            "locale": user.language,
            "zoneinfo": user.time_zone,
            "email": user.email,
        }

    def get_id_token_dictionary(
        self, token: Any, token_handler: Any, request: Any
    ) -> tuple[dict[str, Any], datetime]:
        """The claims of an ID token: when, how and in which session the user signed in."""
        claims, expires = super().get_id_token_dictionary(token, token_handler, request)
        sign_on = _authorization_of(request).sign_on
        if sign_on is None:
            del claims["auth_time"]
        else:
            claims["auth_time"] = int(sign_on.authenticated_at.timestamp())
            claims["sid"] = str(sign_on.sid)
            if (amr := amr_of(sign_on.methods)) and (acr := acr_of(sign_on.methods)):
                claims |= {"amr": amr, "acr": acr}
        return claims, expires

    def _get_key_for_token(self, token: str) -> Any:
        """The key that the token says it was signed with, if it is one of ours."""
        return key_of(token)

    # --- devices --------------------------------------------------

    def validate_device_code(
        self, client_id: str, device_code: str, request: Any, *args: Any, **kwargs: Any
    ) -> str | None:
        """What has become of a device's request; an allowed one is redeemed once (RFC 8628)."""
        del client_id, args, kwargs
        grants = DeviceGrant.objects.select_for_update(of=("self",)).select_related("user")
        grant = grants.filter(device_code=device_code, application=request.client).first()
        if grant is None or grant.status == DeviceGrant.REDEEMED:
            return None
        now = timezone.now()
        if now >= grant.expires:
            return str(DeviceCodeGrant.DEVICE_CODE_EXPIRED)
        if grant.status == DeviceGrant.DENIED:
            return str(DeviceCodeGrant.DEVICE_CODE_DENIED)
        hasty = grant.last_checked and now < grant.last_checked + timedelta(seconds=grant.interval)
        grant.last_checked = now
        if grant.status != DeviceGrant.AUTHORIZED:
            # Each hasty question makes the device wait five seconds longer (RFC 8628, 3.5).
            grant.interval += 5 if hasty else 0
            grant.save(update_fields=["last_checked", "interval"])
            codes = DeviceCodeGrant
            return str(codes.DEVICE_CODE_SLOW_DOWN if hasty else codes.DEVICE_CODE_PENDING)
        if grant.user is None or not _may_act(grant.user, grant.tenant_id):
            return None
        request.user, request.scopes = grant.user, grant.scope.split()
        request.authorization = Authorization(grant.tenant_id, None, uuid4(), grant.pk)
        return str(DeviceCodeGrant.DEVICE_CODE_AUTHORIZED)

    def save_bearer_token(
        self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Save what is issued; a device code is used up by it."""
        saved = super().save_bearer_token(token, request, *args, **kwargs)
        if (redeemed := _authorization_of(request).device_grant_id) is not None:
            DeviceGrant.objects.filter(pk=redeemed).update(status=DeviceGrant.REDEEMED)
        return saved

    # --- silence --------------------------------------------------

    # The authorization page itself decides about prompt=none and id_token_hint, where it knows who
    # is signed in; to the library all of it is in order.

    def validate_silent_login(self, request: Any) -> bool:
        """True: the page has looked."""
        del request
        return True

    def validate_silent_authorization(self, request: Any) -> bool:
        """True: the page looks before it issues a code."""
        del request
        return True

    def validate_user_match(
        self, id_token_hint: Any, scopes: Sequence[str], claims: Any, request: Any
    ) -> bool:
        """True: the page has compared."""
        del id_token_hint, scopes, claims, request
        return True


def _may_act(user: User, tenant_id: int) -> bool:
    """Whether the user is (still) a member of the tenant whose data a token would open."""
    return user.is_active and reaches(user_id=user.pk, tenant_id=tenant_id)


def _tell_of_reuse(client: Any, tenant_id: int, user_id: int, token_family: UUID | None) -> None:
    """Somebody used a code or a refresh token again: it may have been stolen.

    Told once: when all that came of it has ended already, another attempt changes nothing.
    """
    living = {"token_family": token_family, "tenant_id": tenant_id}
    if token_family is not None and (
        AccessToken.objects.filter(**living).exists()
        or RefreshToken.objects.filter(**living, revoked__isnull=True).exists()
    ):
        audit.record(tenant_id=tenant_id, actor_id=user_id, action="token.reuse", subject=client)


def _authorization_of(request: Any) -> Authorization:
    """What the tokens of this request descend from; a service account acts for its own tenant."""
    found = getattr(request, "authorization", None)
    if isinstance(found, Authorization):
        return found
    if request.grant_type != "client_credentials":
        raise errors.InvalidGrantError(request=request)
    request.authorization = Authorization(request.client.tenant_id, None, uuid4())
    authorization: Authorization = request.authorization
    return authorization


def key_of(token: str) -> Any:
    """The provider's key that a signed token names in its header; None when it is none of ours."""
    unverified = jws.JWS()
    try:
        unverified.deserialize(token)
    except JWException:
        return None
    header = unverified.jose_header
    return oidc_keys.find(header.get("kid")) if isinstance(header, dict) else None


def claims_of_hint(token: str, *, issuer: str) -> dict[str, Any] | None:
    """The claims of an ID token of ours, expired or not; None when it is not ours.

    For hints alone (`id_token_hint`): it tells whom an application believes to be signed in.
    """
    key = key_of(token)
    if key is None:
        return None
    signed = jws.JWS()
    try:
        signed.deserialize(token)
        signed.verify(key, alg=oidc_keys.ALGORITHM)
        claims = json.loads(signed.payload)
    except (JWException, ValueError):
        return None
    return claims if isinstance(claims, dict) and claims.get("iss") == issuer else None


def active_application(client_id: str) -> Application | None:
    """The application, if it is active and in the scope."""
    if "\x00" in client_id:  # PostgreSQL has no such text, so nobody has such a name
        return None
    return Application.objects.filter(client_id=client_id, is_active=True).first()
