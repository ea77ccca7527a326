"""avatars over HTTP: ordering, limits, editing, deleting. What the engine makes of the orders is in test_avatars."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditLog
from billing import ledger
from billing.models import Plan, Subscription
from generation import jobs
from generation.errors import AvatarLimitReached
from generation.models import Avatar, Generation, Kind, Operation, State
from tests import books
from tests.generation.material import DESCRIPTION, avatar_of, fail, fund, in_parallel
from tests.people import api, make_user

AVATARS, GENERATIONS = "/api/v1/avatars", "/api/v1/generations"
BODY = {"name": "Mira", "description": DESCRIPTION, "style": "film grain"}


def post(client: APIClient, body: dict[str, Any] | None = None, *, key: str | None = None, url: str = AVATARS) -> Any:
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return client.post(url, BODY if body is None else body, format="json", headers=headers)


@pytest.fixture(autouse=True)
def configured(settings: Any) -> Any:
    """A provider with keys that nobody will call."""
    settings.XAI_API_KEY = "xai-test"
    return settings


def subscribe(user: User, code: str) -> Subscription:
    """What a paid invoice leaves behind, as far as limits go."""
    plan = Plan.objects.get(code=code, interval="month")
    return Subscription.objects.create(user=user, plan=plan, gateway="stripe", state="active")


# --- Ordering ---------------------------------------------------------------------------------------------------------


def test_an_order_is_accepted_and_shown(rich: User) -> None:
    client = api(rich)

    made = post(client)

    assert made.status_code == 202, made.content
    avatar = made.json()
    assert made["Location"] == f"{AVATARS}/{avatar['id']}"
    job = avatar["generation"]
    assert avatar | {"id": "", "generation": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "name": "Mira",
        "description": DESCRIPTION,
        "style": "film grain",
        "content_category": "sfw",
        "status": "creating",
        "profile": None,
        "thumbnail_url": None,
        "generation": "",
        "created_at": "",
        "updated_at": "",
    }
    assert (job["kind"], job["operation"], job["provider"], job["status"]) == ("avatar", "avatar", "xai", "queued")
    assert (job["price"], job["cost"], job["charged"], job["avatar"]) == (10, 0, "held", avatar["id"])
    assert job["params"] == BODY
    shown = client.get(f"{AVATARS}/{avatar['id']}")
    assert (shown.json(), shown["Retry-After"]) == (avatar, "2")
    assert client.get(f"{GENERATIONS}/{job['id']}").json() == job
    assert client.get(f"{GENERATIONS}?avatar={avatar['id']}").json()["count"] == 1
    assert client.get(f"{GENERATIONS}?avatar={uuid.uuid4()}").json()["count"] == 0
    assert client.get(f"{GENERATIONS}?avatar=mira").status_code == 400
    assert ledger.balance(rich.pk).held == 10
    assert AuditLog.objects.get(action="avatar.created").metadata["price"] == 10
    books.check()


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"name": None}, 400, "required"),
        ({"name": ""}, 400, "blank"),
        ({"name": "x" * 101}, 400, "max_length"),
        ({"name": "two\nlines"}, 400, "control_characters"),
        ({"name": 7}, 400, "invalid"),
        ({"description": None}, 400, "required"),
        ({"description": "too short"}, 400, "min_length"),
        ({"description": "x" * 1001}, 400, "max_length"),
        ({"style": "x" * 201}, 400, "max_length"),
        ({"content_category": "nsfw"}, 400, "invalid_choice"),
        ({"description": "a naked painter of the old school"}, 422, "moderated"),
        ({"style": "NSFW"}, 422, "moderated"),
        ({"description": "a fifteen-year-old singer"}, 422, "moderated"),
        ({"name": "Teen Mira"}, 422, "moderated"),
        ({"price": 1}, 400, "unknown_field"),
        ({"status": "ready"}, 400, "unknown_field"),
        ({"profile": {"age_range": "13-17"}}, 400, "unknown_field"),
        ({"operation": "avatar.thumbnail"}, 400, "unknown_field"),
        ({"quote": "made up"}, 409, "quote_mismatch"),
    ],
)
def test_a_bad_order_is_refused_and_moves_nothing(rich: User, change: dict[str, Any], status: int, code: str) -> None:
    body = {name: value for name, value in (BODY | change).items() if value is not None}

    answer = post(api(rich), body)

    found = answer.json()
    assert answer.status_code == status, found
    assert found["charged"] == "none"
    assert code in [found["error"], *(item["code"] for item in found["details"])]
    assert not Avatar.objects.exists()
    assert not Generation.objects.exists()
    assert ledger.balance(rich.pk).held == 0
    assert AuditLog.objects.filter(action="generation.denied").exists() == (status == 422)


def test_five_credits_are_402_and_leave_no_avatar(alice: User) -> None:
    answer = post(api(alice))

    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_credits")
    assert (answer.json()["details"][0]["required"], answer.json()["details"][0]["available"]) == (10, 5)
    assert not Avatar.objects.exists()
    books.check()


def test_the_key_is_required_and_makes_one_avatar(rich: User) -> None:
    client = api(rich)

    assert client.post(AVATARS, BODY, format="json").json()["error"] == "idempotency_key_required"
    first, again = post(client, key="once"), post(client, key="once")
    other = post(client, BODY | {"name": "Another"}, key="once")

    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert (again["Idempotent-Replayed"], again["Location"]) == ("true", first["Location"])
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")
    assert Avatar.objects.count() == Generation.objects.count() == 1
    assert ledger.balance(rich.pk).held == 10


def test_a_quote_binds_the_price(rich: User) -> None:
    client = api(rich)
    asked = {"operation": "avatar", "params": BODY}
    quote = client.post(f"{GENERATIONS}/quote", asked, format="json").json()
    assert quote["price"] == 10
    Operation.objects.filter(code="avatar").update(base_price=12)

    made = post(client, BODY | {"quote": quote["quote"]})

    assert (made.status_code, made.json()["generation"]["price"]) == (202, 10)


def test_without_keys_or_switched_off_it_is_503(rich: User, settings: Any) -> None:
    settings.XAI_API_KEY = ""
    assert post(api(rich)).json()["error"] == "operation_unavailable"
    settings.XAI_API_KEY = "xai-test"
    Operation.objects.filter(code="avatar").update(is_enabled=False)
    assert post(api(rich)).status_code == 503
    assert not Avatar.objects.exists()


# --- The limit --------------------------------------------------------------------------------------------------------


def limit(client: APIClient) -> tuple[bool, int, int, int]:
    found = client.get(f"{AVATARS}/limit").json()
    return found["allowed"], found["current_count"], found["max_avatars"], found["remaining"]


def test_without_a_plan_one_avatar_is_all(rich: User) -> None:
    client = api(rich)
    assert limit(client) == (True, 0, 1, 1)
    post(client)

    refused = post(client)

    assert (refused.status_code, refused.json()["error"]) == (403, "avatar_limit_reached")
    assert refused.json()["charged"] == "none"
    assert limit(client) == (False, 1, 1, 0)
    assert Avatar.objects.count() == Generation.objects.count() == 1
    assert ledger.balance(rich.pk).held == 10
    assert client.get(f"{AVATARS}/limit?plan=pro").status_code == 400


def test_failed_and_deleted_ones_do_not_count(rich: User) -> None:
    client = api(rich)
    failed = fail(avatar_of(rich).generation)
    assert limit(client) == (True, 0, 1, 1)
    second = avatar_of(rich)
    assert client.delete(f"{AVATARS}/{second.pk}").status_code == 204

    assert post(client).status_code == 202

    shown = client.get(f"{AVATARS}/{failed.avatar_id}").json()
    assert (shown["status"], shown["generation"]["error"]["code"]) == ("failed", "provider_failed")
    assert ledger.balance(rich.pk).held == 10
    books.check()


def test_the_plan_decides_and_a_smaller_one_takes_nothing_away(rich: User) -> None:
    client = api(rich)
    subscription = subscribe(rich, "starter")
    for _ in range(3):
        assert post(client).status_code == 202
    assert (limit(client), post(client).status_code) == ((False, 3, 3, 0), 403)

    subscription.delete()

    assert limit(client) == (False, 3, 1, 0)
    assert client.get(AVATARS).json()["count"] == 3
    assert post(client).json()["error"] == "avatar_limit_reached"


@pytest.mark.django_db(transaction=True)
def test_two_at_once_at_the_last_place_are_one(settings: Any) -> None:
    rich = make_user()
    fund(rich, 95)
    subscribe(rich, "starter")
    for _ in range(2):
        avatar_of(rich)

    found = in_parallel(*[partial(avatar_of, rich)] * 6)

    assert sum(isinstance(answer, Avatar) for answer in found) == 1
    assert sum(isinstance(answer, AvatarLimitReached) for answer in found) == 5
    assert ledger.balance(rich.pk).held == 30
    books.check()


@pytest.mark.django_db(transaction=True)
def test_a_retry_and_an_order_at_once_are_one(settings: Any) -> None:
    rich = make_user()
    fund(rich, 95)
    failed = fail(avatar_of(rich).generation)
    assert (failed.state, ledger.balance(rich.pk).held) == (State.FAILED, 0)

    again, new = in_parallel(partial(jobs.retry, user=rich, job_id=failed.pk), partial(avatar_of, rich))

    assert [isinstance(answer, AvatarLimitReached) for answer in (again, new)].count(True) == 1
    assert ledger.balance(rich.pk).held == 10
    books.check()


def test_a_failed_one_is_retried_only_while_there_is_room(rich: User) -> None:
    client = api(rich)
    failed = fail(avatar_of(rich).generation)
    other = avatar_of(rich)
    url = f"{GENERATIONS}/{failed.pk}/retry"

    refused = post(client, {}, url=url)

    assert (refused.status_code, refused.json()["error"]) == (403, "avatar_limit_reached")
    client.delete(f"{AVATARS}/{other.pk}")
    retried = post(client, {}, url=url)
    assert (retried.status_code, retried.json()["round"]) == (202, 2)
    assert client.get(f"{AVATARS}/{failed.avatar_id}").json()["status"] == "creating"
    assert ledger.balance(rich.pk).held == 10
    books.check()


def test_the_job_of_a_deleted_avatar_is_not_retried(rich: User) -> None:
    client = api(rich)
    failed = fail(avatar_of(rich).generation)
    assert client.delete(f"{AVATARS}/{failed.avatar_id}").status_code == 204

    refused = post(client, {}, url=f"{GENERATIONS}/{failed.pk}/retry")

    assert (refused.status_code, refused.json()["error"]) == (409, "not_retryable")
    assert ledger.balance(rich.pk).held == 0


# --- Editing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["put", "patch"])
def test_what_is_named_changes_and_nothing_else(rich: User, method: str) -> None:
    client, avatar = api(rich), avatar_of(rich)
    before = client.get(f"{AVATARS}/{avatar.pk}").json()

    answer = getattr(client, method)(f"{AVATARS}/{avatar.pk}", {"name": "Mira Vale"}, format="json")

    assert answer.status_code == 200, answer.content
    after = answer.json()
    assert after | {"updated_at": ""} == before | {"name": "Mira Vale", "updated_at": ""}
    assert after["updated_at"] > before["updated_at"]
    assert after["generation"]["params"]["name"] == "Mira"
    assert ledger.balance(rich.pk).held == 10
    row = AuditLog.objects.get(action="avatar.updated")
    assert row.metadata == {"fields": ["name"]}
    assert "Mira" not in str(row.metadata) + str(row.new) + str(row.old)
    again = getattr(client, method)(f"{AVATARS}/{avatar.pk}", {"name": "Mira Vale"}, format="json")
    assert again.json() == after
    assert AuditLog.objects.filter(action="avatar.updated").count() == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": ""}, 400),
        ({"description": "short"}, 400),
        ({"content_category": "nsfw"}, 400),
        ({"style": "noir"}, 400),
        ({"status": "ready"}, 400),
        ({"profile": {}}, 400),
        ({"thumbnail_url": None}, 400),
        ({"price": 0}, 400),
        ({"user": str(uuid.uuid4())}, 400),
        ({"description": "a topless painter at work"}, 422),
        ({"description": "she is a fourteen-year-old"}, 422),
        ({"name": "little girl"}, 422),
    ],
)
def test_a_bad_edit_changes_nothing(rich: User, change: dict[str, Any], status: int) -> None:
    client, avatar = api(rich), avatar_of(rich)
    before = client.get(f"{AVATARS}/{avatar.pk}").json()

    answer = client.patch(f"{AVATARS}/{avatar.pk}", {"description": DESCRIPTION + "!"} | change, format="json")

    assert answer.status_code == status, answer.content
    assert client.get(f"{AVATARS}/{avatar.pk}").json() == before


def test_to_strangers_it_is_not_there(rich: User, bob: User) -> None:
    avatar, stranger = avatar_of(rich), api(bob)
    url = f"{AVATARS}/{avatar.pk}"

    assert stranger.get(AVATARS).json()["count"] == 0
    assert stranger.get(f"{GENERATIONS}?avatar={avatar.pk}").json()["count"] == 0
    assert stranger.get(url).status_code == 404
    assert stranger.patch(url, {"name": "Mine"}, format="json").status_code == 404
    assert stranger.delete(url).status_code == 404
    assert post(stranger, {}, url=f"{url}/regenerate-thumbnail").status_code == 404
    avatar.refresh_from_db()
    assert (avatar.name, avatar.deleted_at) == ("Mira", None)


# --- Lists, figures, deleting -----------------------------------------------------------------------------------------


def test_lists_are_filtered_and_cost_the_same(rich: User) -> None:
    client = api(rich)
    subscribe(rich, "pro")
    fail(avatar_of(rich).generation)
    avatar_of(rich)
    with CaptureQueriesContext(connection) as two:
        assert client.get(AVATARS).json()["count"] == 2
    for status, count in {"creating": 1, "failed": 1, "ready": 0}.items():
        assert client.get(f"{AVATARS}?status={status}").json()["count"] == count
    assert client.get(f"{AVATARS}?status=failed&status=creating").json()["count"] == 2
    for bad in ("status=queued", "name=Mira", "limit=101"):
        assert client.get(f"{AVATARS}?{bad}").status_code == 400, bad
    for _ in range(3):
        avatar_of(rich)
    with CaptureQueriesContext(connection) as five:
        assert client.get(AVATARS).json()["count"] == 5
    assert len(five) == len(two) <= 6


def test_the_figures_of_nobody(rich: User) -> None:
    assert api(rich).get(f"{AVATARS}/stats").json() == {
        "total": 0, "ready": 0, "creating": 0, "failed": 0, "most_used_avatar": None,
    }  # fmt: skip


def test_deleting_one_that_is_being_made_cancels_it(rich: User) -> None:
    client, avatar = api(rich), avatar_of(rich)

    assert client.delete(f"{AVATARS}/{avatar.pk}").status_code == 204

    assert client.get(f"{AVATARS}/{avatar.pk}").status_code == 404
    assert client.delete(f"{AVATARS}/{avatar.pk}").status_code == 404
    job = client.get(f"{GENERATIONS}/{avatar.generation_id}").json()
    assert (job["status"], job["charged"]) == ("canceled", "none")
    assert ledger.balance(rich.pk).held == 0
    assert AuditLog.objects.filter(action="avatar.deleted").count() == 1
    books.check()


def test_cancelling_its_job_leaves_a_failed_avatar(rich: User) -> None:
    client, avatar = api(rich), avatar_of(rich)

    assert client.post(f"{GENERATIONS}/{avatar.generation_id}/cancel", {}, format="json").status_code == 200

    assert client.get(f"{AVATARS}/{avatar.pk}").json()["status"] == "failed"
    assert client.delete(f"{GENERATIONS}/{avatar.generation_id}").status_code == 204
    shown = client.get(f"{AVATARS}/{avatar.pk}").json()
    assert (shown["status"], shown["generation"]) == ("failed", None)
    books.check()


def test_one_whose_output_is_being_stored_is_not_deleted(rich: User) -> None:
    client, avatar = api(rich), avatar_of(rich)
    Generation.objects.filter(pk=avatar.generation_id).update(state=State.STORING)

    refused = client.delete(f"{AVATARS}/{avatar.pk}")

    assert (refused.status_code, refused.json()["error"]) == (409, "too_late_to_cancel")
    assert client.get(f"{AVATARS}/{avatar.pk}").status_code == 200


def test_nothing_is_made_of_one_that_is_not_ready(rich: User, bob: User) -> None:
    client, avatar = api(rich), avatar_of(rich)

    refused = post(client, {}, url=f"{AVATARS}/{avatar.pk}/regenerate-thumbnail")

    assert (refused.status_code, refused.json()["error"]) == (409, "avatar_not_ready")
    assert Generation.objects.filter(kind=Kind.AVATAR).count() == 1
    assert ledger.balance(rich.pk).held == 10
    picture = {"prompt": "reading in a garden", "avatar": str(avatar.pk)}
    refused = post(client, picture, url="/api/v1/images")
    assert (refused.status_code, refused.json()["error"]) == (409, "avatar_not_ready")
    for strange in (picture, picture | {"avatar": str(uuid.uuid4())}):
        refused = post(api(bob), strange, url="/api/v1/images")
        assert (refused.status_code, refused.json()["error"]) == (404, "not_found")
    assert not Generation.objects.filter(kind=Kind.IMAGE).exists()
    books.check()
