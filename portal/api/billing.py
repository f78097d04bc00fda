"""What the resources of billing have in common: access, fields of money, what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as Refused
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.documents.values import DocumentError
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.agreements_terms_operations import MeterNotFound
from billing.domain.bills_queries import BillNotFound
from billing.domain.customers_queries import CustomerNotFound
from billing.domain.documents_queries import NoDocument
from billing.domain.documents_store import FileDamagedError, FileMissingError
from billing.domain.dunning_settings import PlanNotFound
from billing.domain.evidence import EvidenceError, EvidenceNotFound
from billing.domain.ledger_queries import told_customer
from billing.domain.pages_queries import NotThere
from billing.domain.payg_operations import UnitNotFound
from billing.domain.payg_requests_operations import RequestNotFound
from billing.domain.payments_operations import AgreementNotFound as AccountNotFound
from billing.domain.payments_operations import PaymentNotFound
from billing.domain.prices_queries import SeriesNotFound
from billing.domain.restatement_operations import RestatementNotFound
from billing.domain.runs_queries import RunNotFound
from billing.domain.sentences import spoken_of
from billing.domain.tariffs_queries import TariffNotFound, VersionNotFound
from billing.domain.wallet_operations import WalletNotFound
from devices.domain.queries import DeviceNotFound
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of, own_alone, tenant_of
from portal.api.views import ApiView
from tenants.permissions import Permission

_VIEW: Final = Permission.BILLS_VIEW
BILLS: Final = Requires((_VIEW,), ("bills:read",))
BILLS_CHANGE: Final = Requires((_VIEW, Permission.BILLS_CHANGE), ("bills:read", "bills:write"))
BILLS_APPROVE: Final = Requires((_VIEW, Permission.BILLS_APPROVE), ("bills:read", "bills:write"))
TARIFFS: Final = Requires((_VIEW,), ("tariffs:read",))
TARIFFS_CHANGE: Final = Requires(
    (_VIEW, Permission.TARIFFS_CHANGE), ("tariffs:read", "tariffs:write")
)
# Who tries tariffs is to see whole agreements and prices: nobody of some facilities alone.
TARIFFS_PREVIEW: Final = Requires(
    (_VIEW, Permission.TARIFFS_CHANGE), ("bills:read", "tariffs:read", "tariffs:write")
)
PAYMENTS: Final = Requires((_VIEW,), ("payments:read",))
PAYMENTS_CHANGE: Final = Requires(
    (_VIEW, Permission.PAYMENTS_CHANGE), ("payments:read", "payments:write")
)

_MISSING: Final[tuple[type[Exception], ...]] = (
    AccountNotFound,
    AgreementNotFound,
    BillNotFound,
    CustomerNotFound,
    DeviceNotFound,
    EvidenceNotFound,
    MeterNotFound,
    NoDocument,
    NotThere,
    PaymentNotFound,
    PlanNotFound,
    RequestNotFound,
    RestatementNotFound,
    RunNotFound,
    SeriesNotFound,
    TariffNotFound,
    UnitNotFound,
    VersionNotFound,
    WalletNotFound,
)


class Damaged(APIException):
    """What was kept is not there any more as it was: nothing that the caller could mend."""

    status_code = 409
    default_code = "damaged"


class BillingView(ApiView):
    """What does not exist, or is somebody else's, is 404."""

    def handle_exception(self, exc: Exception) -> Response:
        """What lies beyond the scope, and documents that a bill cannot have."""
        if isinstance(exc, _MISSING):
            exc = NotFound()
        if isinstance(exc, DocumentError):
            exc = ValidationError({"kind": [spoken_of(exc)]})
        if isinstance(exc, EvidenceError):
            exc = Damaged(_("What this bill was computed from is damaged: tell who runs it."))
        if isinstance(exc, FileMissingError | FileDamagedError):
            exc = Damaged(_("The document is not in the store as it was made: tell who runs it."))
        return super().handle_exception(exc)


class MoneyField(serializers.DecimalField):
    """An amount as text, with two decimal places or as many as it has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 18, "decimal_places": 4, **options})

    def to_representation(self, value: Any) -> str:
        """`12.50`, `12.3456`."""
        shortest = Decimal(value).normalize()
        places = max(2, -int(shortest.as_tuple().exponent))
        return f"{shortest:.{places}f}"


class ExactField(serializers.DecimalField):
    """A quantity, price or amount before it is rounded, as text without trailing zeros."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"max_digits": 28, "decimal_places": 12, "normalize_output": True, **options}
        )


class IdField(serializers.IntegerField):
    """The number of something else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": 1, "max_value": shapes.MAX_ID, **options})


def _for_customer(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    request = field.context.get("request")
    return request is not None and own_alone(request) is not None


class NoteField(serializers.CharField):
    """What those who bill noted for themselves: empty for a customer. The serializer is to be
    given the request.
    """

    def to_representation(self, value: Any) -> str:
        """The text, if it is the reader's to see."""
        return "" if _for_customer(self) else str(value)


class EntryTextField(serializers.CharField):
    """The text of an entry of an account; of its kinds, some have a note."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"source": "*", "read_only": True, **options})

    def to_representation(self, value: Any) -> str:
        """The text, as far as it is the reader's to see."""
        return told_customer(value.kind, value.text) if _for_customer(self) else str(value.text)


def text(longest: int, help_text: str = "", **options: Any) -> serializers.CharField:
    """An optional text, empty unless given."""
    wanted = {"required": False, "default": "", "allow_blank": True, **options}
    return serializers.CharField(max_length=longest, help_text=help_text, **wanted)


def reason(help_text: str) -> serializers.CharField:
    """Why something is done, as the audit log keeps it."""
    return text(400, help_text)


def tenant_id_of(request: Request) -> int:
    """The tenant that the caller acts in."""
    access = access_of(request)
    assert access is not None  # the view's declaration has asked for it
    return tenant_of(access)


@contextmanager
def told(**names: str) -> Iterator[None]:
    """What the domain refuses, at the members that it is called by outside: its name → theirs."""
    try:
        yield
    except Refused as error:
        by_field = getattr(error, "message_dict", None) or {NON_FIELD_ERRORS: error.messages}
        raise ValidationError(
            {
                "" if name == NON_FIELD_ERRORS else names.get(name, name): texts
                for name, texts in by_field.items()
            }
        ) from error


def renamed(values: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The values of a body, some under the names that the domain has for them."""
    return {names.get(name, name): value for name, value in values.items()}
