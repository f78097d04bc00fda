"""Changes that people make to their own account.

An account is no tenant's, so its changes are told to every tenant in which the person is a member.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.crypto import constant_time_compare, salted_hmac

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


def state_of(user: User) -> str:
    """What a change rests on that is asked for now and done later: a digest, another one as soon as
    the address or the password of the account is another.
    """
    values = f"{user.email}\n{user.password}"
    return salted_hmac("wattline.account-state", values, algorithm="sha256").hexdigest()


@transaction.atomic
def change_email(*, user_id: int, state: str, email: str) -> User:
    """Give the account another address, which the person has proven to read.

    Raises AccountChanged when the account is not in `state` any more (`state_of`): who sets a new
    password to shut somebody out has shut out what that one has asked for, too. Raises AddressTaken
    as well, and ValidationError for what is no address.
    """
    user = User.objects.select_for_update().get(pk=user_id)
    if not constant_time_compare(state_of(user), state) or not user.is_active:
        raise AccountChanged
    former = user.email
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
