"""LiveKit: tokens to join, rooms made and deleted, webhooks that only shorten a bill."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.db.models import F
from django.db.models.functions import Now
from livekit import api

from accounts.models import User
from calls import calling, livekit, tending, webhooks
from calls.models import Call
from inbox.deliveries import Outcome, Verdict
from sandbox.livekit import tokens
from tests import books, people
from tests.calls.given import answered, fresh, fund, hold_of, money, passes, ringing
from tests.dying import die_at, exit_status
from tests.people import make_user
from tests.sandbox.process import RunningSandbox, running_sandbox

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(process: RunningSandbox, settings: Any, no_rooms: None) -> RunningSandbox:
    process.reset()
    process.deliver_webhooks(False)
    settings.LIVEKIT_BASE_URL = process.livekit_url
    settings.LIVEKIT_API_KEY = process.keys["LIVEKIT_API_KEY"]
    settings.LIVEKIT_API_SECRET = process.keys["LIVEKIT_API_SECRET"]
    return process


def rooms(sandbox: RunningSandbox) -> list[str]:
    claims = {"iss": sandbox.keys["LIVEKIT_API_KEY"], "exp": int(time.time()) + 60, "video": {"roomList": True}}
    token = jwt.encode(claims, sandbox.keys["LIVEKIT_API_SECRET"], "HS256")
    where = "/livekit/twirp/livekit.RoomService/ListRooms"
    return [
        room["name"] for room in sandbox.ask("POST", where, {}, headers={"Authorization": f"Bearer {token}"})["rooms"]
    ]


def told(sandbox: RunningSandbox, event: str) -> list[Any]:
    return [json.loads(found["body"]) for found in sandbox.deliveries(provider="livekit", event=event)]


def joined(sandbox: RunningSandbox, call: Call, user: User) -> dict[str, Any]:
    token, _ = livekit.join_token(call.room, str(user.pk))
    return dict(sandbox.ask("POST", "/livekit/rtc", params={"access_token": token}))


def test_a_room_is_there_while_the_call_is(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    call = ringing(rich, bob)
    assert tending.tend_rooms() == 1
    assert rooms(sandbox) == [call.room] == [f"call-{call.pk}"]
    assert tending.tend_rooms() == 0

    calling.answer(user=bob, call_id=call.pk)
    joined(sandbox, call, rich)
    calling.end(user=rich, call_id=call.pk)
    assert tending.tend_rooms() == 1
    assert rooms(sandbox) == []

    joined(sandbox, call, rich)  # its token is good still, and makes the room anew
    assert tending.tend_rooms() == 0
    Call.objects.update(room_due_at=F("room_due_at") - timedelta(seconds=121), ended_at=Now() - timedelta(seconds=121))
    assert tending.tend_rooms() == 1
    assert rooms(sandbox) == []
    assert fresh(call).room_due_at is None
    books.check()


def test_nobody_joins_before_the_answer_or_after_the_end(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    call = ringing(rich, bob)
    url = f"/api/v1/calls/{call.pk}"
    assert people.api(rich).get(url).json()["livekit"] is None

    shown = people.api(bob).patch(f"{url}/answer").json()["livekit"]

    secret = sandbox.keys["LIVEKIT_API_SECRET"]
    claims = jwt.decode(shown["token"], secret, algorithms=["HS256"], issuer=sandbox.keys["LIVEKIT_API_KEY"])
    assert claims["sub"] == str(bob.pk)
    grants = {"roomJoin": True, "room": call.room, "canPublish": True, "canSubscribe": True, "canPublishData": True}
    assert claims["video"] == grants
    assert claims["exp"] - claims["nbf"] == 60
    assert shown["url"] == sandbox.livekit_url.replace("http", "ws", 1)
    assert people.api(rich).post(f"{url}/heartbeat").json()["livekit"]["room"] == call.room
    assert people.api(rich).patch(f"{url}/end").json()["livekit"] is None


def test_without_a_room_it_fails_and_costs_nothing(
    rich: User, bob: User, sandbox: RunningSandbox, settings: Any
) -> None:
    settings.LIVEKIT_API_SECRET = "another_secret_example_of_32_letters"
    call = ringing(rich, bob)

    tending.tend_rooms()

    assert (fresh(call).state, fresh(call).reason) == ("failed", "no_room")
    assert hold_of(call) == ("released", 10, 0)
    books.check()


def test_a_livekit_that_is_away_is_asked_again(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    sandbox.fault("livekit", "503")
    call = ringing(rich, bob)
    tending.tend_rooms()
    assert fresh(call).is_open
    assert rooms(sandbox) == []

    Call.objects.update(room_due_at=Now())
    tending.tend_rooms()

    assert rooms(sandbox) == [call.room]
    sandbox.clear_faults()


def left(call: Call, who: User | None, *, ago_s: float, event: str = "participant_left", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"event": event, "room": {"name": call.room}, "createdAt": str(int(time.time() - ago_s))}
    return body | ({"participant": {"identity": str(who.pk), **more}} if who else {})


def test_who_leaves_ends_it_then_not_later(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    call = answered(rich, bob)
    joined(sandbox, call, bob)
    where = f"/livekit/dashboard/{call.room}/{bob.pk}/leave"
    sandbox.ask("POST", where, params={"event": "participant_connection_aborted"})
    [event] = told(sandbox, "participant_connection_aborted")
    passes(call, 50)
    calling.heartbeat(user=rich, call_id=call.pk)
    event["createdAt"] = str(int(event["createdAt"]) - 20)

    assert webhooks.handle(event, stale=False) is Outcome.PROCESSED

    over = fresh(call)
    assert (over.state, over.reason) == ("completed", "left")
    assert 28 <= over.billed_s <= 30
    cost = over.cost
    assert webhooks.handle(event | {"createdAt": "1"}, stale=False) is Outcome.IGNORED
    assert fresh(call).cost == cost
    books.check()


def test_webhooks_never_prolong_begin_or_charge(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    call = ringing(rich, bob)
    assert webhooks.handle(left(call, bob, ago_s=0), stale=False) is Outcome.IGNORED
    calling.answer(user=bob, call_id=call.pk)
    passes(call, 20)

    for event in (
        left(call, bob, ago_s=60),  # from before the answer
        left(call, bob, ago_s=0, disconnectReason="DUPLICATE_IDENTITY"),
        left(call, make_user(), ago_s=0),
        left(call, None, ago_s=0),
        left(call, bob, ago_s=0) | {"createdAt": "soon"},
        left(call, bob, ago_s=0, event="participant_joined"),
        {"event": "participant_left", "room": "call"},
    ):
        assert webhooks.handle(event, stale=False) is Outcome.IGNORED
    assert (
        webhooks.handle({"event": "room_finished", "room": {"name": f"call-{bob.pk}"}}, stale=False)
        is Outcome.UNMATCHED
    )
    assert fresh(call).is_open

    assert webhooks.handle(left(call, None, ago_s=-3600, event="room_finished"), stale=True) is Outcome.PROCESSED
    assert (fresh(call).billed_s, fresh(call).cost) == (20, 400)  # no later than now
    books.check()


def signed(body: bytes, secret: str, **claims: Any) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"Authorization": jwt.encode({"iss": "APIkey", "exp": 2000, "sha256": digest} | claims, secret, "HS256")}


def test_only_their_signature_of_this_body_is_taken(settings: Any) -> None:
    secret = settings.LIVEKIT_API_SECRET = "livekit_secret_example_of_32_letters"
    assert livekit.verify_webhook({}, b"{}", now=1900) is Verdict.NOT_CONFIGURED
    settings.LIVEKIT_BASE_URL, settings.LIVEKIT_API_KEY = "https://x.livekit.example", "APIkey"
    body = b'{"event":"room_started","id":"EV_ex1"}'
    good = signed(body, secret)
    assert "hrQFkwJLyr7CokSZLkYsHANz6QtBJrz8A55wgzLbWsE=" in str(
        jwt.decode(good["Authorization"], options={"verify_signature": False})
    )

    def verdict(headers: dict[str, str], given: bytes = body, now: int = 1900) -> Verdict:
        return livekit.verify_webhook(headers, given, now=now)

    assert verdict(good) is Verdict.VALID
    assert verdict(good, now=2100) is Verdict.STALE
    bad: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer " + good["Authorization"]},
        signed(body, secret + "x"),
        signed(body, secret, iss="APIother"),
        signed(body, secret, sha256=""),
        signed(body + b" ", secret),
        {"Authorization": jwt.encode({"iss": "APIkey", "sha256": "x"}, secret, "HS256")},
        {"Authorization": jwt.encode({"iss": "APIkey", "exp": 2000, "sha256": "x"}, "", "none")},
    ]
    assert [verdict(headers) for headers in bad] == [Verdict.INVALID] * len(bad)


def test_livekits_own_client_and_ours_have_the_same_rooms(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    call = answered(rich, bob)
    tending.tend_rooms()
    keys = sandbox.keys["LIVEKIT_API_KEY"], sandbox.keys["LIVEKIT_API_SECRET"]
    token, _ = livekit.join_token(call.room, str(rich.pk))
    claims = api.TokenVerifier(*keys).verify(token)
    assert claims.identity == str(rich.pk)
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room, claims.video.room_admin) == (True, call.room, None)

    async def theirs() -> None:
        async with api.LiveKitAPI(sandbox.livekit_url, *keys) as client:
            room = await client.room.create_room(
                api.CreateRoomRequest(name="other", empty_timeout=70, max_participants=3)
            )
            assert (room.name, room.empty_timeout, room.max_participants) == ("other", 70, 3)
            found = {room.name: room for room in (await client.room.list_rooms(api.ListRoomsRequest())).rooms}
            ours = found[call.room]
            assert set(found) == {"other", call.room}
            assert (ours.empty_timeout, ours.max_participants, ours.num_participants) == (120, 2, 1)
            assert abs(ours.creation_time - time.time()) < 600
            [only] = (await client.room.list_rooms(api.ListRoomsRequest(names=["other"]))).rooms
            assert only == room
            await client.room.delete_room(api.DeleteRoomRequest(room="other"))
            with pytest.raises(api.TwirpError) as refused:
                await client.room.delete_room(api.DeleteRoomRequest(room="other"))
            assert (refused.value.code, refused.value.status) == ("not_found", 404)
        async with api.LiveKitAPI(sandbox.livekit_url, keys[0], "another_secret_example_of_32_letters") as stranger:
            with pytest.raises(api.TwirpError) as refused:
                await stranger.room.create_room(api.CreateRoomRequest(name="third"))
            assert (refused.value.code, refused.value.status) == ("unauthenticated", 401)

    joined(sandbox, call, rich)
    asyncio.run(theirs())

    assert rooms(sandbox) == [call.room]
    calling.end(user=rich, call_id=call.pk)
    tending.tend_rooms()
    assert rooms(sandbox) == []


def test_livekits_own_signature_is_taken_and_theirs_takes_the_sandboxes(settings: Any) -> None:
    key, secret = "APIkey", "livekit_secret_example_of_32_letters"
    settings.LIVEKIT_BASE_URL, settings.LIVEKIT_API_KEY = "https://x.livekit.example", key
    settings.LIVEKIT_API_SECRET = secret
    body, now = '{"event":"room_started","id":"EV_ex1","room":{"name":"call-1"}}', int(time.time())

    theirs = api.AccessToken(key, secret).with_sha256(tokens.body_hash(body.encode())).to_jwt()
    sandboxs = tokens.sign(secret, {"iss": key, "exp": now + 300, "sha256": tokens.body_hash(body.encode())})

    assert livekit.verify_webhook({"Authorization": theirs}, body.encode(), now=now) is Verdict.VALID
    event = api.WebhookReceiver(api.TokenVerifier(key, secret)).receive(body, sandboxs)
    assert (event.event, event.id, event.room.name) == ("room_started", "EV_ex1", "call-1")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ["calls.room.made", "calls.room.deleted"])
def test_killed_at_a_room(sandbox: RunningSandbox, point: str) -> None:
    caller = make_user()
    fund(caller, 50)
    call = ringing(caller)
    if point == "calls.room.deleted":
        assert exit_status(tending.tend_rooms) == 0
        calling.end(user=caller, call_id=call.pk)

    die_at(point, tending.tend_rooms)
    Call.objects.update(room_due_at=Now())
    assert exit_status(tending.tend_rooms) == 0

    assert rooms(sandbox) == ([call.room] if point == "calls.room.made" else [])
    assert fresh(call).room_due_at is None
    if fresh(call).is_open:
        calling.end(user=caller, call_id=call.pk)
    assert money(caller) == (50, 0)
    books.check()
