"""The frame: search, the tenant switcher, the design page."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, Row, anybody, member

ADMINISTER = "operator admin"
# The look is of the whole tenant, and not for who is narrowed to facilities.
NARROWED = {"elsewhere admin": 403}
BAD_LOOK = {"accent_light": "red"}

AREA = Area(
    rows=(
        member("design", "GET", 200),
        member("design", "POST", 302),
        member("design-dialog", "GET", 200),
        member("design-dialog", "POST", 422),
        member("search", "GET", 200),
        member("search-suggest", "GET", 200),
        member("switch-tenant", "GET", 200),
        member("switch-tenant", "POST", 404),  # names no tenant
        Row("branding", "GET", ADMINISTER, 200, 200, 403, 403, 302, but=NARROWED),
        Row(
            "branding",
            "POST",
            ADMINISTER,
            422,
            422,
            403,
            403,
            302,
            but=NARROWED,
            form=lambda world: BAD_LOOK,
        ),
        anybody("brand-file", "GET", 404, "brand"),  # a version that never was
        anybody("language", "POST", 400),  # names no language
    ),
    subjects={"brand": lambda world: (world.park.tenant.pk, "x", "css")},
)
