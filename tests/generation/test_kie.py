"""KIE's contract: what it is sent, what each of its answers means, and which callbacks are believed to be its own."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.checks import CheckMessage
from django.core.signing import Signer

from core import http
from generation.checks import check_settings
from generation.engine.finish import REASONS
from generation.providers import get, is_configured, kie
from generation.providers.base import (
    Callback,
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Treatment,
    Unavailable,
    Unknown,
)
from inbox import deliveries
from inbox.deliveries import ECHO, Verdict
from inbox.errors import WebhookInvalid, WebhookUnknown
from inbox.models import Delivery
from tests.generation.material import jpeg, until
from tests.sandbox.process import RunningSandbox

TOKEN = "at_" + "0123456789abcdef" * 2
PICTURE = jpeg(size=(300, 400))
NOW = 1763700000


def an_order(*, photo: bool = False, **params: Any) -> Order:
    asked = {"prompt": "a paper boat in the rain", "duration": 5, "quality": "720p", "aspect_ratio": "16:9"} | params
    inputs = (Input("image/jpeg", len(PICTURE), lambda: io.BytesIO(PICTURE)),) if photo else ()
    return Order(TOKEN, "video", "runway", asked, inputs, operation="video.kie")


@pytest.fixture
def provider(sandbox: RunningSandbox) -> Provider:
    return get("kie")


def submit(provider: Provider, order: Order) -> str:
    made = provider.submit(order, provider.prepare(order)).provider_job_id
    assert made
    return made


def sent(sandbox: RunningSandbox) -> dict[str, Any]:
    """The newest order that reached KIE."""
    return dict(json.loads(sandbox.requests(method="POST", path="/runway/generate")[0]["body"]))


def ended(provider: Provider, task: str) -> Any:
    return until(lambda: (s := provider.poll(task)).status != "running" and s, f"{task} ends")


def test_an_order_goes_all_the_way(provider: Provider, sandbox: RunningSandbox) -> None:
    order = an_order()
    submitted = provider.submit(order, provider.prepare(order))

    assert submitted.cost is None
    assert submitted.provider_job_id is not None
    seen = ended(provider, submitted.provider_job_id)
    assert (seen.status, len(seen.outputs), seen.error) == ("succeeded", 1, None)
    with io.BytesIO() as film:
        assert http.fetch(seen.outputs[0], film, max_bytes=10**7, trusted_origin=provider.base_url).bytes > 10_000
    callback = sent(sandbox)["callBackUrl"]
    assert sent(sandbox) == {
        "prompt": "a paper boat in the rain",
        "duration": 5,
        "quality": "720p",
        "aspectRatio": "16:9",
        "waterMark": "",
        "callBackUrl": callback,
    }
    assert callback.startswith("http://127.0.0.1:8000/api/v1/webhooks/kie?token=at_")


def test_eight_seconds_are_ordered_as_ten_and_cut(provider: Provider, sandbox: RunningSandbox) -> None:
    submit(provider, an_order(duration=8))

    assert sent(sandbox)["duration"] == 10
    assert provider.treatment(an_order(duration=8)) == Treatment(duration_s=8)
    assert provider.treatment(an_order(duration=5)) == Treatment()


def test_better_wording_and_watermark_go_out(provider: Provider, sandbox: RunningSandbox) -> None:
    submit(provider, an_order(optimized_prompt="ASMR video: a boat", water_mark="Mine", quality="1080p"))

    said = sent(sandbox)
    assert (said["prompt"], said["waterMark"], said["quality"]) == ("ASMR video: a boat", "Mine", "1080p")


def test_photo_is_uploaded_and_decides_the_shape(provider: Provider, sandbox: RunningSandbox) -> None:
    task = submit(provider, an_order(photo=True))

    said = sent(sandbox)
    assert "aspectRatio" not in said
    name = urlsplit(said["imageUrl"]).path.rpartition("/")[2]
    assert TOKEN not in said["imageUrl"]
    assert (len(name), name[-4:]) == (36, ".jpg")
    with io.BytesIO() as back:
        http.fetch(said["imageUrl"], back, max_bytes=10**6, trusted_origin=provider.base_url)
        assert back.getvalue() == PICTURE
    assert ended(provider, task).status == "succeeded"


@pytest.mark.parametrize("typed", ['"}, "quality": "4k', "{{7*7}} %s", "ä → 顔 🙂", "<script>", "a\nb"])
def test_what_was_typed_goes_out_as_typed(provider: Provider, sandbox: RunningSandbox, typed: str) -> None:
    submit(provider, an_order(prompt=typed, water_mark=typed))

    assert (sent(sandbox)["prompt"], sent(sandbox)["waterMark"]) == (typed, typed)
    assert sent(sandbox).keys() == {"prompt", "duration", "quality", "aspectRatio", "waterMark", "callBackUrl"}


CODES: list[tuple[str, type[ProviderError], str | None]] = [
    ("400", Rejected, "provider_rejected"),
    ("401", Misconfigured, None),
    ("402", Misconfigured, None),
    ("403", Misconfigured, None),
    ("404", Rejected, "provider_rejected"),
    ("408", Unknown, None),
    ("422", Rejected, "provider_rejected"),
    ("429", Unavailable, None),
    ("451", Rejected, "photo_refused"),
    ("455", Unavailable, None),
    ("500", Unavailable, None),
    ("501", Rejected, "provider_failed"),
    ("502", Unavailable, None),
    ("503", Unavailable, None),
    ("505", Rejected, "provider_unavailable"),
]


@pytest.mark.parametrize(("mode", "kind", "code"), CODES)
def test_each_code_of_a_submit_has_its_meaning(
    provider: Provider, sandbox: RunningSandbox, mode: str, kind: type[ProviderError], code: str | None
) -> None:
    sandbox.fault("kie", mode, path="/runway/generate")

    with pytest.raises(ProviderError) as refused:
        provider.submit(an_order(), {})

    error = refused.value
    assert type(error) is kind
    assert error.status == int(mode)
    assert f"{mode}" in error.message
    if isinstance(error, Rejected):
        assert error.code == code
        assert code in REASONS
    if mode == "429":
        assert isinstance(error, Unavailable)
        assert error.retry_after_s == 2


@pytest.mark.parametrize("mode", [mode for mode, _, _ in CODES if mode != "404"])
def test_no_code_of_a_look_ends_a_job(provider: Provider, sandbox: RunningSandbox, mode: str) -> None:
    task = submit(provider, an_order())
    sandbox.fault("kie", mode, path="/record-detail")

    with pytest.raises((Unavailable, Misconfigured)) as refused:
        provider.poll(task)

    assert isinstance(refused.value, Misconfigured) == (mode in ("401", "402", "403"))


def test_a_task_it_does_not_know_is_gone(provider: Provider) -> None:
    assert provider.poll("none").status == "gone"


def test_a_film_that_is_kept_no_longer_is_gone(provider: Provider, sandbox: RunningSandbox) -> None:
    task = submit(provider, an_order())
    ended(provider, task)
    sandbox.advance(14 * 24 * 3600 + 1)

    assert provider.poll(task).status == "gone"


@pytest.mark.parametrize("mode", [mode for mode, kind, _ in CODES if kind is not Rejected])
def test_a_refused_upload_started_nothing(provider: Provider, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("kie", mode, path="/api/file-stream-upload")

    with pytest.raises((Unavailable, Misconfigured)):
        provider.prepare(an_order(photo=True))
    assert sandbox.requests(path="/runway/") == []


@pytest.mark.parametrize("mode", ["hang", "truncated", "wrongtype"])
def test_no_usable_answer_to_a_submit_is_unknown(
    provider: Provider, sandbox: RunningSandbox, settings: Any, mode: str
) -> None:
    settings.KIE_TIMEOUT_S = 0.5
    sandbox.fault("kie", mode, path="/runway/generate")

    with pytest.raises(Unknown):
        provider.submit(an_order(), {})


def test_refused_connection_started_nothing(provider: Provider, settings: Any) -> None:
    settings.KIE_BASE_URL = "http://127.0.0.1:1"

    with pytest.raises(Unavailable):
        provider.submit(an_order(), {})
    with pytest.raises(Unavailable):
        provider.poll("task")


def test_empty_account_is_ours_to_mend(provider: Provider, sandbox: RunningSandbox) -> None:
    """HTTP says 200, and there is no task."""
    sandbox.tune(kie_credits=3)

    with pytest.raises(Misconfigured):
        submit(provider, an_order())


@pytest.mark.parametrize(("word", "code"), [("fail", "provider_failed"), ("moderated", "moderated")])
def test_failures_have_our_codes(provider: Provider, word: str, code: str) -> None:
    seen = ended(provider, submit(provider, an_order(prompt=f"sandbox:{word} and more")))

    assert (seen.status, seen.outputs, seen.error.code) == ("failed", (), code)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"failCode": 451, "failMsg": "x"}, "photo_refused"),
        ({"failCode": 400, "failMsg": "Your prompt was caught by our AI moderator"}, "moderated"),
        ({"failCode": 400, "failMsg": "Inappropriate content detected"}, "moderated"),
        ({"failCode": 400, "failMsg": "Incorrect image format"}, "photo_refused"),
        ({"failCode": 400, "failMsg": "reached the limit for concurrent generations"}, "provider_failed"),
        ({"failCode": 500, "failMsg": None}, "provider_failed"),
        ({}, "provider_failed"),
    ],
)
def test_reasons_of_failure_are_an_open_set(said: dict[str, Any], code: str) -> None:
    assert kie._failure(said).code == code
    assert code in REASONS


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Your prompt was blocked by our content policy", Rejected),
        ("concurrency is full", Unavailable),
        ("bad image", Rejected),
    ],
)
def test_code_400_is_read(provider: Provider, said: str, kind: type[ProviderError]) -> None:
    assert type(provider.classify_error(400, {"msg": said}, {})) is kind


@pytest.mark.parametrize(
    "data",
    [
        {"state": "success"},
        {"state": "success", "videoInfo": None},
        {"state": "success", "videoInfo": {"videoUrl": 5}},
        {"state": "success", "videoInfo": {"videoUrl": ""}},
    ],
)
def test_success_without_a_film_has_no_output(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]
) -> None:
    answer = http.Answer(200, {}, json.dumps({"code": 200, "data": data}).encode())
    monkeypatch.setattr(http, "call", lambda *args, **options: answer)

    assert (provider.poll("t").status, provider.poll("t").outputs) == ("succeeded", ())


@pytest.mark.parametrize("body", ["null", "[]", '{"code": "200"}', '{"code": true}', '{"code": 200, "data": []}', "{}"])
def test_strange_answers_are_no_task(provider: Provider, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(http, "call", lambda *args, **options: http.Answer(200, {}, body.encode()))

    with pytest.raises(Unknown):
        provider.submit(an_order(), {})
    with pytest.raises(Unavailable):
        provider.poll("t")
    with pytest.raises(Unavailable):
        provider.prepare(an_order(photo=True))


def test_it_can_cancel_nothing_and_says_so_quietly(provider: Provider, sandbox: RunningSandbox) -> None:
    provider.cancel("task")
    provider.cancel("task")

    assert sandbox.requests() == []


def test_it_needs_a_key_and_no_more(settings: Any) -> None:
    settings.KIE_WEBHOOK_SECRET = ""
    settings.KIE_API_KEY = "kie_test_tests"
    assert is_configured("kie")
    settings.KIE_API_KEY = ""
    assert not is_configured("kie")


# Callbacks ------------------------------------------------------------------------------------------------------------


def callback(task: str = "task-0001", *, code: int = 200) -> bytes:
    return json.dumps({"code": code, "msg": "x", "data": {"task_id": task, "video_url": "https://evil.test"}}).encode()


def signed(task: str = "task-0001", *, at: int = NOW, secret: str = "kie_key_example") -> dict[str, str]:
    return {"X-Webhook-Timestamp": str(at), "X-Webhook-Signature": kie.signature(secret, task, str(at))}


def token_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def test_vector_of_the_provider_page_holds() -> None:
    made = kie.signature("kie_key_example", "task-0001", "1763700000")
    assert made == "YgbxV1M0ITrSEONrRiyEUGFfbEg1S5o6MMKmYE24KvM="


@pytest.mark.parametrize("name", ["task_id", "taskId"])
def test_signed_callback_is_believed_to_come_from_kie(sandbox: RunningSandbox, name: str) -> None:
    body = json.dumps({"data": {name: "task-0001"}}).encode()

    assert kie.verify_webhook(signed(), body, now=NOW + 299) is Verdict.VALID
    assert kie.verify_webhook(signed(), body, now=NOW - 299) is Verdict.VALID
    assert kie.verify_webhook(signed(), body, now=NOW + 301) is Verdict.STALE


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, callback()),
        (signed(secret="another"), callback()),
        (signed("task-0002"), callback()),
        (signed() | {"X-Webhook-Timestamp": str(NOW + 1)}, callback()),
        (signed() | {"X-Webhook-Timestamp": ""}, callback()),
        (signed() | {"X-Webhook-Timestamp": "\uff11\uff17\uff16"}, callback()),
        (signed() | {"X-Webhook-Timestamp": "9" * 30}, callback()),
        (signed() | {"X-Webhook-Signature": "ä"}, callback()),
        (signed(), b"{}"),
        (signed(), b"[]"),
        (signed(), b"not json"),
        (signed(), b'{"data": null}'),
        (signed(), b'{"data": {"task_id": 1}}'),
    ],
)
def test_forged_callbacks_are_refused(sandbox: RunningSandbox, headers: dict[str, str], body: bytes) -> None:
    assert kie.verify_webhook(headers, body, now=NOW) is Verdict.INVALID


def test_with_a_secret_our_token_alone_is_not_enough(sandbox: RunningSandbox) -> None:
    token = token_in(kie.callback_url(TOKEN))

    assert kie.verify_webhook({ECHO: token}, callback(), now=NOW) is Verdict.INVALID


def test_without_a_secret_our_token_in_the_address_is_the_secret(sandbox: RunningSandbox, settings: Any) -> None:
    settings.KIE_WEBHOOK_SECRET = ""
    token = token_in(kie.callback_url(TOKEN))

    assert kie.verify_webhook({ECHO: token}, callback(), now=NOW) is Verdict.VALID
    for forged in ("", TOKEN, token[:-1], token.replace("at_0", "at_1"), Signer(salt="other").sign(TOKEN)):
        assert kie.verify_webhook({ECHO: forged}, callback(), now=NOW) is Verdict.INVALID


def test_without_key_and_secret_there_is_no_such_webhook(settings: Any) -> None:
    settings.KIE_API_KEY = settings.KIE_WEBHOOK_SECRET = ""

    assert kie.verify_webhook(signed(), callback(), now=NOW) is Verdict.NOT_CONFIGURED


def test_callback_says_whose_it_is_and_nothing_else(provider: Provider) -> None:
    token = token_in(kie.callback_url(TOKEN))
    event = json.loads(callback("task-0001", code=500))

    assert provider.parse_callback(event) == Callback("task-0001", None)
    assert provider.parse_callback(event | {ECHO: token}) == Callback("task-0001", TOKEN)
    assert provider.parse_callback(event | {ECHO: TOKEN}) == Callback("task-0001", None)
    for strange in ({}, {"data": None}, {"data": {"task_id": ""}}, {"data": {"task_id": "a\x00b"}}):
        assert provider.parse_callback(strange) is None


def test_token_reaches_the_handler_by_the_address_only(
    db: None, sandbox: RunningSandbox, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body is not signed: what it claims to be the address's token must not count."""
    settings.KIE_WEBHOOK_SECRET = ""
    token = token_in(kie.callback_url(TOKEN))
    seen: list[Callback | None] = []
    monkeypatch.setattr(
        "generation.webhooks.handle_kie",
        lambda event, *, stale: seen.append(get("kie").parse_callback(event)) or deliveries.Outcome.PROCESSED,
    )
    body = json.loads(callback()) | {ECHO: token_in(kie.callback_url("at_" + "f" * 32))}

    assert deliveries.receive("kie", {}, json.dumps(body).encode(), token=token)
    assert not deliveries.receive("kie", {}, json.dumps(body).encode(), token=token)
    deliveries.handle_due()

    assert seen == [Callback("task-0001", TOKEN)]
    assert Delivery.objects.get().times_received == 2


