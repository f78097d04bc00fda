"""A small Django site of its own that signs people in with mozilla-django-oidc, for the tests.

Everything comes from the environment: ISSUER, CLIENT_ID, CLIENT_SECRET, PORT, DATABASE (a file of
SQLite). `/` tells who is signed in; after `/refresh-now` the next request renews the ID token.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlencode
from wsgiref.simple_server import make_server

import django
import requests
from django.conf import settings

ISSUER = os.environ["ISSUER"]
HERE = f"http://127.0.0.1:{os.environ['PORT']}"
ENDPOINTS: dict[str, Any] = requests.get(
    f"{ISSUER}/.well-known/openid-configuration", timeout=10
).json()


def logout_url(request: Any) -> str:
    """Where the browser signs out of the provider, too."""
    query = {
        "id_token_hint": request.session["oidc_id_token"],
        "post_logout_redirect_uri": f"{HERE}/",
    }
    return f"{ENDPOINTS['end_session_endpoint']}?{urlencode(query)}"


settings.configure(
    SECRET_KEY="a site of the tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    USE_TZ=True,
    SESSION_COOKIE_NAME="mozilla_site",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "mozilla_django_oidc.middleware.SessionRefresh",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    AUTHENTICATION_BACKENDS=["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
    OIDC_RP_CLIENT_ID=os.environ["CLIENT_ID"],
    OIDC_RP_CLIENT_SECRET=os.environ["CLIENT_SECRET"],
    OIDC_RP_SIGN_ALGO="RS256",
    OIDC_RP_SCOPES="openid email profile",
    OIDC_USE_PKCE=True,
    OIDC_OP_AUTHORIZATION_ENDPOINT=ENDPOINTS["authorization_endpoint"],
    OIDC_OP_TOKEN_ENDPOINT=ENDPOINTS["token_endpoint"],
    OIDC_OP_USER_ENDPOINT=ENDPOINTS["userinfo_endpoint"],
    OIDC_OP_JWKS_ENDPOINT=ENDPOINTS["jwks_uri"],
    OIDC_OP_LOGOUT_URL_METHOD=f"{__name__}.logout_url",
    OIDC_STORE_ID_TOKEN=True,
    OIDC_STORE_ACCESS_TOKEN=True,
    OIDC_EXEMPT_URLS=["refresh-now"],
    LOGIN_REDIRECT_URL="/",
    LOGIN_REDIRECT_URL_FAILURE="/failed",
    LOGOUT_REDIRECT_URL="/",
)
sys.modules.setdefault("mozilla_site", sys.modules[__name__])
django.setup()

from django.core.management import call_command  # noqa: E402 - needs the settings
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402


def index(request: HttpRequest) -> HttpResponse:
    """Who is signed in, with the access token for the test to look at."""
    if not request.user.is_authenticated:
        return HttpResponse("nobody")
    return HttpResponse(f"{request.user.email} {request.session['oidc_access_token']}")


def refresh_now(request: HttpRequest) -> HttpResponse:
    """Let the next request find the ID token expired."""
    request.session["oidc_id_token_expiration"] = 0
    return HttpResponse("done")


def failed(request: HttpRequest) -> HttpResponse:
    """The sign-in was refused."""
    return HttpResponse("refused", status=403)


urlpatterns = [
    path("", index),
    path("refresh-now", refresh_now, name="refresh-now"),
    path("failed", failed),
    path("oidc/", include("mozilla_django_oidc.urls")),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    with make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application()) as server:
        server.serve_forever()
