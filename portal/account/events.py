"""Changes to an account's security: told to the person by e-mail, and to the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import translation
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.account import devices
from portal.middleware import client_address
from portal.tasks import send_mail
from tenants.domain.audit import record_event
from tenants.models import User


@dataclass(frozen=True, slots=True)
class Event:
    """`action` is the code of the audit trail, `text` the sentence of the message."""

    action: str
    text: str | Promise


PASSWORD_CHANGED: Final = Event("password.change", _("Your password was changed."))
PASSWORD_RESET: Final = Event(
    "password.reset", _("Your password was set anew by a link in an e-mail.")
)
PASSKEY_REMOVED: Final = Event("passkey.remove", _("A passkey was removed from your account."))
# By the names under which allauth tells of them.
_OF_ALLAUTH: Final = {
    "mfa/email/totp_activated": Event(
        "mfa.add", _("Codes of an authenticator app are asked for from now on.")
    ),
    "mfa/email/totp_deactivated": Event(
        "mfa.remove", _("Codes of an authenticator app are not asked for any more.")
    ),
    "mfa/email/webauthn_added": Event("passkey.add", _("A passkey was added to your account.")),
    "mfa/email/webauthn_removed": PASSKEY_REMOVED,
    "mfa/email/recovery_codes_generated": Event(
        "mfa.renew_recovery_codes", _("New recovery codes were made; the former are void.")
    ),
}


def of_allauth(name: str) -> Event | None:
    """The event behind a template of allauth; None for one that nobody is told of."""
    return _OF_ALLAUTH.get(name)


def tell(request: HttpRequest, user: User, event: Event, *, to: str | None = None) -> None:
    """Tell of `event` on `user`, to the address `to` where it is not the account's own."""
    record_event(user_id=user.pk, action=event.action)
    with translation.override(user.language):
        context = {
            "name": user.get_full_name(),
            "what": str(event.text),
            "action_url": f"{settings.PUBLIC_URL}{reverse('mfa_index')}",
            **circumstances(request, user),
        }
    send = partial(
        send_mail.delay,
        template="security_change",
        to=to or user.email,
        language=user.language,
        context=context,
    )
    transaction.on_commit(send)


def circumstances(request: HttpRequest, user: User) -> dict[str, str]:
    """Device, address and time of a request, in the words of `user`."""
    moment = datetime.now(ZoneInfo(user.time_zone))
    return {
        "device": str(devices.describe(request.headers.get("User-Agent", ""))),
        "address": client_address(request) or "",
        "time": f"{date_format(moment, 'DATETIME_FORMAT')} ({user.time_zone})",
    }
