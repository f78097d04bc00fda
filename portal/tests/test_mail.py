"""Messages: subject, text, HTML, language, and the folder where they are written."""

from __future__ import annotations

import email
import email.policy
import logging
from pathlib import Path
from typing import Any

import pytest
from django.core import mail as outbox
from django.template import TemplateDoesNotExist
from pytest_django import Settings

from portal import env, mail
from portal.tasks import send_mail

CONTEXT: dict[str, Any] = {
    "name": "Ada <b>Byron</b> & Co",
    "device": "Firefox on Linux",
    "address": "203.0.113.7",
    "time": "21 Nov 2026",
    "action_url": "https://portal.example/account/sessions/?a=1&b=2",
}


def _send(**changes: Any) -> Any:
    values: dict[str, Any] = {"template": "new_device", "to": "ada@example.org", "language": "en"}
    mail.send(**values, context=CONTEXT | changes)
    (message,) = outbox.outbox
    return message


def test_message_has_subject_text_and_html() -> None:
    message = _send()
    assert message.to == ["ada@example.org"]
    assert message.subject == "New sign-in: Firefox on Linux"
    assert "Ada <b>Byron</b> & Co" in message.body  # a text is not escaped
    assert CONTEXT["action_url"] in message.body
    ((html, kind),) = message.alternatives
    assert kind == "text/html"
    assert "Ada &lt;b&gt;Byron&lt;/b&gt; &amp; Co" in html
    assert "a=1&amp;b=2" in html
    assert "<style" not in html
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"


def test_line_breaks_in_a_value_make_no_header() -> None:
    message = _send(device="Fire\r\nBcc: everybody@example.org")
    assert "\n" not in message.subject
    assert message.message()["Bcc"] is None


def test_unknown_language_is_answered_in_the_first() -> None:
    mail.send(template="new_device", to="a@example.org", language="xx", context=CONTEXT)
    assert outbox.outbox[0].subject.startswith("New sign-in")


def test_template_that_is_missing_is_an_error() -> None:
    with pytest.raises(TemplateDoesNotExist):
        mail.send(template="nothing", to="a@example.org", language="en", context={})


def test_template_without_subject_is_an_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    for name in ("bad.txt", "bad.html"):
        (tmp_path / "mail" / name).write_text("No subject\n")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    with pytest.raises(mail.BadTemplate, match=r"mail/bad\.txt must begin"):
        mail.send(template="bad", to="a@example.org", language="en", context={})


def test_folder_gets_one_file_for_each_message(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMAIL_BACKEND = "portal.mail.FolderBackend"
    settings.MAIL_DIR = tmp_path / "mail"
    with caplog.at_level(logging.INFO, "portal.mail"):
        for to in ("ada@example.org", '"../../x"@example.org'):
            mail.send(template="new_device", to=to, language="en", context=CONTEXT)
    files = sorted(settings.MAIL_DIR.iterdir())
    assert [file.suffix for file in files] == [".eml", ".eml"]
    read = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert (read["To"], read["Subject"]) == ("ada@example.org", "New sign-in: Firefox on Linux")
    assert [str(file) in caplog.text for file in files] == [True, True]
    assert settings.MAIL_DIR.stat().st_mode & 0o777 == 0o700


def test_task_sends(settings: Settings) -> None:
    send_mail.apply(
        kwargs={"template": "new_device", "to": "a@b.example", "language": "en", "context": CONTEXT}
    ).get()
    assert [message.to for message in outbox.outbox] == [["a@b.example"]]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", None),
        (
            "smtp://me:p%40ss@mail.example.org",
            env.MailServer("mail.example.org", 587, "me", "p@ss", False),
        ),
        (
            "smtps://mail.example.org:4465",
            env.MailServer("mail.example.org", 4465, "", "", True),
        ),
    ],
)
def test_mail_server_is_read_from_a_url(
    monkeypatch: pytest.MonkeyPatch, url: str, expected: env.MailServer | None
) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    assert env.mail_server("EMAIL_URL") == expected


@pytest.mark.parametrize("url", ["mail.example.org", "http://x", "smtp://", "smtp://h:port"])
def test_bad_url_of_a_mail_server_stops_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    with pytest.raises(env.SettingError, match="set it to smtp://"):
        env.mail_server("EMAIL_URL")
