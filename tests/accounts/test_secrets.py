"""One person goes through everything with every secret known: none of them is in a log line or a table."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts import resets
from accounts.models import User
from notifications import delivery
from notifications.models import Mail
from notifications.rendering import render
from tests.people import api

pytestmark = pytest.mark.django_db

FIRST, SECOND, THIRD = "first secret horse 1", "second secret horse 2", "third secret horse 3"
GUESS = "guess secret horse 9"


def token_in(name: str) -> str:
    found = re.search(r"/([\w-]{43})\n", render(Mail.objects.filter(name=name).latest("created_at")).text)
    assert found
    return found[1]


def walk() -> set[str]:
    """Every act with a secret, also refused ones; answers the secrets."""
    secrets = {FIRST, SECOND, THIRD, GUESS}

    def post(path: str, body: dict[str, Any], access: str = "") -> Any:
        headers = {"authorization": f"Bearer {access}"} if access else {}
        answer = api(**headers).post(f"/api/v1/auth/{path}", body)
        found = answer.json() if answer.content else {}
        secrets.update(found[name] for name in ("access", "refresh") if name in found)
        return found

    email = "walker@example.com"
    pair = post("register", {"email": email, "password": FIRST})
    post("register", {"email": email, "password": GUESS})
    secrets.add(verify := token_in("verify-email"))
    post("verify-email", {"token": verify})
    post("verify-email", {"token": verify})
    post("login", {"email": email, "password": GUESS})
    post("login", {"email": "nobody@example.com", "password": GUESS})
    pair = post("login", {"email": email, "password": FIRST})
    pair = post("refresh", {"refresh": pair["refresh"]})
    post("refresh", {"refresh": pair["access"]})
    post("change-password", {"current_password": GUESS, "new_password": SECOND}, pair["access"])
    pair = post("change-password", {"current_password": FIRST, "new_password": SECOND}, pair["access"])
    post("change-email", {"password": GUESS, "email": "walked@example.com"}, pair["access"])
    post("change-email", {"password": SECOND, "email": "walked@example.com"}, pair["access"])
    secrets.add(change := token_in("confirm-email"))
    Client().get(f"/confirm-email/{change}")
    post("confirm-email", {"token": change})
    post("forgot-password", {"email": "walked@example.com"})
    resets.mail_due()
    secrets.add(reset := token_in("password-reset"))
    Client().get(f"/reset-password/{reset}")
    Client().post(f"/reset-password/{reset}", {"new_password": "12345678", "again": "12345678"})
    Client().post(f"/reset-password/{reset}", {"new_password": THIRD, "again": THIRD})
    post("reset-password", {"token": reset, "new_password": GUESS})
    pair = post("login", {"email": "walked@example.com", "password": THIRD})
    post("logout", {}, pair["access"])
    delivery.deliver_due()
    return secrets


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("django.db.backends", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.INFO)  # the statements themselves are no log of ours
    return caplog


def test_no_secret_is_logged_or_stored(lines: pytest.LogCaptureFixture) -> None:
    secrets = walk()

    assert len(secrets) > 15
    user = User.objects.get()
    assert user.check_password(THIRD)
    assert user.email == "walked@example.com"
    stored = _everything()
    for secret in secrets:
        assert secret not in lines.text
        assert secret not in stored
    assert user.password not in lines.text
    assert "walked@example.com" not in _of("security", lines)
    assert "walker@example.com" not in _of("security", lines)


def test_every_attempt_is_in_the_security_log_with_its_outcome(lines: pytest.LogCaptureFixture) -> None:
    walk()

    said = {(record.msg["event"], record.msg["outcome"]) for record in _records("security", lines)}
    assert said >= {
        ("register", "ok"),
        ("register", "email_taken"),
        ("verify_email", "ok"),
        ("login", "ok"),
        ("login", "invalid_credentials"),
        ("password_confirmed", "password_wrong"),
        ("password", "changed"),
        ("password", "reset"),
        ("change_email", "mailed"),
        ("confirm_email", "ok"),
        ("forgot_password", "noted"),
        ("forgot_password", "mailed"),
        ("logout", "password"),
        ("logout", "logout"),
    }


def _records(name: str, lines: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in lines.records if record.name == name and isinstance(record.msg, dict)]


def _of(name: str, lines: pytest.LogCaptureFixture) -> str:
    return " ".join(record.getMessage() for record in lines.records if record.name == name)


def _everything() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        text = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t')
            text += [row[0] for row in cursor.fetchall()]
    return "\n".join(text)
