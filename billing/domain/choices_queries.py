"""What forms of billing offer: customers, tariffs, channels, accounts of a tenant.

Needs an open scope.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from billing.domain.agreements_checks import QUANTITIES
from billing.domain.pages_queries import NotThere
from billing.models import Agreement, Customer, Tariff, TariffVersion, VersionState
from devices.models import Channel, Facility
from tenants.models import Membership

Pair = tuple[int, str]


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel that can be billed by, with the device that has it."""

    pk: int
    device: str
    name: str
    quantity: str


@dataclass(frozen=True, slots=True)
class AgreementChoices:
    """What the form of a new agreement at a facility offers."""

    facility: Facility
    customers: tuple[Pair, ...]
    tariffs: tuple[Pair, ...]
    channels: tuple[ChannelChoice, ...]


def facilities(*, tenant_id: int) -> tuple[Pair, ...]:
    """The tenant's facilities by name."""
    rows = Facility.objects.filter(tenant_id=tenant_id).order_by("name", "pk")
    return tuple(rows.values_list("pk", "name"))


def customers(*, tenant_id: int) -> tuple[Pair, ...]:
    """The tenant's customers by name, with their numbers."""
    rows = Customer.objects.filter(tenant_id=tenant_id).order_by("name", "pk")
    return tuple(
        (pk, f"{name} ({number})") for pk, name, number in rows.values_list("pk", "name", "number")
    )


def tariffs(*, tenant_id: int) -> tuple[Pair, ...]:
    """The tenant's tariffs that are not archived and have a published version."""
    published = TariffVersion.objects.filter(tariff=OuterRef("pk"), state=VersionState.PUBLISHED)
    rows = Tariff.objects.filter(Exists(published), tenant_id=tenant_id, archived_at__isnull=True)
    return tuple(rows.order_by("name", "pk").values_list("pk", "name"))


def channels(*, facility_id: int) -> tuple[ChannelChoice, ...]:
    """The channels of a facility whose quarters of an hour tell energy."""
    rows = Channel.objects.filter(
        device__facility_id=facility_id,
        quantity__in=sorted(frozenset().union(*QUANTITIES.values())),
    ).order_by("device__name", "device_id", "number")
    return tuple(
        ChannelChoice(*values)
        for values in rows.values_list("pk", "device__name", "name", "quantity")
    )


def accounts(*, tenant_id: int) -> tuple[Pair, ...]:
    """The accounts of the tenant's members, who may see bills as consumers."""
    rows = Membership.objects.filter(tenant_id=tenant_id).order_by("user__email")
    return tuple((one.user_id, str(one.user)) for one in rows.select_related("user"))


def for_agreement(*, tenant_id: int, facility_id: int) -> AgreementChoices:
    """For a new agreement of the tenant. Raises NotThere."""
    facility = Facility.objects.filter(pk=facility_id, tenant_id=tenant_id).first()
    if facility is None:
        raise NotThere
    return AgreementChoices(
        facility,
        customers(tenant_id=tenant_id),
        tariffs(tenant_id=tenant_id),
        channels(facility_id=facility_id),
    )


@dataclass(frozen=True, slots=True)
class StepChoices:
    """An agreement, and what the forms of its steps offer."""

    agreement: Agreement
    customers: tuple[Pair, ...]
    tariffs: tuple[Pair, ...]
    channels: tuple[ChannelChoice, ...]


def for_step(*, agreement_id: int) -> StepChoices:
    """For a step of an agreement. Raises NotThere."""
    row = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if row is None:
        raise NotThere
    return StepChoices(
        row,
        customers(tenant_id=row.tenant_id),
        tariffs(tenant_id=row.tenant_id),
        channels(facility_id=row.facility_id),
    )
