from __future__ import annotations

import smtplib
from types import SimpleNamespace
from typing import Any

import pytest
from anymail.exceptions import AnymailAPIError, AnymailInvalidAddress, AnymailRecipientsRefused, AnymailRequestsAPIError
from pytest_django import Settings
from requests import Response
from requests import exceptions as requests

from notifications.failures import Failure, classify, is_final
from notifications.models import Mail
from notifications.tasks import deliver
from tests.notifications.letters import letter
from tests.ports import free_port


def refused(*codes: int) -> smtplib.SMTPRecipientsRefused:
    return smtplib.SMTPRecipientsRefused({f"r{n}@example.com": (code, b"no") for n, code in enumerate(codes)})


def answered(status: int) -> AnymailAPIError:
    response = Response()
    response.status_code = status
    return AnymailRequestsAPIError(response=response)


def unanswered(cause: Exception) -> AnymailAPIError:
    try:
        raise AnymailAPIError("no answer") from cause
    except AnymailAPIError as error:
        return error


@pytest.mark.parametrize(
    ("error", "has_begun", "failure"),
    [
        (refused(550), False, Failure.BOUNCED),
        (refused(450), False, Failure.RETRY),
        (smtplib.SMTPDataError(554, b"spam"), True, Failure.REJECTED),
        (smtplib.SMTPDataError(451, b"later"), True, Failure.RETRY),
        (smtplib.SMTPSenderRefused(550, b"not you", "a@example.com"), False, Failure.RETRY),
        (smtplib.SMTPAuthenticationError(535, b"bad password"), False, Failure.RETRY),
        (smtplib.SMTPServerDisconnected("gone"), False, Failure.RETRY),
        (smtplib.SMTPServerDisconnected("gone"), True, Failure.UNKNOWN),
        (TimeoutError(), True, Failure.UNKNOWN),
        (TimeoutError(), False, Failure.RETRY),
        (AnymailRecipientsRefused(), True, Failure.BOUNCED),
        (AnymailInvalidAddress(), True, Failure.REJECTED),
        (answered(401), True, Failure.RETRY),
        (answered(429), True, Failure.RETRY),
        (answered(503), True, Failure.RETRY),
        (answered(200), True, Failure.UNKNOWN),
        (answered(422), True, Failure.REJECTED),
        (answered(500), True, Failure.UNKNOWN),
        (unanswered(requests.ReadTimeout()), True, Failure.UNKNOWN),
        (unanswered(requests.ConnectTimeout()), True, Failure.RETRY),
        (ValueError("what is this"), True, Failure.UNKNOWN),
    ],
)
def test_a_refusal_means(error: Exception, has_begun: bool, failure: Failure) -> None:
    assert classify(error, has_begun=has_begun) is failure


@pytest.mark.django_db
def test_an_api_that_cannot_be_reached_is_tried_later(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
    settings.ANYMAIL = {
        "POSTMARK_SERVER_TOKEN": "token",
        "POSTMARK_API_URL": f"http://127.0.0.1:{free_port()}/",
        "REQUESTS_TIMEOUT": 2,
    }
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code, mail.attempts) == ("queued", "refused", 1)


@pytest.mark.django_db
def test_an_api_that_takes_the_mail_names_it(settings: Settings, api_server: Any) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
    settings.ANYMAIL = {"POSTMARK_SERVER_TOKEN": "token", "POSTMARK_API_URL": api_server.url, "REQUESTS_TIMEOUT": 5}
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.provider_message_id) == ("sent", "b7bc2f4a-e38e-4336-af7d-e6c392c2f817")
    assert api_server.seen[0]["Metadata"] == {"mail_id": str(mail.pk)}
    assert Mail.objects.filter(state="sent").count() == 1


@pytest.fixture
def api_server() -> Any:
    """An answer as the API's reference prints it, once per mail."""
    import json
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = {
                "To": seen[-1]["To"],
                "SubmittedAt": "2026-11-21T07:25:01.4178645-05:00",
                "MessageID": "b7bc2f4a-e38e-4336-af7d-e6c392c2f817",
                "ErrorCode": 0,
                "Message": "OK",
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/", seen=seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("reply", "final"),
    [
        (b"5.1.1 No such user", True),
        (b"5.1.10 Recipient address has null MX", True),
        ("5.1.1 No such user", True),
        (b"5.7.1 Relaying denied", False),
        (b"Mailbox unavailable", False),
        (b"5.1.15 odd", False),
        (b"", False),
    ],
)
def test_only_a_mailbox_that_is_not_there_is_given_up(reply: bytes | str, final: bool) -> None:
    error = smtplib.SMTPRecipientsRefused({"a@example.com": (550, reply)})  # type: ignore[dict-item]

    assert is_final(error) is final
    assert not is_final(smtplib.SMTPDataError(550, b"5.1.1 no"))
