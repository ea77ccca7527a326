"""xAI's simulator: chat and pictures by OpenAI's own SDK, films over plain HTTP."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import av
import jsonschema
import openai
import pydantic
import pytest
import requests
from PIL import Image

from sandbox import strips
from sandbox.strips import fingerprint
from tests.sandbox import portraits
from tests.sandbox.process import RunningSandbox, wait_for

CHAT, PICTURE, FILM = "grok-4.20-0309-non-reasoning", "grok-imagine-image-2.0", "grok-imagine-video"


@pytest.fixture
def grok(sandbox: RunningSandbox) -> openai.OpenAI:
    """OpenAI's official SDK, pointed at xAI's routes."""
    url = f"{sandbox.xai_url}/v1"
    return openai.OpenAI(api_key=sandbox.keys["XAI_API_KEY"], base_url=url, max_retries=0, timeout=20)


def call(sandbox: RunningSandbox, path: str, json: Any = None, method: str = "POST", **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.keys['XAI_API_KEY']}"} | options.pop("headers", {})
    return sandbox.call(method, f"/xai/v1/{path}", json, headers=headers, **options)


def paint(sandbox: RunningSandbox, prompt: str, path: str = "images/generations", **more: Any) -> Any:
    return call(sandbox, path, {"model": PICTURE, "prompt": prompt, **more})


def start(sandbox: RunningSandbox, prompt: str, verb: str = "generations", **more: Any) -> str:
    answer = call(sandbox, f"videos/{verb}", {"model": FILM, "prompt": prompt, **more})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"request_id"}
    return str(answer.json()["request_id"])


def ended(sandbox: RunningSandbox, id: str) -> requests.Response:
    def look() -> list[requests.Response]:
        answer = call(sandbox, f"videos/{id}", method="GET")
        return [] if answer.status_code == 202 else [answer]

    return wait_for(look, f"the end of {id}")[0]


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(requests.get(url, timeout=10).content))


def data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def shown_by(url: str) -> tuple[list[str], float, tuple[int, int]]:
    """A film's fingerprints in order of appearance, its length by its frames, and its size. Every frame is decoded."""
    film = io.BytesIO(requests.get(url, timeout=20).content)
    found: list[str] = []
    with av.open(film) as container:
        video = container.streams.video[0]
        count = 0
        for frame in container.decode(video):
            count += 1
            seen = strips.read(frame.to_image())
            if not found or found[-1] != seen:
                found.append(seen)
        assert video.average_rate is not None
        return found, float(count / video.average_rate), (video.width, video.height)


# OpenAI's SDK -----------------------------------------------------------------------------------


class Wardrobe(pydantic.BaseModel):
    model_config = {"extra": "forbid"}
    coat: str
    pieces: int = pydantic.Field(ge=1, le=9)


class Profile(pydantic.BaseModel):
    model_config = {"extra": "forbid"}
    name: str = pydantic.Field(max_length=40)
    mood: str = pydantic.Field(json_schema_extra={"enum": ["calm", "wild"]})
    themes: list[str] = pydantic.Field(min_length=2, max_length=4)
    wardrobe: Wardrobe
    pet: Wardrobe | None


def test_sdk_parses_what_it_asked_for(grok: openai.OpenAI) -> None:
    said = [{"role": "system", "content": "You invent people."}, {"role": "user", "content": "a night watchman"}]

    first = grok.chat.completions.parse(model=CHAT, messages=said, response_format=Profile)  # type: ignore[arg-type]
    again = grok.chat.completions.parse(model=CHAT, messages=said, response_format=Profile)  # type: ignore[arg-type]

    (choice,) = first.choices
    assert (choice.finish_reason, choice.message.refusal) == ("stop", None)
    assert choice.message.parsed is not None
    assert choice.message.parsed.mood in ("calm", "wild")
    assert "a night watchman" in choice.message.parsed.wardrobe.coat
    assert choice.message.content == again.choices[0].message.content
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert first.usage.model_extra is not None
    assert first.usage.model_extra["cost_in_usd_ticks"] > 0


