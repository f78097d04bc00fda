"""The provider of OAuth2 and OpenID Connect."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, Row, anybody, member

# fmt: off
AREA = Area(
    rows=(
        anybody("oauth:configuration", "GET", 200),
        anybody("oauth:metadata", "GET", 200),
        anybody("oauth:jwks", "GET", 200),
        anybody("oauth:authorize", "GET", 400),
        anybody("oauth:authorize", "POST", 400),
        anybody("oauth:token", "POST", 400),
        anybody("oauth:revoke", "POST", 400),
        anybody("oauth:introspect", "POST", 401),
        anybody("oauth:userinfo", "GET", 401),
        anybody("oauth:userinfo", "POST", 401),
        anybody("oauth:device-authorization", "POST", 401),
        member("oauth:device", "GET", 200),
        member("oauth:device", "POST", 200),
        member("oauth:logout", "GET", 200),
        anybody("oauth:logout", "POST", 303),
        anybody("oauth:logout-confirm", "POST", 302),
        member("oauth:grants", "GET", 200, readers="operator admin"),
        #   route                 method  roles             may  far  others newcomer nobody  subject
        Row("oauth:revoke-grant", "POST", "operator admin", 302, 404, 404,   404,     302, "consent"),
    ),
    # Whoever administers a tenant sees who has allowed what.
    secrets=lambda world: [world.park.manager.email],
    subjects={"consent": lambda world: world.park.consent.pk},
)
# fmt: on
