"""The client's side of OpenID Connect, for an organisation's own provider.

Discovery 1.0 and Core 1.0, section 3.1, with PKCE (RFC 7636) and the issuer in the answer
(RFC 9207). Everything about the person comes from an ID token whose signature, issuer, audience,
time and nonce have been checked; what the token leaves out comes from userinfo about the same
subject.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import jwt
import requests
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest

from portal.outbound import Session
from tenants.domain.company_operations import why_no_issuer
from tenants.domain.company_queries import Provider

# Asymmetric ones alone: a key that is published cannot be a secret that somebody signs with.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
_DOCUMENT_S: Final = 3600
_KEYS_S: Final = 600
# Clocks differ.
_LEEWAY_S: Final = 60
_LONGEST_EMAIL: Final = 254
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderFailed(Exception):  # noqa: N818 - it reads as what happened
    """The provider cannot be reached, or what it says does not hold; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the provider says about a person, checked."""

    subject: str
    email: str
    email_verified: bool | None
    name: str
    groups: frozenset[str]


def discover(issuer: str) -> dict[str, Any]:
    """The provider's description of itself; raises ProviderFailed."""
    key = f"openid:{hashlib.sha256(issuer.encode()).hexdigest()}"
    known = cache.get(key)
    if known is not None:
        return dict(known)
    document = _fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise ProviderFailed(f"it calls itself {document.get('issuer')!r}")
    for name in _ENDPOINTS:
        address = document.get(name)
        if not isinstance(address, str) or why_no_issuer(address.partition("?")[0]):
            raise ProviderFailed(f"its {name} is {address!r}")
    cache.set(key, document, _DOCUMENT_S)
    return document


def forget(issuer: str) -> None:
    """Discover anew next time."""
    cache.delete(f"openid:{hashlib.sha256(issuer.encode()).hexdigest()}")


def authorization_address(provider: Provider, parameters: dict[str, str]) -> str:
    """Where to send the browser; raises ProviderFailed."""
    endpoint = str(discover(provider.issuer)["authorization_endpoint"])
    query = {
        "client_id": provider.client_id,
        "response_type": "code",
        "scope": " ".join(provider.scopes),
        **parameters,
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def check_issuer(provider: Provider, stated: str | None) -> None:
    """Compare the issuer that an answer states, which some providers promise to do in each.

    RFC 9207, section 2.4. Raises ProviderFailed.
    """
    promised = discover(provider.issuer).get("authorization_response_iss_parameter_supported")
    if stated is None and promised is not True:
        return
    if stated != provider.issuer:
        raise ProviderFailed(f"the answer is of the issuer {stated!r}")


def redeem(
    request: HttpRequest,
    provider: Provider,
    *,
    code: str,
    redirect_uri: str,
    code_verifier: str,
    nonce: str,
) -> Claims:
    """Exchange a code for what the provider says about the person; raises ProviderFailed."""
    document = discover(provider.issuer)
    methods = document.get("token_endpoint_auth_methods_supported")
    by_post = isinstance(methods, list) and "client_secret_post" in methods
    client = OAuth2Client(
        request,
        provider.client_id,
        provider.client_secret,
        "POST",
        document["token_endpoint"],
        redirect_uri,
        basic_auth=not by_post,
        headers={"Accept": "application/json"},
    )
    try:
        answer = client.get_access_token(code, pkce_code_verifier=code_verifier)
    # The library takes any JSON for an object, hence TypeError.
    except (OAuth2Error, requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise ProviderFailed(f"it took no code: {error}") from error
    token = answer.get("id_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise ProviderFailed("it gave no ID token")
    claims = _verified(provider, document, token, nonce)
    if not claims.get("email") or provider.groups_claim not in claims:
        claims = _completed(document, str(answer["access_token"]), claims)
    return _claims(provider, claims)


def _verified(
    provider: Provider, document: dict[str, Any], token: str, nonce: str
) -> dict[str, Any]:
    """The claims of an ID token (Core 1.0, section 3.1.3.7); raises ProviderFailed."""
    try:
        header = jwt.get_unverified_header(token)
        key = _key(document["jwks_uri"], header.get("kid"), header.get("alg"))
        claims: dict[str, Any] = jwt.decode(
            token,
            key=key,
            algorithms=[str(key.algorithm_name)],
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=_LEEWAY_S,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
    except jwt.PyJWTError as error:
        raise ProviderFailed(f"its ID token does not hold: {error}") from error
    if claims["nonce"] != nonce:
        raise ProviderFailed("its ID token is for another request")
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and "azp" not in claims:
        raise ProviderFailed("its ID token is for several, and says not for whom")
    if claims.get("azp", provider.client_id) != provider.client_id:
        raise ProviderFailed("its ID token was given to somebody else")
    return claims


def _key(address: str, kid: str | None, algorithm: str | None) -> jwt.PyJWK:
    """The key that a token names; the set is read again for a name that it does not have."""
    if algorithm not in ALGORITHMS:
        raise ProviderFailed(f"its ID token is signed with {algorithm!r}")
    cached = f"openid-keys:{hashlib.sha256(address.encode()).hexdigest()}"
    for known in (cache.get(cached), None):
        document = known or _fetch(address)
        if known is None:
            cache.set(cached, document, _KEYS_S)
        for found in _signing_keys(document):
            if (kid is None or found.get("kid") == kid) and found.get(
                "alg", algorithm
            ) == algorithm:
                return jwt.PyJWK(found, algorithm=algorithm)
    raise ProviderFailed(f"it publishes no key {kid!r}")


def _signing_keys(document: dict[str, Any]) -> list[dict[str, Any]]:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ProviderFailed("it publishes no keys")
    # A symmetric key in a published set could be anybody's.
    return [
        key
        for key in keys
        if isinstance(key, dict) and key.get("use", "sig") == "sig" and key.get("kty") != "oct"
    ]


def _completed(
    document: dict[str, Any], access_token: str, claims: dict[str, Any]
) -> dict[str, Any]:
    """The claims with those of userinfo, which must be about the same person (section 5.3.2)."""
    address = document.get("userinfo_endpoint")
    if not isinstance(address, str):
        return claims
    told = _fetch(address, headers={"Authorization": f"Bearer {access_token}"})
    if told.get("sub") != claims["sub"]:
        raise ProviderFailed("its userinfo is about somebody else")
    return {**told, **claims}


def _fetch(address: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A JSON object; raises ProviderFailed."""
    try:
        with Session() as session:
            answer = session.get(address, headers={"Accept": "application/json", **(headers or {})})
        answer.raise_for_status()
        document = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise ProviderFailed(f"{urlsplit(address).netloc} does not answer: {error}") from error
    if not isinstance(document, dict):
        raise ProviderFailed(f"{urlsplit(address).netloc} answers with something else")
    return document


def _claims(provider: Provider, claims: dict[str, Any]) -> Claims:
    email, verified = claims.get("email"), claims.get("email_verified")
    if not isinstance(email, str) or len(email) > _LONGEST_EMAIL:
        raise ProviderFailed("it says no e-mail address")
    try:
        validate_email(email)
    except ValidationError as error:
        raise ProviderFailed("what it says is no e-mail address") from error
    groups = claims.get(provider.groups_claim, [])
    if isinstance(groups, str):
        groups = groups.split()
    if not isinstance(groups, list):
        groups = []
    # Some send the truth as a text.
    is_verified = None if verified is None else str(verified).lower() == "true"
    return Claims(
        subject=str(claims["sub"]),
        email=email,
        email_verified=is_verified,
        name=str(claims.get("name") or "").replace("\x00", "").strip(),
        groups=frozenset(str(group) for group in groups),
    )
