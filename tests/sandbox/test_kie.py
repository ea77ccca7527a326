"""KIE's simulator: the envelope, the tasks, the callback, the uploads."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
import requests
from PIL import Image

from sandbox import films, strips
from sandbox.webhooks import kie_signature
from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Received, Receiver


@dataclass
class Kie:
    sandbox: RunningSandbox
    key: str

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The envelope; HTTP always says 200."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = requests.request(
            method, f"{self.sandbox.kie_url}{path}", json=body, headers=headers, timeout=30, **options
        )
        assert answer.status_code == 200
        return dict(answer.json())

    def generate(self, prompt: str = "a paper boat", **fields: Any) -> dict[str, Any]:
        body = {"prompt": prompt, "duration": 5, "quality": "720p", "aspectRatio": "1:1"} | fields
        return self.call("POST", "/api/v1/runway/generate", {k: v for k, v in body.items() if v is not None})

    def task(self, prompt: str = "a paper boat", **fields: Any) -> str:
        answer = self.generate(prompt, **fields)
        assert answer["code"] == 200, answer
        return str(answer["data"]["taskId"])

    def detail(self, task: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/api/v1/runway/record-detail?taskId={task}")["data"])

    def ended(self, task: str) -> dict[str, Any]:
        return wait_for(lambda: d if (d := self.detail(task))["state"] in ("success", "fail") else None, task)


@pytest.fixture
def kie(sandbox: RunningSandbox) -> Kie:
    return Kie(sandbox, sandbox.keys["KIE_API_KEY"])


def film_of(url: str) -> tuple[float, tuple[int, int], set[str]]:
    """Seconds, size and what its frames show."""
    content = requests.get(url, timeout=30)
    assert content.headers["Content-Type"] == "video/mp4"
    with av.open(io.BytesIO(content.content)) as container:
        shown = {strips.read(frame.to_image()) for frame in container.decode(video=0)}
        video = container.streams.video[0]
        return (container.duration or 0) / 1_000_000, (video.width, video.height), shown


def callbacks(receiver: Receiver, task: str, count: int = 1) -> list[Received]:
    return wait_for(lambda: f if len(f := receiver.about(task)) >= count else None, f"{count} callbacks")


def test_vector_of_the_provider_page_holds() -> None:
    assert kie_signature("kie_key_example", "task-0001", 1763700000) == "YgbxV1M0ITrSEONrRiyEUGFfbEg1S5o6MMKmYE24KvM="


def test_film_goes_through_every_state_and_plays(kie: Kie) -> None:
    kie.sandbox.tune(speed_s=3600)
    task = kie.task(aspectRatio="16:9")
    seen = []
    for seconds, state in ((0, "wait"), (200, "queueing"), (900, "generating"), (2600, "success")):
        kie.sandbox.advance(seconds)
        seen.append(wait_for(lambda state=state: (d := kie.detail(task))["state"] == state and d, state))  # type: ignore[misc]

    assert [("videoInfo" in one, one["failCode"], one["expireFlag"]) for one in seen] == [(False, 0, 0)] * 3 + [
        (True, 0, 0)
    ]
    video = seen[-1]["videoInfo"]
    assert (video["taskId"], seen[-1]["generateParam"]["prompt"]) == (task, "a paper boat")
    assert film_of(video["videoUrl"]) == (pytest.approx(5, abs=0.1), (1280, 720), {strips.fingerprint("a paper boat")})
    assert Image.open(io.BytesIO(requests.get(video["imageUrl"], timeout=10).content)).size == (1280, 720)


def test_extension_is_a_longer_film_of_the_same_shape(kie: Kie) -> None:
    kie.sandbox.tune(speed_s=3600)
    first = kie.task(aspectRatio="9:16")
    body = {"taskId": first, "prompt": "it sinks", "quality": "720p"}
    assert kie.call("POST", "/api/v1/runway/extend", body)["code"] == 422
    kie.sandbox.advance(3600)
    kie.ended(first)
    kie.sandbox.tune(speed_s=0.1)

    answer = kie.call("POST", "/api/v1/runway/extend", body)
    detail = kie.ended(answer["data"]["taskId"])

    assert detail["parentTaskId"] == first
    shown = {strips.fingerprint("a paper boat"), strips.fingerprint("it sinks")}
    assert film_of(detail["videoInfo"]["videoUrl"]) == (pytest.approx(10, abs=0.1), (720, 1280), shown)


def test_1080p_and_unknown_films_are_not_extended(kie: Kie) -> None:
    sharp = kie.task(quality="1080p")
    kie.ended(sharp)
    body = {"prompt": "more", "quality": "720p"}

    assert kie.call("POST", "/api/v1/runway/extend", body | {"taskId": sharp})["code"] == 422
    assert kie.call("POST", "/api/v1/runway/extend", body | {"taskId": "none"})["code"] == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"duration": 10, "quality": "1080p"},
        {"duration": 8},
        {"duration": "5"},
        {"duration": True},
        {"duration": None},
        {"quality": "4k"},
        {"aspectRatio": None},
        {"aspectRatio": "2:1"},
        {"prompt": ""},
        {"prompt": "x" * 1801},
        {"prompt": 7},
        {"imageUrl": "ftp://example.test/a.png"},
        {"callBackUrl": "nowhere"},
    ],
)
def test_bad_orders_are_422_in_the_body_and_cost_nothing(kie: Kie, fields: dict[str, Any]) -> None:
    before = kie.call("GET", "/api/v1/chat/credit")["data"]

    answer = kie.generate(**fields)

    assert (answer["code"], answer["data"]) == (422, None)
    assert kie.call("GET", "/api/v1/chat/credit")["data"] == before


def test_wrong_key_unknown_task_and_route(kie: Kie, sandbox: RunningSandbox) -> None:
    stranger = Kie(sandbox, "wrong")

    assert stranger.generate()["code"] == 401
    assert kie.call("GET", "/api/v1/runway/record-detail?taskId=none") == {
        "code": 404,
        "msg": "The task does not exist",
        "data": None,
    }
    assert kie.call("GET", "/api/v1/runway/record-detail")["code"] == 422
    assert kie.call("GET", "/api/v1/runway/record-info?taskId=none")["code"] == 404


def test_credits_are_spent_and_without_them_nothing_is_made(kie: Kie) -> None:
    kie.sandbox.tune(kie_credits=13)
    kie.task()

    assert kie.call("GET", "/api/v1/chat/credit") == {"code": 200, "msg": "success", "data": 1}
    assert kie.generate()["code"] == 402


def test_callback_is_signed_snake_cased_and_goes_where_the_order_says(kie: Kie, receiver: Receiver) -> None:
    task = kie.task(callBackUrl=f"{receiver.url}/own/path?token=abc")

    (told,) = callbacks(receiver, task)
    assert told.path == "/own/path?token=abc"
    video = kie.detail(task)["videoInfo"]
    assert told.json == {
        "code": 200,
        "msg": "All generated successfully.",
        "data": {
            "task_id": task, "video_id": video["videoId"], "video_url": video["videoUrl"],
            "image_url": video["imageUrl"],
        },
    }  # fmt: skip
    stamp = int(told.headers["x-webhook-timestamp"])
    assert abs(stamp - time.time()) < 60
    assert told.headers["x-webhook-signature"] == kie_signature("kie_key_example", task, stamp)


def test_callback_goes_nowhere_but_home(kie: Kie, sandbox: RunningSandbox) -> None:
    task = kie.task("sandbox:fail", callBackUrl="https://example.com/x")
    kie.ended(task)

    assert sandbox.deliveries(provider="kie") == []


@pytest.mark.parametrize(("word", "code", "told"), [("fail", 501, 500), ("moderated", 400, 400)])
def test_failures_say_why_and_give_the_credits_back(
    kie: Kie, receiver: Receiver, word: str, code: int, told: int
) -> None:
    before = kie.call("GET", "/api/v1/chat/credit")["data"]
    task = kie.task(f"sandbox:{word}", callBackUrl=f"{receiver.url}/x")

    detail = kie.ended(task)

    assert (detail["state"], detail["failCode"], bool(detail["failMsg"])) == ("fail", code, True)
    assert "videoInfo" not in detail
    (callback,) = callbacks(receiver, task)
    assert callback.json["code"] == told
    assert callback.json["data"] == {"task_id": task, "video_id": "", "video_url": "", "image_url": ""}
    assert kie.call("GET", "/api/v1/chat/credit")["data"] == before


def test_callbacks_are_doubled_and_lost_by_magic(kie: Kie, receiver: Receiver) -> None:
    lost = kie.task("sandbox:lost sandbox:fail", callBackUrl=f"{receiver.url}/x")
    doubled = kie.task("sandbox:duplicate sandbox:fail", callBackUrl=f"{receiver.url}/x")

    assert len({one.body for one in callbacks(receiver, doubled, 5)}) == 1
    kie.ended(lost)
    assert receiver.about(lost) == []


@pytest.mark.parametrize("word", ["429", "500"])
def test_submit_is_refused_once(kie: Kie, word: str) -> None:
    assert kie.generate(f"sandbox:{word} a boat")["code"] == int(word)
    assert kie.generate(f"sandbox:{word} a boat")["code"] == 200


def test_hung_submit_makes_the_film_all_the_same(kie: Kie, receiver: Receiver) -> None:
    with pytest.raises(requests.Timeout):
        requests.post(
            f"{kie.sandbox.kie_url}/api/v1/runway/generate",
            json={
                "prompt": "sandbox:hang", "duration": 5, "quality": "720p", "aspectRatio": "1:1",
                "callBackUrl": f"{receiver.url}/hung",
            },
            headers={"Authorization": f"Bearer {kie.key}"},
            timeout=0.5,
        )  # fmt: skip

    told = wait_for(lambda: [one for one in receiver.received if one.path == "/hung"], "the callback")
    assert kie.detail(told[0].json["data"]["task_id"])["state"] == "success"


@pytest.mark.parametrize(("word", "times"), [("slow", 20), ("late", 4000)])
def test_films_that_take_long(kie: Kie, word: str, times: int) -> None:
    task = kie.task(f"sandbox:{word} sandbox:fail")
    kie.sandbox.advance(times - 2)
    assert kie.detail(task)["state"] != "fail"
    kie.sandbox.advance(2)

    assert kie.ended(task)["state"] == "fail"


@pytest.mark.parametrize("word", ["corrupt", "wrongtype"])
def test_spoilt_films(kie: Kie, word: str) -> None:
    url = kie.ended(kie.task(f"sandbox:{word}"))["videoInfo"]["videoUrl"]

    answer = requests.get(url, timeout=10)
    assert answer.headers["Content-Type"] == "video/mp4"
    with pytest.raises((av.FFmpegError, AssertionError)), av.open(io.BytesIO(answer.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5 * films.FPS


def test_files_are_kept_for_fourteen_days(kie: Kie) -> None:
    task = kie.task()
    url = kie.ended(task)["videoInfo"]["videoUrl"]
    kie.sandbox.advance(14 * 24 * 3600 + 1)

    assert kie.detail(task)["expireFlag"] == 1
    assert requests.get(url, timeout=10).status_code == 404


def test_download_link_ends_after_twenty_minutes_and_is_for_own_files_only(kie: Kie) -> None:
    url = kie.ended(kie.task())["videoInfo"]["videoUrl"]
    link = kie.call("POST", "/api/v1/common/download-url", {"url": url})["data"]

    assert requests.get(link, timeout=10).status_code == 200
    kie.sandbox.advance(20 * 60 + 1)
    assert requests.get(link, timeout=10).status_code == 403
    for foreign in ("https://example.com/a.mp4", "", None):
        assert kie.call("POST", "/api/v1/common/download-url", {"url": foreign})["code"] == 422


def uploaded(kie: Kie, kind: str, picture: bytes, url: str) -> dict[str, Any]:
    match kind:
        case "base64":
            data = "data:image/png;base64," + base64.b64encode(picture).decode()
            return kie.call("POST", "/api/file-base64-upload", {"base64Data": data, "uploadPath": "in"})
        case "stream":
            files = {"file": ("me.png", picture, "image/png")}
            return kie.call("POST", "/api/file-stream-upload", files=files, data={"uploadPath": "in"})
        case _:
            return kie.call("POST", "/api/file-url-upload", {"fileUrl": url, "uploadPath": "in", "fileName": "me.png"})


@pytest.mark.parametrize("kind", ["base64", "stream", "url"])
def test_three_kinds_of_upload_give_a_picture_to_start_from(kie: Kie, kind: str) -> None:
    to = io.BytesIO()
    Image.new("RGB", (400, 800), (20, 180, 40)).save(to, "PNG")
    source = uploaded(kie, "stream", to.getvalue(), "")["data"]["downloadUrl"]

    answer = uploaded(kie, kind, to.getvalue(), source)

    file = answer["data"]
    assert (answer["success"], file["fileSize"], file["filePath"][:3]) == (True, len(to.getvalue()), "in/")
    assert requests.get(file["downloadUrl"], timeout=10).content == to.getvalue()
    detail = kie.ended(kie.task("a lawn", imageUrl=file["downloadUrl"], aspectRatio=None))
    length, size, shown = film_of(detail["videoInfo"]["videoUrl"])
    assert (size, shown) == ((720, 1280), {strips.fingerprint("a lawn")})  # 1:2 is more than a film can have
    with av.open(io.BytesIO(requests.get(detail["videoInfo"]["videoUrl"], timeout=10).content)) as container:
        frame = next(container.decode(video=0)).to_image()
    assert frame.getpixel((360, 400)) == pytest.approx((20, 180, 40), abs=12)
    assert length == pytest.approx(5, abs=0.1)
    kie.sandbox.advance(24 * 3600 + 1)
    assert requests.get(file["downloadUrl"], timeout=10).status_code == 404


def test_same_file_name_overwrites(kie: Kie) -> None:
    for content in (b"one", b"two"):
        data = {"base64Data": base64.b64encode(content).decode(), "uploadPath": "in", "fileName": "a.txt"}
        url = kie.call("POST", "/api/file-base64-upload", data)["data"]["downloadUrl"]

    assert requests.get(url, timeout=10).content == b"two"


@pytest.mark.parametrize(
    "fields",
    [
        {"base64Data": "%%%"},
        {"base64Data": ""},
        {"uploadPath": ""},
        {"uploadPath": "../.."},
        {"fileName": "../a"},
        {"fileName": ".."},
    ],
)
def test_bad_uploads_are_refused(kie: Kie, fields: dict[str, Any]) -> None:
    body = {"base64Data": base64.b64encode(b"x").decode(), "uploadPath": "in"} | fields
    answer = kie.call("POST", "/api/file-base64-upload", body)

    assert (answer["success"], answer["code"]) == (False, 400)


@pytest.mark.parametrize(
    ("url", "code"), [("http://127.0.0.1:9/none.png", 451), ("https://example.com/a.png", 451), ("html", 400)]
)
def test_picture_that_cannot_be_had_or_read_fails_only_later(kie: Kie, url: str, code: int) -> None:
    if url == "html":
        data = {"base64Data": base64.b64encode(b"<html>").decode(), "uploadPath": "in", "fileName": "a.png"}
        url = kie.call("POST", "/api/file-base64-upload", data)["data"]["downloadUrl"]

    detail = kie.ended(kie.task(imageUrl=url))

    assert (detail["state"], detail["failCode"]) == ("fail", code)


@pytest.mark.parametrize("mode", ["401", "402", "408", "422", "429", "451", "455", "500", "501", "505"])
def test_any_code_can_be_asked_for(kie: Kie, mode: str) -> None:
    kie.sandbox.fault("kie", mode)

    assert kie.generate()["code"] == int(mode)
    assert kie.generate()["code"] == 200


def test_dashboard_shows_the_tasks(kie: Kie, sandbox: RunningSandbox, tmp_path: Path) -> None:
    good, bad = kie.task("a <boat>"), kie.task("sandbox:fail")
    kie.ended(good)
    kie.ended(bad)

    shown = sandbox.call("GET", "/kie/dashboard").text
    assert good in shown
    assert "a &lt;boat&gt;" in shown
    assert "Video generation failed" in shown
    assert sandbox.ask("POST", "/kie/dashboard/credits", {"amount": 3}) == {"credits": 3.0}
    assert kie.generate()["code"] == 402
    assert "/kie/dashboard" in sandbox.call("GET", "/").text
