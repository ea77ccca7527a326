"""calls/* over REST: shapes, refusals, filters, keys."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from calls import calling
from calls.models import Call
from tests import books
from tests.calls.given import PHONE, answered, money, passes, ringing
from tests.people import api, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/calls"


def start(user: User, body: Any, key: str = "k") -> Any:
    return api(user).post(URL, body, headers={"Idempotency-Key": key})


def test_a_call_from_beginning_to_end(rich: User, bob: User) -> None:
    made = start(rich, {"callee": str(bob.pk), "type": "video"})

    assert made.status_code == 201
    shown = made.json()
    call = Call.objects.get()
    assert made["Location"] == f"{URL}/{call.pk}"
    assert shown == {
        "id": str(call.pk),
        "role": "caller",
        "caller": str(rich.pk),
        "caller_name": "Alice",
        "callee": str(bob.pk),
        "recipient_phone": "",
        "recipient_name": "",
        "type": "video",
        "status": "ringing",
        "reason": None,
        "rate": 1000,
        "strategy": "per_second",
        "unit": "NGN",
        "held": 1000,
        "cost": 0,
        "charged": "held",
        "billed_s": 0,
        "ring_until": shown["ring_until"],
        "answered_at": None,
        "paid_until": None,
        "ended_at": None,
        "created_at": shown["created_at"],
        "livekit": None,
    }
    theirs = api(bob).patch(f"{URL}/{call.pk}/answer")
    assert (theirs.status_code, theirs.json()["role"], theirs.json()["status"]) == (200, "callee", "answered")
    passes(call, 61.1)
    beat = api(rich).post(f"{URL}/{call.pk}/heartbeat")
    assert (beat.status_code, beat.json()["held"]) == (200, 2000)
    ended = api(rich).patch(f"{URL}/{call.pk}/end").json()
    assert (ended["status"], ended["reason"], ended["cost"], ended["held"]) == ("completed", "hung_up", 1100, 0)
    assert (ended["charged"], ended["billed_s"]) == ("settled", 61)
    assert api(bob).get(f"{URL}/{call.pk}").json() == ended | {"role": "callee"}
    assert money(rich) == (89, 0)
    books.check()


def test_the_same_key_is_the_same_call(rich: User) -> None:
    first = start(rich, {"recipient_phone": PHONE})
    again = start(rich, {"recipient_phone": PHONE})
    other = start(rich, {"recipient_phone": "+2348000000001"})
    second = start(rich, {"recipient_phone": PHONE}, key="another")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")
    assert (second.status_code, second.json()["error"]) == (409, "call_exists")
    assert api(rich).post(URL, {"recipient_phone": PHONE}).json()["error"] == "idempotency_key_required"
    assert Call.objects.count() == 1
    assert money(rich) == (100, 10)
    books.check()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"recipient_phone": ""},
        {"recipient_phone": "0123"},
        {"recipient_phone": "+0123456"},
        {"recipient_phone": "+2348012345678901"},
        {"recipient_phone": "+\uff12\uff13\uff14"},
        {"callee": "bob"},
        {"callee": "01937a2c-1d87-7b1c-9d3e-5f6071829304"},
        {"callee": "01937a2c-1d87-7b1c-9d3e-5f6071829304", "recipient_phone": PHONE},
        {"recipient_phone": PHONE, "type": "fax"},
        {"recipient_phone": PHONE, "recipient_name": "x" * 121},
        {"recipient_phone": PHONE, "rate": 1},
        {"recipient_phone": PHONE, "status": "answered"},
    ],
)
def test_what_is_no_call(rich: User, body: Any) -> None:
    refused = start(rich, body)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid")
    assert not Call.objects.exists()
    assert money(rich) == (100, 0)


def test_refusals_tell_what_was_charged(rich: User, bob: User) -> None:
    poor = start(bob, {"recipient_phone": PHONE})
    assert (poor.status_code, poor.json()["error"], poor.json()["charged"]) == (402, "insufficient_funds", "none")
    call = ringing(rich, bob)
    mine = api(rich).patch(f"{URL}/{call.pk}/answer")
    assert (mine.status_code, mine.json()["error"], mine.json()["charged"]) == (403, "callee_only", "held")
    assert api(make_user()).patch(f"{URL}/{call.pk}/answer").status_code == 404
    assert api(bob).patch(f"{URL}/{call.pk}/answer", {"status": "completed"}).status_code == 400
    api(bob).patch(f"{URL}/{call.pk}/answer")
    late = api(bob).post(f"{URL}/{call.pk}/decline")
    assert (late.status_code, late.json()["error"]) == (409, "call_answered")
    passes(call, 6.1)
    api(rich).patch(f"{URL}/{call.pk}/end")
    over = api(bob).patch(f"{URL}/{call.pk}/answer")
    assert (over.status_code, over.json()["error"], over.json()["charged"]) == (409, "call_ended", "settled")
    books.check()


def test_lists_are_filtered_and_cost_the_same_however_long(rich: User, bob: User) -> None:
    for _ in range(3):
        calling.end(user=rich, call_id=ringing(rich, bob).pk)
    last = answered(rich, bob)
    client = api(bob)

    with CaptureQueriesContext(
        connection,
    ) as one:
        assert client.get(f"{URL}?limit=1").json()["count"] == 4
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(URL).json()["results"]) == 4

    assert len(one) == len(many)
    assert [c["id"] for c in client.get(f"{URL}?status=answered&role=callee").json()["results"]] == [str(last.pk)]
    assert client.get(f"{URL}?role=caller").json()["count"] == 0
    assert api(rich).get(f"{URL}?role=caller&status=canceled&status=answered").json()["count"] == 4
    for wrong in ("role=boss", "status=open", "caller=1"):
        assert client.get(f"{URL}?{wrong}").status_code == 400
    assert api(make_user()).get(URL).json()["count"] == 0