def test_sdk_generates_pictures_that_say_their_prompt(grok: openai.OpenAI) -> None:
    by_url = grok.images.generate(model=PICTURE, prompt="a red fox", n=2)
    by_value = grok.images.generate(model=PICTURE, prompt="a red fox", n=1, response_format="b64_json")

    assert by_url.data is not None
    assert by_value.data is not None
    for number, one in enumerate(by_url.data):
        assert one.url is not None
        picture = opened(one.url)
        assert (picture.format, picture.size) == ("JPEG", (1024, 1024))
        assert strips.read(picture) == fingerprint("a red fox", number)
    value = by_value.data[0].b64_json
    assert value is not None
    assert base64.b64decode(value) == requests.get(str(by_url.data[0].url), timeout=10).content


def test_sdk_lists_models(grok: openai.OpenAI) -> None:
    assert {CHAT, PICTURE, FILM} <= {model.id for model in grok.models.list()}
    assert grok.models.retrieve(CHAT).owned_by == "xai"
    with pytest.raises(openai.NotFoundError):
        grok.models.retrieve("grok-none")


def test_sdk_meets_each_refusal(grok: openai.OpenAI, sandbox: RunningSandbox) -> None:
    said: Any = [{"role": "user", "content": "sandbox:429 please"}]
    stranger = openai.OpenAI(api_key="wrong", base_url=f"{sandbox.xai_url}/v1", max_retries=0)

    with pytest.raises(openai.BadRequestError, match="Incorrect API key"):
        stranger.models.list()
    with pytest.raises(openai.RateLimitError) as limited:
        grok.chat.completions.create(model=CHAT, messages=said)
    assert limited.value.response.headers["Retry-After"] == "2"
    assert grok.chat.completions.create(model=CHAT, messages=said).choices[0].finish_reason == "stop"
    with pytest.raises(openai.NotFoundError):
        grok.chat.completions.create(model="grok-none", messages=[{"role": "user", "content": "x"}])
    sandbox.tune(xai_usd=0)
    with pytest.raises(openai.PermissionDeniedError) as spent:
        grok.images.generate(model=PICTURE, prompt="a fox")
    assert "credits" in spent.value.response.json()["error"]


