"""Changes that people make to their own account.

An account is no tenant's, so its changes are told to every tenant in which the person is a member.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction

from tenants.domain.audit import record_event
from tenants.models import User


class AddressTaken(Exception):  # noqa: N818 - it reads as what happened
    """Another account has the e-mail address."""


class AccountChanged(Exception):  # noqa: N818 - it reads as what happened
    """The account is not any more as it was when the change was asked for."""


@transaction.atomic
def change_profile(*, user_id: int, name: str, language: str, time_zone: str) -> User:
    """Give the person another name, language or time zone; raises ValidationError."""
    user = User.objects.select_for_update().get(pk=user_id)
    values = {"name": name, "language": language, "time_zone": time_zone}
    before = {key: getattr(user, key) for key in values}
    changed = {key: value for key, value in values.items() if before[key] != value}
    if not changed:
        return user
    for key, value in changed.items():
        setattr(user, key, value)
    user.clean_fields(exclude={f.name for f in User._meta.fields} - changed.keys())  # noqa: SLF001
    user.save(update_fields=list(changed))
    details = {"before": {key: before[key] for key in changed}, "after": changed}
    record_event(user_id=user_id, action="account.change", details=details)
    return user


@transaction.atomic
def change_email(*, user_id: int, former: str, email: str) -> User:
    """Give the account another address, which the person has proven to read.

    Raises AccountChanged when its address is not `former` any more, AddressTaken, and
    ValidationError for what is no address.
    """
    user = User.objects.select_for_update().get(pk=user_id)
    if user.email != former or not user.is_active:
        raise AccountChanged
    user.email = User.objects.normalize_email(email)
    user.clean_fields(exclude={f.name for f in User._meta.fields} - {"email"})  # noqa: SLF001
    try:
        with transaction.atomic():
            user.save(update_fields=["email"])
    except IntegrityError:
        raise AddressTaken from None
    details = {"before": former, "after": user.email}
    record_event(user_id=user_id, action="email.change", details=details)
    return user
