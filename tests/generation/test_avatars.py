"""Avatars through the engine: profile and face together or the credits back, another face, pictures of them."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditLog
from billing import books as ledger_books
from billing import ledger
from core import storage
from generation import adults, avatars, jobs, leaving, profiles, telling
from generation.models import Asset, Avatar, BlockedTerm, Generation, Kind, Outcome, State
from notifications.models import Mail
from tests import books
from tests.generation.material import DESCRIPTION, avatar_of, run_until, sweep
from tests.people import api
from tests.sandbox.process import RunningSandbox

AVATARS, GENERATIONS = "/api/v1/avatars", "/api/v1/generations"
CHAT, PICTURES, EDITS = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"


def asked(sandbox: RunningSandbox, path: str) -> list[dict[str, Any]]:
    """What the provider was sent at this address, the oldest first."""
    return [one for one in reversed(sandbox.requests(provider="xai", method="POST")) if one["path"].endswith(path)]


def made(user: User, **params: Any) -> Avatar:
    """An avatar that is ready."""
    avatar = avatar_of(user, **params)
    run_until(avatar.generation)
    return fresh(avatar)


def fresh(avatar: Avatar) -> Avatar:
    return Avatar.objects.select_related("generation__attempt", "thumbnail__file").get(pk=avatar.pk)


def picture(user: User, avatar: Avatar, prompt: str = "reading in a garden", **params: Any) -> Generation:
    """A picture of the avatar, as POST images makes it."""
    found = avatars.resolve(user=user, avatar_id=avatar.pk)
    request = jobs.Request(kind=Kind.IMAGE, params={"prompt": prompt, **params}, avatar_id=found.pk)
    return jobs.create(user=user, request=request)


# --- Making -----------------------------------------------------------------------------------------------------------


def test_profile_and_face_are_stored_and_paid_together(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich, style="film grain")

    job = avatar.generation
    assert job.state == State.SUCCEEDED, job.error_code
    assert set(avatar.profile) == set(profiles.SCHEMA["required"])
    face = avatar.thumbnail
    assert face is not None
    assert face.file is not None
    assert (face.generation_id, face.width, face.height) == (job.pk, 512, 512)
    assert re.fullmatch(rf"avatars/{rich.pk}/thumbnail_{avatar.pk}_[0-9a-f-]{{36}}\.\w+", face.file.key)
    with storage.open(face.file.key) as file:
        assert Image.open(io.BytesIO(file.read())).size == (512, 512)
    assert (ledger.balance(rich.pk).balance, ledger.balance(rich.pk).held) == (95, 0)
    (chat,), (painted,) = asked(sandbox, CHAT), asked(sandbox, PICTURES)
    assert DESCRIPTION in chat["body"]
    assert '"strict"' in chat["body"]
    assert avatar.profile["base_prompt"][:60] in painted["body"]
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.cost_unit, attempt.made) == (Outcome.SUCCEEDED, "USD", {})
    assert attempt.provider_cost > Decimal("0.02")  # a picture's price, and the chat's on top
    shown = api(rich).get(f"{AVATARS}/{avatar.pk}")
    assert "Retry-After" not in shown
    body = shown.json()
    assert (body["status"], body["profile"]) == ("ready", avatar.profile)
    served = APIClient().get(body["thumbnail_url"].split("8000", 1)[1])
    assert Image.open(io.BytesIO(b"".join(served.streaming_content))).size == (512, 512)  # type: ignore[attr-defined]
    assert AuditLog.objects.filter(action="avatar.ready", entity_id=str(avatar.pk)).exists()
    assert Mail.objects.filter(name="generation-completed").count() == 1
    books.check()


@pytest.mark.parametrize(("word", "code"), [("sandbox:moderated", "moderated"), ("sandbox:corrupt", "provider_failed")])
def test_without_a_profile_it_fails_and_the_credits_are_back(
    rich: User, sandbox: RunningSandbox, word: str, code: str
) -> None:
    avatar = made(rich, description=f"{DESCRIPTION} {word}")

    assert (avatar.status, avatar.generation.error_code) == ("failed", code)
    assert asked(sandbox, PICTURES) == []
    assert avatar.generation.attempts.get().provider_cost > 0
    assert not Asset.objects.exists()
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_without_a_face_it_fails_the_chat_is_on_record_and_a_retry_works_on_it(
    rich: User, sandbox: RunningSandbox
) -> None:
    sandbox.fault("xai", "400", path=PICTURES)
    avatar = made(rich)

    assert (avatar.status, avatar.profile, avatar.thumbnail) == ("failed", {}, None)
    attempt = avatar.generation.attempts.get()
    assert Decimal(0) < attempt.provider_cost < Decimal("0.02")
    assert ledger.balance(rich.pk).available == 105

    again = jobs.retry(user=rich, job_id=avatar.generation_id)
    assert (again.pk, again.round) == (avatar.generation_id, 2)
    run_until(again)

    avatar = fresh(avatar)
    assert (avatar.status, Avatar.objects.count()) == ("ready", 1)
    assert ledger.balance(rich.pk).available == 95
    books.check()


@pytest.mark.parametrize("mode", ["429", "500"])
def test_what_passes_is_waited_out(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("xai", mode, path=PICTURES)

    avatar = made(rich)

    assert avatar.status == "ready"
    first = avatar.generation.attempts.get(n=1)
    assert (first.outcome, first.provider_cost > 0) == (Outcome.NOT_STARTED, True)
    assert len(asked(sandbox, CHAT)) == 2
    assert ledger.balance(rich.pk).available == 95
    books.check()


def test_a_profile_of_a_minor_is_refused_before_it_has_a_face(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adults, "check", lambda texts: None)  # so that the model hears of it

    avatar = made(rich, description="a fifteen-year-old singer with red hair")

    assert (avatar.status, avatar.generation.error_code, avatar.profile) == ("failed", "moderated", {})
    assert asked(sandbox, PICTURES) == []
    assert avatar.generation.attempts.get().provider_cost > 0
    assert ledger.balance(rich.pk).available == 105
    with pytest.raises(jobs.NotRetryable):
        jobs.retry(user=rich, job_id=avatar.generation_id)
    books.check()


def test_a_profile_that_we_would_not_have_taken_is_not_kept(rich: User, sandbox: RunningSandbox) -> None:
    avatar = avatar_of(rich)
    BlockedTerm.objects.create(term="field jacket", category="violence")  # which the sandbox says again

    run_until(avatar.generation)

    avatar = fresh(avatar)
    assert (avatar.status, avatar.generation.error_code, avatar.profile) == ("failed", "moderated", {})
    assert avatar.generation.attempts.get().provider_cost > Decimal("0.02")
    assert ledger.balance(rich.pk).available == 105
    books.check()


# --- Another face -----------------------------------------------------------------------------------------------------


def test_another_face_costs_five_and_takes_the_place_of_the_first(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    client = api(rich)

    answer = client.post(
        f"{AVATARS}/{avatar.pk}/regenerate-thumbnail", {}, format="json", headers={"Idempotency-Key": "k"}
    )

    assert answer.status_code == 202, answer.content
    job = answer.json()
    assert answer["Location"] == f"{GENERATIONS}/{job['id']}"
    assert (job["operation"], job["price"], job["avatar"], job["params"]) == (
        "avatar.thumbnail", 5, str(avatar.pk), {},
    )  # fmt: skip
    again = client.post(
        f"{AVATARS}/{avatar.pk}/regenerate-thumbnail", {}, format="json", headers={"Idempotency-Key": "k"}
    )
    assert (again.json(), again["Idempotent-Replayed"]) == (job, "true")
    assert fresh(avatar).thumbnail_id == avatar.thumbnail_id
    run_until(Generation.objects.get(pk=job["id"]))
    after = fresh(avatar)
    assert (str(after.thumbnail.generation_id), after.profile) == (job["id"], avatar.profile)
    assert after.thumbnail_id != avatar.thumbnail_id
    assert (after.thumbnail.width, after.thumbnail.height) == (512, 512)
    assert avatar.profile["base_prompt"][:60] in asked(sandbox, PICTURES)[-1]["body"]
    assert len(asked(sandbox, CHAT)) == 1
    assert Asset.objects.filter(pk=avatar.thumbnail_id, purged_at=None).exists()
    assert ledger.balance(rich.pk).available == 90
    books.check()


def test_the_face_stays_when_no_other_comes(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    sandbox.fault("xai", "400", path=PICTURES)

    job = run_until(avatars.regenerate_thumbnail(user=rich, avatar_id=avatar.pk))

    assert job.state == State.FAILED
    assert (fresh(avatar).thumbnail_id, fresh(avatar).status) == (avatar.thumbnail_id, "ready")
    assert ledger.balance(rich.pk).available == 95
    books.check()


# --- Pictures of it ---------------------------------------------------------------------------------------------------


def test_a_picture_is_made_from_its_description_and_its_face(rich: User, bob: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)

    job = run_until(picture(rich, avatar))

    assert job.state == State.SUCCEEDED, job.error_code
    (sent,) = asked(sandbox, EDITS)
    assert f"{profiles.likeness_of(avatar.profile)} reading in a garden"[:200] in sent["body"]
    assert "data:image/" in sent["body"]
    assert job.params["prompt"] == "reading in a garden"
    client = api(rich)
    found = client.get(f"{GENERATIONS}?avatar={avatar.pk}&kind=image").json()["results"]
    assert [row["id"] for row in found] == [str(job.pk)]
    assert client.get(f"{AVATARS}/stats").json() == {
        "total": 1, "ready": 1, "creating": 0, "failed": 0,
        "most_used_avatar": {"id": str(avatar.pk), "name": "Mira", "generation_count": 1},
    }  # fmt: skip
    with pytest.raises(avatars.NotFound):
        picture(bob, avatar)

    assert client.delete(f"{AVATARS}/{avatar.pk}").status_code == 204
    with pytest.raises(avatars.NotFound):
        picture(rich, avatar)
    kept = client.get(f"{GENERATIONS}/{job.pk}").json()
    assert (kept["status"], kept["avatar"], len(kept["outputs"])) == ("succeeded", str(avatar.pk), 1)
    assert client.get(f"{AVATARS}/stats").json()["most_used_avatar"] is None
    books.check()


def test_one_deleted_meanwhile_is_still_in_the_picture(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    job = picture(rich, avatar)
    avatars.delete(user=rich, avatar_id=avatar.pk)

    run_until(job)

    assert job.state == State.SUCCEEDED
    assert len(asked(sandbox, EDITS)) == 1
    books.check()


# --- Deleting ---------------------------------------------------------------------------------------------------------


def test_a_face_outlives_its_job_until_the_avatar_goes(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    client = api(rich)
    assert avatar.thumbnail is not None
    assert avatar.thumbnail.file is not None
    key = avatar.thumbnail.file.key

    assert client.delete(f"{GENERATIONS}/{avatar.generation_id}").status_code == 204
    sweep()
    shown = client.get(f"{AVATARS}/{avatar.pk}").json()
    assert (shown["status"], shown["generation"]) == ("ready", None)
    assert shown["thumbnail_url"]
    assert storage.exists(key)
    books.check()

    assert client.delete(f"{AVATARS}/{avatar.pk}").status_code == 204
    sweep()
    assert not storage.exists(key)
    books.check()


def test_a_face_that_is_replaced_goes_with_its_deleted_job(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    assert avatar.thumbnail is not None
    assert avatar.thumbnail.file is not None
    key = avatar.thumbnail.file.key
    jobs.delete(user=rich, job_id=avatar.generation_id)

    run_until(avatars.regenerate_thumbnail(user=rich, avatar_id=avatar.pk))
    sweep()

    assert not storage.exists(key)
    assert api(rich).get(f"{AVATARS}/{avatar.pk}").json()["thumbnail_url"]
    books.check()


def test_the_copy_tells_of_it_and_leaving_forgets_it(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    parts = {getattr(part, "name", None): part for part in telling.export(user=rich)}
    (told,) = list(parts["avatars"].rows)
    assert (told["name"], told["profile"], told["face"]) == ("Mira", avatar.profile, avatar.generation_id)

    assert leaving.erase(user=rich) == []
    assert leaving.erase(user=rich) == []
    sweep()

    avatar = fresh(avatar)
    assert (avatar.name, avatar.description, avatar.style, avatar.profile, avatar.thumbnail) == ("", "", "", {}, None)
    assert avatar.deleted_at is not None
    assert not Asset.objects.filter(purged_at=None).exists()
    assert AuditLog.objects.filter(action="avatar.erased").count() == 1
    books.check()


# --- The books --------------------------------------------------------------------------------------------------------


def test_the_books_miss_an_avatar_that_was_paid_and_is_not_there(rich: User, sandbox: RunningSandbox) -> None:
    avatar = made(rich)
    assert ledger_books.run().is_clean

    Avatar.objects.filter(pk=avatar.pk).update(thumbnail=None, profile={})

    assert {found.check for found in ledger_books.run().findings} == {"generation_avatars"}
