"""S1's journey over HTTP alone: buy credits, turn a photo into a headshot; with every webhook, and with none."""

from __future__ import annotations

import pytest
import requests

from inbox.models import Delivery
from tests import books
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import Stack, until
from tests.scenarios.time import Hurry

pytestmark = pytest.mark.scenario


def drop_webhooks(stack: Stack) -> None:
    requests.post(f"{stack.sandbox}/control/webhooks", json={"deliver": False}, timeout=60).raise_for_status()


def test_credits_are_bought_and_a_photo_becomes_a_headshot(stack: Stack) -> None:
    alice = Customer(stack, "alice@example.com")
    alice.join()
    assert alice.balance()["available"] == 5

    payment = alice.buy("package:BASIC")

    assert payment["status"] == "succeeded"
    assert payment["amount"] == 49_900
    assert alice.balance()["available"] == 105
    photo = alice.upload(portrait())
    job = alice.headshot(photo, name="Me", style_prompt="warm light")
    assert (job["price"], job["charged"]) == (50, "held")
    job = alice.ended(job["id"])
    assert (job["status"], job["charged"], job["cost"]) == ("succeeded", "settled", 50)
    assert alice.picture(job).format in ("JPEG", "PNG")
    assert alice.balance() == {"balance": 55, "held": 0, "frozen": 0, "available": 55, "debt": 0}
    for subject in ("welcome", "payment|receipt|credits", "headshot|ready"):
        until(lambda subject=subject: alice.mails(subject), f"a mail about {subject}")
    books.check()


def test_a_failed_headshot_gives_the_credits_back(stack: Stack) -> None:
    alice = Customer(stack, "bob@example.com")
    alice.join()
    alice.buy()
    photo = alice.upload(portrait())

    job = alice.ended(alice.headshot(photo, style_prompt="sandbox:fail")["id"])

    assert (job["status"], job["charged"]) == ("failed", "none")
    assert alice.balance()["available"] == 105
    retried = alice.ok("POST", f"generations/{job['id']}/retry", key="again")
    assert alice.ended(retried["id"])["status"] == "failed"
    assert alice.balance() == {"balance": 105, "held": 0, "frozen": 0, "available": 105, "debt": 0}
    books.check()


@pytest.mark.parametrize("stack", [{"GENERATION_POLL_MIN_S": "0.5"}], indirect=True)
def test_it_all_works_with_every_webhook_lost(stack: Stack) -> None:
    drop_webhooks(stack)
    alice = Customer(stack, "alice@example.com")
    alice.join()
    alice.meanwhile = Hurry()

    payment = alice.buy(verify=False)

    assert payment["status"] == "succeeded"
    assert alice.balance()["available"] == 105
    job = alice.ended(alice.headshot(alice.upload(portrait()))["id"])
    assert (job["status"], job["charged"]) == ("succeeded", "settled")
    assert alice.balance()["available"] == 55
    assert not Delivery.objects.exists()
    books.check()
