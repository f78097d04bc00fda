"""Fields shared by the models of all apps."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants import time_zones


def validate_time_zone(value: str) -> None:
    """Raises ValidationError unless `value` names a zone of the IANA time zone database."""
    if value not in time_zones.known():
        raise ValidationError(
            _("%(value)s is not a time zone: use an IANA name such as Europe/Berlin."),
            code="time_zone",
            params={"value": value},
        )


@models.GenericIPAddressField.register_lookup
class InNetwork(models.Lookup):
    """`address__in_network="192.0.2.0/24"`: PostgreSQL's `<<=`, equality included."""

    lookup_name = "in_network"

    def get_prep_lookup(self) -> str:
        """The network as it is; the field would take an address alone."""
        return str(self.rhs)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """Compare as networks."""
        left, left_parameters = self.process_lhs(compiler, connection)
        return f"{left} <<= %s::inet", (*left_parameters, self.rhs)


if TYPE_CHECKING:
    # Generic for the type checker alone.
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class TimeZoneField(_CharField):
    """The IANA name of a time zone.

    In migrations it is the plain text column that it is in the database, so that they depend on no
    code of the application.
    """

    default_validators = [*_CharField.default_validators, validate_time_zone]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class LanguageField(_CharField):
    """The code of a language of the installation.

    Migrations know the plain column, so that offering another language is no migration.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 8)
        kwargs.setdefault("default", "en")
        kwargs["choices"] = _offered_languages
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", args, kwargs


def _offered_languages() -> list[tuple[str, str]]:
    return list(settings.LANGUAGES)


class DigestField(_CharField):
    """A secret of high entropy, stored and looked up by its SHA-256: 64 hexadecimal digits.

    Whatever is saved or searched for is hashed on its way to the database, a digest too, so that
    one who reads the table cannot present what is in it. A row that was read holds the digest:
    it is saved with `update_fields` that leave this field out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        super().__init__(*args, **kwargs)

    def get_prep_value(self, value: Any) -> Any:
        """The digest of the secret."""
        value = super().get_prep_value(value)
        return value if value is None else sha256(str(value).encode()).hexdigest()

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """The plain field."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs
