"""SIGKILL at each kill point: whichever process gets there dies, is started again, and all ends right, once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import requests
from django.db.models import Count

from accounts.models import User
from billing.models import LedgerTransaction, Payment, Refund
from core.killpoints import POINTS
from generation.models import Generation
from notifications.models import Mail
from tests import books
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import ROOT, Stack, until
from tests.scenarios.time import Hurry

pytestmark = pytest.mark.scenario
quick = pytest.mark.parametrize(
    "stack",
    [
        {
            "GENERATION_POLL_MIN_S": "0.3",
            "GENERATION_POLL_MAX_S": "2",
            "GENERATION_LEASE_S": "20",
            "MAGIC_HOUR_TIMEOUT_S": "5",
            "MAGIC_HOUR_RESOLVE_S": "2",
            "SANDBOX_SLOW_S": "600",  # who changes their mind has to be in time
        }
    ],
    indirect=True,
    ids=["quick"],
)

# Where a point is not on the main road, the story that leads to it.
ELSEWHERE = {
    **dict.fromkeys(
        (name for name in POINTS if name.startswith("accounts.")), "tests/accounts kills a process at each of them"
    ),
    **dict.fromkeys(
        (name for name in POINTS if name.startswith(("subscriptions.", "disputes.", "prices."))),
        "tests/billing/test_killed.py kills a process at each of them",
    ),
    **dict.fromkeys(
        (name for name in POINTS if name.startswith("orders.")), "tests/store/test_killed.py kills at each of them"
    ),
    **dict.fromkeys(
        ("generation.submit.made", "generation.stage.queued"), "tests/generation/test_stages.py kills at each of them"
    ),
    **dict.fromkeys(
        (name for name in POINTS if name.startswith("calls.")),
        "tests/calls/test_races.py kills a process at each of them",
    ),
    "generation.uploads.kept": "tests/generation/test_killed.py kills there",
    "generation.inputs.saved": "tests/generation: an image_url must be public https, which no sandbox is",
}


def named(*prefixes: str) -> list[str]:
    return [name for name in POINTS if name.startswith(prefixes) and name not in ELSEWHERE]


class Clock:
    """Lets due times come nearer once the armed process has died."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.hurry = Hurry()

    def __call__(self) -> bool:
        self.stack.revive()
        if self.stack.was_killed():
            self.hurry()
        else:
            self.hurry = Hurry()
        return True


def die_at(stack: Stack, point: str, story: Callable[[], None]) -> None:
    """Run the story with the point armed; it must be reached, and the story must still end."""
    began = time.monotonic()
    stack.arm(point)
    story()
    clock = Clock(stack)
    until(lambda: clock() and stack.was_killed(), f"somebody dies at {point}")
    stack.revive()
    print(f"{point}: {time.monotonic() - began:.1f} s")  # noqa: T201  shown with -s


def lost_mails(person: Customer) -> int:
    """Mails that a worker had in its hands when it was killed: perhaps sent, surely not twice, on record as unknown."""
    return Mail.objects.filter(to=person.email, state="failed", error_code="outcome_unknown").count()


def quiet(stack: Stack) -> None:
    """Wait until nothing is under way any more."""
    clock = Clock(stack)

    def nothing_open() -> bool:
        clock()
        return not (
            Generation.objects.filter(state__in=["queued", "submitting", "running", "storing"]).exists()
            or Mail.objects.filter(state__in=["queued", "sending"]).exists()
        )

    until(nothing_open, "all work is done")


@quick
def test_payments_survive_a_kill_at_each_point(stack: Stack) -> None:
    clock = Clock(stack)
    alice = Customer(stack, "payer@example.com", meanwhile=clock)
    alice.join()
    points = named("idempotency.", "payments.start", "payments.settle", "inbox.")
    clock = Clock(stack)

    for number, point in enumerate(points):
        die_at(stack, point, partial(alice.buy, f"credits:{10 + number}"))

    bought = sum(10 + number for number in range(len(points)))
    assert alice.balance()["available"] == 5 + bought
    grants = LedgerTransaction.objects.filter(kind="purchase", subject_type="payment").values("subject_id")
    assert Counter(grants.annotate(n=Count("id")).values_list("n", flat=True)).keys() <= {1, 2}
    assert Payment.objects.filter(user__email=alice.email, state="succeeded").count() == len(points)
    quiet(stack)
    assert len(points) - lost_mails(alice) <= len(alice.mails("payment")) <= len(points)
    books.check()


