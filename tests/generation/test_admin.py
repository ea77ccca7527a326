"""Staff look at jobs, and edit what is sold and what is blocked; every edit leaves its row."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from generation.models import BlockedTerm, Category, Operation
from tests.generation.material import order, photo_of, run_until
from tests.people import PASSWORD
from tests.sandbox.process import RunningSandbox


@pytest.fixture
def console(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.test", PASSWORD))
    return client


def test_a_job_is_shown_with_its_attempts_and_picture(console: Client, rich: User, sandbox: RunningSandbox) -> None:
    job = run_until(order(rich))

    for name, row in (
        ("generation", job),
        ("attempt", job.attempts.get()),
        ("asset", job.assets.get()),
        ("consent", job.consent),
        ("photo", photo_of(rich)),
    ):
        assert console.get(reverse(f"admin:generation_{name}_change", args=[row.pk])).status_code == 200, name
    listed = console.get(reverse("admin:generation_generation_changelist")).content.decode()
    assert "<img" in listed
    found = console.get(reverse("admin:generation_generation_changelist"), {"q": str(job.pk)}).content.decode()
    assert str(job.pk) in found
    assert console.post(reverse("admin:generation_generation_delete", args=[job.pk])).status_code == 403


def test_a_term_is_added_changed_and_taken_off(console: Client) -> None:
    form = {"term": "purple monkey", "category": Category.HATE, "is_active": "on", "note": "asked by support"}
    console.post(reverse("admin:generation_blockedterm_add"), form)
    term = BlockedTerm.objects.get(term="purple monkey")
    url = reverse("admin:generation_blockedterm_change", args=[term.pk])
    console.post(url, form | {"note": "again"})
    console.post(reverse("admin:generation_blockedterm_delete", args=[term.pk]), {"post": "yes"})

    rows = list(AuditLog.objects.filter(entity_id=str(term.pk)).order_by("id"))
    assert [row.action for row in rows] == ["blockedterm.created", "blockedterm.updated", "blockedterm.deleted"]
    assert (rows[1].old, rows[1].new) == ({"note": "asked by support"}, {"note": "again"})
    assert rows[0].source == "ADMIN"
    assert rows[0].actor_id is not None
    assert not BlockedTerm.objects.filter(pk=term.pk).exists()


def test_a_term_without_a_word_is_not_taken(console: Client) -> None:
    form = {"term": "!!! …", "category": Category.HATE, "is_active": "on"}

    page = console.post(reverse("admin:generation_blockedterm_add"), form)

    assert page.status_code == 200
    assert "would never be found" in page.content.decode()
    assert not BlockedTerm.objects.filter(term="!!! …").exists()


def test_an_operation_is_switched_off_but_never_deleted(console: Client) -> None:
    operation = Operation.objects.get(code="headshot")
    url = reverse("admin:generation_operation_change", args=[operation.pk])
    page = console.get(url)
    form = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    form |= {"limits": "{}", "multipliers": "{}", "fallback": ""}
    form.pop("is_enabled", None)

    assert console.post(url, form).status_code == 302

    operation.refresh_from_db()
    assert not operation.is_enabled
    row = AuditLog.objects.get(action="operation.updated")
    assert row.new["is_enabled"] is False
    assert console.post(reverse("admin:generation_operation_delete", args=[operation.pk])).status_code == 403
