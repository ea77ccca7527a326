"""Somebody buys credits in dollars and has pictures and films made, over HTTP alone, with real workers."""

from __future__ import annotations

import io
import json
import re
import secrets
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
import requests
from django.db.models import Q, Sum
from PIL import Image

from audit.models import AuditLog
from billing.models import Hold, LedgerEntry
from generation.models import Attempt, Generation
from sandbox import strips
from sandbox.strips import fingerprint
from tests import books
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import WAKES, Stack, until

pytestmark = pytest.mark.scenario
quick = pytest.mark.parametrize(
    "stack",
    [
        {name: secrets.token_hex(20) for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")}
        | {"STRIPE_PUBLISHABLE_KEY": "pk_test_example", "GENERATION_POLL_MIN_S": "0.3", "GENERATION_POLL_MAX_S": "1"}
        | {"WAKE_EVERY_S": f"{WAKES},generation.advance_sync=0.5"}
    ],
    indirect=True,
    ids=["lustify"],
)

PICTURES: list[tuple[dict[str, Any], int, str]] = [
    # what is ordered, its price, what it costs us in dollars
    ({"prompt": "A paper boat on a lake", "size": "512x512", "count": 2}, 10, "0.04"),
    ({"prompt": "A paper boat in a storm", "size": "1920x1080", "quality": "hd"}, 12, "0.08"),
    ({"prompt": "A paper boat in a bottle", "size": "2048x2048", "quality": "premium"}, 20, "0.14"),
]
FILMS: list[tuple[dict[str, Any], int, str]] = [
    ({"prompt": "A paper boat drifts away", "duration": 6, "with_audio": False}, 15, "0.3"),
    ({"prompt": "A paper boat comes home", "duration": 20, "style": "cinematic"}, 60, "1"),
]


class Collector(Customer):
    def buys(self, item: str) -> None:
        payment = self.ok("POST", "payments", key="buy", json={"item": item, "gateway": "stripe", "currency": "USD"})
        where = f"{self.stack.sandbox}/stripe/checkout/{payment['client']['payment_intent']}/pay"
        assert requests.post(where, headers={"Accept": "application/json"}, timeout=60).ok
        assert self.settled(payment["id"])["status"] == "succeeded"

    def orders(self, kind: str, **body: Any) -> dict[str, Any]:
        job: dict[str, Any] = self.ok("POST", kind, key=secrets.token_hex(8), json=body)
        return job

    def bytes_of(self, job: dict[str, Any], output: dict[str, Any]) -> bytes:
        """The output as its owner downloads it."""
        there = self.ask("GET", f"generations/{job['id']}/download", params={"output": output["id"]})
        assert there.status_code == 302, there.text
        answer = requests.get(there.headers["Location"], timeout=60)
        assert answer.status_code == 200
        assert answer.content == requests.get(output["url"], timeout=60).content
        assert len(answer.content) == output["bytes"]
        return answer.content


def prompts_at(stack: Stack, path: str) -> list[str]:
    """What xAI was asked for at this route, oldest first. Bodies that hold a photo are kept in part only."""
    query = {"provider": "xai", "method": "POST", "path": path}
    found = requests.get(f"{stack.sandbox}/control/requests", params=query, timeout=60).json()
    return [json.loads(re.search(r'"prompt":("(?:[^"\\]|\\.)*")', call["body"])[1]) for call in reversed(found)]


def played(film: bytes) -> tuple[list[str], float, int]:
    """What a film's frames say in order of appearance, how long they last, how many sound tracks there are."""
    with av.open(io.BytesIO(film)) as container:
        video = container.streams.video[0]
        shown = [strips.read(frame.to_image()) for frame in container.decode(video)]
        assert video.average_rate is not None
        scenes = [one for at, one in enumerate(shown) if not at or shown[at - 1] != one]
        return scenes, float(len(shown) / video.average_rate), len(container.streams.audio)


def looks_at_the_dashboard(alice: Collector, *, jobs: int, spent: int) -> None:
    """The five reads, held against the ledger."""
    entries = LedgerEntry.objects.filter(wallet__user__email=alice.email, wallet__kind="credits")
    moved = entries.aggregate(
        earned=Sum("amount", filter=Q(amount__gt=0)), used=-Sum("amount", filter=Q(transaction__kind="spend"))
    )
    assert moved == {"earned": 505, "used": spent}
    images, films = {"total": 5, "completed": 4, "failed": 1}, {"total": 4, "completed": 3, "failed": 1}

    page = alice.ok("GET", "dashboard")
    assert page["user"]["email"] == alice.email
    assert page["credits"] == alice.balance() | {"total_earned": 505, "total_used": spent}
    assert page["subscription"] is None
    assert (page["content"]["images"], page["content"]["videos"], page["content"]["total"]) == (images, films, jobs)
    head = alice.ok("GET", "dashboard/quick-stats")
    assert head["credits"] == {"current": 505 - spent, "total_earned": 505, "total_used": spent}
    assert (head["content"], head["subscription"]["is_active"]) == ({"generated": 7}, False)
    for timeframe, days in (("7d", 7), ("30d", 30), ("90d", 90)):
        found = alice.ok("GET", "dashboard/analytics", params={"timeframe": timeframe})
        assert [len(found[part]["daily"]) for part in ("content", "credits")] == [days, days]
        assert (found["content"]["totals"]["images"], found["content"]["totals"]["videos"]) == (images, films)
        assert found["credits"]["totals"] == moved | {"refunded": 0, "lost": 0, "net": 505 - spent}
    assert alice.ask("GET", "dashboard/analytics", params={"timeframe": "1y"}).status_code == 400
    told: list[dict[str, Any]] = []
    url = "dashboard/activity?limit=7"
    while url:
        part = alice.ok("GET", url)
        told, url = told + part["results"], part["next"]
    assert len({row["id"] for row in told}) == len(told) == part["count"] == jobs + 1 + entries.count()
    assert [row["created_at"] for row in told] == sorted((row["created_at"] for row in told), reverse=True)
    assert page["recent_activity"] == told[:10]
    assert sum(row["metadata"]["amount"] for row in told if row["type"] == "credits") == 505 - spent
    room = alice.ok("GET", "dashboard/limits")
    assert room["avatars"] == {"current": 0, "max": 1, "remaining": 1, "warning": True}
    assert room["credits"] == {"available": 505 - spent, "held": 0, "debt": 0, "warning": False}


@quick
def test_a_collector_of_pictures_and_films(stack: Stack) -> None:
    alice = Collector(stack, "alice@example.com")
    alice.join()
    alice.buys("package:PREMIUM")
    assert alice.balance()["available"] == 505
    sold = {row["code"]: row for row in alice.ok("GET", "generations/operations")}
    assert sold["image"]["is_available"]
    assert sold["video.xai"]["is_available"]

    ordered = [("images", *one) for one in PICTURES] + [("videos", *one) for one in FILMS]
    jobs = [alice.orders(kind, **body) for kind, body, _, _ in ordered]
    assert [job["price"] for job in jobs] == [price for _, _, price, _ in ordered]
    worded = alice.orders("images", prompt="A paper boat at night", optimize_prompt=True)
    face = portrait()
    photo = alice.upload(face)
    lively = alice.orders("videos", photo=photo, consent=True, duration=3)
    refused = [alice.orders(kind, prompt="A boat sandbox:moderated") for kind in ("images", "videos")]
    ended = [alice.ended(job["id"]) for job in jobs]

    assert [(job["status"], job["charged"]) for job in ended] == [("succeeded", "settled")] * len(jobs)
    for (_, body, _, _), job in zip(ordered[:3], ended[:3], strict=True):
        width, height = (int(side) for side in body["size"].split("x"))
        assert len(job["outputs"]) == body.get("count", 1)
        for number, output in enumerate(job["outputs"]):
            picture = Image.open(io.BytesIO(alice.bytes_of(job, output)))
            picture.load()
            assert picture.size == (output["width"], output["height"]) == (width, height)
            assert strips.read(picture) == fingerprint(body["prompt"], number)
            assert Image.open(io.BytesIO(requests.get(output["thumbnail_url"], timeout=60).content)).format == "JPEG"
    for (_, body, _, _), job, sounds in zip(ordered[3:], ended[3:], (0, 1), strict=True):
        (output,) = job["outputs"]
        prompts = prompts_at(stack, "/videos/generations") + prompts_at(stack, "/videos/extensions")
        wanted = [fingerprint(prompt) for prompt in prompts if prompt.startswith(body["prompt"])]
        assert played(alice.bytes_of(job, output)) == (wanted, pytest.approx(body["duration"], abs=0.1), sounds)
        assert output["duration_s"] == pytest.approx(body["duration"], abs=0.1)
        assert output["content_type"] == "video/mp4"
        assert len(wanted) == (2 if body["duration"] > 15 else 1)
        assert Image.open(io.BytesIO(requests.get(output["thumbnail_url"], timeout=60).content)).format == "JPEG"

    worded, lively = alice.ended(worded["id"]), alice.ended(lively["id"])
    (picture_out,) = worded["outputs"]
    better = worded["data"]["optimized_prompt"]
    assert worded["params"]["prompt"] == "A paper boat at night"
    assert better != worded["params"]["prompt"] in better
    assert strips.read(Image.open(io.BytesIO(alice.bytes_of(worded, picture_out)))) == fingerprint(better)
    assert played(alice.bytes_of(lively, lively["outputs"][0]))[1] == pytest.approx(3, abs=0.1)
    assert [bool(prompt) for prompt in prompts_at(stack, "/videos/generations")] == [True] * 4

    # What was refused costs the customer nothing, and us what the provider bills.
    ended_badly = [alice.ended(job["id"]) for job in refused]
    assert [(job["status"], job["error"]["code"], job["charged"]) for job in ended_badly] == [
        ("failed", "moderated", "none")
    ] * 2
    spent = sum(price for _, _, price, _ in ordered) + 5 + 15
    assert alice.balance() == {"balance": 505 - spent, "held": 0, "frozen": 0, "available": 505 - spent, "debt": 0}
    statistics = alice.ok("GET", "users/me/statistics")
    assert statistics["generations"]["total"] == len(jobs) + 4
    assert statistics["generations"]["completed"] == len(jobs) + 2
    assert (statistics["videos"]["completed"], statistics["videos"]["failed"]) == (3, 1)
    assert statistics["credits"]["total_spent"] == spent
    stats = alice.ok("GET", "generations/stats", params={"kind": "image"})
    assert (stats["total"], stats["by_status"]["succeeded"], stats["by_status"]["failed"]) == (5, 4, 1)

    looks_at_the_dashboard(alice, jobs=len(jobs) + 4, spent=spent)

    for (_, _, price, cost), job in zip(ordered, ended, strict=True):
        attempts = Attempt.objects.filter(generation=job["id"])
        assert attempts.aggregate(sum=Sum("provider_cost"))["sum"] == Decimal(cost)
        assert set(attempts.values_list("cost_unit", flat=True)) == {"USD"}
        assert Hold.objects.get(key=Generation.objects.get(pk=job["id"]).hold_key).amount == price
    lost = [Attempt.objects.get(generation=job["id"]).provider_cost for job in ended_badly]
    assert lost == [Decimal("0.02"), Decimal("0.3")]
    told = Generation.objects.get(pk=ended[4]["id"])
    trail = AuditLog.objects.filter(entity_type="generation", entity_id=str(told.pk)).order_by("id")
    assert list(trail.values_list("action", flat=True)) == [
        "generation.created",
        "credits.held",
        "generation.submitted",
        "generation.stage_done",
        "generation.submitted",
        "credits.captured",
        "generation.succeeded",
    ]
    mails = until(
        lambda: len(found := alice.mails("is ready|could not|failed")) == len(jobs) + 4 and found, "the mails"
    )
    assert len({mail["text"] for mail in mails}) == len(mails)
    assert urlsplit(ended[0]["outputs"][0]["url"]).netloc == urlsplit(stack.url).netloc
    books.check()
