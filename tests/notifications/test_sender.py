"""A mail that goes out through a sender's API, and comes back as its events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.core.checks import run_checks
from django.utils.module_loading import import_string
from pytest_django import Settings

from accounts.models import User
from core.ids import new_id
from notifications import delivery, outbox, preferences
from notifications.models import Mail
from notifications.sender import SENDERS
from tests.core.test_settings import SAFE, start
from tests.notifications.letters import letter
from tests.notifications.test_tracking import about, state_of, tell, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def taken(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """What a server that answers as Postmark's was given."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            told = {"ErrorCode": 0, "Message": "OK", "MessageID": f"at-the-sender-{new_id()}", "To": body["To"]}
            answer = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    use(settings, "postmark", POSTMARK_SERVER_TOKEN="x" * 20, POSTMARK_API_URL=url)
    settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
    yield bodies
    server.shutdown()
    server.server_close()


def test_it_goes_out_with_our_id_untracked_and_its_events_find_it(taken: list[dict[str, Any]], alice: User) -> None:
    delivery.deliver_due()
    taken.clear()
    mail = outbox.enqueue("credit-low-warning", user=alice, cause="low", context={"remaining": "12 credits"})
    assert mail

    delivery.deliver_due()
    delivery.deliver_due()

    (body,) = taken
    assert state_of(mail) == "sent"
    assert mail.provider_message_id.startswith("at-the-sender-")
    assert (body["To"], body["Subject"], body["Tag"]) == (alice.email, "12 credits left", "credit-low-warning")
    assert body["Metadata"] == {"mail_id": str(mail.pk)}
    assert (body["TrackOpens"], body["TrackLinks"]) == (False, "None")
    headers = {header["Name"].lower(): header["Value"] for header in body["Headers"]}
    refused = preferences.read(headers["list-unsubscribe"].strip("<>").rstrip("/").rpartition("/")[2])
    assert refused
    assert refused.user_id == alice.pk
    assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    tell(about(mail, "Delivery", Metadata={}, MessageID=mail.provider_message_id))
    assert state_of(mail) == "delivered"


def test_what_a_sender_cannot_do_keeps_no_mail_back(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.test.EmailBackend"
    settings.ANYMAIL = {"IGNORE_UNSUPPORTED_FEATURES": True, "TEST_UNSUPPORTED": "everything"}
    mail = letter()

    delivery.deliver_due()

    assert state_of(mail) == "sent"


def test_each_sender_has_its_backend_and_its_reader(settings: Settings) -> None:
    for name, reader in SENDERS.items():
        assert import_string(f"anymail.backends.{name}.EmailBackend")
        assert import_string(reader)


def test_a_sender_that_cannot_work_is_found_at_boot(settings: Settings) -> None:
    use(settings, "mailgun")
    assert [found.id for found in run_checks(tags=["notifications"])] == ["notifications.E003"]
    use(settings, "no-such-sender")
    assert [found.id for found in run_checks(tags=["notifications"])] == ["notifications.E003"]
    use(settings, "mailgun", MAILGUN_API_KEY="x" * 20)
    assert run_checks(tags=["notifications"]) == []


def test_production_with_a_sender_needs_the_secret_of_its_webhook() -> None:
    sender = {"EMAIL_URL": "anymail://postmark", "ANYMAIL": '{"POSTMARK_SERVER_TOKEN": "x"}'}

    refused = start(**SAFE | sender)
    boots = start(**SAFE | sender | {"EMAIL_WEBHOOK_SECRET": "user:password"})

    assert "EMAIL_WEBHOOK_SECRET" in refused.stderr
    assert boots.returncode == 0, boots.stderr
    assert Mail.objects.count() == 0