@quick
def test_headshots_survive_a_kill_at_each_point(stack: Stack) -> None:
    clock = Clock(stack)
    alice = Customer(stack, "sitter@example.com", meanwhile=clock)
    alice.join()
    alice.buy("package:ENTERPRISE")
    photo = alice.upload(portrait())
    jobs = []

    def make() -> None:
        job = alice.ended(alice.headshot(photo)["id"])
        assert job["status"] == "succeeded", job
        assert alice.picture(job).width >= 300
        jobs.append(job)

    def upload() -> None:
        alice.upload(portrait(2))

    def change_of_mind() -> None:
        job = alice.headshot(photo, style_prompt="sandbox:slow")
        until(lambda: alice.ok("GET", f"generations/{job['id']}")["status"] == "running", "the job runs")
        assert alice.ok("POST", f"generations/{job['id']}/cancel")["status"] == "canceled"
        # What was begun is deleted there once it has ended.
        requests.post(f"{stack.sandbox}/control/advance", json={"seconds": 600}, timeout=60).raise_for_status()

    for point in named(
        "generation.jobs", "generation.submit", "generation.poll", "generation.store", "generation.finish"
    ):
        die_at(stack, point, make)
    die_at(stack, "generation.photos.saved", upload)
    die_at(stack, "generation.discard.deleted", change_of_mind)
    die_at(stack, "files.deleted", lambda: alice.ok("DELETE", f"generations/{jobs[0]['id']}"))

    spent = 50 * len(jobs)
    assert alice.balance() == {
        "balance": 2005 - spent,
        "held": 0,
        "frozen": 0,
        "available": 2005 - spent,
        "debt": 0,
    }
    quiet(stack)
    assert len(jobs) - lost_mails(alice) <= len(alice.mails("headshot is ready")) <= len(jobs)
    books.check()


@quick
def test_a_failing_headshot_survives_a_kill_at_its_end(stack: Stack) -> None:
    clock = Clock(stack)
    alice = Customer(stack, "unlucky@example.com", meanwhile=clock)
    alice.join()
    alice.buy()
    photo = alice.upload(portrait())

    def fail() -> None:
        job = alice.ended(alice.headshot(photo, style_prompt="sandbox:fail")["id"])
        assert (job["status"], job["charged"]) == ("failed", "none")

    for point in named("generation.finish"):
        die_at(stack, point, fail)

    assert alice.balance() == {"balance": 105, "held": 0, "frozen": 0, "available": 105, "debt": 0}
    quiet(stack)
    ends = len(named("generation.finish"))
    assert ends - lost_mails(alice) <= len(alice.mails("headshot")) <= ends
    books.check()


@quick
def test_mails_survive_a_kill_at_each_point(stack: Stack) -> None:
    clock = Clock(stack)
    for number, point in enumerate(named("notifications.")):
        person = Customer(stack, f"person{number}@example.com")
        stack.arm(point)
        response = person.ask("POST", "auth/register", json={"email": person.email, "password": "long pass phrase 7"})
        assert response.status_code == 201
        until(lambda: clock() and stack.was_killed(), f"somebody dies at {point}")
        quiet(stack)
        got = len(person.mails())
        # SMTP cannot say whether a server took a mail whose sender died just then: at most once wins.
        assert got == (0 if point == "notifications.handed_over" else 1), point


@quick
def test_refunds_survive_a_kill_at_each_point(stack: Stack) -> None:
    """A second capture on one order is money that nobody asked for: it goes back."""
    clock = Clock(stack)
    alice = Customer(stack, "twice@example.com", meanwhile=clock)
    alice.join()
    points = named("refunds.")

    def pay_twice(credits: int) -> None:
        body = {"item": f"credits:{credits}", "gateway": "razorpay"}
        payment = alice.ok("POST", "payments", key=f"twice-{credits}", json=body)
        alice.pay(payment)
        alice.pay(payment, again="1")
        alice.settled(payment["id"])

    # What nobody asked for is refunded by the worker, without the step that a person starts.
    by_worker = [point for point in points if point != "refunds.requested"]
    for number, point in enumerate(by_worker):
        die_at(stack, point, partial(pay_twice, 20 + number))
    until(lambda: clock() and all_refunded(alice, len(by_worker)), "the second captures are back")
    bought = sum(20 + number for number in range(len(by_worker)))
    assert alice.balance()["available"] == 5 + bought

    first = Payment.objects.filter(user__email=alice.email).earliest("created_at")
    die_at(stack, "refunds.requested", lambda: staff_refunds(stack, first))
    until(lambda: clock() and all_refunded(alice, len(points)), "the staff refund is done")
    assert alice.balance() == {"balance": bought - 15, "held": 0, "frozen": 0, "available": bought - 15, "debt": 0}
    books.check()


def staff_refunds(stack: Stack, payment: Payment) -> None:
    """A colleague's process refunds the whole payment, and dies where armed."""
    boss = User.objects.create_superuser("boss@example.com", "a long pass phrase 7")
    code = (
        "import django; django.setup(); from accounts.models import User; from billing import refunds; "
        f"refunds.request(payment_id='{payment.pk}', amount={payment.amount}, reason='asked', "
        f"actor=User.objects.get(pk='{boss.pk}'))"
    )
    environment = stack.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL


def all_refunded(person: Customer, count: int) -> bool:
    refunds = Refund.objects.filter(payment__user__email=person.email)
    return refunds.filter(state="processed").count() == count == refunds.count()


def test_every_point_is_walked() -> None:
    walked = named(
        "idempotency.", "payments.", "inbox.", "notifications.", "refunds.", "generation.jobs", "generation.submit",
        "generation.poll", "generation.store", "generation.finish", "generation.photos", "generation.discard",
        "files.",
    )  # fmt: skip

    assert sorted(walked) == sorted(set(POINTS) - set(ELSEWHERE))
