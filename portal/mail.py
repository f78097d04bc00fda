"""E-mail: one template for each message, as text and as HTML.

`templates/mail/<template>.txt` begins with the line `Subject: …`, followed by an empty line and the
text; `<template>.html` extends `mail/base.html`. Where no mail server is configured (`EMAIL_URL`),
messages become files in the state folder, with a line in the log that says where.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage
from django.template import Context
from django.template.backends.django import Template
from django.template.loader import get_template
from django.utils import translation

logger = logging.getLogger(__name__)

_SUBJECT: Final = "Subject: "
_NO_FILE_NAME: Final = re.compile(r"[^A-Za-z0-9.@_-]+")


class BadTemplate(Exception):  # noqa: N818 - it reads as what happened
    """A template of a message does not begin with its subject."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message."""

    name: str
    media_type: str
    data: bytes


def send(
    *,
    template: str,
    to: str,
    language: str,
    context: dict[str, Any],
    attachments: Sequence[Attachment] = (),
    reply_to: str = "",
) -> None:
    """Send one message, in `language`, to one address; answers go to `reply_to` where it is told.

    Delivery takes its time and may fail: call it from a Celery task, never from a request
    (`portal.tasks.send_mail` is that task). Raises SMTPException or OSError when the mail server
    does not take the message, BadTemplate for a template without a subject.
    """
    known = {code for code, _name in settings.LANGUAGES}
    with translation.override(language if language in known else settings.LANGUAGE_CODE):
        values = {"portal_url": settings.PUBLIC_URL, "to": to, **context}
        text = _render(f"mail/{template}.txt", values, escape=False)
        html = _render(f"mail/{template}.html", values, escape=True)
    subject, _, body = text.lstrip().partition("\n")
    if not subject.startswith(_SUBJECT):
        raise BadTemplate(f"mail/{template}.txt must begin with a line “{_SUBJECT}…”")
    subject = " ".join(subject.removeprefix(_SUBJECT).split())
    answers = [reply_to] if reply_to else None
    message = EmailMultiAlternatives(subject, body.strip() + "\n", to=[to], reply_to=answers)
    # What no person wrote asks no out-of-office notice for an answer (RFC 3834).
    message.extra_headers["Auto-Submitted"] = "auto-generated"
    message.attach_alternative(html, "text/html")
    for one in attachments:
        message.attach(one.name, one.data, one.media_type)
    message.send()


def _render(name: str, values: dict[str, Any], *, escape: bool) -> str:
    template = get_template(name)
    assert isinstance(template, Template)
    return template.template.render(Context(values, autoescape=escape))


class FolderBackend(BaseEmailBackend):
    """Messages as `.eml` files in the folder `mail` of the state folder, the newest sorts last."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write each message, complete or not at all; returns how many there were."""
        folder = Path(settings.MAIL_DIR)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            to = _NO_FILE_NAME.sub("_", parseaddr(message.to[0])[1])[:80]
            path = folder / f"{moment}-{to}.eml"
            draft = folder / f".{uuid4().hex}"
            draft.write_bytes(message.message().as_bytes())
            draft.replace(path)
            logger.info("mail.written to=%s file=%s", ",".join(message.to), path)
        return len(email_messages)
