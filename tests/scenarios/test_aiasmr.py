"""S3's journey over HTTP alone: credits, films with triggers and from a photo, callbacks dropped and doubled."""

from __future__ import annotations

import io
import uuid
from typing import Any

import av
import pytest
import requests

from inbox.models import Delivery
from sandbox import strips
from tests import books
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import Stack, until

QUICK = {"GENERATION_POLL_MIN_S": "0.5", "GENERATION_POLL_MAX_S": "1"}
pytestmark = [pytest.mark.scenario, pytest.mark.parametrize("stack", [QUICK], indirect=True)]

PROMPT = "a bar of soap on a marble table"


def video(person: Customer, prompt: str = PROMPT, **fields: Any) -> dict[str, Any]:
    """Order a film."""
    body = {"operation": "video.kie", "prompt": prompt, "aspect_ratio": "1:1"} | fields
    job: dict[str, Any] = person.ok("POST", "videos", key=uuid.uuid4().hex, json=body)
    return job


def opened(person: Customer, job: dict[str, Any]) -> tuple[float, set[str], list[str]]:
    """The film's seconds, what all its frames show, its tracks."""
    assert job["status"] == "succeeded", job
    (output,) = job["outputs"]
    poster = person.ask("GET", output["thumbnail_url"])
    assert (poster.status_code, poster.headers["Content-Type"]) == (200, "image/jpeg")
    response = person.ask("GET", output["url"])
    assert (response.status_code, response.headers["Content-Type"]) == (200, "video/mp4")
    assert len(response.content) == output["bytes"]
    with av.open(io.BytesIO(response.content)) as container:
        shown = {strips.read(frame.to_image()) for frame in container.decode(video=0)}
        seconds = (container.duration or 0) / 1_000_000
        assert output["duration_s"] == pytest.approx(seconds, abs=0.1)
        return seconds, shown, [stream.codec_context.name for stream in container.streams]


def callbacks(wanted: bool, stack: Stack) -> None:
    body = {"deliver": wanted, "provider": "kie"}
    requests.post(f"{stack.sandbox}/control/webhooks", json=body, timeout=60).raise_for_status()


def test_films_are_ordered_made_and_paid_for(stack: Stack) -> None:
    alice = Customer(stack, "alice@example.com")
    alice.join()
    assert alice.balance()["available"] == 5
    poor = alice.send("POST", "videos", key="poor", json={"operation": "video.kie", "prompt": PROMPT})
    assert (poor.status_code, poor.json()["error"]) == (402, "insufficient_credits")
    alice.buy("package:BASIC")
    unsold = {"operation": "video.kie", "prompt": PROMPT, "duration": 8, "quality": "1080p"}
    refused = alice.send("POST", "videos", key="unsold", json=unsold)
    assert (refused.status_code, refused.json()["error"]) == (400, "not_sold")
    assert alice.balance()["available"] == 105

    long = video(alice, duration=8, triggers=["soap", "cubes"])
    assert (long["price"], long["charged"], long["params"]["prompt"]) == (30, "held", PROMPT)
    wording = long["data"]["optimized_prompt"]
    assert wording.startswith(f"ASMR video: {PROMPT}")
    seconds, shown, tracks = opened(alice, alice.ended(long["id"]))
    assert seconds == pytest.approx(8, abs=0.1)
    assert (shown, tracks) == ({strips.fingerprint(wording)}, ["h264", "aac"])

    moving = video(alice, photo=alice.upload(portrait()), consent=True)
    done = alice.ended(moving["id"])
    seconds, shown, _ = opened(alice, done)
    assert (seconds, shown) == (pytest.approx(5, abs=0.1), {strips.fingerprint(PROMPT)})
    assert (done["outputs"][0]["width"], done["outputs"][0]["height"]) == (720, 960)
    assert (done["charged"], done["cost"]) == ("settled", 20)

    failed = alice.ended(video(alice, f"{PROMPT} sandbox:fail")["id"])
    assert (failed["status"], failed["charged"], failed["error"]["code"]) == ("failed", "none", "provider_failed")
    assert alice.balance() == {"balance": 55, "held": 0, "frozen": 0, "available": 55, "debt": 0}
    until(lambda: alice.mails("ready"), "a mail about a film that is ready")
    until(lambda: alice.mails("fail|could not"), "a mail about the one that is not")
    statistics = alice.ok("GET", "users/me/statistics")
    assert (statistics["videos"]["completed"], statistics["videos"]["failed"]) == (2, 1)
    books.check()


def test_films_come_with_every_callback_dropped_and_with_five(stack: Stack) -> None:
    bob = Customer(stack, "bob@example.com")
    bob.join()
    bob.buy("package:BASIC")

    before = Delivery.objects.filter(provider="kie").count()
    callbacks(False, stack)
    dropped = bob.ended(video(bob)["id"])
    assert opened(bob, dropped)[0] == pytest.approx(5, abs=0.1)
    assert Delivery.objects.filter(provider="kie").count() == before

    callbacks(True, stack)
    doubled = bob.ended(video(bob, f"{PROMPT} sandbox:duplicate")["id"])
    assert opened(bob, doubled)[0] == pytest.approx(5, abs=0.1)

    def told() -> bool:
        return Delivery.objects.filter(provider="kie", times_received__gte=5, state=Delivery.State.PROCESSED).exists()

    until(told, "five callbacks, or more that KIE repeats, are one")
    assert bob.balance() == {"balance": 65, "held": 0, "frozen": 0, "available": 65, "debt": 0}
    books.check()
