"""The books' part of generation: each check finds the lie that it is there for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts.models import User
from billing import books, ledger
from core.models import StoredObject
from generation import metrics
from generation.models import Asset, Generation, State
from tests.generation.material import order, run_until
from tests.sandbox.process import RunningSandbox


def found() -> set[str]:
    return {finding.check for finding in books.run().findings}


@pytest.fixture
def done(rich: User, sandbox: RunningSandbox) -> Generation:
    job = run_until(order(rich))
    assert found() == set()
    return job


def test_a_job_that_says_it_failed_but_took_the_credits(done: Generation) -> None:
    Generation.objects.update(state=State.FAILED, error_code="x")

    assert {"generation_hold", "generation_assets"} <= found()


def test_an_asset_that_is_gone(done: Generation) -> None:
    Asset.objects.update(file=None, thumbnail=None, purged_at=Now())
    assert found() == {"generation_assets"}

    Asset.objects.all().delete()
    assert found() == {"generation_assets"}


def test_a_file_that_would_be_swept_away(done: Generation) -> None:
    StoredObject.objects.update(expires_at=Now() + timedelta(days=1))

    assert found() == {"generation_files"}


def test_an_open_job_whose_hold_was_released(rich: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "x"
    job = order(rich)
    ledger.release(key=job.hold_key)

    assert found() == {"generation_hold"}


def test_a_hold_without_its_job_and_a_former_round_left_open(rich: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "x"
    job = order(rich)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_hold SET key = %s", [f"generation:{job.pk}:0"])

    assert found() == {"generation_hold", "generation_former_holds"}


def test_a_job_long_past_its_deadline(rich: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "x"
    order(rich)
    Generation.objects.update(deadline_at=Now() - timedelta(minutes=16))

    assert found() == {"generation_ends"}


def test_the_metrics_are_read_from_the_tables(done: Generation, rich: User) -> None:
    order(rich)

    families = {family.name: family for family in metrics.families()}

    samples = {tuple(s.labels.values()): s.value for s in families["generations"].samples}
    assert samples[("headshot", "magic-hour", "succeeded")] == 1
    assert samples[("headshot", "magic-hour", "queued")] == 2  # the one that has succeeded, too
    (lag,) = families["generation_lag_seconds"].samples
    assert lag.value >= 0
    assert families["generations_unknown"].samples[0].value == 0