# Structured output ------------------------------------------------------------------------------

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False},
    {"type": "object", "properties": {}, "required": ["other"]},
    {"type": "array", "items": {"enum": ["red", "green", 3, None]}, "minItems": 3, "maxItems": 3},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "integer", "minimum": 18, "maximum": 99}},
    {"type": ["string", "null"], "minLength": 700, "maxLength": 800},
    {"type": "string", "maxLength": 12},
    {"type": "number", "minimum": 0.1, "maximum": 0.2},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "integer", "exclusiveMinimum": 6, "maximum": 8, "multipleOf": 4},
    {"type": "number", "maximum": -3},
    {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"b": {"const": 5}}, "required": ["b"]}]},
    {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "required": ["tree"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "leaves": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["label"],
            }
        },
    },
    *({"type": "string", "format": name} for name in ("date", "date-time", "email", "uri", "uuid", "ipv4")),
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=[json.dumps(schema)[:60] for schema in SCHEMAS])
def test_every_answer_fits_its_schema(sandbox: RunningSandbox, schema: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}}

    for prompt in ("a quiet harbour", "x", "ä → 顔\n" * 300):
        said = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        answer = call(sandbox, "chat/completions", {"model": CHAT, "messages": said, "response_format": wanted})

        assert answer.status_code == 200, answer.text
        content = json.loads(answer.json()["choices"][0]["message"]["content"])
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(content)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{}]},
        {"type": "string", "pattern": "^a$"},
        {"enum": []},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "decimal"},
    ],
)
def test_a_schema_that_cannot_be_honoured_is_refused(sandbox: RunningSandbox, schema: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    said = [{"role": "user", "content": "x"}]

    answer = call(sandbox, "chat/completions", {"model": CHAT, "messages": said, "response_format": wanted})

    assert answer.status_code == 400
    assert "schema" in answer.json()["error"]["message"]


def test_magic_words_of_a_chat(sandbox: RunningSandbox) -> None:
    sandbox.tune(slow_s=0)
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMAS[0]}}

    def choice(word: str) -> dict[str, Any]:
        body = {"model": CHAT, "messages": [{"role": "user", "content": word}], "response_format": wanted}
        return dict(call(sandbox, "chat/completions", body).json()["choices"][0])

    refused = choice("sandbox:moderated")
    assert (refused["finish_reason"], refused["message"]["content"]) == ("content_filter", None)
    assert refused["message"]["refusal"]
    cut_off = choice("sandbox:corrupt")
    assert cut_off["finish_reason"] == "length"
    for broken in (cut_off, choice("sandbox:wrongtype")):
        with pytest.raises(ValueError):
            json.loads(broken["message"]["content"])
    # A text made of a text keeps its magic words, however long it is.
    long = choice("word " * 300 + "sandbox:slow")
    assert "sandbox:slow" in json.loads(long["message"]["content"])["a"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"messages": []}, 422),
        ({"messages": [{"role": "user"}]}, 400),
        ({"messages": [{"role": "god", "content": "x"}]}, 422),
        ({"stream": True}, 400),
        ({"search_parameters": {}}, 410),
        ({"reasoning_effort": "most"}, 400),
        ({"response_format": {"type": "yaml"}}, 400),
        ({"response_format": {"type": "json_schema"}}, 400),
        ({"model": None}, 422),
        ({"model": PICTURE}, 404),
    ],
)
def test_a_bad_chat_is_refused_in_openais_shape(sandbox: RunningSandbox, change: dict[str, Any], status: int) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}]} | change

    answer = call(sandbox, "chat/completions", body)

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_both_error_shapes_and_how_keys_are_refused(sandbox: RunningSandbox) -> None:
    nobody = sandbox.call("POST", "/xai/v1/images/generations", {})
    stranger = call(sandbox, "images/generations", {}, headers={"Authorization": "Bearer wrong"})
    plain = call(sandbox, "images/generations", headers={"Content-Type": "text/plain"}, data="x")

    assert (nobody.status_code, stranger.status_code, plain.status_code) == (401, 400, 415)
    assert set(stranger.json()) == {"code", "error"}
    assert "API key" in stranger.json()["error"]
    assert call(sandbox, "images/variations", {}).status_code == 404


# Pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "size", "ticks"),
    [
        ({"aspect_ratio": "16:9", "resolution": "2k", "quality": "high"}, (2048, 1152), 1_400_000_000),
        ({"aspect_ratio": "1:1", "quality": "low", "n": 4}, (1024, 1024), 800_000_000),
        ({"aspect_ratio": "9:19.5"}, (472, 1024), 400_000_000),
        ({}, (1024, 1024), 400_000_000),
    ],
)
def test_pictures_are_as_asked_and_their_cost_is_said(
    sandbox: RunningSandbox, asked: dict[str, Any], size: tuple[int, int], ticks: int
) -> None:
    answer = paint(sandbox, "a harbour", **asked).json()

    assert answer["usage"] == {"cost_in_usd_ticks": ticks}
    assert answer["block_reason"] is None
    assert [opened(one["url"]).size for one in answer["data"]] == [size] * asked.get("n", 1)
    assert {one["respect_moderation"] for one in answer["data"]} == {True}
    assert len({strips.read(opened(one["url"])) for one in answer["data"]}) == asked.get("n", 1)


