"""What every provider must say of a submission: whether it can have started."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from generation.providers import REGISTRY, get, is_configured
from generation.providers.base import (
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Submitted,
    Unavailable,
    Unknown,
)
from tests.generation.material import jpeg
from tests.sandbox.process import RunningSandbox

TOKEN = "at_" + "0123456789abcdef" * 2
PICTURE = jpeg(size=(300, 400))
PHOTO = Input("image/jpeg", len(PICTURE), lambda: io.BytesIO(PICTURE))

# provider, its order, where the order goes, the settings that bound its calls, where it is
CASES: dict[str, tuple[str, Order, str, str, str]] = {
    "headshot": (
        "magic-hour",
        Order(TOKEN, "headshot", "ai-headshot-generator", {}, (PHOTO,)),
        "/v1/ai-headshot-generator",
        "MAGIC_HOUR_TIMEOUT_S",
        "MAGIC_HOUR_BASE_URL",
    ),
    "picture": (
        "xai",
        Order(TOKEN, "image", "grok-imagine-image-2.0", {"prompt": "a harbour"}),
        "/v1/images/generations",
        "XAI_SYNC_TIMEOUT_S",
        "XAI_BASE_URL",
    ),
    "edit": (
        "xai",
        Order(TOKEN, "image", "grok-imagine-image-2.0", {"prompt": "in the rain"}, (PHOTO,)),
        "/v1/images/edits",
        "XAI_SYNC_TIMEOUT_S",
        "XAI_BASE_URL",
    ),
    "film": (
        "xai",
        Order(TOKEN, "video", "grok-imagine-video", {"prompt": "a boat", "duration": 3}),
        "/v1/videos/generations",
        "XAI_TIMEOUT_S",
        "XAI_BASE_URL",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, sandbox: RunningSandbox) -> tuple[Provider, Order, str, str, str]:
    code, *rest = CASES[request.param]
    return (get(code), *rest)


@pytest.mark.parametrize(
    ("mode", "when", "error"),
    [
        ("429", "before", Unavailable),
        ("500", "before", Unavailable),
        ("503", "before", Unavailable),
        ("401", "before", Misconfigured),
        ("403", "before", Misconfigured),
        ("400", "before", Rejected),
        ("refuse", "after", Unknown),
        ("hang", "after", Unknown),
        ("truncated", "before", Unknown),
        ("wrongtype", "before", Unknown),
        ("huge", "before", Unknown),
    ],
)
def test_a_submission_says_whether_it_can_have_started(
    case: Any, sandbox: RunningSandbox, settings: Any, mode: str, when: str, error: type[ProviderError]
) -> None:
    provider, order, path, timeout, _ = case
    prepared = provider.prepare(order)
    setattr(settings, timeout, 0.7 if mode == "hang" else 20)
    sandbox.fault(provider.code, mode, path=path, when=when)

    with pytest.raises(ProviderError) as found:
        provider.submit(order, prepared)

    assert type(found.value) is error
    if mode == "429":
        assert isinstance(found.value, Unavailable)
        assert found.value.retry_after_s == 2
    setattr(settings, timeout, 20)
    assert isinstance(provider.submit(order, prepared), Submitted)


def test_nobody_there_is_surely_not_started(case: Any, settings: Any) -> None:
    provider, order, _, _, base_url = case
    prepared = provider.prepare(order)
    setattr(settings, base_url, "http://127.0.0.1:1/nobody")

    with pytest.raises(Unavailable):
        provider.submit(order, prepared)


@pytest.mark.parametrize("name", [name for name, (_, order, *_) in CASES.items() if order.inputs])
def test_a_photo_that_cannot_be_read_sends_nothing(sandbox: RunningSandbox, name: str) -> None:
    def broken() -> Any:
        raise OSError("gone")

    code, order, path, *_ = CASES[name]
    order = replace(order, inputs=(Input("image/jpeg", 1, broken),))

    with pytest.raises((Unavailable, OSError)):
        get(code).submit(order, get(code).prepare(order))

    assert not [call for call in sandbox.requests() if call["path"] == path]


def test_a_job_that_the_provider_never_heard_of_is_gone(case: Any) -> None:
    assert case[0].poll("never-heard-of").status == "gone"


def test_the_registry_names_what_exists(settings: Any) -> None:
    keys = {"magic-hour": "MAGIC_HOUR_API_KEY", "xai": "XAI_API_KEY"}
    for code, key in keys.items():
        setattr(settings, key, "x")
        assert get(code).code == code
        assert is_configured(code)
        setattr(settings, key, "")
        assert not is_configured(code)
    assert not is_configured("nobody")
    assert keys.keys() <= REGISTRY.keys()
