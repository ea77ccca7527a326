"""Jobs at a provider that answers at once, inside an Atelier that bench.jobs has laid out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery import current_app
from celery.contrib.testing.worker import start_worker
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from billing import books, ledger
from billing.models import Hold
from core.ids import new_id
from generation import jobs, providers
from generation.engine import finish as ending
from generation.engine.advance import advance
from generation.models import Attempt, Generation, Kind, Operation, Outcome, State
from generation.providers.base import Callback, Order, Provider, ProviderError, Rejected, Seen, Submitted, Unavailable

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
    """Let the instant provider make pictures, and somebody order them."""
    providers.REGISTRY["instant"] = "bench.instant.Instant"
    Operation.objects.filter(code="image").update(provider="instant")
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = _LONG_S
    settings.GENERATION_DEADLINES_S = dict.fromkeys(settings.GENERATION_DEADLINES_S, _LONG_S)
    user = User.objects.create_user("bench@example.test", None)
    ledger.open_wallets(user=user)
    ledger.grant(user_id=user.pk, amount=10**8, category="paid", key="bench", subject=("user", user.pk))


def _ordered(count: int) -> list[Any]:
    """Jobs that run at the provider, ordered as customers do."""
    global _works_on
    _works_on = True
    user = User.objects.get(email="bench@example.test")
    request = jobs.Request(kind=Kind.IMAGE, params={"prompt": "A paper boat"})
    ids = [jobs.create(user=user, request=request).pk for _ in range(count)]
    while Generation.objects.filter(state=State.QUEUED).exists():
        advance()
    return ids


def finish(count: int) -> float:
    """How many a second end in the engine when so many have: claimed, looked at, released, mailed."""
    global _works_on
    ids = _ordered(count)
    _works_on = False
    Generation.objects.filter(pk__in=ids).update(next_at=Now())
    began = time.perf_counter()
    while Generation.objects.filter(pk__in=ids, state=State.RUNNING).exists():
        advance()
    return count / (time.perf_counter() - began)


@current_app.task(name="bench.finish", queue="bench", ignore_result=True)
def _finish(job_id: str) -> None:
    Attempt.objects.filter(generation=job_id).update(polls=1, error_code="provider_failed", error_message="no")
    ending.fail(job_id, code="provider_failed", where=Q(), detail="no")  # type: ignore[arg-type]


def finish_by_tasks(count: int) -> float:
    """The same by a Celery task each, from the first message taken to the last job ended, in one worker."""
    ids = _ordered(count)
    for job_id in ids:
        _finish.delay(str(job_id))
    began = time.perf_counter()
    current_app.amqp.queues.select_add("bench")
    with start_worker(current_app, pool="solo", perform_ping_check=False, queues=["bench"], loglevel="ERROR"):
        while Generation.objects.filter(pk__in=ids, state=State.RUNNING).exists():
            time.sleep(0.01)
        took_s = time.perf_counter() - began
    return count / took_s


def sweep(count: int) -> tuple[float, float]:
    """One look at so many running jobs that are all due: how long, and how much CPU of this process. Only their rows
    are there, no holds, and they go again.

    Units: seconds.
    """
    global _works_on
    _works_on = True
    user = User.objects.get(email="bench@example.test")
    made = [
        Generation(
            id=new_id(), user=user, kind=Kind.IMAGE, operation="image", provider="instant", model="m", terms={},
            params={"prompt": "A paper boat"}, price=5, state=State.RUNNING, was_submitted=True,
            deadline_at=Now() + timedelta(days=1), next_at=Now(),
        )
        for _ in range(count)
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
            "WHERE a.generation_id = g.id AND g.attempt_id IS NULL"
        )
        cursor.execute("VACUUM ANALYZE generation_generation, generation_attempt")
    began, cpu = time.perf_counter(), time.process_time()
    looked = 0
    while looked < count:
        looked += advance()
    found = time.perf_counter() - began, time.process_time() - cpu
    ids = [job.pk for job in made]
    assert Attempt.objects.filter(generation__in=ids, polls=1).count() == count, "somebody was left out"
    Generation.objects.filter(pk__in=ids).update(attempt=None)
    Attempt.objects.filter(generation__in=ids).delete()
    Generation.objects.filter(pk__in=ids).delete()
    return found


def check() -> None:
    """Every job has ended once, every hold was released, and the books balance."""
    assert not Generation.objects.exclude(state=State.FAILED).exists(), "a job was left behind"
    assert not Hold.objects.exclude(state="released").exists(), "a hold was left behind"
    report = books.run()
    assert report.is_clean, report.findings[:5]
    print(f"{Generation.objects.count()} jobs; {len(report.checks)} checks of the books: clean")