@pytest.mark.parametrize("several", [False, True])
def test_an_edit_is_made_from_the_given_picture(sandbox: RunningSandbox, tmp_path: Path, several: bool) -> None:
    paths = [tmp_path / f"{seed}.jpg" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        portraits.draw(seed, (480, 480)).save(path, quality=92)
    given = [{"url": data_url(path), "type": "image_url"} for path in paths]
    more: dict[str, Any] = {"images": given} if several else {"image": given[1]}

    answer = paint(sandbox, "in the rain", "images/edits", aspect_ratio="1:1", **more).json()

    edited = opened(answer["data"][0]["url"])
    assert strips.read(edited) == fingerprint("in the rain")
    if not several:
        made = portraits.perceptual_hash(edited)
        near, far = (portraits.distance(made, portraits.perceptual_hash(Image.open(path))) for path in reversed(paths))
        assert near < 16 < far


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        ({"prompt": None}, "images/generations", 422),
        ({"prompt": " "}, "images/generations", 422),
        ({"n": 0}, "images/generations", 400),
        ({"n": 11}, "images/generations", 400),
        ({"n": True}, "images/generations", 400),
        ({"size": "1024x1024"}, "images/generations", 400),
        ({"aspect_ratio": "5:4"}, "images/generations", 422),
        ({"resolution": "4k"}, "images/generations", 422),
        ({"model": CHAT}, "images/generations", 404),
        ({}, "images/edits", 400),
        ({"image": {"url": "data:,x"}, "images": []}, "images/edits", 400),
        ({"images": [{"url": "data:,x"}] * 4}, "images/edits", 400),
        ({"image": {"url": "data:text/plain,hello"}}, "images/edits", 400),
        ({"image": {"url": "data:image/png;base64,%"}}, "images/edits", 400),
        ({"image": {"url": "https://example.test/a.png"}}, "images/edits", 400),
        ({"image": "https://example.test/a.png"}, "images/edits", 422),
    ],
)
def test_bad_orders_of_pictures_are_refused_and_cost_nothing(
    sandbox: RunningSandbox, body: dict[str, Any], path: str, status: int
) -> None:
    answer = call(sandbox, path, {"model": PICTURE, "prompt": "x"} | body)

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "error"}
    assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == 10_000


def test_pictures_are_blocked_in_three_ways_and_billed(sandbox: RunningSandbox) -> None:
    refused = paint(sandbox, "sandbox:moderated")
    blocked = paint(sandbox, "sandbox:blocked").json()
    withheld = paint(sandbox, "sandbox:withheld", n=2).json()

    assert refused.status_code == 400
    assert "moderation" in refused.json()["error"]
    assert refused.json()["usage"] == {"cost_in_usd_ticks": 400_000_000}
    assert (blocked["data"], blocked["block_reason"]) == ([], "content_moderated")
    assert [one["respect_moderation"] for one in withheld["data"]] == [True, False]
    assert max(high - low for low, high in opened(withheld["data"][1]["url"]).getextrema()) < 3
    left = sandbox.ask("POST", "/control/settings", {})["xai_usd"]
    assert left == pytest.approx(10_000 - 0.04 - 0.04 - 0.08)


def test_spoilt_pictures(sandbox: RunningSandbox) -> None:
    corrupt, wrong = (paint(sandbox, f"sandbox:{word}").json()["data"][0]["url"] for word in ("corrupt", "wrongtype"))
    inside = paint(sandbox, "sandbox:corrupt", response_format="b64_json").json()["data"][0]["b64_json"]

    with pytest.raises(OSError, match="truncated"):
        opened(corrupt).load()
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(base64.b64decode(inside))).load()
    assert requests.get(wrong, timeout=10).content.startswith(b"<!doctype html>")
    assert paint(sandbox, "sandbox:fail").status_code == 400
    huge = paint(sandbox, "sandbox:huge").json()["data"][0]["url"]
    with requests.get(huge, stream=True, timeout=10) as endless:
        assert len(endless.raw.read(10 << 20)) == 10 << 20


@pytest.mark.parametrize(("word", "status"), [("429", 429), ("500", 500)])
def test_refusal_comes_once_and_costs_nothing(sandbox: RunningSandbox, word: str, status: int) -> None:
    for order in (lambda: paint(sandbox, f"sandbox:{word}"), lambda: call(
        sandbox, "videos/generations", {"model": FILM, "prompt": f"a film, sandbox:{word}"}
    )):  # fmt: skip
        before = sandbox.ask("POST", "/control/settings", {})["xai_usd"]
        assert order().status_code == status
        assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == before
        assert order().status_code == 200


