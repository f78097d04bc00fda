"""The provider's routes; the well-known ones stand at the root, as their standards want it."""

from __future__ import annotations

from django.urls import path

from portal.oauth import authorize, discovery, endpoints, pages, sign

app_name = "oauth"
urlpatterns = [
    path(".well-known/openid-configuration", discovery.configuration, name="configuration"),
    path(".well-known/oauth-authorization-server", discovery.configuration, name="metadata"),
    path("oauth/jwks", discovery.jwks, name="jwks"),
    path("oauth/authorize", authorize.authorize, name="authorize"),
    path("oauth/token", endpoints.token, name="token"),
    path("oauth/revoke", endpoints.revoke, name="revoke"),
    path("oauth/introspect", endpoints.introspect, name="introspect"),
    path("oauth/userinfo", endpoints.userinfo, name="userinfo"),
    path("oauth/device-authorization", endpoints.device_authorization, name="device-authorization"),
    path("oauth/device", pages.device, name="device"),
    path("oauth/logout", sign.logout, name="logout"),
    path("oauth/logout/confirm", sign.logout_confirm, name="logout-confirm"),
    path("oauth/grants/", pages.grants, name="grants"),
    path("oauth/grants/<int:pk>/revoke", pages.revoke_grant, name="revoke-grant"),
]
