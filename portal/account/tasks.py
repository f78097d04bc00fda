"""Background work of signing in."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from portal.tasks import send_mail
from tenants.models import User
from tenants.tasks import KeywordTask


@shared_task(base=KeywordTask, name="portal.send_password_reset")
def send_password_reset(*, email: str, **_: Any) -> None:
    """Send the link that sets a new password, where the address has an account."""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        return
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = PasswordResetTokenGenerator().make_token(user)
    path = reverse("password-set", args=[uid, token])
    send_mail.delay(
        template="reset_password",
        to=user.email,
        language=user.language,
        context={"name": user.get_full_name(), "action_url": f"{settings.PUBLIC_URL}{path}"},
    )