@pytest.mark.parametrize("word", ["slow", "late", "hang"])
def test_a_picture_that_is_not_awaited_is_made_and_billed(sandbox: RunningSandbox, word: str) -> None:
    with pytest.raises(requests.Timeout):
        call(sandbox, "images/generations", {"model": PICTURE, "prompt": f"sandbox:{word}"}, timeout=0.7)

    assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == pytest.approx(10_000 - 0.04)


def test_links_end(sandbox: RunningSandbox) -> None:
    url = paint(sandbox, "a harbour").json()["data"][0]["url"]

    assert requests.get(url[:-4] + "0000", timeout=10).status_code == 403
    sandbox.advance(24 * 3600 + 1)
    assert requests.get(url, timeout=10).status_code == 403


# Films ------------------------------------------------------------------------------------------


def test_a_film_is_asked_for_polled_and_plays(sandbox: RunningSandbox) -> None:
    sandbox.tune(speed_s=3600)
    id = start(sandbox, "a paper boat", duration=3, aspect_ratio="9:16", resolution="720p")

    empty, pending = (call(sandbox, f"videos/{id}", method="GET") for _ in range(2))
    assert (empty.status_code, empty.content) == (202, b"")
    assert (pending.status_code, pending.json()) == (202, {"status": "pending", "progress": 0})
    sandbox.advance(1800)
    assert call(sandbox, f"videos/{id}", method="GET").json()["progress"] == 50
    sandbox.advance(1800)
    done = ended(sandbox, id).json()

    assert done["usage"] == {"cost_in_usd_ticks": 1_500_000_000}
    assert (done["status"], done["model"], done["progress"]) == ("done", FILM, 100)
    assert (done["video"]["duration"], done["video"]["respect_moderation"]) == (3, True)
    assert shown_by(done["video"]["url"]) == ([fingerprint("a paper boat")], pytest.approx(3, abs=0.1), (720, 1280))
    sandbox.advance(24 * 3600 + 1)
    assert ended(sandbox, id).json() == {"status": "expired"}


def test_an_extension_answers_the_whole_extended_film(sandbox: RunningSandbox) -> None:
    first = ended(sandbox, start(sandbox, "a paper boat", duration=2)).json()["video"]["url"]
    second = ended(sandbox, start(sandbox, "it sinks", "extensions", duration=1, video={"url": first})).json()
    film = base64.b64encode(requests.get(second["video"]["url"], timeout=10).content).decode()
    by_value = {"url": f"data:video/mp4;base64,{film}"}
    third = ended(sandbox, start(sandbox, "and is found", "extensions", duration=1, video=by_value)).json()
    edited = ended(sandbox, start(sandbox, "in winter", "edits", video={"url": second["video"]["url"]})).json()

    parts = [fingerprint(prompt) for prompt in ("a paper boat", "it sinks", "and is found")]
    assert (second["video"]["duration"], second["usage"]["cost_in_usd_ticks"]) == (3, 500_000_000)
    assert shown_by(second["video"]["url"])[:2] == (parts[:2], pytest.approx(3, abs=0.1))
    assert shown_by(third["video"]["url"])[:2] == (parts, pytest.approx(4, abs=0.1))
    assert shown_by(edited["video"]["url"])[:2] == ([fingerprint("in winter")], pytest.approx(3, abs=0.1))


def test_a_film_starts_from_the_given_picture(sandbox: RunningSandbox, tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), (10, 200, 30)).save(tmp_path / "lawn.jpg")
    image = {"url": data_url(tmp_path / "lawn.jpg")}

    done = ended(sandbox, start(sandbox, "a lawn", duration=1, image=image, aspect_ratio="4:3")).json()

    with av.open(io.BytesIO(requests.get(done["video"]["url"], timeout=10).content)) as container:
        frame = next(container.decode(video=0)).to_image()
    assert frame.getpixel((620, 150)) == pytest.approx((10, 200, 30), abs=12)


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("generations", {"prompt": ""}, 422),
        ("generations", {"duration": 16}, 400),
        ("generations", {"duration": 0}, 400),
        ("generations", {"duration": 2.5}, 400),
        ("generations", {"aspect_ratio": "2:1"}, 422),
        ("generations", {"resolution": "4k"}, 422),
        ("generations", {"resolution": "1080p"}, 400),
        ("generations", {"image_url": "data:,x"}, 400),
        ("generations", {"image": {"url": "data:,x"}}, 400),
        ("generations", {"model": PICTURE}, 404),
        ("extensions", {}, 422),
        ("extensions", {"video": {"url": "data:video/mp4,x"}}, 400),
        ("edits", {"video": {"url": "https://example.test/a.mp4"}}, 400),
    ],
)
def test_bad_orders_of_films_are_refused(sandbox: RunningSandbox, verb: str, body: dict[str, Any], status: int) -> None:
    answer = call(sandbox, f"videos/{verb}", {"model": FILM, "prompt": "x"} | body)

    assert answer.status_code == status, answer.text
    assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == 10_000


