"""Pictures named by image_url: fetched by the job, into the same checks as an upload."""

from __future__ import annotations

from typing import IO, Any

import pytest

from accounts.models import User
from billing import ledger
from core import http
from generation import jobs
from generation.engine.advance import advance
from generation.models import Generation, JobPhoto, Kind, Photo, State
from tests import books
from tests.generation.material import encoded, jpeg, portrait, run_until
from tests.sandbox.process import RunningSandbox
from tests.stores import go_away

URL = "https://pictures.example.com/me%20and.png?size=big"


def order(user: User, url: str = URL) -> Generation:
    return jobs.create(user=user, request=jobs.Request(kind=Kind.HEADSHOT, image_url=url, consent=True))


def serving(monkeypatch: pytest.MonkeyPatch, *answers: bytes | Exception) -> list[str]:
    """Let the safe fetcher (which has its own tests) find these, one after the other, at the customer's URL."""
    left, asked, fetch = list(answers), [], http.fetch

    def stand_in(url: str, to: IO[bytes], **kwargs: Any) -> http.Fetched:
        if kwargs.get("trusted_origin"):
            return fetch(url, to, **kwargs)
        asked.append(url)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        to.write(answer)
        return http.Fetched(len(answer), "image/png", "")

    monkeypatch.setattr(http, "fetch", stand_in)
    return asked


def test_a_picture_at_a_url_becomes_a_photo_and_a_headshot(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serving(monkeypatch, http.FetchFailed("503"), encoded(portrait(size=(3000, 4000)), "PNG"))

    job = run_until(order(rich))

    assert job.state == State.SUCCEEDED
    assert asked == [URL, URL]
    photo = Photo.objects.get()
    assert (photo.user, photo.filename, photo.width, photo.height) == (rich, "me%20and.png", 1536, 2048)
    assert photo.file.expires_at is None
    assert JobPhoto.objects.get().photo == photo
    books.check()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http.FetchRefused("private"), "image_url_refused"),
        (http.FetchTooLarge("2 GB"), "image_url_refused"),
        (http.FetchFailed("away"), "image_url_refused"),
        (b"<html>", "image_unreadable"),
        (jpeg()[:3000], "image_unreadable"),
    ],
)
def test_a_url_that_leads_to_no_picture_releases(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, answer: Any, code: str
) -> None:
    serving(monkeypatch, answer)

    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, code)
    assert ledger.balance(rich.pk).available == 105
    assert not Photo.objects.exists()
    assert not sandbox.requests()
    books.check()


def test_a_picture_that_our_storage_does_not_take_yet_is_fetched_again(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    serving(monkeypatch, jpeg())
    job, where = order(rich), settings.MEDIA_ROOT
    go_away("folder", settings)

    advance()

    job.refresh_from_db()
    assert (job.state, job.step, job.lease_token) == (State.QUEUED, "reading 1", None)
    assert not Photo.objects.exists()
    settings.MEDIA_ROOT = where
    run_until(job, State.RUNNING)
    assert JobPhoto.objects.get().photo == Photo.objects.get()
    books.check()


@pytest.mark.parametrize("url", ["https://127.0.0.1/a.jpg", "https://[::1]/a.jpg", "https://169.254.169.254/latest"])
def test_a_private_address_is_never_asked(rich: User, sandbox: RunningSandbox, url: str) -> None:
    job = run_until(order(rich, url))

    assert (job.state, job.error_code) == (State.FAILED, "image_url_refused")
    books.check()
