from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from core import jobs
from notifications import outbox
from notifications.mails import TEMPLATES
from notifications.models import Mail
from notifications.samples import SAMPLES

pytestmark = pytest.mark.django_db


def test_a_mail_is_a_row_first(alice: User) -> None:
    mail = outbox.enqueue("welcome", user=alice, cause="test:1", context={"first_name": "Alice"})

    assert mail is not None
    assert (mail.to, mail.user_id, mail.state, mail.attempts) == ("alice@example.com", alice.pk, "queued", 0)
    assert mail.context == {"first_name": "Alice"}


def test_one_cause_is_one_mail(alice: User) -> None:
    first = outbox.enqueue("welcome", user=alice, cause="test:1", context={"first_name": "Alice"})

    again = outbox.enqueue("welcome", user=alice, cause="test:1", context={"first_name": "Eve"})

    assert again is None
    assert Mail.objects.get(cause="test:1") == first
    assert Mail.objects.get(cause="test:1").context == {"first_name": "Alice"}


def test_a_set_is_queued_as_one_by_one_and_one_cause_is_one_mail_in_it(alice: User) -> None:
    def letter(cause: str, to: str = "alice@example.com") -> outbox.Letter:
        return outbox.Letter(cause, alice.pk, to, {"first_name": "Alice"})

    alone = outbox.enqueue("welcome", user=alice, cause="test:1", context={"first_name": "Alice"})
    erased = letter("test:4", f"x@{outbox.NOBODY}")

    made = outbox.enqueue_all("welcome", [*map(letter, ("test:3", "test:1", "test:2", "test:3")), erased])

    assert alone is not None
    same = ("name", "user_id", "to", "context", "state", "attempts", "subject", "provider_message_id", "error_code")
    rows = {mail.cause: mail for mail in Mail.objects.filter(cause__startswith="test:")}
    assert sorted(rows) == ["test:1", "test:2", "test:3"]
    assert set(made) == {rows["test:2"].pk, rows["test:3"].pk}
    for row in rows.values():
        assert [getattr(row, name) for name in same] == [getattr(alone, name) for name in same]
    assert outbox.enqueue_all("welcome", []) == []
    assert outbox.enqueue_all("welcome", [letter("test:2")]) == []


def test_a_set_with_a_mistake_queues_nothing(alice: User) -> None:
    good = outbox.Letter("test:1", alice.pk, alice.email, {"first_name": "Alice"})

    for wrong in (outbox.Letter("test:2", None, "", {}), outbox.Letter("test:2", None, "a@example.com", {"name": "A"})):
        with pytest.raises(ValueError, match="welcome"):
            outbox.enqueue_all("welcome", [good, wrong])

    assert not Mail.objects.filter(cause__startswith="test:").exists()


@pytest.mark.django_db(transaction=True)
def test_of_twins_at_once_one_is_queued_and_neither_transaction_is_lost() -> None:
    results: list[bool] = []
    barrier = threading.Barrier(6)

    def queue(number: int) -> None:
        try:
            with transaction.atomic():
                barrier.wait()
                made = outbox.enqueue(
                    "credit-low-warning", to="a@example.com", cause="low:1", context={"remaining": "1 credit"}
                )
                # The transaction must go on being usable after the conflict.
                outbox.enqueue("welcome", to="a@example.com", cause=f"own:{number}", context={})
            results.append(made is not None)
        finally:
            connection.close()

    threads = [threading.Thread(target=queue, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [False] * 5 + [True]
    assert Mail.objects.filter(cause="low:1").count() == 1
    assert Mail.objects.filter(cause__startswith="own:").count() == 6


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_cause_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    monkeypatch.setattr(jobs, "publish", lambda name: woken.append(name))

    with transaction.atomic():
        outbox.enqueue("welcome", to="a@example.com", cause="test:1", context={})
        transaction.set_rollback(True)

    assert woken == []
    assert not Mail.objects.exists()
    with transaction.atomic():
        outbox.enqueue("welcome", to="a@example.com", cause="test:1", context={})
        assert woken == []
    assert woken == ["notifications.deliver"]


@pytest.mark.parametrize(
    ("name", "context", "error"),
    [
        ("wellcome", {}, LookupError),
        ("verify-email", {}, ValueError),
        ("payment-failed", {"payment_id": "1", "amount": "₹1.00"}, ValueError),
        ("welcome", {"firstname": "Alice"}, ValueError),
        # The link is a secret: nobody may put one into the table.
        ("verify-email", {"verification_id": "x", "link": "https://example.com/verify-email/token"}, ValueError),
    ],
)
def test_a_mistake_fails_where_it_is_made(name: str, context: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        outbox.enqueue(name, to="a@example.com", cause="test:1", context=context)

    assert not Mail.objects.exists()


def test_a_mail_to_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="has no address"):
        outbox.enqueue("welcome", cause="test:1", context={})


def test_queueing_costs_two_queries(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):
        outbox.enqueue("welcome", user=alice, cause="test:1", context={})


def test_every_mail_has_an_example_here() -> None:
    assert SAMPLES.keys() == TEMPLATES.keys()


def test_an_unreachable_broker_does_not_fail_the_caller(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def away(*args: object, **options: object) -> None:
        raise ConnectionError("no broker")

    from notifications.tasks import deliver

    monkeypatch.setattr(deliver, "apply_async", away)

    with django_capture_on_commit_callbacks(execute=True):
        mail = outbox.enqueue("welcome", to="a@example.com", cause="test:1", context={})

    assert mail is not None
