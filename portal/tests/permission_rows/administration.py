"""Applications, audit, the tenant tree, impersonation."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, Row, anybody

# What concerns a tenant as a whole is not for members who are narrowed to facilities, whatever their
# role.
_NARROWED = {"elsewhere admin": 403}
_SUPPORT = {"elsewhere support": 403}
_SEES = "operator admin support"
_NO_TENANTS = {"elsewhere admin": 403, "elsewhere support": 403}

_READERS = "operator admin custom"

# fmt: off
AREA = Area(
    rows=(
        #   route           method  roles             may  far  others newcomer nobody
        Row("audit",        "GET", _READERS, 200, 200, 403,   403,     302, but=_NARROWED),
        Row("audit-csv",    "GET", _READERS, 200, 200, 403,   403,     302, but=_NARROWED),
        Row("audit-json",   "GET", _READERS, 200, 200, 403,   403,     302, but=_NARROWED),
        #   route                 method  roles               may  far  others newcomer nobody  subject
        Row("impersonation",      "GET",  "operator support", 200, 200, 403,   403,     302, but=_SUPPORT),
        Row("impersonation-begin", "GET", "operator support", 200, 404, 403,   403,     302, "consumer", but=_SUPPORT),
        Row("impersonation-begin", "POST", "operator support", 422, 404, 403,  403,     302, "consumer", but=_SUPPORT),
        anybody("impersonation-end", "POST", 302),
        Row("retention",    "GET",  "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("retention",    "POST", "operator admin", 302, 302, 403,   403,     302, but=_NARROWED),
        Row("holds",        "GET",  "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("hold-new",     "GET",  "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("hold-new",     "POST", "operator admin", 422, 422, 403,   403,     302, but=_NARROWED),
        Row("hold-release", "POST", "operator admin", 302, 404, 403,   403,     302, "hold", but=_NARROWED),
        Row("applications",       "GET",  "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("application-new",    "GET",  "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("application-new",    "POST", "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("application",        "GET",  "operator admin", 200, 404, 403,   403,     302, "application", but=_NARROWED),
        Row("application-change", "GET",  "operator admin", 200, 404, 403,   403,     302, "application", but=_NARROWED),
        Row("application-change", "POST", "operator admin", 422, 404, 403,   403,     302, "application", but=_NARROWED),
        Row("application-secret", "POST", "operator admin", 200, 404, 403,   403,     302, "application", but=_NARROWED),
        Row("application-tokens", "POST", "operator admin", 302, 404, 403,   403,     302, "application", but=_NARROWED),
        Row("application-deactivate", "POST", "operator admin", 302, 404, 403, 403,   302, "application", but=_NARROWED),
        Row("application-activate", "POST", "operator admin", 302, 404, 403, 403,     302, "application", but=_NARROWED),
        Row("application-consent", "POST", "operator admin", 302, 404, 403,  403,     302, "application_consent", but=_NARROWED),
        Row("tenants",        "GET",  _SEES,            200, 200, 403,   403,     302, but=_NO_TENANTS),
        Row("tenant",         "GET",  _SEES,            200, 404, 403,   403,     302, "tenant", but=_NO_TENANTS),
        Row("tenant-branch",  "GET",  _SEES,            200, 404, 403,   403,     302, "tenant", but=_NO_TENANTS),
        Row("tenant-new",     "GET",  "operator admin", 200, 404, 403,   403,     302, "tenant", but=_NARROWED),
        Row("tenant-new",     "POST", "operator admin", 422, 404, 403,   403,     302, "tenant", but=_NARROWED),
        Row("tenant-change",  "GET",  "operator admin", 200, 404, 403,   403,     302, "tenant", but=_NARROWED),
        Row("tenant-change",  "POST", "operator admin", 422, 404, 403,   403,     302, "tenant", but=_NARROWED),
        Row("tenant-suspend", "POST", "operator admin", 302, 404, 403,   403,     302, "tenant", but=_NARROWED),
        Row("tenant-resume",  "POST", "operator admin", 302, 404, 403,   403,     302, "tenant", but=_NARROWED),
    ),
    # The consumer of the first facility.
    subjects={
        "consumer": lambda world: world.park.branches[0].access.membership_id,
        "tenant": lambda world: world.park.tenant.pk,
        "hold": lambda world: world.park.hold_id,
        "application": lambda world: world.park.consent.application_id,
        "application_consent": lambda world: (
            world.park.consent.application_id,
            world.park.consent.pk,
        ),
    },
    secrets=lambda world: [
        world.park.consumer(0).email,
        world.park.consent.application_name,
    ],
)
# fmt: on
