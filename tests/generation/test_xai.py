"""xAI: what it is sent, and what each of its answers means."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from PIL import Image

from core import http
from generation.checks import check_settings
from generation.engine.finish import REASONS
from generation.providers import get, xai_wire
from generation.providers.base import (
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Seen,
    Submitted,
    Treatment,
    Unavailable,
    Unknown,
)
from generation.providers.xai_chat import chat_json
from sandbox import strips
from sandbox.strips import fingerprint
from tests.generation.material import encoded, until
from tests.generation.test_provider_contract import PHOTO, TOKEN
from tests.sandbox import portraits
from tests.sandbox.process import RunningSandbox
from tests.sandbox.test_xai import opened, shown_by

CHAT = "grok-4.20-0309-non-reasoning"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture
def xai(sandbox: RunningSandbox) -> Provider:
    return get("xai")


def picture(prompt: str = "a harbour", *inputs: Input, **params: Any) -> Order:
    return Order(TOKEN, "image", "grok-imagine-image-2.0", {"prompt": prompt} | params, inputs, operation="image")


def film(prompt: str = "a paper boat", *inputs: Input, **params: Any) -> Order:
    params = ({"prompt": prompt} if prompt else {}) | params
    return Order(TOKEN, "video", "grok-imagine-video", params, inputs, operation="video.xai")


def submit(xai: Provider, order: Order) -> Submitted:
    return xai.submit(order, xai.prepare(order))


def ended(xai: Provider, submitted: Submitted) -> Seen:
    id = submitted.provider_job_id
    assert id is not None
    return until(lambda: (s := xai.poll(id)).status != "running" and s, "it ends")  # type: ignore[no-any-return]


def sent(sandbox: RunningSandbox, path: str) -> dict[str, Any]:
    """The newest body that went there."""
    return dict(json.loads(next(r["body"] for r in sandbox.requests(method="POST") if r["path"] == path)))


# Pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "asked", "size", "cost"),
    [
        ({}, {"aspect_ratio": "1:1", "resolution": "1k", "quality": "low", "n": 1}, (1024, 1024), "0.02"),
        ({"size": "256x256", "count": 4}, {"aspect_ratio": "1:1", "resolution": "1k", "n": 4}, (256, 256), "0.08"),
        (
            {"size": "1920x1080", "quality": "hd"},
            {"aspect_ratio": "16:9", "resolution": "2k", "quality": "medium"},
            (1920, 1080),
            "0.08",
        ),
        (
            {"size": "2048x2048", "quality": "premium", "count": 2},
            {"aspect_ratio": "1:1", "resolution": "2k", "quality": "high", "n": 2},
            (2048, 2048),
            "0.28",
        ),
    ],
)
def test_pictures_are_asked_for_as_they_were_ordered(
    xai: Provider, sandbox: RunningSandbox, params: dict[str, Any], asked: dict[str, Any], size: Any, cost: str
) -> None:
    order = picture(**params)

    made = submit(xai, order)

    body = sent(sandbox, "/v1/images/generations")
    assert body | asked == body
    assert body.keys() == {
        "model", "prompt", "n", "response_format", "aspect_ratio", "resolution", "quality",
    }  # fmt: skip
    assert (made.provider_job_id, made.cost) == (None, Decimal(cost))
    assert len(made.outputs) == params.get("count", 1)
    for number, url in enumerate(made.outputs):
        shown = opened(url)
        assert strips.read(shown) == fingerprint("a harbour", number)
        # We crop and scale down, never up, and hardly crop.
        assert shown.width >= size[0]
        assert shown.height >= size[1]
        assert shown.width * size[1] == pytest.approx(shown.height * size[0], rel=0.01)
    assert xai.treatment(order) == Treatment(size=size)
    assert xai.queue("image") == xai.queue("avatar") == "providers_sync"


def test_a_photo_is_edited_and_goes_inside_the_body(xai: Provider, sandbox: RunningSandbox) -> None:
    drawn = [portraits.draw(seed, (480, 480)) for seed in (0, 1)]
    photo = encoded(drawn[1], "JPEG", quality=92)

    made = submit(xai, picture("in the rain", Input("image/jpeg", len(photo), lambda: io.BytesIO(photo))))

    (edited,) = (opened(url) for url in made.outputs)
    assert strips.read(edited) == fingerprint("in the rain")
    hashes = [portraits.perceptual_hash(one) for one in (edited, *drawn)]
    assert portraits.distance(hashes[0], hashes[2]) < 16 < portraits.distance(hashes[0], hashes[1])
    submit(xai, picture("together", PHOTO, PHOTO))
    assert next(r for r in sandbox.requests() if r["method"] == "POST")["path"] == "/v1/images/edits"


def test_a_face_is_small_and_square(xai: Provider) -> None:
    order = Order(TOKEN, "avatar", "", {"prompt": "a night watchman"}, operation="avatar.thumbnail")

    made = submit(xai, order)

    assert opened(made.outputs[0]).size == (1024, 1024)
    assert xai.treatment(order) == Treatment(size=(512, 512))


@pytest.mark.parametrize(
    ("made", "outputs"),
    [
        ({"data": [{"url": "https://x/a"}]}, ("https://x/a",)),
        ({"data": [{"b64_json": "QUJD"}]}, ("data:image/jpeg;base64,QUJD",)),
        ({"data": [{"b64_json": "data:image/png;base64,QUJD", "mime_type": "image/png"}]}, None),
        ({"data": [{"url": "https://x/a", "respect_moderation": None}], "block_reason": None}, ("https://x/a",)),
    ],
)
def test_pictures_come_in_either_shape(monkeypatch: pytest.MonkeyPatch, made: Any, outputs: Any) -> None:
    monkeypatch.setattr(http, "call", lambda *_, **__: http.Answer(200, {}, orjson.dumps(made)))

    assert get("xai").submit(picture(), {}).outputs == (outputs or ("data:image/png;base64,QUJD",))


@pytest.mark.parametrize(
    ("made", "error"),
    [
        ({"data": [], "block_reason": "x"}, Rejected),
        ({"data": [{"url": ""}]}, Rejected),
        ({"data": [{"url": "https://x/a"}, {"url": "https://x/b", "respect_moderation": False}]}, Rejected),
        ({"data": []}, Unknown),
        ({"data": "x"}, Unknown),
        ({"data": ["x"]}, Unknown),
        ({}, Unknown),
        ([], Unknown),
    ],
)
def test_all_pictures_or_none(monkeypatch: pytest.MonkeyPatch, made: Any, error: type[ProviderError]) -> None:
    body = made | {"usage": {"cost_in_usd_ticks": 10**9}} if isinstance(made, dict) and made else made
    monkeypatch.setattr(http, "call", lambda *_, **__: http.Answer(200, {}, orjson.dumps(body)))

    with pytest.raises(error) as found:
        get("xai").submit(picture(count=2), {})

    if error is Rejected:
        assert isinstance(found.value, Rejected)
        assert (found.value.code, found.value.cost) == ("moderated", Decimal("0.1"))


# Films --------------------------------------------------------------------------------------------


def test_a_film_has_parts_that_xai_makes() -> None:
    from generation.providers.xai import _lengths

    for seconds in range(3, 31):
        parts = _lengths(film(duration=seconds))

        assert sum(parts) == seconds
        assert 2 <= parts[0] <= 15
        assert all(6 <= part <= 10 for part in parts[1:])
        assert len(parts) == (1 if seconds <= 15 else 2 if seconds <= 25 else 3)
        assert get("xai").stages(film(duration=seconds)) == len(parts)
    assert _lengths(film()) == [6]
    assert get("xai").stages(picture()) == 1


def test_a_film_is_started_looked_at_and_made_longer(xai: Provider, sandbox: RunningSandbox) -> None:
    order = film(duration=16, style="cinematic", aspect_ratio="1:1", with_audio=False)

    first = ended(xai, submit(xai, order))
    again = Order(**_fields(order) | {"stage": 2, "previous": first.outputs[0]})
    whole = ended(xai, submit(xai, again))

    start, more = sent(sandbox, "/v1/videos/generations"), sent(sandbox, "/v1/videos/extensions")
    assert start == {
        "model": "grok-imagine-video",
        "prompt": "a paper boat Cinematic: shallow focus, dramatic light, film colours.",
        "duration": 10,
        "resolution": "720p",
        "aspect_ratio": "1:1",
    }
    assert more == {
        "model": "grok-imagine-video",
        "prompt": f"{start['prompt']} The film goes on without a cut.",
        "duration": 6,
        "video": {"url": first.outputs[0]},
    }
    assert (first.status, first.cost, whole.cost) == ("succeeded", Decimal("0.5"), Decimal("0.3"))
    seen = [fingerprint(start["prompt"]), fingerprint(more["prompt"])]
    assert shown_by(whole.outputs[0]) == (seen, pytest.approx(16, abs=0.1), (720, 720))
    assert xai.treatment(order) == Treatment(mute=True)
    assert xai.treatment(film(with_audio=True)) == xai.treatment(film()) == Treatment()
    assert xai.queue("video") == "providers"
    assert xai.parse_callback({"type": "video.completed", "payload": {"id": "x"}}) is None
    assert xai.resolve_window_s == 0
    xai.cancel("whatever")


def _fields(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__slots__}


def test_a_film_from_a_photo_always_has_words(xai: Provider, sandbox: RunningSandbox) -> None:
    lawn = encoded(Image.new("RGB", (320, 240), (10, 200, 30)), "JPEG", quality=95)
    photo = Input("image/jpeg", len(lawn), lambda: io.BytesIO(lawn))

    ended(xai, submit(xai, film("", photo, duration=1)))

    body = sent(sandbox, "/v1/videos/generations")
    assert body["prompt"] == "Bring this picture to life with gentle, natural movement."
    assert body["image"]["url"].startswith("data:image/jpeg;base64,")
    assert "aspect_ratio" not in body


@pytest.mark.parametrize(
    ("status", "said", "seen"),
    [
        (202, None, ("running", 0, (), None, None)),
        (202, {"status": "pending", "progress": 37}, ("running", 37, (), None, None)),
        (202, {"status": "pending", "progress": 100}, ("running", 99, (), None, None)),
        (200, {"status": "something new"}, ("running", 0, (), None, None)),
        (200, {"video": {"url": "https://x/a.mp4"}}, ("succeeded", 100, ("https://x/a.mp4",), None, None)),
        (
            200,
            {"status": "done", "video": {"url": "u"}, "usage": {"cost_in_usd_ticks": 25 * 10**8}},
            ("succeeded", 100, ("u",), Decimal("0.25"), None),
        ),
        (200, {"status": "done", "video": {"url": ""}}, ("failed", 0, (), None, "moderated")),
        (200, {"video": {"url": "u", "respect_moderation": False}}, ("failed", 0, (), None, "moderated")),
        (200, {"status": "done"}, ("failed", 0, (), None, "moderated")),
        (200, {"status": "failed", "error": {"code": "internal_error"}}, ("failed", 0, (), None, "provider_failed")),
        (200, {"status": "failed", "error": {"message": "moderation"}}, ("failed", 0, (), None, "moderated")),
        (200, {"status": "failed"}, ("failed", 0, (), None, "provider_failed")),
        (200, {"status": "expired"}, ("failed", 0, (), None, "provider_lost")),
        (
            400,
            {"error": "Generated video rejected by content moderation.", "usage": {"cost_in_usd_ticks": 10**9}},
            ("failed", 0, (), Decimal("0.1"), "moderated"),
        ),
        (400, {"error": "prompt is missing"}, ("failed", 0, (), None, "provider_rejected")),
        (404, {"error": "Not Found"}, ("gone", 0, (), None, None)),
    ],
)  # fmt: skip
def test_what_a_look_shows(monkeypatch: pytest.MonkeyPatch, status: int, said: Any, seen: Any) -> None:
    body = b"" if said is None else orjson.dumps(said)
    monkeypatch.setattr(http, "call", lambda *_, **__: http.Answer(status, {}, body))

    found = get("xai").poll("x")

    error = found.error and found.error.code
    assert (found.status, found.progress, found.outputs, found.cost, error) == seen
    assert error is None or error in REASONS


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "Incorrect API key provided. Get one at the console."}, Misconfigured),
        (401, {"error": "No authorization header"}, Misconfigured),
        (403, {"code": "permission denied", "error": "used all available credits"}, Misconfigured),
        (429, {}, Unavailable),
        (503, {"error": {"message": "later"}}, Unavailable),
    ],
)
def test_a_look_that_failed_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, error: type[ProviderError]
) -> None:
    monkeypatch.setattr(http, "call", lambda *_, **__: http.Answer(status, {}, orjson.dumps(body)))

    with pytest.raises(error):
        get("xai").poll("x")


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["openai", "flat"])
@pytest.mark.parametrize(
    ("status", "message", "error", "code"),
    [
        (400, "n must be from 1 to 10", Rejected, "provider_rejected"),
        (400, "Generated image rejected by content moderation.", Rejected, "moderated"),
        (400, "the prompt 'my api key is in the safe' is too long", Rejected, "provider_rejected"),
        (422, "missing field", Rejected, "provider_rejected"),
        (415, "no JSON", Rejected, "provider_rejected"),
        (400, "Incorrect API key provided: xa***ey.", Misconfigured, None),
        (400, "Zero Data Retention teams must give output.upload_url", Misconfigured, None),
        (401, "no header", Misconfigured, None),
        (402, "pay", Misconfigured, None),
        (403, "used all available credits", Misconfigured, None),
        (404, "The model does not exist", Misconfigured, None),
        (429, "slow down", Unavailable, None),
        (500, "", Unavailable, None),
        (503, "", Unavailable, None),
    ],
)
def test_statuses_are_told_apart(
    shape: str, status: int, message: str, error: type[ProviderError], code: str | None
) -> None:
    body: dict[str, Any] = {"code": "invalid-argument", "error": message}
    if shape == "openai":
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}

    found = get("xai").classify_error(status, body | {"usage": {"cost_in_usd_ticks": 10**10}}, {"retry-after": "7"})

    assert type(found) is error
    assert found.status == status
    if isinstance(found, Rejected):
        assert (found.code, found.cost) == (code, Decimal(1))
    if status == 429:
        assert isinstance(found, Unavailable)
        assert found.retry_after_s == 7


@pytest.mark.parametrize("ticks", [None, "12", 1.5, {}])
def test_a_cost_that_is_not_told_is_unknown(ticks: Any) -> None:
    assert xai_wire.cost_of({"usage": {"cost_in_usd_ticks": ticks}}) is None
    assert xai_wire.cost_of({"usage": ticks}) is None


def test_a_wrong_key_and_an_empty_account_are_ours_to_mend(
    xai: Provider, sandbox: RunningSandbox, settings: Any
) -> None:
    sandbox.tune(xai_usd=0)
    for order in (picture(), film()):
        with pytest.raises(Misconfigured, match="credits"):
            submit(xai, order)
    settings.XAI_API_KEY = "wrong"
    for order in (picture(), film()):
        with pytest.raises(Misconfigured, match="API key"):
            submit(xai, order)
    with pytest.raises(Misconfigured, match="API key"):
        xai.poll("x")


# Magic words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "code", "cost"),
    [("fail", "provider_rejected", None), ("moderated", "moderated", "0.02"), ("withheld", "moderated", "0.02"),
     ("blocked", "moderated", "0.02")],
)  # fmt: skip
def test_pictures_that_fail(xai: Provider, word: str, code: str, cost: str | None) -> None:
    with pytest.raises(Rejected) as found:
        submit(xai, picture(f"a harbour sandbox:{word}"))

    assert (found.value.code, found.value.cost) == (code, None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("word", "code", "cost"),
    [("fail", "provider_failed", None), ("moderated", "moderated", "0.1"), ("withheld", "moderated", "0.1")],
)
def test_films_that_fail(xai: Provider, word: str, code: str, cost: str | None) -> None:
    seen = ended(xai, submit(xai, film(f"a boat sandbox:{word}", duration=2)))

    assert (seen.status, seen.error and seen.error.code) == ("failed", code)
    assert seen.cost == (None if cost is None else Decimal(cost))


def test_a_film_that_is_not_even_begun(xai: Provider) -> None:
    with pytest.raises(Rejected) as found:
        submit(xai, film("a boat sandbox:blocked"))

    assert (found.value.code, found.value.cost) == ("moderated", None)


@pytest.mark.parametrize("word", ["slow", "late", "hang"])
def test_who_does_not_wait_for_a_picture_cannot_tell(xai: Provider, settings: Any, word: str) -> None:
    settings.XAI_SYNC_TIMEOUT_S = 0.7

    with pytest.raises(Unknown):
        submit(xai, picture(f"a harbour sandbox:{word}"))


def test_a_film_whose_start_hangs_is_unknown(xai: Provider, settings: Any) -> None:
    settings.XAI_TIMEOUT_S = 0.7

    with pytest.raises(Unknown):
        submit(xai, film("a boat sandbox:hang"))


@pytest.mark.parametrize("make", [picture, film])
@pytest.mark.parametrize("word", ["429", "500"])
def test_refused_once_then_taken(xai: Provider, make: Any, word: str) -> None:
    with pytest.raises(Unavailable) as found:
        submit(xai, make(f"a thing sandbox:{word}"))

    assert found.value.retry_after_s == (2 if word == "429" else None)
    submit(xai, make(f"a thing sandbox:{word}"))


@pytest.mark.parametrize("word", ["corrupt", "wrongtype", "huge", "lost", "duplicate"])
def test_what_spoils_the_bytes_alone_is_no_refusal(xai: Provider, word: str) -> None:
    assert len(submit(xai, picture(f"sandbox:{word}")).outputs) == 1
    assert len(ended(xai, submit(xai, film(f"sandbox:{word}", duration=1))).outputs) == 1


# Quotes, braces, a template, an escape, markup, an end of JSON, a line's end, letters of other alphabets.
HOSTILE = [
    '"}, "n": 10, "x": {"',
    "{{7*7}} {0} {prompt} %s %(x)s ${HOME} `id`",
    "first\nsecond\r\n\tthird \\n \\u0041",
    "<script>alert('1')</script> &amp; <!-- ]]>",
    "ä → 顔 🙂 \u202e\u2028 ende",
]


@pytest.mark.parametrize("typed", HOSTILE)
def test_what_was_typed_goes_out_as_typed(xai: Provider, sandbox: RunningSandbox, typed: str) -> None:
    submit(xai, picture(typed))
    submit(xai, film(typed, duration=1))

    picture_body, film_body = (sent(sandbox, f"/v1/{kind}/generations") for kind in ("images", "videos"))
    assert (picture_body["prompt"], picture_body["n"]) == (typed, 1)
    assert film_body == {"model": "grok-imagine-video", "prompt": typed, "duration": 1, "resolution": "720p"}


# Chat ---------------------------------------------------------------------------------------------


def test_chat_answers_in_the_shape_that_was_asked_for(sandbox: RunningSandbox) -> None:
    data, cost = chat_json(CHAT, "You invent people.", "a night watchman", SCHEMA)

    assert data.keys() == {"a"}
    assert "a night watchman" in data["a"]
    assert cost is not None
    assert 0 < cost < 1
    body = sent(sandbox, "/v1/chat/completions")
    assert body == {
        "model": CHAT,
        "messages": [
            {"role": "system", "content": "You invent people."},
            {"role": "user", "content": "a night watchman"},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
    }


@pytest.mark.parametrize(
    ("word", "error", "code"),
    [
        ("moderated", Rejected, "moderated"),
        ("corrupt", Rejected, "provider_failed"),
        ("wrongtype", Rejected, "provider_failed"),
        ("429", Unavailable, None),
        ("500", Unavailable, None),
        ("hang", Unknown, None),
    ],
)
def test_chat_has_the_same_errors(
    sandbox: RunningSandbox, settings: Any, word: str, error: type[ProviderError], code: str | None
) -> None:
    settings.XAI_SYNC_TIMEOUT_S = 0.7 if word == "hang" else 20

    with pytest.raises(ProviderError) as found:
        chat_json(CHAT, "x", f"sandbox:{word}", SCHEMA)

    assert type(found.value) is error
    if isinstance(found.value, Rejected):
        assert found.value.code == code
        assert found.value.cost is not None


@pytest.mark.parametrize("said", [{"choices": []}, {"choices": "x"}, {"choices": [{"message": None}]}, {"x": 1}])
def test_an_answer_without_a_message_is_unknown(monkeypatch: pytest.MonkeyPatch, said: Any) -> None:
    monkeypatch.setattr(http, "call", lambda *_, **__: http.Answer(200, {}, orjson.dumps(said)))

    with pytest.raises(Unknown):
        chat_json(CHAT, "x", "y", SCHEMA)


def test_a_better_wording_is_asked_for_once_and_its_cost_is_kept(xai: Provider, sandbox: RunningSandbox) -> None:
    order = picture("a harbour", optimize_prompt=True)

    prepared = xai.prepare(order)
    worded = picture("a harbour", optimize_prompt=True, optimized_prompt=prepared["optimized_prompt"])
    made = xai.submit(worded, prepared)

    assert "a harbour" in prepared["optimized_prompt"] != "a harbour"
    assert made.cost == Decimal("0.02")
    assert Decimal(prepared["cost"]) > 0  # which the engine adds
    assert sent(sandbox, "/v1/images/generations")["prompt"] == prepared["optimized_prompt"]
    assert xai.prepare(worded) == {}
    assert xai.prepare(picture("a harbour", optimize_prompt=True, optimized_prompt=None)) == {}
    assert xai.prepare(picture("a harbour", optimize_prompt=False)) == {}
    json.dumps(prepared)  # it is kept with the attempt


@pytest.mark.parametrize("word", ["moderated", "corrupt"])
def test_without_a_better_wording_the_customers_own_goes_out(xai: Provider, word: str) -> None:
    prepared = xai.prepare(film(f"a boat sandbox:{word}", optimize_prompt=True))

    assert prepared["optimized_prompt"] is None
    assert Decimal(prepared["cost"]) > 0


def test_a_chat_that_is_away_is_no_reason_to_go_on_without_it(xai: Provider) -> None:
    with pytest.raises(Unavailable):
        xai.prepare(picture("a boat sandbox:500", optimize_prompt=True))


def test_the_lease_must_outlive_a_call_that_waits(settings: Any) -> None:
    settings.PRODUCTION, settings.GENERATION_LEASE_S, settings.XAI_SYNC_TIMEOUT_S = True, 120, 100
    assert "generation.E005" not in {message.id for message in check_settings()}

    settings.XAI_SYNC_TIMEOUT_S = 101
    assert "generation.E005" in {message.id for message in check_settings()}
