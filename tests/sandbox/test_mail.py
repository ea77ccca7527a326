"""The SMTP server and what shows its mail."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest

from tests.sandbox.process import RunningSandbox


def letter(to: str = "alice@example.test", subject: str = "Prüfung ₹499") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Atelier <no-reply@example.test>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content("Grüße\nhttps://example.test/verify/" + "x" * 90 + "\n")
    message.add_alternative("<p>Grüße <a href='https://example.test'>here</a><script>alert(1)</script></p>", "html")
    return message


def send(sandbox: RunningSandbox, message: EmailMessage, to: list[str] | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", sandbox.smtp_port, timeout=10) as client:
        client.send_message(message, to_addrs=to)


def test_message_is_shown_as_json_decoded(sandbox: RunningSandbox) -> None:
    send(sandbox, letter())

    (message,) = sandbox.messages("alice@example.test")

    assert message["to"] == "alice@example.test"
    assert message["subject"] == "Prüfung ₹499"
    assert message["text"] == "Grüße\nhttps://example.test/verify/" + "x" * 90 + "\n"
    assert "<p>Grüße" in message["html"]
    assert message["received_at"].endswith("Z")


def test_messages_are_narrowed_by_recipient_and_come_newest_first(sandbox: RunningSandbox) -> None:
    send(sandbox, letter("alice@example.test", "first"))
    send(sandbox, letter("bob@example.test", "other"))
    send(sandbox, letter("Alice@Example.test", "second"))

    assert [one["subject"] for one in sandbox.messages("ALICE@example.test")] == ["second", "first"]
    assert [one["subject"] for one in sandbox.messages(subject="oth")] == ["other"]
    assert len(sandbox.messages()) == 3
    assert sandbox.messages("nobody@example.test") == []


def test_each_recipient_of_the_envelope_has_a_copy(sandbox: RunningSandbox) -> None:
    send(sandbox, letter(), to=["alice@example.test", "hidden@example.test"])

    assert len(sandbox.messages("hidden@example.test")) == 1


def test_mailboxes_that_bounce_and_defer(sandbox: RunningSandbox) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as bounced:
        send(sandbox, letter("bounce+alice@example.test"))
    with pytest.raises(smtplib.SMTPRecipientsRefused) as deferred:
        send(sandbox, letter("defer@example.test"))
    send(sandbox, letter("defer@example.test"))

    assert bounced.value.recipients["bounce+alice@example.test"][0] == 550
    assert deferred.value.recipients["defer@example.test"][0] == 451
    assert [one["to"] for one in sandbox.messages()] == ["defer@example.test"]


def test_smtp_fault_refuses_one_message(sandbox: RunningSandbox) -> None:
    sandbox.fault("smtp", "500")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(sandbox, letter())
    sandbox.fault("smtp", "refuse")
    with pytest.raises(smtplib.SMTPException):
        send(sandbox, letter())
    assert sandbox.messages() == []

    send(sandbox, letter())

    assert refused.value.smtp_code == 451
    assert len(sandbox.messages()) == 1


def test_mail_pages_show_the_message_and_run_no_script(sandbox: RunningSandbox) -> None:
    send(sandbox, letter(subject="<script>x</script>"))
    (message,) = sandbox.messages()

    listing = sandbox.call("GET", "/mail").text
    page = sandbox.call("GET", f"/mail/{message['id']}")
    frame = sandbox.call("GET", f"/mail/{message['id']}/html")

    assert f"/mail/{message['id']}" in listing
    assert "<script>x" not in listing + page.text
    assert 'sandbox="' in page.text
    assert "script-src 'none'" in frame.headers["Content-Security-Policy"]
    assert sandbox.call("GET", "/mail/none").status_code == 404


def test_all_mail_can_be_deleted(sandbox: RunningSandbox) -> None:
    send(sandbox, letter())

    sandbox.ask("POST", "/mail/clear")

    assert sandbox.messages() == []
