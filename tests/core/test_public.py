"""Public lists: from Redis until they change, and from the database without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as library
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from core import public, redis
from generation.models import Operation
from tests.people import PASSWORD

LISTS = [
    "/api/v1/credits/packages",
    "/api/v1/payments/pricing",
    "/api/v1/generations/operations",
    "/api/v1/subscriptions/plans",
    "/api/v1/wearables",
    "/api/v1/wearables/categories",
]
OPERATIONS = LISTS[2]


def queries(path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as found:
        assert Client().get(path).status_code == 200
    return len(found)


@pytest.fixture
def without_redis(settings: Any) -> Iterator[None]:
    redis.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    yield
    redis.client.cache_clear()


@pytest.mark.django_db
@pytest.mark.parametrize("path", LISTS)
def test_the_second_reader_costs_no_query(path: str) -> None:
    first = Client().get(path)
    second = Client().get(path)

    assert queries(path) == 0
    assert (first.content, first["ETag"]) == (second.content, second["ETag"])
    assert first["Cache-Control"] == "public, no-cache"
    assert first["Content-Type"] == "application/json"
    assert "RateLimit" in second


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "count"), list(zip(LISTS, (2, 2, 1, 1, 1, 1), strict=True)))
def test_what_the_first_reader_costs(path: str, count: int) -> None:
    assert queries(path) == count


@pytest.mark.django_db
@pytest.mark.parametrize("path", LISTS)
def test_whoever_kept_the_answer_is_told_that_it_holds(path: str) -> None:
    tag = Client().get(path)["ETag"]

    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = Client().get(path, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    for given in ('"other"', "junk", ""):
        assert Client().get(path, headers={"If-None-Match": given}).status_code == 200
    packed = Client().get(path, headers={"Accept-Encoding": "gzip"})
    assert packed["ETag"] == tag


@pytest.mark.django_db
def test_each_question_has_its_own_answer_and_refusals_are_not_kept() -> None:
    everything = Client().get(LISTS[0]).json()
    rupees = Client().get(f"{LISTS[0]}?currency=inr").json()
    page = Client().get(f"{LISTS[0]}?limit=1&page=2").json()

    assert 0 < rupees["count"] < everything["count"]
    assert page["results"] == everything["results"][1:2]
    assert Client().get(f"{LISTS[0]}?page=2&limit=1").json() == page
    for path in LISTS:
        assert [Client().get(f"{path}?nothing=1").status_code for _ in range(2)] == [400, 400]


@pytest.mark.django_db(transaction=True)
def test_a_colleagues_edit_shows_at_once() -> None:
    before = Client().get(OPERATIONS)
    operation = Operation.objects.get(code=before.json()[0]["code"])
    boss = User.objects.create_superuser("boss@example.com", PASSWORD)
    console = Client()
    console.force_login(boss)
    place = reverse("admin:generation_operation_change", args=[operation.pk])
    form = console.get(place).context["adminform"].form
    filled = {name: form[name].value() for name in form.fields}
    said = {name: value for name, value in filled.items() if value is not None and value is not False}

    response = console.post(place, said | {"title": "Another", "base_price": 77})

    assert response.status_code == 302, response.context["errors"]
    after = Client().get(OPERATIONS, headers={"If-None-Match": before["ETag"]})
    assert (after.status_code, after.json()[0]["title"]) == (200, "Another")
    assert after.json()[0]["base_price"] == before.json()[0]["base_price"]  # that takes a colleague


@pytest.mark.django_db
def test_without_redis_everybody_is_answered_from_the_database(without_redis: None) -> None:
    for path in LISTS:
        answers = [Client().get(path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert queries(path) > 0
        assert Client().get(path, headers={"If-None-Match": answers[0]["ETag"]}).status_code == 304
    with pytest.raises(library.RedisError):
        redis.client().ping()
    public.changed("operations")  # nothing to drop, nobody is troubled


def test_what_was_made_before_a_change_is_not_found_after_it() -> None:
    def slowly() -> bytes:
        public._forget("things")  # somebody commits a change while the old rows are being written down
        return b"old"

    assert public.answer("things", "all", slowly).body == b"old"

    assert public.answer("things", "all", lambda: b"new").body == b"new"
    assert public.answer("things", "all", lambda: b"newer").body == b"new"


def test_an_old_answer_is_made_anew_by_one_while_others_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        if len(made) > 1:  # while it is being made
            assert public.answer("things", "all", lambda: b"never").body == b"first"
            return b"second"
        return b"first"

    public.answer("things", "all", make)
    monkeypatch.setattr(public, "RENEWING_S", public.KEEP_S + 1)

    assert public.answer("things", "all", make).body == b"second"
    assert len(made) == 2


def test_a_change_that_is_rolled_back_drops_nothing(db: None) -> None:
    public.answer("things", "all", lambda: b"first")

    public.changed("things")  # this test's transaction never commits

    assert public.answer("things", "all", lambda: b"second").body == b"first"


def test_endless_questions_are_not_kept() -> None:
    which = "x" * (public.MAX_WHICH + 1)
    assert public.answer("things", which, lambda: b"1").body == b"1"
    assert public.answer("things", which, lambda: b"2").body == b"2"
