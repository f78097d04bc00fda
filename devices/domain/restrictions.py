"""Which facilities a membership reaches.

A membership that is narrowed reaches the facilities granted to it and every area in them, those
that are made later too; granting an area of a site opens that area alone. They are facilities of
the membership's own tenant: whoever shall see some facilities of a tenant below becomes a member
there.

All need an open scope with the tenant; each change leaves an audit row in the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from devices.models import Facility, FacilityAccess
from tenants.domain import operations
from tenants.domain.audit import record
from tenants.domain.authority import lock_people
from tenants.models import Membership


class UnknownFacility(Exception):  # noqa: N818 - it reads as what happened
    """A facility that the membership's tenant does not have; the text says so to the actor."""


@transaction.atomic
def restrict(
    *, membership_id: int, facility_ids: Sequence[int] | None, actor_id: int | None
) -> Membership:
    """Let a membership reach these facilities alone; None: all of the tenant and of those below.

    Raises Membership.DoesNotExist, UnknownFacility, and what `operations.narrow` raises. The entry
    point tells the user's tokens and open pages after commit.
    """
    lock_people(tenant_id=Membership.objects.get(pk=membership_id).tenant_id)
    before = _described(Membership.objects.get(pk=membership_id))
    membership = operations.narrow(
        membership_id=membership_id, narrowed=facility_ids is not None, actor_id=actor_id
    )
    wanted = set(facility_ids or ())
    if wanted != known_facilities(tenant_id=membership.tenant_id, facility_ids=wanted):
        raise UnknownFacility(
            _("One of the facilities does not exist in this tenant any more: choose anew.")
        )
    present = FacilityAccess.objects.filter(membership=membership)
    present.exclude(facility_id__in=wanted).delete()
    _grant(membership, wanted - set(present.values_list("facility_id", flat=True)))
    record(
        tenant_id=membership.tenant_id,
        actor_id=actor_id,
        action="membership.restrict",
        subject=membership,
        before=before,
        after=_described(membership),
    )
    return membership


def known_facilities(*, tenant_id: int, facility_ids: Iterable[int]) -> set[int]:
    """Those of the facilities that the tenant has and the scope shows."""
    found = Facility.objects.filter(tenant_id=tenant_id, pk__in=facility_ids)
    return set(found.values_list("pk", flat=True))


def _grant(membership: Membership, facility_ids: set[int]) -> None:
    FacilityAccess.objects.bulk_create(
        FacilityAccess(
            tenant_id=membership.tenant_id, membership=membership, facility_id=facility_id
        )
        for facility_id in sorted(facility_ids)
    )


def _described(membership: Membership) -> dict[str, Any]:
    granted = Facility.objects.filter(accesses__membership=membership).order_by("pk")
    return {
        "narrowed": membership.narrowed,
        "facilities": [[pk, name] for pk, name in granted.values_list("pk", "name")],
    }
