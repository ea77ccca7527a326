"""Staff look at jobs, and edit what is sold and what is blocked; every edit leaves its row."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit import approvals
from audit.models import Approval, AuditLog
from billing import ledger
from core.errors import Conflict, PermissionDenied
from core.ids import new_id
from generation import staff_prices
from generation.models import BlockedTerm, Category, Generation, Operation
from tests import books, pressing
from tests.generation.material import fail, order, photo_of, run_until
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


def test_staff_end_a_stuck_job_whatever_holds_it_up(console: Client, rich: User) -> None:
    stuck = order(rich)
    Generation.objects.filter(pk=stuck.pk).update(
        state="storing", lease_token=new_id(), lease_until=Now() + timedelta(hours=1), was_submitted=True
    )

    assert "cannot be cancelled" in press(console, "cancel", stuck)
    assert press(console, "release", stuck) == "Ended; the credits are free again."

    stuck.refresh_from_db()
    assert (stuck.state, stuck.error_code, stuck.error_message) == ("failed", "released", "Our staff ended it.")
    assert ledger.balance(rich.pk).held == 0
    assert "has ended" in press(console, "release", stuck)
    [row] = AuditLog.objects.filter(entity_id=str(stuck.pk), action="generation.release_ordered")
    assert (row.metadata["reason"], row.source, row.user_id) == ("Asked for.", "ADMIN", rich.pk)
    books.check()


def test_staff_cancel_as_often_as_they_must(console: Client, rich: User, settings: Any) -> None:
    settings.GENERATION_LATE_CANCELS_PER_DAY = 0
    job = order(rich)
    Generation.objects.filter(pk=job.pk).update(was_submitted=True)

    assert press(console, "cancel", job) == "Canceled; the credits are free again."
    assert press(console, "cancel", job) == "Canceled; the credits are free again."

    job.refresh_from_db()
    assert (job.state, ledger.balance(rich.pk).held) == ("canceled", 0)
    assert AuditLog.objects.filter(entity_id=str(job.pk), action="generation.cancel_ordered").count() == 1
    books.check()


def test_staff_retry_a_failed_job_in_its_owners_name(console: Client, rich: User) -> None:
    job = fail(order(rich))

    assert press(console, "retry", job) == f"Ordered again: round 2, {job.price} credits held."

    job.refresh_from_db()
    assert (job.state, job.round, ledger.balance(rich.pk).held) == ("queued", 2, job.price)
    row = AuditLog.objects.get(entity_id=str(job.pk), action="generation.retried")
    assert (row.user_id, row.source) == (rich.pk, "ADMIN")
    assert "retr" in press(console, "retry", job)
    books.check()


def test_what_workers_do_with_a_retried_job_is_on_record_as_of_staff_for_its_owner(
    rich: User, sandbox: RunningSandbox
) -> None:
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)
    console = Client(headers={"x-request-id": "asked-in-the-console"})
    console.force_login(boss)
    ends, is_made = fail(order(rich)), fail(order(rich))
    for job in (ends, is_made):
        press(console, "retry", job)
    before = AuditLog.objects.latest("id").pk

    fail(ends)
    run_until(is_made)

    ends_so = {"generation.failed", "credits.released"}
    made_so = {"generation.submitted", "credits.captured", "generation.succeeded"}
    rows = AuditLog.objects.filter(id__gt=before, action__in=ends_so | made_so)
    assert {row.action for row in rows} == ends_so | made_so
    for row in rows:
        told = (row.actor_id, row.on_behalf_of_id, row.request_id)
        assert told == (boss.pk, rich.pk, "asked-in-the-console"), row.action
    books.check()


def test_a_provider_is_switched_off_and_on_with_all_it_makes(console: Client) -> None:
    operation = Operation.objects.get(code="video.kie")
    others = set(Operation.objects.exclude(provider="kie").values_list("code", "is_enabled"))

    assert "Off: video.kie, " in press(console, "switch_off", operation)  # shown first
    operation.refresh_from_db()
    assert operation.is_enabled
    assert press(console, "switch_off", operation, seen=True) == "Off: video.kie."
    operation.refresh_from_db()
    assert not operation.is_enabled
    assert set(Operation.objects.exclude(provider="kie").values_list("code", "is_enabled")) == others
    [row] = AuditLog.objects.filter(entity_id=str(operation.pk), action="operation.updated")
    assert (row.old, row.new, row.metadata["reason"]) == ({"is_enabled": True}, {"is_enabled": False}, "Asked for.")
    assert press(console, "switch_on", operation, seen=True) == "On: video.kie."


def test_an_operation_costs_something_else_when_a_colleague_lets_it(finance: User, ops: User, settings: Any) -> None:
    settings.MFA_REQUIRED = False
    colleague = User.objects.create_user("colleague@example.test", PASSWORD, is_staff=True)
    colleague.groups.add(*finance.groups.all())
    operation = Operation.objects.get(code="headshot")
    url = reverse("admin:generation_operation_change_price", args=[operation.pk])
    form = {
        "base_price": 77,
        "multipliers": json.dumps(operation.multipliers),
        "reason": "Dearer.",
        "request_id": new_id(),
    }
    client = Client()
    client.force_login(ops)
    assert client.post(url, form).status_code == 403

    client.force_login(finance)
    for wrong in (
        {"base_price": 0},
        {"base_price": 50},
        {"multipliers": '{"n": 3}'},
        {"multipliers": '{"n": {"per": 0}}'},
        {"multipliers": "{"},
    ):
        assert pressing.press(client, url, form | wrong).status_code == 200
    assert not Approval.objects.exists()
    asked = pressing.press(client, url, form)

    assert (asked.shown, asked.status_code) == (["base price: 50 credits → 77 credits"], 302)
    [waiting] = Approval.objects.all()
    assert Operation.objects.get(pk=operation.pk).base_price == 50
    with pytest.raises(PermissionDenied):
        approvals.approve(waiting.pk, approver=finance, reason="Mine.")
    client.force_login(colleague)
    pressing.press(client, reverse("admin:audit_approval_approve", args=[waiting.pk]), {"reason": "Yes."})
    assert Operation.objects.get(pk=operation.pk).base_price == 77
    row = AuditLog.objects.get(action="operation.repriced")
    assert (row.old["base_price"], row.new["base_price"], row.actor_id) == (50, 77, finance.pk)

    Operation.objects.filter(pk=operation.pk).update(base_price=60)
    again = new_id()
    new = {"base_price": 70, "multipliers": operation.multipliers}
    staff_prices.ask(request_id=again, operation_id=operation.pk, new=new, reason="Again.", actor=finance)
    Operation.objects.filter(pk=operation.pk).update(base_price=65)
    with pytest.raises(Conflict):
        approvals.approve(again, approver=colleague, reason="Yes.")
    assert Operation.objects.get(pk=operation.pk).base_price == 65


def test_what_was_off_before_its_provider_stays_off(console: Client) -> None:
    off = Operation.objects.get(code="avatar.thumbnail")
    Operation.objects.filter(pk=off.pk).update(is_enabled=False)
    made = Operation.objects.filter(provider=off.provider)
    before = set(made.values_list("code", "is_enabled"))
    on = made.filter(is_enabled=True).first()
    assert on

    press(console, "switch_off", on, seen=True)
    assert not made.filter(is_enabled=True).exists()
    assert "Stays off: avatar.thumbnail" in press(console, "switch_on", on)
    press(console, "switch_on", on, seen=True)

    assert set(made.values_list("code", "is_enabled")) == before
    assert not made.filter(is_paused=True).exists()


def press(console: Client, act: str, found: Any, *, seen: bool = False) -> str:
    """Press a button of the object's page; what the page then says, or the dialog. `seen`: of its preview, too."""
    url = reverse(f"admin:generation_{found._meta.model_name}_{act}", args=[found.pk])
    form = {"reason": "Asked for.", "_form_submitted": "True"}
    answer = console.post(url, form)
    if seen:
        answer = console.post(url, form | {"seen": answer.context["form"].data["seen"]})
    if answer.status_code != 302:
        return str(answer.content.decode())
    return str(list(console.get(answer["Location"]).context["messages"])[-1])