def test_door_answers_as_the_verdict_says(client: Any, db: None, sandbox: RunningSandbox, settings: Any) -> None:
    def call(token: str = "") -> Any:
        path = f"/api/v1/webhooks/kie?token={token}" if token else "/api/v1/webhooks/kie"
        return client.post(path, callback(), content_type="application/json")

    assert (call().status_code, call().json()["error"]) == (WebhookInvalid.status, "webhook_invalid")
    settings.KIE_WEBHOOK_SECRET = ""
    assert call("nonsense").status_code == 400
    assert Delivery.objects.count() == 0
    assert call(token_in(kie.callback_url(TOKEN))).status_code == 200
    settings.KIE_API_KEY = ""
    assert call().status_code == WebhookUnknown.status
    assert Delivery.objects.count() == 1


# Boot checks ----------------------------------------------------------------------------------------------------------


def found() -> set[str | None]:
    messages: list[CheckMessage] = check_settings()
    return {message.id for message in messages}


def test_boot_checks_name_what_is_amiss(settings: Any) -> None:
    settings.KIE_API_KEY, settings.KIE_WEBHOOK_SECRET = "kie_test_tests", "kie_key_example"
    settings.PRODUCTION, settings.GENERATION_LEASE_S, settings.KIE_TIMEOUT_S = True, 120, 30
    assert found() & {"generation.W002", "generation.E004"} == set()

    settings.KIE_WEBHOOK_SECRET = ""
    settings.KIE_TIMEOUT_S = 61
    assert found() >= {"generation.W002", "generation.E004"}
