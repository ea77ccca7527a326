"""images and videos over HTTP: what is accepted, what is refused, what it costs, who may."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditLog
from billing import ledger
from billing.models import Hold
from generation.models import BlockedTerm, Consent, Generation, Operation
from tests import books
from tests.generation.material import fail, fund, photo_of
from tests.people import api, make_user

IMAGES, VIDEOS, GENERATIONS = "/api/v1/images", "/api/v1/videos", "/api/v1/generations"
PROMPT = "A paper boat on a quiet lake"


@pytest.fixture(autouse=True)
def configured(settings: Any) -> Any:
    settings.XAI_API_KEY = settings.KIE_API_KEY = "test"
    settings.RATELIMIT_ENABLE = False
    return settings


@pytest.fixture
def client(rich: User) -> APIClient:
    return api(rich)


def post(client: APIClient, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    return client.post(path, body, format="json", headers={"Idempotency-Key": key or uuid.uuid4().hex})


def refused(answer: Any, status: int, error: str, *, field: str | None = None, code: str | None = None) -> None:
    """The refusal is this one, and it left nothing."""
    body = answer.json()
    assert (answer.status_code, body["error"], body["charged"]) == (status, error, "none"), body
    if field:
        assert [(item["field"], item["code"]) for item in body["details"]] == [(field, code)]
    assert not Generation.objects.exists()
    assert not Hold.objects.exists()


def test_pictures_are_ordered_with_the_usual_values(rich: User, client: APIClient) -> None:
    answer = post(client, IMAGES, {"prompt": PROMPT, "quality": "hd", "count": 2, "name": ""})

    assert answer.status_code == 202, answer.content
    job = answer.json()
    assert (job["kind"], job["operation"], job["provider"], job["price"]) == ("image", "image", "xai", 15)
    assert job["params"] == {
        "prompt": PROMPT,
        "quality": "hd",
        "size": "1024x1024",
        "count": 2,
        "optimize_prompt": False,
    }
    assert (job["data"], job["outputs"], job["charged"], job["avatar"]) == ({}, [], "held", None)
    assert answer["Location"] == f"{GENERATIONS}/{job['id']}"
    assert client.get(IMAGES).json()["results"] == [client.get(answer["Location"]).json()]
    assert client.get(VIDEOS).json()["count"] == 0
    assert client.get(f"{IMAGES}?status=failed").json()["count"] == 0
    assert client.get(f"{GENERATIONS}?kind=image").json()["count"] == 1
    assert ledger.balance(rich.pk).held == 15
    assert not Consent.objects.exists()
    books.check()


def test_a_key_is_wanted_and_means_one_order(rich: User, client: APIClient) -> None:
    for path in (IMAGES, VIDEOS):
        assert client.post(path, {"prompt": PROMPT}, format="json").json()["error"] == "idempotency_key_required"

    one, two = (post(client, IMAGES, {"prompt": PROMPT}, key="k") for _ in range(2))

    assert one.json() == two.json()
    assert two["Idempotent-Replayed"] == "true"
    assert Generation.objects.count() == 1
    books.check()


@pytest.mark.parametrize(
    ("path", "body", "field", "code"),
    [
        (IMAGES, {}, "prompt", "required"),
        (IMAGES, {"prompt": ""}, "prompt", "required"),
        (IMAGES, {"prompt": "boat"}, "prompt", "min_length"),
        (IMAGES, {"prompt": PROMPT, "size": "1x1"}, "size", "invalid_choice"),
        (IMAGES, {"prompt": PROMPT, "count": 5}, "count", "out_of_range"),
        (IMAGES, {"prompt": PROMPT, "count": "2"}, "count", "invalid"),
        (IMAGES, {"prompt": PROMPT, "optimize_prompt": "yes"}, "optimize_prompt", "invalid"),
        (IMAGES, {"prompt": PROMPT, "price": 1}, "price", "unknown_field"),
        (IMAGES, {"prompt": PROMPT, "duration": 6}, "duration", "unknown_field"),
        (IMAGES, {"prompt": PROMPT, "operation": "video.xai"}, "operation", "unknown_operation"),
        (VIDEOS, {}, "prompt", "required"),
        (VIDEOS, {"prompt": PROMPT, "duration": 31}, "duration", "out_of_range"),
        (VIDEOS, {"prompt": PROMPT, "style": "noir"}, "style", "invalid_choice"),
        (VIDEOS, {"prompt": PROMPT, "triggers": ["ice"]}, "triggers", "unknown_parameter"),
        (VIDEOS, {"prompt": PROMPT, "image_url": "http://127.0.0.1/x"}, "image_url", "invalid_url"),
        (VIDEOS, {"prompt": PROMPT, "operation": "video.kie", "style": "natural"}, "style", "unknown_parameter"),
        (VIDEOS, {"prompt": PROMPT, "operation": "video.kie", "duration": 6}, "duration", "invalid_choice"),
        (VIDEOS, {"prompt": PROMPT, "operation": "video.kie", "triggers": ["lava"]}, "triggers", "invalid_choice"),
    ],
)
def test_what_is_not_sold_is_refused_by_name(
    client: APIClient, path: str, body: dict[str, Any], field: str, code: str
) -> None:
    refused(post(client, path, body), 400, "invalid", field=field, code=code)


def test_eight_seconds_in_1080p_are_not_sold(rich: User, client: APIClient) -> None:
    film = {"operation": "video.kie", "prompt": PROMPT, "duration": 8, "quality": "1080p"}

    refused(post(client, VIDEOS, film), 400, "not_sold", field="quality", code="not_sold")
    asked = {"operation": "video.kie", "params": {"duration": 8, "quality": "1080p"}}
    assert client.post(f"{GENERATIONS}/quote", asked, format="json").json()["error"] == "not_sold"

    for quality, duration, price in (("720p", 5, 20), ("1080p", 5, 25), ("720p", 8, 30)):
        answer = post(client, VIDEOS, film | {"duration": duration, "quality": quality})
        assert (answer.status_code, answer.json()["price"]) == (202, price)
    assert ledger.balance(rich.pk).held == 75
    books.check()


def test_a_film_to_listen_to_is_worded_anew_beside_what_was_typed(rich: User, client: APIClient) -> None:
    film = {"operation": "video.kie", "prompt": "A pale blue bar on marble", "triggers": ["soap", "water"]}

    job = post(client, VIDEOS, film).json()

    assert job["params"]["prompt"] == "A pale blue bar on marble"
    said = job["data"]["optimized_prompt"]
    assert said.startswith("ASMR video: A pale blue bar on marble, featuring soap")
    assert "water" in said
    assert len(said) <= 1800
    plain = post(client, VIDEOS, {"operation": "video.kie", "prompt": PROMPT}).json()
    assert plain["data"] == {}
    long = post(client, VIDEOS, film | {"prompt": "word " * 359}).json()
    assert len(long["data"].get("optimized_prompt", "")) <= 1800


def test_a_film_from_a_picture_wants_consent_and_no_words(rich: User, client: APIClient) -> None:
    photo = str(photo_of(rich).pk)

    refused(post(client, VIDEOS, {"photo": photo}), 400, "consent_required")
    both = {"photo": photo, "image_url": "https://pictures.example.com/a.jpg", "consent": True}
    refused(post(client, VIDEOS, both), 400, "invalid")
    answer = post(client, VIDEOS, {"photo": photo, "consent": True, "with_audio": False, "duration": 7})

    assert (answer.status_code, answer.json()["price"]) == (202, 30)
    assert answer.json()["photos"] == [photo]
    assert Consent.objects.get().generation_id == uuid.UUID(answer.json()["id"])
    books.check()


def test_blocked_words_are_refused_and_kept_on_record(client: APIClient) -> None:
    BlockedTerm.objects.create(term="sea monster", category="violence")

    for path in (IMAGES, VIDEOS):
        refused(post(client, path, {"prompt": "A boat and a SEA  monster"}), 422, "moderated")

    assert AuditLog.objects.filter(action="generation.denied").count() == 2


def test_others_photos_and_avatars_are_nobodys(client: APIClient, bob: User) -> None:
    theirs = str(photo_of(bob).pk)

    refused(post(client, VIDEOS, {"photo": theirs, "consent": True}), 404, "not_found")
    refused(post(client, IMAGES, {"prompt": PROMPT, "avatar": str(uuid.uuid4())}), 404, "not_found")


def test_what_is_off_or_without_keys_is_unavailable(client: APIClient, settings: Any) -> None:
    settings.XAI_API_KEY = ""
    for path in (IMAGES, VIDEOS):
        refused(post(client, path, {"prompt": PROMPT}), 503, "operation_unavailable")
    Operation.objects.filter(code="video.kie").update(is_enabled=False)
    refused(post(client, VIDEOS, {"prompt": PROMPT, "operation": "video.kie"}), 503, "operation_unavailable")


def test_too_few_credits_are_told(client: APIClient) -> None:
    answer = post(client, IMAGES, {"prompt": PROMPT, "count": 4, "quality": "premium", "size": "2048x2048"})
    assert answer.json()["price"] == 80

    answer = post(client, IMAGES, {"prompt": PROMPT, "count": 4, "quality": "premium"})

    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_credits")
    assert Generation.objects.count() == 1


def test_a_quote_is_for_everything_that_is_priced(rich: User, client: APIClient) -> None:
    asked = {"operation": "image", "params": {"quality": "hd", "count": 3}}
    quote = client.post(f"{GENERATIONS}/quote", asked, format="json").json()
    assert quote["price"] == 23
    Operation.objects.filter(code="image").update(base_price=50)

    for other in ({"count": 4}, {"quality": "premium"}, {"size": "1920x1080"}):
        body = {"prompt": PROMPT, "quality": "hd", "count": 3, "quote": quote["quote"]} | other
        refused(post(client, IMAGES, body), 409, "quote_mismatch")
    same = {"prompt": PROMPT, "quality": "hd", "count": 3, "size": "1024x1024", "quote": quote["quote"]}
    answer = post(client, IMAGES, same)

    assert (answer.status_code, answer.json()["price"]) == (202, 23)
    books.check()


def test_films_at_kie_are_five_an_hour_and_others_are_not_counted(rich: User, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"generation": (100, 60, "user"), "general": (1000, 60, "user_or_ip")}
    settings.RATE_LIMITS |= {"kie_videos": (5, 86_400, "user")}
    fund(rich, 500)
    client = api(rich)
    film = {"operation": "video.kie", "prompt": PROMPT}
    assert post(client, VIDEOS, {"prompt": PROMPT}).status_code == 202

    found = [post(client, VIDEOS, film).status_code for _ in range(6)]

    assert found == [202] * 5 + [429]
    assert post(client, VIDEOS, {"prompt": PROMPT}).status_code == 202
    Operation.objects.filter(code="video.xai").update(is_default=False)
    Operation.objects.filter(code="video.kie").update(is_default=True)
    assert post(client, VIDEOS, {"prompt": PROMPT}).status_code == 429
    assert client.get(VIDEOS).status_code == 200
    for body in ([1], "x", {"operation": ["video.kie"]}, {"operation": 5}):
        answer = client.post(VIDEOS, body, format="json", headers={"Idempotency-Key": "odd"})
        assert answer.status_code in (400, 429)


def test_a_retry_at_kie_counts_as_an_order_there(rich: User, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"generation": (100, 60, "user"), "general": (1000, 60, "user_or_ip")}
    settings.RATE_LIMITS |= {"kie_videos": (5, 86_400, "user")}
    fund(rich, 500)
    client = api(rich)
    film = {"operation": "video.kie", "prompt": PROMPT}
    made = [post(client, VIDEOS, film).json()["id"] for _ in range(4)]
    other = post(client, VIDEOS, {"prompt": PROMPT}).json()["id"]
    for id in (*made, other):
        fail(Generation.objects.get(pk=id))

    def retry(id: str, client: APIClient = client) -> int:
        return post(client, f"{GENERATIONS}/{id}/retry", {}).status_code

    assert retry(other) == 202
    assert [retry(id) for id in made] == [202, 429, 429, 429]
    assert post(client, VIDEOS, film).status_code == 429
    assert client.get(f"{GENERATIONS}/{made[1]}").status_code == 200
    assert Generation.objects.filter(round=2).count() == 2
    stranger = api(make_user(email="eve@example.com"))
    assert {retry(made[0], stranger) for _ in range(7)} == {404}
    books.check()


def test_operations_show_what_is_sold(anonymous: APIClient, db: None, settings: Settings) -> None:
    settings.PHOTOGRAMMETRY_ENABLED = False
    shown = {row["code"]: row for row in anonymous.get(f"{GENERATIONS}/operations").json()}

    assert sorted(shown) == [
        *("avatar", "avatar.thumbnail", "headshot", "image", "model3d", "video.kie", "video.xai"),
    ]
    assert [code for code, row in sorted(shown.items()) if row["is_default"]] == [
        *("avatar", "headshot", "image", "model3d", "video.xai"),
    ]
    assert {code: row["base_price"] for code, row in shown.items()} == {
        "avatar": 10,
        "avatar.thumbnail": 5,
        "headshot": 50,
        "image": 5,
        "model3d": 40,
        "video.kie": 20,
        "video.xai": 15,
    }
    assert shown["video.kie"]["limits"]["triggers"]["max"] == 3
    assert not shown["model3d"]["is_available"]
