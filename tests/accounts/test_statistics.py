"""A person's figures over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string

from accounts.models import User
from billing import ledger
from core.ids import new_id
from generation.models import Generation, State
from tests import books
from tests.billing.given import bought, spent
from tests.generation.material import fund, order
from tests.people import api

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me/statistics"


def test_a_newcomer_has_zeros(alice: User) -> None:
    none = {"total": 0, "completed": 0, "processing": 0, "failed": 0, "success_rate": None}
    since = alice.created_at.isoformat().replace("+00:00", "Z")

    assert api(alice).get(URL).json() == {
        "generations": none,
        "videos": none,
        "credits": {"total_spent": 0, "total_purchased": 0, "total_refunded": 0, "current_balance": 5},
        "usage": {
            "generations_last_30_days": 0,
            "videos_last_30_days": 0,
            "credits_spent_last_30_days": 0,
            "average_credits_per_generation": None,
            "member_since": since,
        },
        "account": {"plan": None, "member_since": since},
    }


def test_figures_are_the_persons_own(alice: User, bob: User, settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    sale = bought(alice, 200)
    spent(alice, 60)
    ledger.claw_back(user_id=alice.pk, amount=30, key="refund:1", subject=("refund", new_id()), source=("sale", sale))
    order(alice)
    bought(bob, 1000)

    found = api(alice).get(URL).json()

    assert found["credits"] == {
        "total_spent": 60,
        "total_purchased": 200,
        "total_refunded": 30,
        "current_balance": 115,
    }
    assert found["generations"] == {
        "total": 1,
        "completed": 0,
        "processing": 1,
        "failed": 0,
        "success_rate": None,
    }
    assert (found["usage"]["generations_last_30_days"], found["usage"]["credits_spent_last_30_days"]) == (1, 60)
    books.check()


def test_the_number_of_queries_is_the_same_whatever_the_history(alice: User, settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    client = api(alice)
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get(URL)
    fund(alice, 5000)
    job = order(alice)
    for _ in range(10):
        spent(alice, 1)
    fields = {f.attname: getattr(job, f.attname) for f in Generation._meta.concrete_fields if f.name != "id"}
    Generation.objects.bulk_create(
        Generation(**fields | {"state": State.SUCCEEDED, "finished_at": job.created_at, "next_at": None})
        for _ in range(1_000)
    )

    with CaptureQueriesContext(connection) as many:
        found = client.get(URL).json()

    assert len(few) == len(many) == 6
    assert found["generations"]["total"] == 1_001
    assert found["generations"]["success_rate"] == 1.0


def test_nobody_has_no_figures() -> None:
    assert api().get(URL).status_code == 401


def test_every_path_in_the_settings_is_a_function() -> None:
    assert all(callable(import_string(path)) for path in configured.ACCOUNT_STATISTICS)