def test_limits_of_extensions(sandbox: RunningSandbox) -> None:
    url = ended(sandbox, start(sandbox, "short", duration=1)).json()["video"]["url"]
    ready = ended(sandbox, start(sandbox, "a boat", duration=2)).json()["video"]["url"]

    def refused(video: str, **more: Any) -> str:
        answer = call(sandbox, "videos/extensions", {"model": FILM, "prompt": "x", "video": {"url": video}} | more)
        assert answer.status_code == 400
        return str(answer.json()["error"])

    assert "from 2 to 30" in refused(url)
    assert "1 to 10" in refused(ready, duration=11)
    assert "extension" in refused(ready, model="grok-imagine-video-1.5")


def test_films_fail_and_are_blocked_in_each_way(sandbox: RunningSandbox) -> None:
    failed = ended(sandbox, start(sandbox, "sandbox:fail", duration=2)).json()
    moderated = ended(sandbox, start(sandbox, "sandbox:moderated", duration=2))
    withheld = ended(sandbox, start(sandbox, "sandbox:withheld", duration=2)).json()
    blocked = call(sandbox, "videos/generations", {"model": FILM, "prompt": "sandbox:blocked"})

    assert (failed["status"], failed["error"]["code"]) == ("failed", "internal_error")
    assert moderated.status_code == 400
    assert "moderation" in moderated.json()["error"]
    assert moderated.json()["usage"] == {"cost_in_usd_ticks": 1_000_000_000}
    assert withheld["video"] == {"url": "", "duration": 2, "respect_moderation": False}
    assert blocked.status_code == 400
    assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == pytest.approx(10_000 - 0.1 - 0.1)
    assert call(sandbox, "videos/none", method="GET").status_code == 404


def test_spoilt_films(sandbox: RunningSandbox) -> None:
    corrupt, wrong = (
        ended(sandbox, start(sandbox, f"sandbox:{word}", duration=2)).json()["video"]["url"]
        for word in ("corrupt", "wrongtype")
    )

    with pytest.raises((av.error.FFmpegError, AssertionError)):
        assert shown_by(corrupt)[1] == pytest.approx(2, abs=0.1)
    assert requests.get(wrong, timeout=10).content.startswith(b"<!doctype html>")


def test_a_start_that_hangs_has_started(sandbox: RunningSandbox) -> None:
    with pytest.raises(requests.Timeout):
        call(sandbox, "videos/generations", {"model": FILM, "prompt": "sandbox:hang", "duration": 1}, timeout=0.5)

    assert sandbox.ask("POST", "/control/settings", {})["xai_usd"] == pytest.approx(10_000 - 0.05)


def test_dashboard_shows_everything_escaped(sandbox: RunningSandbox, grok: openai.OpenAI) -> None:
    said: Any = [{"role": "user", "content": "<i>hello</i>"}]
    paint(sandbox, "<b>bold</b>")
    id = start(sandbox, "<u>film</u>", duration=1)
    grok.chat.completions.create(model=CHAT, messages=said)
    ended(sandbox, id)

    page = requests.get(f"{sandbox.xai_url}/dashboard", timeout=10).text

    assert id in page
    assert not any(markup in page for markup in ("<b>bold", "<u>film", "<i>hello"))
    assert "&lt;i&gt;hello" in page
