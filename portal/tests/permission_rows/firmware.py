"""Releases and signing keys: pages and REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.models import DeviceType
from devices.tests.factories import number
from firmware.artifacts import store
from firmware.models import Release, ReleaseState
from firmware.tests import factories
from firmware.tests.uploads import pem_of
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager technician support"
_CHANGES = "operator admin"
_READ = "firmware:read"
_WRITE = "firmware:read firmware:write"


def _release(world: World, state: ReleaseState) -> Release:
    """A new release of the tenant, whose image lies in the store; gone with the test."""
    version = f"7.7.{number()}"
    image = f"image {version}".encode()
    with open_scope(world.park.scope):
        kind = DeviceType.objects.filter(tenant=world.park.tenant)[0]
        made = factories.release(world.park.tenant, kind, version, state=state, image=image)
    store.write(image, sha256=made.artifact.sha256)
    return made


def _draft(world: World) -> Release:
    """What only its own tenant sees."""
    return _release(world, ReleaseState.DRAFT)


def _key() -> dict[str, object]:
    return {"name": "Key", "public_key": pem_of(Ed25519PrivateKey.generate()).decode()}


# fmt: off
AREA = Area(
    rows=(
        #    route                 method  roles     may  far  others newcomer nobody  subject
        Row("release-list",        "GET",  _SEES,    200, 200, 403,   403,     302),
        Row("release",             "GET",  _SEES,    200, 404, 403,   403,     302, "release", elsewhere=200),
        Row("release-image",       "GET",  _SEES,    200, 404, 403,   403,     302, "release", elsewhere=200),
        Row("release-create",      "GET",  _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        Row("release-create",      "POST", _CHANGES, 422, 422, 403,   403,     302, elsewhere=403),
        Row("release-check",       "POST", _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        Row("release-edit",        "GET",  _CHANGES, 200, 404, 403,   403,     302, "release", elsewhere=403),
        Row("release-edit",        "POST", _CHANGES, 302, 404, 403,   403,     302, "release", elsewhere=403,
            form=lambda world: {"notes": "Better", "from_versions": ">=1"}),
        Row("release-approve",     "POST", _CHANGES, 302, 404, 403,   403,     302, "release", elsewhere=403),
        Row("release-retire",      "POST", _CHANGES, 302, 404, 403,   403,     302, "release", elsewhere=403),
        Row("release-delete",      "POST", _CHANGES, 302, 404, 403,   403,     302, "release", elsewhere=403),
        Row("signing-key-list",    "GET",  _SEES,    200, 200, 403,   403,     302),
        Row("signing-key-create",  "GET",  _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        Row("signing-key-create",  "POST", _CHANGES, 302, 302, 403,   403,     302, elsewhere=403,
            form=lambda world: _key()),
        Row("signing-key-retire",  "POST", _CHANGES, 302, 404, 403,   403,     302, "signing key", elsewhere=403),

        Row("api:release-list",    "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_READ),
        # Files come as multipart/form-data.
        Row("api:release-list",    "POST",   _CHANGES, 415, 415, 403, 403, 401, elsewhere=403, scopes=_WRITE),
        Row("api:release",         "GET",    _SEES,    200, 404, 403, 403, 401, "release", elsewhere=200, scopes=_READ),
        Row("api:release",         "DELETE", _CHANGES, 204, 404, 403, 403, 401, "release", elsewhere=403, scopes=_WRITE),
        Row("api:release-image",   "GET",    _SEES,    200, 404, 403, 403, 401, "release", elsewhere=200, scopes=_READ),
        # It has been retired: to whoever may, that is told.
        Row("api:release-approve", "POST",   _CHANGES, 400, 404, 403, 403, 401, "retired", elsewhere=403, scopes=_WRITE),
        Row("api:release-retire",  "POST",   _CHANGES, 200, 404, 403, 403, 401, "release", elsewhere=403, scopes=_WRITE),
        Row("api:signing-key-list",   "GET",  _SEES,    200, 200, 403, 403, 401, scopes=_READ),
        Row("api:signing-key-list",   "POST", _CHANGES, 201, 201, 403, 403, 401, elsewhere=403, scopes=_WRITE,
            form=lambda world: _key()),
        Row("api:signing-key-retire", "POST", _CHANGES, 200, 404, 403, 403, 401, "signing key", elsewhere=403,
            scopes=_WRITE),
    ),
    subjects={
        "release": lambda world: _draft(world).pk,
        "retired": lambda world: _release(world, ReleaseState.RETIRED).pk,
        "signing key": lambda world: _draft(world).signing_key_id,
    },
)
# fmt: on
