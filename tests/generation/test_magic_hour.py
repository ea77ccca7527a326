"""The provider's contract: what it is sent, and what each of its answers means."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from generation.models import Generation
from generation.providers import get
from generation.providers.base import (
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Unavailable,
)
from tests import books
from tests.generation.material import jpeg, photo_of, run_until, until
from tests.people import api
from tests.sandbox.process import RunningSandbox

TOKEN = "at_" + "0123456789abcdef" * 2
PICTURE = jpeg(size=(300, 400))


def an_order(**params: Any) -> Order:
    photo = Input("image/jpeg", len(PICTURE), lambda: io.BytesIO(PICTURE))
    return Order(TOKEN, "headshot", "ai-headshot-generator", params, (photo,))


@pytest.fixture
def provider(sandbox: RunningSandbox) -> Provider:
    return get("magic-hour")


def test_an_order_goes_all_the_way(provider: Provider, sandbox: RunningSandbox) -> None:
    order = an_order(style_prompt="warm light", name="Me")

    submitted = provider.submit(order, provider.prepare(order))

    assert submitted.cost == Decimal(50)
    seen = until(lambda: (s := provider.poll(submitted.provider_job_id)).status == "succeeded" and s, "it is made")
    assert len(seen.outputs) == 1
    assert seen.outputs[0].startswith(provider.base_url)
    assert (seen.cost, seen.error) == (Decimal(50), None)
    assert provider.poll("cm0nobody").status == "gone"
    provider.cancel(submitted.provider_job_id)
    provider.cancel(submitted.provider_job_id)
    assert provider.poll(submitted.provider_job_id).outputs == ()
    upload = next(r for r in sandbox.requests() if r["method"] == "PUT")
    assert "authorization" not in upload["headers"]
    assert upload["headers"]["content-length"] == str(len(PICTURE))


@pytest.mark.parametrize(("name", "label"), [("Me", f"Me {TOKEN}"), ("", TOKEN), ("x" * 300, "x" * 80 + f" {TOKEN}")])
def test_our_token_rides_in_the_name(provider: Provider, sandbox: RunningSandbox, name: str, label: str) -> None:
    order = an_order(name=name)
    submitted = provider.submit(order, provider.prepare(order))

    headers = {"Authorization": f"Bearer {sandbox.keys['MAGIC_HOUR_API_KEY']}"}
    shown = sandbox.ask("GET", f"/magic-hour/v1/image-projects/{submitted.provider_job_id}", headers=headers)

    assert shown["name"] == label


# Quotes, braces, a template, an escape, markup, an end of JSON, a line's end, letters of other alphabets.
HOSTILE = [
    '"}, "style": {"prompt": "another"}, "x": {"',
    "{{7*7}} {0} {prompt} %s %(x)s ${HOME} `id`",
    "first\nsecond\r\n\tthird \\n \\u0041",
    "<script>alert('1')</script> &amp; <!-- ]]>",
    "ä → 顔 🙂 \u202e\u2028 ende",
]


@pytest.mark.parametrize("typed", HOSTILE)
def test_what_was_typed_reaches_the_provider_as_typed_and_changes_nothing_else(
    provider: Provider, sandbox: RunningSandbox, typed: str
) -> None:
    prepared = provider.prepare(an_order())

    def sent(**params: Any) -> dict[str, Any]:
        provider.submit(an_order(**params), prepared)
        newest = next(r for r in sandbox.requests(method="POST") if r["path"] == "/v1/ai-headshot-generator")
        return dict(json.loads(newest["body"]))

    plain = sent(style_prompt="warm light", name="Me")
    hostile = sent(style_prompt=typed, name=typed)

    assert plain == {
        "name": f"Me {TOKEN}",
        "assets": {"image_file_path": prepared["file_path"]},
        "style": {"prompt": "warm light"},
    }
    assert hostile == plain | {"name": f"{typed} {TOKEN}", "style": {"prompt": typed}}


def test_a_hostile_order_over_the_api_goes_out_as_typed(rich: User, sandbox: RunningSandbox) -> None:
    prompt = "\n".join(typed for typed in HOSTILE if "\r" not in typed and "\u202e" not in typed)
    body = {"photo": str(photo_of(rich).pk), "consent": True, "name": HOSTILE[0], "style_prompt": prompt}
    made = api(rich).post("/api/v1/headshots", body, headers={"Idempotency-Key": "k"})
    assert made.status_code == 202, made.content

    run_until(Generation.objects.get())

    call = next(r for r in sandbox.requests(method="POST") if r["path"] == "/v1/ai-headshot-generator")
    sent = json.loads(call["body"])
    assert sent["style"] == {"prompt": prompt}
    assert sent["name"].startswith(f"{HOSTILE[0]} ")
    assert sent.keys() == {"name", "assets", "style"}
    books.check()


@pytest.mark.parametrize(("word", "code"), [("fail", "provider_failed"), ("moderated", "moderated")])
def test_failures_have_our_codes(provider: Provider, word: str, code: str) -> None:
    order = an_order(style_prompt=f"sandbox:{word}")
    submitted = provider.submit(order, provider.prepare(order))

    seen = until(lambda: (s := provider.poll(submitted.provider_job_id)).status == "failed" and s, "it fails")

    assert seen.error is not None
    assert seen.error.code == code
    assert seen.cost == 0


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"code": "no_source_face", "message": "No face"}, "no_source_face"),
        ({"code": "invalid_file_format", "message": ""}, "photo_refused"),
        ({"code": "file_too_large", "message": ""}, "photo_refused"),
        ({"code": "insufficient_credits", "message": ""}, "provider_unavailable"),
        ({"code": "unknown_error", "message": "blocked by our content policy"}, "moderated"),
        ({"code": "nsfw_detected", "message": ""}, "moderated"),
        ({"code": "something_new", "message": "?"}, "provider_failed"),
        (None, "provider_failed"),
        ("broken", "provider_failed"),
    ],
)
def test_error_codes_are_an_open_set(said: Any, code: str) -> None:
    from generation.engine.finish import REASONS
    from generation.providers.magic_hour import _failure

    assert _failure(said).code == code
    assert code in REASONS


@pytest.mark.parametrize(
    ("status", "message", "error", "code"),
    [
        (400, "assets: Required", Rejected, "provider_rejected"),
        (400, "This prompt violates our content policy", Rejected, "moderated"),
        (422, "unable to create", Rejected, "provider_rejected"),
        (404, "Not Found", Rejected, "provider_rejected"),
        (401, "Unauthorized", Misconfigured, None),
        (402, "not enough credits", Misconfigured, None),
        (403, "not on your plan", Misconfigured, None),
        (429, "slow down", Unavailable, None),
        (500, "", Unavailable, None),
        (503, "", Unavailable, None),
    ],
)
def test_statuses_are_told_apart(status: int, message: str, error: type[ProviderError], code: str | None) -> None:
    found = get("magic-hour").classify_error(status, {"message": message}, {"retry-after": "7"})

    assert type(found) is error
    assert code is None or (isinstance(found, Rejected) and found.code == code)
    if status == 429:
        assert isinstance(found, Unavailable)
        assert found.retry_after_s == 7


def test_an_upload_address_elsewhere_is_not_trusted(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import http

    said = b'{"items":[{"upload_url":"http://169.254.169.254/put","file_path":"p"}]}'
    calls: list[str] = []

    def call(method: str, url: str, **kwargs: Any) -> http.Answer:
        calls.append(method)
        return http.Answer(200, {}, said)

    monkeypatch.setattr(http, "call", call)

    with pytest.raises(Unavailable):
        provider.prepare(an_order())
    assert calls == ["POST"]
