"""headshots and generations over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditLog
from billing import ledger
from generation.models import Consent, Generation, Operation, State
from notifications.models import Mail
from tests import books
from tests.generation.material import order, photo_of, run_until, sweep
from tests.people import api, make_user
from tests.sandbox.process import RunningSandbox

HEADSHOTS, GENERATIONS = "/api/v1/headshots", "/api/v1/generations"


def post(client: APIClient, body: dict[str, Any], *, key: str | None = None, url: str = HEADSHOTS) -> Any:
    return client.post(url, body, format="json", headers={"Idempotency-Key": key or uuid.uuid4().hex})


@pytest.fixture
def configured(settings: Any) -> Any:
    """A provider with keys that nobody will call."""
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    return settings


def test_an_order_is_accepted_and_shown(rich: User, configured: Any) -> None:
    client = api(rich)
    photo = photo_of(rich)

    made = post(client, {"photo": str(photo.pk), "consent": True, "name": "Me", "style_prompt": "warm light"})

    assert made.status_code == 202
    job = made.json()
    assert made["Location"] == f"{GENERATIONS}/{job['id']}"
    assert job | {"id": "", "deadline_at": "", "created_at": ""} == {
        "id": "",
        "kind": "headshot",
        "operation": "headshot",
        "provider": "magic-hour",
        "status": "queued",
        "step": "queued",
        "progress": 0,
        "price": 50,
        "cost": 0,
        "charged": "held",
        "round": 1,
        "params": {"name": "Me", "style_prompt": "warm light"},
        "data": {},
        "photos": [str(photo.pk)],
        "avatar": None,
        "outputs": [],
        "error": None,
        "deadline_at": "",
        "created_at": "",
        "finished_at": None,
        "taken_down_at": None,
    }
    shown = client.get(f"{GENERATIONS}/{job['id']}")
    assert shown.json() == job
    assert shown["Retry-After"] == "2"
    assert Consent.objects.get().generation_id == uuid.UUID(job["id"])
    assert (ledger.balance(rich.pk).held, ledger.balance(rich.pk).available) == (50, 55)
    books.check()


def test_a_finished_job_is_shown_downloaded_and_deleted(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    job = run_until(order(rich))

    answer = client.get(f"{GENERATIONS}/{job.pk}")
    shown = answer.json()
    assert "Retry-After" not in answer
    assert (shown["status"], shown["charged"], shown["cost"], shown["step"]) == ("succeeded", "settled", 50, None)
    output = shown["outputs"][0]
    assert set(output) == {
        "id", "url", "thumbnail_url", "content_type", "bytes", "width", "height", "duration_s",
    }  # fmt: skip
    anybody = APIClient()
    for url in (output["url"], output["thumbnail_url"]):
        assert url.startswith("http://")
        assert anybody.get(url.split("8000", 1)[1]).status_code == 200
    path = f"{GENERATIONS}/{job.pk}/download"
    for query in ("", f"?output={output['id']}"):
        link = client.get(path + query)
        assert link.status_code == 302
        served = anybody.get(link["Location"].split("8000", 1)[1])
        assert served["Content-Disposition"].startswith("attachment")
        assert len(b"".join(served.streaming_content)) == output["bytes"]
    assert client.get(f"{path}?output={uuid.uuid4()}").status_code == 404
    assert client.get(f"{path}?output=first").status_code == 400
    stranger = api(bob)
    assert stranger.get(path).status_code == 404
    assert stranger.get(f"{GENERATIONS}/{job.pk}").status_code == 404
    assert stranger.delete(f"{GENERATIONS}/{job.pk}").status_code == 404

    assert client.delete(f"{GENERATIONS}/{job.pk}").status_code == 204

    assert client.get(f"{GENERATIONS}/{job.pk}").status_code == 404
    assert client.get(path).status_code == 404

    sweep()
    assert anybody.get(output["url"].split("8000", 1)[1]).status_code == 404
    assert client.get(f"{GENERATIONS}/stats").json()["credits_used"] == 50
    books.check()


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"consent": False}, 400, "consent_required"),
        ({"consent": None}, 400, "consent_required"),
        ({"consent": "true"}, 400, "invalid"),
        ({"consent": 1}, 400, "invalid"),
        ({"photo": None}, 400, "required"),
        ({"photo": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4"}, 404, "not_found"),
        ({"photo": "me.jpg"}, 400, "invalid"),
        ({"image_url": "https://example.com/a.jpg"}, 400, "one_of"),
        ({"photo": None, "image_url": "http://example.com/a.jpg"}, 400, "invalid_url"),
        ({"photo": None, "image_url": "file:///etc/passwd"}, 400, "invalid_url"),
        ({"photo": None, "image_url": "https://"}, 400, "invalid_url"),
        ({"photo": None, "image_url": "https://example.com:8443/a.jpg"}, 400, "invalid_url"),
        ({"photo": None, "image_url": "https://me:secret@example.com/a.jpg"}, 400, "invalid_url"),
        ({"style_prompt": "x" * 1001}, 400, "max_length"),
        ({"style_prompt": 7}, 400, "invalid"),
        ({"style_prompt": "a\u0000b"}, 400, None),
        ({"style_prompt": "naked, please"}, 422, "moderated"),
        ({"name": "NÚDE"}, 422, "moderated"),
        ({"operation": "portrait"}, 400, "unknown_operation"),
        ({"price": 1}, 400, "unknown_field"),
        ({"wardrobe": []}, 400, "unknown_field"),
        ({"quote": "made up"}, 409, "quote_mismatch"),
    ],
)
def test_a_bad_order_is_refused_and_moves_nothing(
    rich: User, configured: Any, change: dict[str, Any], status: int, code: str | None
) -> None:
    body = {"photo": str(photo_of(rich).pk), "consent": True} | change
    body = {name: value for name, value in body.items() if value is not None}

    answer = post(api(rich), body)

    found = answer.json()
    assert answer.status_code == status, found
    assert found["charged"] == "none"
    assert code is None or code in [found["error"], *(item["code"] for item in found["details"])]
    assert not Generation.objects.exists()
    assert ledger.balance(rich.pk).held == 0
    assert AuditLog.objects.filter(action="generation.denied").exists() == (status == 422)


def test_49_credits_are_402_with_the_figures(alice: User, configured: Any) -> None:
    from tests.generation.material import fund

    fund(alice, 44)
    assert ledger.balance(alice.pk).available == 49

    answer = post(api(alice), {"photo": str(photo_of(alice).pk), "consent": True})

    assert answer.status_code == 402
    found = answer.json()
    assert found["error"] == "insufficient_credits"
    (figures,) = found["details"]
    assert (figures["required"], figures["available"], figures["unit"]) == (50, 49, "CREDIT")
    assert not Generation.objects.exists()
    assert AuditLog.objects.get(action="generation.denied").metadata["error"] == "insufficient_credits"
    books.check()


def test_a_strangers_photo_is_not_there(rich: User, bob: User, configured: Any) -> None:
    answer = post(api(rich), {"photo": str(photo_of(bob).pk), "consent": True})

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_deleted_photo_is_not_there(rich: User, configured: Any) -> None:
    client, photo = api(rich), photo_of(rich)
    client.delete(f"/api/v1/photos/{photo.pk}")

    assert post(client, {"photo": str(photo.pk), "consent": True}).status_code == 404


def test_the_key_is_required_and_makes_one_job(rich: User, configured: Any) -> None:
    client = api(rich)
    body = {"photo": str(photo_of(rich).pk), "consent": True}

    assert client.post(HEADSHOTS, body, format="json").json()["error"] == "idempotency_key_required"
    first = post(client, body, key="once")
    again = post(client, body, key="once")
    other = post(client, body | {"name": "another"}, key="once")

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")
    assert Generation.objects.count() == 1
    assert ledger.balance(rich.pk).held == 50


def test_who_may_order(anonymous: APIClient, unverified: User) -> None:
    assert post(anonymous, {}).status_code == 401
    assert post(api(unverified), {}).json()["error"] == "email_not_verified"
    assert anonymous.get(GENERATIONS).status_code == 401


def headshots(client: APIClient) -> dict[str, Any]:
    """The operation, as the public list shows it."""
    found = client.get(f"{GENERATIONS}/operations").json()
    return next(operation for operation in found if operation["code"] == "headshot")


def test_without_keys_or_switched_off_it_is_503(rich: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = ""
    client = api(rich)
    body = {"photo": str(photo_of(rich).pk), "consent": True}

    answer = post(client, body)
    assert (answer.status_code, answer.json()["error"]) == (503, "operation_unavailable")
    assert answer["Retry-After"]
    assert headshots(client)["is_available"] is False

    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    Operation.objects.update(is_enabled=False)
    assert post(client, body).status_code == 503
    assert not Generation.objects.exists()


def test_what_can_be_ordered_is_public(db: None, anonymous: APIClient, configured: Any) -> None:
    operation = headshots(anonymous)

    assert (operation["code"], operation["base_price"], operation["is_available"]) == ("headshot", 50, True)
    assert set(operation["limits"]) == {"name", "style_prompt"}


def test_lists_are_filtered_paged_and_cost_the_same(rich: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    done = run_until(order(rich))
    order(rich)

    with CaptureQueriesContext(connection) as two:
        assert client.get(GENERATIONS).json()["count"] == 2
    assert [row["id"] for row in client.get(f"{HEADSHOTS}?status=succeeded").json()["results"]] == [str(done.pk)]
    assert client.get(f"{HEADSHOTS}?status=succeeded&status=queued").json()["count"] == 2
    assert client.get(f"{GENERATIONS}?kind=headshot&limit=1").json()["next"]
    assert client.get(f"{GENERATIONS}?created_after=2999-01-01T00:00:00Z").json()["count"] == 0
    assert client.get(f"{GENERATIONS}?created_before=2999-01-01T00:00:00Z").json()["count"] == 2
    for bad in ("status=done", "kind=song", "created_after=soon", "user=bob", "limit=101"):
        assert client.get(f"{GENERATIONS}?{bad}").status_code == 400, bad
    from tests.generation.material import fund

    fund(rich, 300)
    for _ in range(4):
        order(rich)
    with CaptureQueriesContext(connection) as six:
        assert client.get(GENERATIONS).json()["count"] == 6
    assert len(six) == len(two) <= 6
    assert api(make_user()).get(GENERATIONS).json()["count"] == 0


def test_stats_count_everything_once(rich: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    empty = client.get(f"{GENERATIONS}/stats").json()
    assert (empty["total"], empty["success_rate"], empty["credits_used"]) == (0, None, 0)
    run_until(order(rich))
    run_until(order(rich, style_prompt="sandbox:fail"))
    order(rich)

    found = client.get(f"{GENERATIONS}/stats?kind=headshot").json()

    assert found == {
        "total": 3,
        "by_status": {
            "queued": 1, "submitting": 0, "running": 0, "storing": 0, "succeeded": 1, "failed": 1, "canceled": 0,
        },
        "success_rate": 0.5,
        "credits_used": 50,
        "credits_held": 50,
    }  # fmt: skip
    assert client.get(f"{GENERATIONS}/stats?kind=film").status_code == 400
    assert client.get(f"{GENERATIONS}/stats?since=now").status_code == 400


def test_a_quote_binds_the_price(rich: User, configured: Any) -> None:
    client, photo = api(rich), photo_of(rich)
    asked = {"operation": "headshot", "params": {"style_prompt": "warm"}}
    quote = client.post(f"{GENERATIONS}/quote", asked, format="json").json()
    assert (quote["price"], quote["unit"], quote["operation"]) == (50, "CREDIT", "headshot")
    body = {"photo": str(photo.pk), "consent": True, "style_prompt": "warm", "quote": quote["quote"]}

    Operation.objects.update(base_price=80)
    dearer = post(client, body).json()
    assert dearer["price"] == 50
    Operation.objects.update(base_price=30)
    cheaper = post(client, body).json()
    assert cheaper["price"] == 30

    other = api(make_user())
    refused = post(other, body | {"photo": str(photo_of(make_user()).pk)})
    assert refused.status_code == 404
    Operation.objects.update(is_enabled=False)
    assert post(client, body).status_code == 503
    books.check()


def test_a_quote_is_for_one_person(rich: User, bob: User, configured: Any) -> None:
    asked = {"operation": "headshot", "params": {}}
    quote = api(bob).post(f"{GENERATIONS}/quote", asked, format="json").json()["quote"]

    answer = post(api(rich), {"photo": str(photo_of(rich).pk), "consent": True, "quote": quote})

    assert (answer.status_code, answer.json()["error"]) == (409, "quote_mismatch")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operation": "film"},
        {"operation": "headshot", "params": {"size": "big"}},
        {"operation": "headshot", "x": 1},
    ],
)
def test_a_quote_for_what_is_not_sold_is_400(rich: User, configured: Any, body: dict[str, Any]) -> None:
    assert api(rich).post(f"{GENERATIONS}/quote", body, format="json").status_code == 400


def test_cancelling_releases_and_stays(rich: User, bob: User, configured: Any) -> None:
    client = api(rich)
    job = order(rich)
    url = f"{GENERATIONS}/{job.pk}/cancel"
    assert api(bob).post(url).status_code == 404

    first, again = client.post(url), client.post(url)

    assert (first.status_code, again.status_code) == (200, 200)
    assert (first.json()["status"], first.json()["charged"]) == ("canceled", "none")
    assert first.json() == again.json()
    assert ledger.balance(rich.pk).available == 105
    assert Mail.objects.filter(name="headshot-failed").count() == 1
    assert client.get(f"{GENERATIONS}/{job.pk}/download").json()["error"] == "not_finished"
    assert post(client, {}, url=f"{GENERATIONS}/{job.pk}/retry").json()["error"] == "not_retryable"
    books.check()


def test_it_is_too_late_from_storing_on(rich: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    job = run_until(order(rich))

    answer = client.post(f"{GENERATIONS}/{job.pk}/cancel")

    assert (answer.status_code, answer.json()["error"]) == (409, "too_late_to_cancel")
    assert answer.json()["charged"] == "settled"


def test_started_jobs_are_cancelled_five_times_a_day(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.GENERATION_LATE_CANCELS_PER_DAY = 1
    client = api(rich)
    started = [run_until(order(rich, style_prompt="sandbox:slow"), State.RUNNING) for _ in range(2)]

    first = client.post(f"{GENERATIONS}/{started[0].pk}/cancel")
    second = client.post(f"{GENERATIONS}/{started[1].pk}/cancel")
    deleted = client.delete(f"{GENERATIONS}/{started[1].pk}")

    assert first.status_code == 200
    assert (second.status_code, second.json()["error"]) == (429, "cancel_limit_reached")
    assert second.json()["charged"] == "held"
    assert second["Retry-After"]
    assert deleted.status_code == 429
    queued = order(rich)
    assert client.post(f"{GENERATIONS}/{queued.pk}/cancel").status_code == 200
    run_until(started[1])
    assert started[1].state == State.SUCCEEDED
    books.check()


def test_deleting_an_open_job_cancels_it(rich: User, configured: Any) -> None:
    job = order(rich)

    assert api(rich).delete(f"{GENERATIONS}/{job.pk}").status_code == 204

    job.refresh_from_db()
    assert job.state == State.CANCELED
    assert job.deleted_at
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_a_retry_is_a_round_of_its_own(rich: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    job = run_until(order(rich, style_prompt="sandbox:fail"))
    url = f"{GENERATIONS}/{job.pk}/retry"
    assert client.post(url).json()["error"] == "idempotency_key_required"
    Operation.objects.update(base_price=70)

    again = post(client, {}, url=url, key="k")
    replay = post(client, {}, url=url, key="k")

    assert (again.status_code, replay.status_code) == (202, 202)
    assert (again.json()["round"], again.json()["price"], again.json()["status"]) == (2, 50, "queued")
    assert replay.json() == again.json()
    assert ledger.balance(rich.pk).held == 50
    run_until(job)
    assert (job.state, job.round) == (State.FAILED, 2)
    Operation.objects.update(base_price=20)
    assert post(client, {}, url=url).json()["price"] == 20
    run_until(job)
    assert post(client, {}, url=url).json()["price"] == 20
    run_until(job)
    last = post(client, {}, url=url)
    assert (last.status_code, last.json()["error"]) == (409, "not_retryable")
    assert Mail.objects.filter(name="headshot-failed").count() == 4
    assert job.attempts.count() == 4
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_a_moderated_job_is_not_retried(rich: User, sandbox: RunningSandbox) -> None:
    job = run_until(order(rich, style_prompt="sandbox:moderated"))

    answer = post(api(rich), {}, url=f"{GENERATIONS}/{job.pk}/retry")

    assert (answer.status_code, answer.json()["error"]) == (409, "not_retryable")
    assert ledger.balance(rich.pk).held == 0


def test_a_retry_without_its_photo_or_credits_is_refused(rich: User, sandbox: RunningSandbox) -> None:
    client = api(rich)
    job = run_until(order(rich, style_prompt="sandbox:fail"))
    url = f"{GENERATIONS}/{job.pk}/retry"
    order(rich), order(rich)

    poor = post(client, {}, url=url)
    assert (poor.status_code, poor.json()["error"]) == (402, "insufficient_credits")
    client.delete(f"/api/v1/photos/{job.inputs.get().photo_id}")
    gone = post(client, {}, url=url)
    assert (gone.status_code, gone.json()["error"]) == (409, "not_retryable")
    job.refresh_from_db()
    assert (job.state, job.round) == (State.FAILED, 1)
    books.check()


def test_unknown_jobs_are_404(rich: User) -> None:
    client, nobody = api(rich), uuid.uuid4()

    assert client.get(f"{GENERATIONS}/{nobody}").status_code == 404
    assert client.post(f"{GENERATIONS}/{nobody}/cancel").status_code == 404
    assert client.delete(f"{GENERATIONS}/{nobody}").status_code == 404
    assert client.get(f"{GENERATIONS}/not-a-uuid").status_code == 404
    assert post(client, {}, url=f"{GENERATIONS}/{nobody}/retry").status_code == 404
