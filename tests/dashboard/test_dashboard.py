"""The client's dashboard over HTTP: what it counts, in which order it tells, and in how many queries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from billing import ledger
from billing.models import LedgerEntry, Payment, Plan, Subscription
from calls import calling
from calls.models import Call
from core import redis
from core.ids import new_id
from dashboard import overview
from generation import avatars, jobs
from generation.models import Generation, Kind, State
from store.models import Order
from tests import books
from tests.billing import given
from tests.calls import given as calls
from tests.generation.material import avatar_of, fail, order, order_of
from tests.people import api, make_user
from tests.store.material import placed, product

pytestmark = pytest.mark.django_db

URL = "/api/v1/dashboard"
READS = ["", "/quick-stats", "/analytics", "/activity", "/limits"]
NONE = {"total": 0, "completed": 0, "failed": 0}
NO_CONTENT = dict.fromkeys(("headshots", "images", "videos", "avatars", "models"), NONE) | {"total": 0}


def get(user: User | None, path: str = "", **query: Any) -> Any:
    return api(user).get(URL + path, query)


def shown(user: User, path: str = "", **query: Any) -> Any:
    answer = get(user, path, **query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def copies(job: Generation, number: int, **changes: Any) -> list[Generation]:
    """As many finished jobs like this one."""
    fields = {f.attname: getattr(job, f.attname) for f in Generation._meta.concrete_fields if f.name != "id"}
    fields |= {"state": State.SUCCEEDED, "finished_at": job.created_at, "next_at": None} | changes
    return Generation.objects.bulk_create(Generation(**fields) for _ in range(number))


def payment_of(user: User, **fields: Any) -> Payment:
    """A payment that nobody went on with."""
    first = {"item": "package:BASIC", "fulfils": "credits", "title": "Basic, 100 credits", "credits": 100}
    rest = {"gateway": "razorpay", "amount": 49_900, "currency": "INR", "state": "canceled"}
    return Payment.objects.create(user=user, expires_at=timezone.now(), **first | rest | fields)


def subscribed(user: User, **fields: Any) -> Subscription:
    """What a paid invoice leaves behind, as far as reading goes."""
    plan = Plan.objects.get(code="starter", interval="month")
    now = timezone.now()
    first = {"state": "active", "period_start": now, "period_end": now + timedelta(days=20)}
    return Subscription.objects.create(user=user, plan=plan, **first | fields)


def is_now(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """For the dashboard alone: tokens run out by the same clock."""
    monkeypatch.setattr(overview, "clock", SimpleNamespace(now=lambda: moment))


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- Who and what is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READS)
def test_it_is_for_whoever_is_signed_in(path: str) -> None:
    assert get(None, path).status_code == 401
    assert get(make_user(verified=False), path).status_code == 200


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("query", [{"owner": "bob"}, {"offset": "1"}, {"timeframe": ""}])
def test_what_nobody_reads_is_refused(alice: User, path: str, query: dict[str, str]) -> None:
    answer = get(alice, path, **query)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid")
    assert answer.json()["details"][0]["field"] == next(iter(query))


@pytest.mark.parametrize("timeframe", ["1d", "30", "365d", "7D", "7d,30d", "-7d"])
def test_other_timeframes_are_400(alice: User, timeframe: str) -> None:
    answer = get(alice, "/analytics", timeframe=timeframe)

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "timeframe")


@pytest.mark.parametrize(("page", "status"), [("0", 400), ("-1", 400), ("x", 400), ("9", 404), ("99999999", 404)])
def test_pages_that_are_not_there(alice: User, page: str, status: int) -> None:
    assert get(alice, "/activity", page=page).status_code == status
    assert get(alice, "/activity", limit="101").status_code == 400


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_a_newcomer_sees_the_gift_and_zeros(alice: User) -> None:
    found = shown(alice)

    [gift] = found.pop("recent_activity")
    assert (gift["type"], gift["title"], gift["metadata"]["amount"]) == ("credits", "Credits received", 5)
    assert found == {
        "user": {
            "id": str(alice.pk),
            "email": "alice@example.com",
            "first_name": "Alice",
            "last_name": "",
            "avatar_url": None,
            "is_verified": True,
            "created_at": iso(alice.created_at),
        },
        "credits": {
            "balance": 5,
            "held": 0,
            "frozen": 0,
            "available": 5,
            "debt": 0,
            "total_earned": 5,
            "total_used": 0,
        },
        "subscription": None,
        "avatars": {
            "total": 0,
            "ready": 0,
            "creating": 0,
            "failed": 0,
            "most_used_avatar": None,
            "limit": 1,
            "remaining": 1,
        },
        "content": NO_CONTENT,
    }
    assert shown(alice, "/quick-stats") == {
        "credits": {"current": 5, "total_earned": 5, "total_used": 0},
        "avatars": {"count": 0, "limit": 1},
        "content": {"generated": 0},
        "subscription": {"is_active": False, "plan": None, "expires_at": None},
    }


def test_figures_are_the_persons_own_and_those_of_the_ledger(alice: User, bob: User) -> None:
    sale = given.bought(alice, 200)
    given.spent(alice, 60)
    ledger.claw_back(user_id=alice.pk, amount=30, key="refund:1", subject=("refund", new_id()), source=("sale", sale))
    ledger.adjust(user_id=alice.pk, amount=-7, key="fix:1", subject=("user", alice.pk), memo="Test")
    picture = order_of(alice, Kind.IMAGE, prompt="A paper boat")
    fail(order_of(alice, Kind.IMAGE, prompt="A paper ship"))
    books.check()
    copies(picture, 3, deleted_at=picture.created_at)
    given.bought(bob, 1000)
    order(bob)
    current = subscribed(alice)

    quick, found = shown(alice, "/quick-stats"), shown(alice)
    credits = shown(alice, "/analytics")["credits"]

    assert credits["totals"] == {"earned": 205, "used": 60, "refunded": 30, "lost": 7, "net": 108}
    assert {name: sum(day[name] for day in credits["daily"]) for name in credits["totals"]} == credits["totals"]
    assert credits["totals"]["net"] == ledger.balance(alice.pk).balance
    assert quick["credits"] == {"current": 108, "total_earned": 205, "total_used": 60}
    assert quick["content"] == {"generated": 3}
    ends_at = iso(current.period_end)
    assert quick["subscription"] == {"is_active": True, "plan": "starter", "expires_at": ends_at}
    assert found["content"] == NO_CONTENT | {"images": {"total": 5, "completed": 3, "failed": 1}, "total": 5}
    assert found["credits"]["held"] == picture.price
    assert found["subscription"] == {
        "id": str(current.pk),
        "plan": "starter",
        "name": "Starter",
        "interval": "month",
        "status": "active",
        "period_start": iso(current.period_start),
        "period_end": ends_at,
        "cancel_at_period_end": False,
    }
    assert (found["avatars"]["limit"], found["avatars"]["remaining"]) == (3, 3)


@pytest.mark.parametrize(("timeframe", "days"), [("7d", 7), ("30d", 30), ("90d", 90)])
def test_each_day_is_there_and_ends_at_midnight_in_utc(
    alice: User, timeframe: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_now(monkeypatch, datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC))
    picture = order(alice) if given.bought(alice, 500) else None
    first = datetime(2026, 3, 1, tzinfo=UTC) - timedelta(days=days - 1)
    for moment in (first - timedelta(microseconds=1), first, datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)):
        for kind, state in ((Kind.IMAGE, State.SUCCEEDED), (Kind.VIDEO, State.FAILED), (Kind.VIDEO, State.CANCELED)):
            code = "provider_failed" if state == State.FAILED else ""
            made = copies(picture, 1, kind=kind, state=state, error_code=code)  # type: ignore[arg-type]
            Generation.objects.filter(pk=made[0].pk).update(created_at=moment)
    Generation.objects.filter(kind=Kind.HEADSHOT).update(created_at=first - timedelta(days=9))

    found = shown(alice, "/analytics", timeframe=timeframe)

    assert found["timeframe"] == timeframe
    assert found["period"] == {"start": str(first.date()), "end": "2026-03-01"}
    daily = found["content"]["daily"]
    wanted = [str((first + timedelta(days=n)).date()) for n in range(days)]
    assert [day["date"] for day in daily] == [day["date"] for day in found["credits"]["daily"]] == wanted
    one = NO_CONTENT | {
        "images": {"total": 1, "completed": 1, "failed": 0},
        "videos": {"total": 2, "completed": 0, "failed": 1},
        "total": 3,
    }
    assert {day["date"]: {**day, "date": 0} for day in daily if day["total"]} == {
        wanted[0]: one | {"date": 0},
        "2026-02-28": one | {"date": 0},
    }
    assert found["content"]["totals"]["videos"] == {"total": 4, "completed": 0, "failed": 2}
    assert found["content"]["totals"]["total"] == 6


def test_credits_are_of_the_day_on_which_they_moved(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    given.bought(alice, 100)
    given.spent(alice, 40)
    moved = LedgerEntry.objects.filter(wallet=given.wallet(alice)).latest("id").transaction.created_at
    none = {"earned": 0, "used": 0, "refunded": 0, "lost": 0, "net": 0}

    for later, at in ((0, 6), (3, 3), (6, 0), (7, None)):
        is_now(monkeypatch, moved + timedelta(days=later))
        daily = shown(alice, "/analytics", timeframe="7d")["credits"]["daily"]
        busy = {n: {**day, "date": 0} for n, day in enumerate(daily) if {**day, "date": 0} != none | {"date": 0}}
        moves = {"date": 0, "earned": 105, "used": 40, "refunded": 0, "lost": 0, "net": 65}
        assert busy == ({} if at is None else {at: moves})
    books.check()


def test_what_was_summed_is_kept_and_never_believed_of_another_history(alice: User) -> None:
    def total() -> tuple[int, int]:
        found = shown(alice, "/quick-stats")["credits"]
        return found["total_earned"], found["total_used"]

    given.bought(alice, 200)
    assert total() == (205, 0)
    given.spent(alice, 60)
    assert total() == total() == (205, 60)
    key = f"atelier:credits:{alice.pk}"
    kept = redis.client().get(key)
    given.spent(alice, 10)

    redis.client().set(key, kept.replace('"used":60', '"used":59'))  # type: ignore[union-attr]
    assert total() == (205, 69)  # up to there it is believed: only what came since was summed
    redis.client().set(key, kept.replace('"transaction":"0', '"transaction":"f'))  # type: ignore[union-attr]
    assert total() == (205, 70)  # of a database that is not this one
    redis.client().delete(key)
    assert total() == (205, 70)
    books.check()


# --- Activity ---------------------------------------------------------------------------------------------------------


def test_everything_that_happened_is_told_once_newest_first(alice: User, bob: User) -> None:
    given.bought(alice, 500)
    payment = payment_of(alice)
    subscription = subscribed(alice)
    avatar = avatar_of(alice)
    picture = order_of(alice, Kind.IMAGE, prompt="A paper boat " + "x" * 300)
    lost = fail(order_of(alice, Kind.VIDEO, operation="video.xai", prompt="A paper ship"))
    given.spent(alice, 40)
    payment_of(bob)
    order(bob) if given.bought(bob, 100) else None

    found = shown(alice, "/activity")["results"]

    assert [row["created_at"] for row in found] == sorted((row["created_at"] for row in found), reverse=True)
    told = {row["id"]: {**row, "created_at": ""} for row in found}
    assert len(told) == len(found) == 8
    assert told[str(payment.pk)] == {
        "id": str(payment.pk),
        "type": "payment",
        "title": "Basic, 100 credits",
        "description": "",
        "status": "canceled",
        "created_at": "",
        "metadata": {
            "item": "package:BASIC",
            "gateway": "razorpay",
            "amount": 49_900,
            "currency": "INR",
            "credits": 100,
        },
    }
    plan = told[str(subscription.pk)]
    assert (plan["type"], plan["title"], plan["status"]) == ("subscription", "Starter", "active")
    assert plan["metadata"] == {"plan": "starter", "interval": "month", "cancel_at_period_end": False}
    face = told[str(avatar.pk)]
    assert (face["type"], face["title"], face["status"]) == ("avatar", "Mira", "creating")
    assert face["metadata"] == {"generation": str(avatar.generation_id), "price": 10}
    boat = told[str(picture.pk)]
    assert (boat["type"], boat["title"], boat["status"]) == ("generation", "Image", "queued")
    assert boat["description"] == ("A paper boat " + "x" * 300)[:200]
    assert boat["metadata"] == {"kind": "image", "operation": "image", "price": picture.price, "error": ""}
    ship = told[str(lost.pk)]
    assert (ship["title"], ship["status"], ship["metadata"]["error"]) == ("Video", "failed", "provider_failed")
    moves = [(row["title"], row["status"], row["metadata"]["amount"]) for row in found if row["type"] == "credits"]
    assert moves == [
        ("Credits spent", "posted", -40),
        ("Credits bought", "posted", 500),
        ("Credits received", "posted", 5),
    ]
    spend = next(row for row in found if row["title"] == "Credits spent")
    assert (spend["metadata"]["balance_after"], spend["metadata"]["subject"]["type"]) == (465, "job")
    assert shown(alice)["recent_activity"] == found
    books.check()


def test_orders_and_calls_are_told_to_who_has_part_in_them(alice: User, bob: User, settings: Any) -> None:
    settings.LIVEKIT_BASE_URL = ""
    calls.fund(alice, 20)
    pots, tree = product(name="Pot"), product(name="Elm")
    order = placed(alice, tree, pots)
    call = calls.answered(alice, bob)
    calls.passes(call, 61)
    ended = calling.end(user=bob, call_id=call.pk)

    hers = {row["id"]: row for row in shown(alice, "/activity")["results"]}
    his = {row["id"]: row for row in shown(bob, "/activity")["results"]}

    found = hers[str(order.pk)]
    assert (found["type"], found["title"], found["status"]) == ("order", "Order", "pending")
    assert found["description"] == "Elm, Pot"
    assert found["metadata"] == {"amount": 500_000, "currency": "NGN", "tracking": ""}
    assert ended.billed_s >= 61
    facts = {"type": "audio", "billed_s": ended.billed_s, "amount": ended.cost, "currency": "NGN"}
    made, received = hers[str(call.pk)], his[str(call.pk)]
    assert (made["type"], made["title"], made["status"]) == ("call", "Call made", "completed")
    assert made["metadata"] == facts | {"role": "caller"}
    assert (received["title"], received["description"]) == ("Call received", "Alice")
    assert received["metadata"] == facts | {"role": "callee"}
    assert str(order.pk) not in his
    books.check()


def test_what_was_deleted_is_not_told(alice: User) -> None:
    given.bought(alice, 500)
    avatar = avatar_of(alice)
    picture = fail(order_of(alice, Kind.IMAGE, prompt="A paper boat"))
    assert len(shown(alice, "/activity")["results"]) == 4

    jobs.delete(user=alice, job_id=picture.pk)
    avatars.delete(user=alice, avatar_id=avatar.pk)

    left = shown(alice, "/activity")
    assert str(picture.pk) not in [row["id"] for row in left["results"]]
    assert str(avatar.pk) not in [row["id"] for row in left["results"]]
    books.check()


def walked(user: User, limit: int) -> list[str]:
    """The ids of all pages, by their links."""
    url, found = f"{URL}/activity?limit={limit}", []
    client = api(user)
    while url:
        page = client.get(url).json()
        found += [row["id"] for row in page["results"]]
        url = page["next"]
    assert page["count"] == len(found)
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_hold_everything_once_in_one_order(alice: User, bob: User, limit: int) -> None:
    given.bought(alice, 900)
    picture = order_of(alice, Kind.IMAGE, prompt="A paper boat")
    copies(picture, 6)  # all of one moment
    for _ in range(5):
        given.spent(alice, 3)
        payment_of(alice, created_at=picture.created_at)
    subscribed(alice, created_at=picture.created_at)
    calls.fund(alice, 20)
    Order.objects.filter(pk__in=[placed(alice).pk, placed(alice).pk]).update(created_at=picture.created_at)
    Call.objects.filter(pk=calls.ringing(alice, bob).pk).update(created_at=picture.created_at)

    found = walked(alice, limit)

    assert len(found) == len(set(found)) == 2 + 7 + 10 + 1 + 2 + 1
    assert found == walked(alice, 100)


# --- Limits -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def day_long(settings: Any) -> None:
    """No window ends between two requests."""
    settings.RATE_LIMITS = {scope: (limit, 86_400, by) for scope, (limit, _, by) in settings.RATE_LIMITS.items()}


def test_limits_without_a_plan(alice: User, day_long: None) -> None:
    found = shown(alice, "/limits")

    rates = {row.pop("name"): row for row in found.pop("rate_limits")}
    assert found == {
        "plan": None,
        "avatars": {"current": 0, "max": 1, "remaining": 1, "warning": True},
        "credits": {"available": 5, "held": 0, "debt": 0, "warning": True},
        "subscription": None,
    }
    assert rates["generation"] == {"limit": 10, "period_s": 86_400, "remaining": 10}
    assert rates["purchases"] == {"limit": 10, "period_s": 86_400, "remaining": 10}
    assert rates["general"] == {"limit": 100, "period_s": 86_400, "remaining": 99}
    assert {"auth", "registrations", "failed_logins", "refresh", "returns"}.isdisjoint(rates)


def test_limits_tell_what_is_used(alice: User, day_long: None) -> None:
    given.bought(alice, 500)
    avatar_of(alice) if subscribed(alice) else None
    client = api(alice)
    body = {"prompt": "A paper boat"}
    assert client.post("/api/v1/images", body, format="json", headers={"Idempotency-Key": "1"}).status_code == 202

    first, again = (client.get(f"{URL}/limits").json() for _ in range(2))

    assert first["plan"] == "starter"
    assert first["avatars"] == {"current": 1, "max": 3, "remaining": 2, "warning": False}
    assert first["credits"] == {"available": 490, "held": 15, "debt": 0, "warning": False}
    left = [next(row["remaining"] for row in found["rate_limits"] if row["name"] == "generation")
            for found in (first, again)]  # fmt: skip
    assert left == [9, 9]  # looking is not counted
    books.check()


@pytest.mark.parametrize(
    ("fields", "left", "days", "warns"),
    [
        ({}, timedelta(days=20), 20, False),
        ({}, timedelta(days=3), 3, False),
        ({"cancel_at_period_end": True}, timedelta(days=7), 7, True),
        ({"cancel_at_period_end": True}, timedelta(days=7, hours=1), 8, False),
        ({"state": "past_due"}, timedelta(hours=1), 1, True),
        ({"state": "past_due"}, timedelta(days=-2), 0, True),
    ],
)
def test_a_warning_is_of_what_ends_and_does_not_renew(
    alice: User, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], left: timedelta, days: int, warns: bool
) -> None:
    now = timezone.now()
    is_now(monkeypatch, now)
    current = subscribed(alice, **fields, period_end=now + left)

    assert shown(alice, "/limits")["subscription"] == {
        "status": current.state,
        "expires_in_days": days,
        "warning": warns,
        "cancel_at_period_end": current.cancel_at_period_end,
    }


def test_limits_are_shown_while_nothing_can_be_counted(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api(alice)

    def away(*_: Any) -> Any:
        raise redis.Error

    monkeypatch.setattr(redis, "client", away)
    found = client.get(f"{URL}/limits").json()

    assert {row["remaining"] for row in found["rate_limits"]} == {None}


# --- How many queries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "queries"), [("", 10), ("/quick-stats", 6), ("/analytics", 2), ("/activity", 3), ("/limits", 4)]
)
def test_the_number_of_queries_is_the_same_whatever_the_history(alice: User, path: str, queries: int) -> None:
    def asked(read: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as found:
            assert read().status_code == 200
        return len(found) - 1  # the session

    client = api(alice)
    given.bought(alice, 5000)
    subscribed(alice)
    picture = order_of(alice, Kind.IMAGE, prompt="A paper boat")
    copies(picture, 10)
    few = asked(lambda: client.get(URL + path))
    copies(picture, 1_000)
    for _ in range(100):
        given.spent(alice, 1)
    for n in range(50):
        payment_of(alice, item=f"credits:{n + 10}")
    placed(alice, product(stock=9), product(stock=9))
    calls.fund(alice, 10)
    calls.ringing(alice)

    many = asked(lambda: client.get(URL + path))

    assert few == many == queries
