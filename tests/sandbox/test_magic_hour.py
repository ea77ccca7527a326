"""Magic Hour's simulator, driven by Magic Hour's own SDK."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import av
import httpx
import magic_hour
import psutil
import pytest
import requests
from make_api_request import ApiError
from PIL import Image

from sandbox.webhooks import magic_hour_signature
from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Receiver


def submit(studio: magic_hour.Client, photo: Path, prompt: str = "", name: str = "our-token") -> str:
    path = studio.v1.files.upload_file(str(photo))
    style = {"style": {"prompt": prompt}} if prompt else {}
    return str(studio.v1.ai_headshot_generator.create(assets={"image_file_path": path}, name=name, **style).id)


def ended(studio: magic_hour.Client, id: str) -> Any:
    def look() -> Any:
        project = studio.v1.image_projects.get(id=id)
        return project if project.status in ("complete", "error", "canceled") else None

    return wait_for(look, f"the end of {id}")


def test_vector_of_the_provider_page_holds() -> None:
    body = b'{"type":"image.completed","payload":{"id":"cm0exampleid01","status":"complete"}}'

    assert (
        magic_hour_signature("mh_secret_example", 1763700000, body)
        == "627f90a9e0512acfc0372d39b7dd647d1d706e708beb35e5debb7f1109d8d44c"
    )


def test_sdk_uploads_generates_waits_and_downloads(studio: magic_hour.Client, photo: Path, tmp_path: Path) -> None:
    done = studio.v1.ai_headshot_generator.generate(
        assets={"image_file_path": str(photo)},
        name="our-token",
        style={"prompt": "grey backdrop"},
        download_directory=str(tmp_path),
    )

    assert (done.status, done.name, done.type_, done.image_count) == ("complete", "our-token", "AI_HEADSHOT", 1)
    assert (done.credits_charged, done.total_frame_cost, done.error, done.enabled) == (50, 50, None, True)
    with Image.open(done.downloaded_paths[0]) as picture:
        assert (picture.format, picture.size) == ("PNG", (1024, 1280))


def test_every_key_is_there_in_every_state(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    sandbox.tune(speed_s=3600)
    id = submit(studio, photo, name="n")
    seen: list[dict[str, Any]] = []
    for seconds in (0, 300, 600, 2700):
        sandbox.advance(seconds)
        status = ("draft", "queued", "rendering", "complete")[len(seen)]
        wait_for(lambda status=status: studio.v1.image_projects.get(id=id).status == status, status)  # type: ignore[misc]
        seen.append(sandbox.ask("GET", f"/magic-hour/v1/image-projects/{id}", headers=_bearer(sandbox)))

    assert all(
        set(one)
        == {
            "id", "name", "status", "image_count", "type", "created_at", "enabled", "credits_charged",
            "total_frame_cost", "downloads", "error",
        }
        for one in seen
    )  # fmt: skip
    assert [len(one["downloads"]) for one in seen] == [0, 0, 0, 1]


def _bearer(sandbox: RunningSandbox) -> dict[str, str]:
    return {"Authorization": f"Bearer {sandbox.keys['MAGIC_HOUR_API_KEY']}"}


def test_webhooks_are_signed_over_timestamp_and_raw_body(
    sandbox: RunningSandbox, studio: magic_hour.Client, receiver: Receiver, photo: Path
) -> None:
    id = submit(studio, photo)

    (started,) = receiver.wait(id, "image.started")
    (completed,) = receiver.wait(id, "image.completed")
    for one in (started, completed):
        assert one.path == "/api/v1/webhooks/magic-hour"
        stamp = int(one.headers["magic-hour-event-timestamp"])
        assert abs(stamp - time.time()) < 60
        assert one.headers["magic-hour-event-signature"] == magic_hour_signature(
            sandbox.keys["MAGIC_HOUR_WEBHOOK_SECRET"], stamp, one.body
        )
        assert set(one.json) == {"type", "payload"}
    assert (started.json["payload"]["status"], completed.json["payload"]["status"]) == ("rendering", "complete")
    assert completed.json["payload"]["name"] == "our-token"
    link = completed.json["payload"]["downloads"][0]["url"]
    assert requests.get(link, timeout=60).headers["Content-Type"] == "image/png"


def test_account_shows_credits_and_they_are_spent(studio: magic_hour.Client, photo: Path) -> None:
    before = studio.v1.account.list()

    submit(studio, photo)

    assert studio.v1.account.list().credits == before.credits - 50


def test_without_credits_nothing_is_made(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    sandbox.tune(magic_hour_credits=49)

    with pytest.raises(ApiError) as refused:
        submit(studio, photo)

    assert refused.value.status_code == 402
    assert set(refused.value.body) == {"message"}


def test_wrong_key_and_unknown_id(sandbox: RunningSandbox, studio: magic_hour.Client) -> None:
    stranger = magic_hour.Client(token="wrong", base_url=sandbox.magic_hour_url)

    with pytest.raises(ApiError) as unauthorized:
        stranger.v1.account.list()
    with pytest.raises(ApiError) as unknown:
        studio.v1.image_projects.get(id="cnone")

    assert (unauthorized.value.status_code, unauthorized.value.body) == (401, {"message": "Unauthorized"})
    assert (unknown.value.status_code, unknown.value.body) == (404, {"message": "Not Found"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "assets"),
        ({"assets": {}}, "assets.image_file_path"),
        ({"assets": {"image_file_path": "api-assets/sandbox-account/none.png"}}, "Not Found"),
        ({"assets": {"image_file_path": "/etc/passwd"}}, "assets.image_file_path"),
        ({"assets": {"image_file_path": "https://example.test/face"}}, "extension"),
        ({"assets": {"image_file_path": "https://example.test/face.png"}, "name": 5}, "name"),
        ({"assets": {"image_file_path": "https://example.test/face.png"}, "style": {"prompt": []}}, "style.prompt"),
    ],
)
def test_bad_body_is_refused_and_names_the_field(sandbox: RunningSandbox, body: dict[str, Any], field: str) -> None:
    answer = sandbox.call("POST", "/magic-hour/v1/ai-headshot-generator", body, headers=_bearer(sandbox))

    assert answer.status_code in (400, 404)
    assert field in answer.json()["message"]


@pytest.mark.parametrize(
    "items", [[], [{"type": "image", "extension": "exe"}], [{"type": "text", "extension": "png"}], "png"]
)
def test_bad_upload_request_is_refused(sandbox: RunningSandbox, items: Any) -> None:
    answer = sandbox.call("POST", "/magic-hour/v1/files/upload-urls", {"items": items}, headers=_bearer(sandbox))

    assert answer.status_code == 400
    assert "items" in answer.json()["message"]


def test_upload_link_is_signed_and_expires(sandbox: RunningSandbox) -> None:
    body = {"items": [{"type": "image", "extension": "png"}, {"type": "image", "extension": "jpg"}]}
    items = sandbox.ask("POST", "/magic-hour/v1/files/upload-urls", body, headers=_bearer(sandbox))["items"]
    assert [item["file_path"].rpartition(".")[2] for item in items] == ["png", "jpg"]
    url = items[0]["upload_url"]

    forged = requests.put(url[:-4] + "0000", data=b"x", timeout=60)
    accepted = requests.put(url, data=b"x", timeout=60)
    sandbox.advance(24 * 3600 + 1)
    late = requests.put(url, data=b"x", timeout=60)

    assert (forged.status_code, accepted.status_code, late.status_code) == (403, 200, 403)


def test_download_link_expires_and_a_new_one_is_given(
    sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path
) -> None:
    project = ended(studio, submit(studio, photo))
    old = project.downloads[0].url

    sandbox.advance(24 * 3600 + 1)

    assert requests.get(old, timeout=60).status_code == 403
    fresh = studio.v1.image_projects.get(id=project.id).downloads[0].url
    assert requests.get(fresh, timeout=60).status_code == 200


def test_deleted_project_has_no_output(studio: magic_hour.Client, photo: Path) -> None:
    project = ended(studio, submit(studio, photo))

    studio.v1.image_projects.delete(id=project.id)
    studio.v1.image_projects.delete(id=project.id)

    after = studio.v1.image_projects.get(id=project.id)
    assert (after.enabled, after.downloads) == (False, [])
    assert requests.get(project.downloads[0].url, timeout=60).status_code == 404


def test_cancel_in_the_web_app_fires_no_webhook(
    sandbox: RunningSandbox, studio: magic_hour.Client, receiver: Receiver, photo: Path
) -> None:
    id = submit(studio, photo, "sandbox:slow")

    sandbox.ask("POST", f"/magic-hour/dashboard/{id}/cancel")
    sandbox.advance(20)

    assert studio.v1.image_projects.get(id=id).status == "canceled"
    assert receiver.about(id, "image.completed") == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"MZ\x90\x00 not a picture at all", "invalid_file_format"),
        (b"", "invalid_file_format"),
        ("truncated", "invalid_file_format"),
        ("blank", "no_source_face"),
        ("tiny", "no_source_face"),
    ],
)
def test_upload_without_a_face_ends_in_error(
    studio: magic_hour.Client, receiver: Receiver, photo: Path, tmp_path: Path, content: bytes | str, code: str
) -> None:
    path = tmp_path / "upload.png"
    match content:
        case bytes():
            path.write_bytes(content)
        case "truncated":
            path.write_bytes(photo.read_bytes()[:9_000])
        case "blank":
            Image.new("RGB", (400, 500), "grey").save(path)
        case _:
            with Image.open(photo) as image:
                image.resize((20, 30)).save(path)

    project = ended(studio, submit(studio, path))

    assert (project.status, project.error.code, project.credits_charged) == ("error", code, 0)
    (errored,) = receiver.wait(project.id, "image.errored")
    assert errored.json["payload"]["error"]["code"] == code


def test_photo_by_url_is_fetched_from_this_machine_only(sandbox: RunningSandbox, studio: magic_hour.Client) -> None:
    created = studio.v1.ai_headshot_generator.create(assets={"image_file_path": "https://example.test/face.png"})

    project = ended(studio, created.id)

    assert (project.status, project.error.code) == ("error", "invalid_file_format")


# Magic words -----------------------------------------------------------------------------------


def test_slow_takes_twenty_seconds(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    id = submit(studio, photo, "a studio, sandbox:slow")

    sandbox.advance(10)
    wait_for(lambda: studio.v1.image_projects.get(id=id).status == "rendering", "rendering")
    sandbox.advance(10)

    assert ended(studio, id).status == "complete"


def test_late_is_done_after_every_deadline(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    id = submit(studio, photo, name="sandbox:late")

    sandbox.advance(15 * 60 + 60)
    wait_for(lambda: studio.v1.image_projects.get(id=id).status == "rendering", "rendering")
    sandbox.advance(40)

    assert ended(studio, id).status == "complete"


@pytest.mark.parametrize(("word", "code"), [("fail", "unknown_error"), ("moderated", "content_moderated")])
def test_fail_and_moderated_end_in_error_and_give_credits_back(
    studio: magic_hour.Client, receiver: Receiver, photo: Path, word: str, code: str
) -> None:
    before = studio.v1.account.list().credits

    project = ended(studio, submit(studio, photo, f"sandbox:{word}"))

    assert (project.status, project.error.code, project.credits_charged) == ("error", code, 0)
    assert studio.v1.account.list().credits == before
    receiver.wait(project.id, "image.errored")


def test_lost_sends_no_webhook(
    sandbox: RunningSandbox, studio: magic_hour.Client, receiver: Receiver, photo: Path
) -> None:
    assert ended(studio, submit(studio, photo, "sandbox:lost")).status == "complete"
    assert sandbox.deliveries() == []


def test_duplicate_sends_five(studio: magic_hour.Client, receiver: Receiver, photo: Path) -> None:
    id = submit(studio, photo, "sandbox:duplicate")

    assert len({one.body for one in receiver.wait(id, "image.completed", 5)}) == 1
    assert len(receiver.wait(id, "image.started", 5)) == 5


def test_corrupt_output_is_cut_off(studio: magic_hour.Client, photo: Path) -> None:
    project = ended(studio, submit(studio, photo, "sandbox:corrupt"))
    answer = requests.get(project.downloads[0].url, timeout=60)

    assert answer.headers["Content-Type"] == "image/png"
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(answer.content)).load()


def test_wrongtype_output_lies_about_itself(studio: magic_hour.Client, photo: Path) -> None:
    project = ended(studio, submit(studio, photo, "sandbox:wrongtype"))
    answer = requests.get(project.downloads[0].url, timeout=60)

    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"<!doctype html>")


def test_huge_output_streams_without_end_and_without_memory(
    sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path
) -> None:
    project = ended(studio, submit(studio, photo, "sandbox:huge"))
    before = psutil.Process(sandbox.process.pid).memory_info().rss
    size = 0

    with requests.get(project.downloads[0].url, stream=True, timeout=60) as answer:
        assert "Content-Length" not in answer.headers
        for piece in answer.iter_content(1 << 20):
            if not size:
                assert piece.startswith(b"\x89PNG")
            size += len(piece)
            if size > 300 << 20:
                break

    assert psutil.Process(sandbox.process.pid).memory_info().rss - before < 50 << 20


@pytest.mark.parametrize(("word", "status"), [("429", 429), ("500", 500)])
def test_refusal_comes_once_and_makes_no_job(
    sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path, word: str, status: int
) -> None:
    with pytest.raises(ApiError) as refused:
        submit(studio, photo, f"sandbox:{word}", name="0192aa00-1111-7000-8000-000000000001")

    assert refused.value.status_code == status
    assert refused.value.response.headers.get("Retry-After") == ("2" if word == "429" else None)
    assert studio.v1.account.list().credits == 1_000_000
    id = submit(studio, photo, f"sandbox:{word}", name="0192aa00-1111-7000-8000-000000000002")
    assert ended(studio, id).status == "complete"


def test_hang_makes_the_job_and_never_answers(
    sandbox: RunningSandbox, studio: magic_hour.Client, receiver: Receiver, photo: Path
) -> None:
    path = studio.v1.files.upload_file(str(photo))
    impatient = magic_hour.Client(
        token=sandbox.keys["MAGIC_HOUR_API_KEY"], base_url=sandbox.magic_hour_url, timeout=0.5
    )

    with pytest.raises(httpx.ReadTimeout):
        impatient.v1.ai_headshot_generator.create(
            assets={"image_file_path": path}, name="token-of-ours", style={"prompt": "sandbox:hang"}
        )

    (completed,) = receiver.wait("token-of-ours", "image.completed")
    assert ended(studio, completed.json["payload"]["id"]).status == "complete"


# Faults ----------------------------------------------------------------------------------------


def test_download_faults_spoil_the_download_only(
    sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path
) -> None:
    url = ended(studio, submit(studio, photo)).downloads[0].url
    whole = requests.get(url, timeout=60).content

    sandbox.fault("magic-hour", "truncated")
    with pytest.raises(requests.RequestException):
        requests.get(url, timeout=60)
    sandbox.fault("magic-hour", "wrongtype")
    assert requests.get(url, timeout=60).content.startswith(b"<!doctype html>")
    sandbox.fault("magic-hour", "500", path="/downloads/")
    assert requests.get(url, timeout=60).status_code == 500
    sandbox.fault("magic-hour", "huge")
    with requests.get(url, stream=True, timeout=60) as endless:
        assert len(endless.raw.read(10 << 20)) == 10 << 20

    assert requests.get(url, timeout=60).content == whole


def test_api_faults_spare_the_download(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    project = ended(studio, submit(studio, photo))
    sandbox.fault("magic-hour", "503", count=None)

    assert requests.get(project.downloads[0].url, timeout=60).status_code == 200
    with pytest.raises(ApiError):
        studio.v1.image_projects.get(id=project.id)
    sandbox.clear_faults()
    assert studio.v1.image_projects.get(id=project.id).status == "complete"


def test_dashboard_shows_the_project(sandbox: RunningSandbox, studio: magic_hour.Client, photo: Path) -> None:
    project = ended(studio, submit(studio, photo, "<b>bold</b>"))

    page = requests.get(f"{sandbox.magic_hour_url}/dashboard", timeout=60).text

    assert project.id in page
    assert "<b>bold</b>" not in page


# Images and videos -----------------------------------------------------------------------------


def playing(content: bytes) -> tuple[int, int, float, bool]:
    """Width, height, seconds and whether there is sound, of a film played to its end."""
    with av.open(io.BytesIO(content)) as film:
        frames = list(film.decode(video=0))
        picture = film.streams.video[0]
        return picture.width, picture.height, len(frames) / float(picture.average_rate or 1), bool(film.streams.audio)


def filmed(studio: magic_hour.Client, id: str) -> Any:
    def look() -> Any:
        project = studio.v1.video_projects.get(id=id)
        return project if project.status in ("complete", "error", "canceled") else None

    return wait_for(look, f"the end of {id}")


def test_sdk_generates_four_images_of_one_prompt(studio: magic_hour.Client, tmp_path: Path) -> None:
    before = studio.v1.account.list().credits

    done = studio.v1.ai_image_generator.generate(
        image_count=4,
        style={"prompt": "a lantern in the rain"},
        aspect_ratio="16:9",
        resolution="640px",
        name="our-token",
        download_directory=str(tmp_path),
    )

    assert (done.status, done.type_, done.image_count, len(done.downloads)) == ("complete", "AI_IMAGE", 4, 4)
    pictures = [Path(path).read_bytes() for path in done.downloaded_paths]
    assert len(set(pictures)) == 4
    assert {Image.open(io.BytesIO(picture)).size for picture in pictures} == {(640, 360)}
    assert studio.v1.account.list().credits == before - 20


def test_sdk_makes_a_film_of_words_and_its_guess_is_corrected(
    studio: magic_hour.Client, receiver: Receiver, tmp_path: Path
) -> None:
    made = studio.v1.text_to_video.create(
        end_seconds=1.5, style={"prompt": "waves"}, aspect_ratio="9:16", resolution="480p", audio=True, name="our-token"
    )
    done = filmed(studio, made.id)

    assert (made.credits_charged, made.estimated_frame_cost, done.credits_charged) == (60, 60, 45)
    assert (done.type_, done.width, done.height, done.end_seconds) == ("TEXT_TO_VIDEO", 480, 852, 1.5)
    assert done.download.url.partition("?")[0] == done.downloads[0].url.partition("?")[0]
    answer = requests.get(done.downloads[0].url, timeout=60)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert playing(answer.content) == (480, 852, 1.5, True)
    receiver.wait(made.id, "video.started")
    (completed,) = receiver.wait(made.id, "video.completed")
    assert completed.json["payload"]["name"] == "our-token"

    studio.v1.video_projects.delete(id=made.id)
    after = studio.v1.video_projects.get(id=made.id)
    assert (after.enabled, after.downloads, after.download) == (False, [], None)
    assert requests.get(done.downloads[0].url, timeout=60).status_code == 404


def test_sdk_makes_a_film_of_a_picture(studio: magic_hour.Client, photo: Path) -> None:
    path = studio.v1.files.upload_file(str(photo))

    made = studio.v1.image_to_video.create(assets={"image_file_path": path}, end_seconds=1, resolution="480p")

    done = filmed(studio, made.id)
    assert (done.status, done.type_) == ("complete", "IMAGE_TO_VIDEO")
    assert playing(requests.get(done.downloads[0].url, timeout=60).content)[2:] == (1.0, False)


def test_an_image_is_no_video_and_the_other_way_round(studio: magic_hour.Client) -> None:
    image = studio.v1.ai_image_generator.create(image_count=1, style={"prompt": "x"}).id

    with pytest.raises(ApiError) as unknown:
        studio.v1.video_projects.get(id=image)

    assert unknown.value.status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("ai-image-generator", {"image_count": 1}, "style.prompt"),
        ("ai-image-generator", {"image_count": 5, "style": {"prompt": "x"}}, "image_count"),
        ("ai-image-generator", {"image_count": 2, "style": {"prompt": "x"}, "model": "krea-2"}, "image_count"),
        ("ai-image-generator", {"image_count": True, "style": {"prompt": "x"}}, "image_count"),
        ("ai-image-generator", {"image_count": 1, "style": {"prompt": "x"}, "model": "none"}, "model"),
        ("ai-image-generator", {"image_count": 1, "style": {"prompt": "x"}, "resolution": "8k"}, "resolution"),
        ("text-to-video", {"style": {"prompt": "x"}}, "end_seconds"),
        ("text-to-video", {"style": {"prompt": "x"}, "end_seconds": 7, "model": "kling-2.6"}, "end_seconds"),
        ("text-to-video", {"style": {"prompt": "x"}, "end_seconds": 61}, "end_seconds"),
        ("text-to-video", {"style": {"prompt": "x"}, "end_seconds": 5, "resolution": "4k"}, "resolution"),
        (
            "text-to-video",
            {"style": {"prompt": "x"}, "end_seconds": 4, "model": "veo3.1", "aspect_ratio": "1:1"},
            "aspect_ratio",
        ),
        ("text-to-video", {"style": {"prompt": "x"}, "end_seconds": 5, "references": [{}]}, "references[0].file_path"),
        ("image-to-video", {"end_seconds": 5}, "assets"),
    ],
)
def test_an_order_that_no_model_takes_is_refused(
    sandbox: RunningSandbox, path: str, body: dict[str, Any], field: str
) -> None:
    answer = sandbox.call("POST", f"/magic-hour/v1/{path}", body, headers=_bearer(sandbox))

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(field)


def test_magic_words_work_for_films_too(studio: magic_hour.Client, receiver: Receiver) -> None:
    before = studio.v1.account.list().credits

    made = studio.v1.text_to_video.create(end_seconds=1, style={"prompt": "sandbox:moderated"}, resolution="480p")

    done = filmed(studio, made.id)
    assert (done.status, done.error.code, done.credits_charged) == ("error", "content_moderated", 0)
    assert studio.v1.account.list().credits == before
    receiver.wait(made.id, "video.errored")
