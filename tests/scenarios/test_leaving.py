"""Somebody takes a copy of their data along and leaves, over HTTP alone, while a job and a payment are open."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
import requests

from accounts.models import Erasure, User
from billing.models import Refund
from core.models import StoredObject
from notifications.models import Mail
from tests import books
from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.stack import Stack, until
from tests.scenarios.time import Hurry

pytestmark = pytest.mark.scenario


def test_a_person_takes_a_copy_and_is_forgotten(stack: Stack) -> None:
    alice = Customer(stack, "alice@example.com")
    alice.join()
    alice.buy("package:BASIC")
    me = alice.ok("PATCH", "users/me", files={"avatar": ("me.jpg", portrait())}, data={"first_name": "Alice"})
    assert requests.get(me["avatar_url"], timeout=60).headers["Content-Type"] == "image/jpeg"
    photo = alice.upload(portrait(2))

    alice.ok("POST", "users/me/export")
    ready = until(lambda: (e := alice.ok("GET", "users/me/export"))["status"] == "ready" and e, "the copy is ready")
    until(lambda: alice.mails("copy of your data"), "the mail about it")
    archive = zipfile.ZipFile(io.BytesIO(requests.get(ready["url"], timeout=60).content))
    assert {"picture.jpg", f"photos/{photo}.jpg", "ledger.json"} <= set(archive.namelist())

    alice.headshot(photo, style_prompt="sandbox:slow")
    payment = alice.ok("POST", "payments", key="late", json={"item": "credits:10", "gateway": "razorpay"})
    user = User.objects.get(email=alice.email)
    assert alice.ok("POST", "users/me/delete", json={"password": PASSWORD}) == {"status": "deleting"}
    assert alice.send("GET", "users/me").json()["error"] == "session_ended"

    hurry = Hurry()

    def is_over() -> bool:
        hurry()
        return Erasure.objects.filter(user=user, finished_at__isnull=False).exists()

    until(is_over, "the erasure ends")
    until(lambda: alice.mails("account is deleted"), "the last mail")
    until(lambda: not Mail.objects.filter(state__in=["queued", "sending"]).exists(), "no other is on its way")
    count = len(alice.mails())
    alice.pay(payment)
    hurry = Hurry()
    until(lambda: hurry() or Refund.objects.filter(state="processed").exists(), "late money is back")
    until(lambda: not StoredObject.objects.filter(expires_at=None).exists(), "no file is kept")
    assert len(alice.mails()) == count
    user.refresh_from_db()
    assert re.fullmatch(r"[0-9a-f-]{36}@erased\.invalid", user.email)

    again = Customer(stack, "alice@example.com")
    again.join()
    assert again.balance()["available"] == 0
    books.check()
