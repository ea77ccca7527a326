"""Jobs at a provider that answers at once, inside an Atelier that bench.jobs has laid out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import cycle, islice
from typing import Any
from uuid import UUID

from celery import current_app, signals
from celery.contrib.testing.worker import start_worker
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from billing import books, ledger
from billing.models import Hold
from core.ids import new_id
from generation import providers, tasks
from generation.engine import finish as ending
from generation.engine.advance import advance
from generation.models import Attempt, Generation, Kind, Operation, Outcome, State
from generation.providers.base import Callback, Order, Provider, ProviderError, Rejected, Seen, Submitted, Unavailable

PEOPLE = 50
_LONG_S = 100_000
_works_on = True


class Instant(Provider):
    """It takes every order at once, and works on or has failed at all of them, as the measurement says."""

    code, cost_unit, base_url = "instant", "USD", "http://127.0.0.1:9"
    resolve_window_s, is_configured = 0.0, True

    def prepare(self, order: Order) -> Mapping[str, Any]:
        return {}

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        return Submitted(new_id().hex)

    def poll(self, provider_job_id: str) -> Seen:
        return Seen("running", 50) if _works_on else Seen("failed", error=Rejected("no", code="provider_failed"))

    def cancel(self, provider_job_id: str) -> None: ...

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        return None

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        return Unavailable(str(status), status=status)


def install() -> None:
    """Let the instant provider make pictures, and people order them."""
    providers.REGISTRY["instant"] = "bench.instant.Instant"
    Operation.objects.filter(code="image").update(provider="instant")
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = _LONG_S
    settings.GENERATION_DEADLINES_S = dict.fromkeys(settings.GENERATION_DEADLINES_S, _LONG_S)
    for number in range(PEOPLE):
        user = User.objects.create_user(f"bench{number}@example.test", None)
        ledger.open_wallets(user=user)
        subject = ("user", user.pk)
        ledger.grant(user_id=user.pk, amount=10**8, category="paid", key=f"bench:{number}", subject=subject)


def _running(count: int) -> list[Generation]:
    """Jobs that run at the provider, as submitting leaves them. They have no holds yet."""
    people = User.objects.filter(email__startswith="bench").order_by("email")
    made = [
        Generation(
            id=new_id(), user=user, kind=Kind.IMAGE, operation="image", provider="instant", model="m", terms={},
            params={"prompt": "A paper boat"}, price=5, state=State.RUNNING, was_submitted=True,
            deadline_at=Now() + timedelta(days=1), next_at=Now(),
        )
        for user in islice(cycle(people), count)
    ]  # fmt: skip
    Generation.objects.bulk_create(made, batch_size=1_000)
    attempts = [
        Attempt(
            id=new_id(), generation=job, round=1, n=1, provider="instant", model="m", provider_job_id=job.pk.hex,
            outcome=Outcome.RUNNING,
        )
        for job in made
    ]  # fmt: skip
    Attempt.objects.bulk_create(attempts, batch_size=1_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE generation_generation g SET attempt_id = a.id FROM generation_attempt a "
            "WHERE a.generation_id = g.id AND g.attempt_id IS NULL AND g.state = 'running'"
        )
    return made


def _held(count: int) -> list[Any]:
    made, alarm_at = _running(count), timezone.now() + timedelta(days=1)
    for job in made:
        subject = ("generation", job.pk)
        ledger.hold(user_id=job.user_id, amount=job.price, key=job.hold_key, subject=subject, alarm_at=alarm_at)
    _tidy()
    return [job.pk for job in made]


def _tidy() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


@current_app.task(name="bench.finish", queue="bench", ignore_result=True)
def _finish(job_id: str) -> None:
    ending.fail(UUID(job_id), code="provider_failed", where=Q(state=State.RUNNING), detail="no")


def finish(count: int) -> float:
    """How many a second end in the engine when so many have ended at the provider: claimed, looked at, released,
    mailed, by one worker."""
    ids = _held(count)
    tasks.advance.apply_async(queue="bench")
    return _rate(ids)


def finish_by_tasks(count: int) -> float:
    """How many a second end by a Celery task each, which makes the same changes, in the same worker."""
    ids = _held(count)
    for job_id in ids:
        _finish.delay(str(job_id))
    return _rate(ids)


def _rate(ids: list[Any]) -> float:
    """From the first task that the worker begins to the last job's end."""
    global _works_on
    _works_on = False
    began: list[float] = []

    def note(**_: Any) -> None:
        began.append(time.perf_counter())

    signals.task_prerun.connect(note)
    current_app.amqp.queues.select_add("bench")
    with start_worker(current_app, pool="solo", perform_ping_check=False, queues=["bench"], loglevel="ERROR"):
        while Generation.objects.filter(pk__in=ids, state=State.RUNNING).exists():
            time.sleep(0.01)
        ended = time.perf_counter()
    signals.task_prerun.disconnect(note)
    return len(ids) / (ended - began[0])


def sweep(count: int) -> Iterator[tuple[str, float, float]]:
    """Looks at so many running jobs that are all due: how long each sweep takes, and how much CPU of this process. Only
    the jobs' rows are there, no holds, and they go again.

    Units: seconds.
    """
    global _works_on
    _works_on = True
    _running(count)
    for news in ("all have news", "nothing is new"):
        Generation.objects.filter(state=State.RUNNING).update(next_at=Now())
        _tidy()
        began, cpu, looked = time.perf_counter(), time.process_time(), 0
        while looked < count:
            looked += advance()
        yield news, time.perf_counter() - began, time.process_time() - cpu
        left = Generation.objects.filter(state=State.RUNNING, next_at__lte=Now())
        assert (looked, left.count()) == (count, 0), "somebody was left out"
        assert Generation.objects.filter(state=State.RUNNING, progress=50).count() == count, "an answer was lost"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE generation_generation SET attempt_id = NULL WHERE state = 'running'")
        cursor.execute(
            "DELETE FROM generation_attempt a USING generation_generation g "
            "WHERE g.id = a.generation_id AND g.state = 'running'"
        )
        cursor.execute("DELETE FROM generation_generation WHERE state = 'running'")
    _tidy()


def check() -> None:
    """Every job has ended once, every hold was released, and the books balance."""
    assert not Generation.objects.exclude(state=State.FAILED).exists(), "a job was left behind"
    assert not Hold.objects.exclude(state="released").exists(), "a hold was left behind"
    report = books.run()
    assert report.is_clean, report.findings[:5]
    print(f"{Generation.objects.count()} jobs; {len(report.checks)} checks of the books: clean")
