"""People report what a job made; staff take it down or let it stay, in time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from billing import ledger
from core import metrics, storage
from core.errors import Conflict
from core.models import StoredObject
from generation import jobs, reports
from generation.engine import finish, moves
from generation.models import Generation, Report, ReportStatus, State
from tests import books
from tests.generation.material import fund, in_parallel, order, run_until, sweep
from tests.people import api, make_staff, make_user
from tests.sandbox.process import RunningSandbox
from tests.stores import fetch


@pytest.fixture
def made(rich: User, sandbox: RunningSandbox) -> Generation:
    return run_until(order(rich))


def url(job: Generation) -> str:
    return f"/api/v1/generations/{job.pk}/report"


def press(person: User, model: str, act: str, pk: Any, reason: str = "It shows a child.") -> int:
    """A member of staff presses a button of the console."""
    console = Client()
    console.force_login(person)
    form = {"reason": reason, "_form_submitted": "True"}
    return console.post(reverse(f"admin:generation_{model}_{act}", args=[pk]), form).status_code


def test_a_job_is_reported_once(rich: User, bob: User, made: Generation) -> None:
    client = api(rich)

    first = client.post(url(made), {"reason": "likeness", "comment": "That is my sister.\nShe never agreed."})
    again = client.post(url(made), {"reason": "other"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    report = Report.objects.get()
    assert first.json() == {
        "id": str(report.pk),
        "generation": str(made.pk),
        "reason": "likeness",
        "comment": "That is my sister.\nShe never agreed.",
        "status": "open",
        "created_at": first.json()["created_at"],
        "decide_by": first.json()["decide_by"],
        "decided_at": None,
    }
    assert reports.time_limit() == timedelta(hours=48)
    assert api(bob).post(url(made), {"reason": "other"}).status_code == 404
    assert api(bob).post(url(made), {}).status_code == 404
    for body in ({}, {"reason": "boring"}, {"reason": "other", "status": "upheld"}, {"reason": "other", "comment": 5}):
        assert client.post(url(made), body).status_code == 400
    assert list(AuditLog.objects.filter(entity_type="report").values_list("action", flat=True)) == ["report.made"]


def test_there_must_be_something_to_report(rich: User, sandbox: RunningSandbox) -> None:
    job = order(rich)

    answer = api(rich).post(url(job), {"reason": "other"})
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (409, "not_finished", "held")

    jobs.delete(user=rich, job_id=job.pk)
    assert api(rich).post(url(job), {"reason": "other"}).status_code == 404
    books.check()


def test_what_is_taken_down_is_gone_at_once_and_its_books_stay(
    rich: User, sandbox: RunningSandbox, support: User, store: str, django_capture_on_commit_callbacks: Any
) -> None:
    made = run_until(order(rich))
    client = api(rich)
    client.post(url(made), {"reason": "minors"})
    report = Report.objects.get()
    shown = client.get(f"/api/v1/generations/{made.pk}").json()["outputs"][0]
    links = [shown["url"], shown["thumbnail_url"]]
    keys = [made.assets.get().file.key, made.assets.get().thumbnail.key]
    assert [fetch(link)[0] for link in links] == [200, 200]

    with django_capture_on_commit_callbacks(execute=True):
        assert press(support, "report", "take_down", report.pk) == 302

    assert [fetch(link)[0] for link in links] == [404, 404]
    assert [storage.exists(key) for key in keys] == [False, False]
    job = client.get(f"/api/v1/generations/{made.pk}").json()
    assert (job["status"], job["outputs"], job["charged"], job["cost"]) == ("succeeded", [], "settled", 50)
    assert job["taken_down_at"]
    assert client.get(f"/api/v1/generations/{made.pk}/download").status_code == 404
    report.refresh_from_db()
    assert (report.status, report.decided_by, report.decision) == (ReportStatus.UPHELD, support, "It shows a child.")
    assert client.post(url(made), {"reason": "other"}).json()["status"] == "upheld"
    row = AuditLog.objects.get(action="generation.taken_down")
    assert (row.actor_id, row.source, row.user_id) == (support.pk, "ADMIN", rich.pk)
    assert row.metadata == {"reason": "It shows a child.", "files": 2, "reports": 1}
    assert ledger.balance(rich.pk).balance == 55
    sweep()
    assert not StoredObject.objects.filter(key__in=keys).exists()
    made.refresh_from_db()
    assert reports.take_down(made, actor=support, reason="again").taken_down_at == made.taken_down_at
    assert AuditLog.objects.filter(action="generation.taken_down").count() == 1
    client.delete(f"/api/v1/generations/{made.pk}")
    books.check()


def test_ops_take_down_without_a_report_and_finance_do_not(made: Generation, ops: User, finance: User) -> None:
    assert press(finance, "generation", "take_down", made.pk) == 403
    made.refresh_from_db()
    assert made.taken_down_at is None

    assert press(ops, "generation", "take_down", made.pk) == 302

    made.refresh_from_db()
    assert made.taken_down_at is not None
    books.check()


def test_a_storage_that_is_away_does_not_keep_it_up(
    made: Generation, ops: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    key = made.assets.get().file.key
    delete = storage.delete

    def away(key: str) -> None:
        raise ConnectionError

    monkeypatch.setattr(storage, "delete", away)
    with django_capture_on_commit_callbacks(execute=True):
        reports.take_down(made, actor=ops, reason="x")
    assert api(made.user).get(f"/api/v1/generations/{made.pk}").json()["outputs"] == []
    assert storage.exists(key)

    monkeypatch.setattr(storage, "delete", delete)
    sweep()
    assert not storage.exists(key)


def test_an_open_job_is_not_taken_down(rich: User, sandbox: RunningSandbox, ops: User) -> None:
    job = order(rich)

    with pytest.raises(Conflict):
        reports.take_down(job, actor=ops, reason="x")

    job.refresh_from_db()
    assert job.is_open
    books.check()


def test_a_dismissed_report_leaves_everything(rich: User, made: Generation, support: User) -> None:
    report, _ = reports.report(user=rich, job_id=made.pk, reason="other")

    assert press(support, "report", "dismiss", report.pk, "Nothing to see.") == 302
    assert press(support, "report", "dismiss", report.pk, "Again.") == 302

    report.refresh_from_db()
    assert (report.status, report.decision) == (ReportStatus.DISMISSED, "Nothing to see.")
    assert storage.exists(made.assets.get().file.key)
    assert AuditLog.objects.filter(action="report.dismissed").count() == 1
    reports.take_down(made, actor=support, reason="On second thought.")
    report.refresh_from_db()
    assert report.status == ReportStatus.DISMISSED


def test_an_upheld_report_is_not_dismissed(rich: User, made: Generation, support: User) -> None:
    report, _ = reports.report(user=rich, job_id=made.pk, reason="other")
    reports.take_down(made, actor=support, reason="x")

    with pytest.raises(Conflict):
        reports.dismiss(report, actor=support, reason="y")


def test_the_clock_runs_and_staff_see_the_longest_waiting_first(rich: User, made: Generation, support: User) -> None:
    waiting, _ = reports.report(user=rich, job_id=made.pk, reason="hate")
    late = Report.objects.create(generation=made, user=make_user(), reason="adult")
    done = Report.objects.create(
        generation=made, user=make_user(), reason="other", status=ReportStatus.DISMISSED, decided_at=Now()
    )
    Report.objects.filter(pk=late.pk).update(created_at=Now() - timedelta(hours=49))
    console = Client()
    console.force_login(support)

    page = console.get(reverse("admin:generation_report_changelist")).content.decode()
    only_late = console.get(reverse("admin:generation_report_changelist"), {"overdue": "yes"}).content.decode()

    places = [page.index(f"/report/{one.pk}/change") for one in (late, waiting, done)]
    assert places == sorted(places)
    assert "late by 1" in page.replace("\xa0", " ")
    assert "<img" in page
    assert [str(one.pk) in only_late for one in (late, waiting, done)] == [True, False, False]
    assert reports.waiting() == {"open": 2, "overdue": 1}
    told = metrics.scrape().decode()
    assert 'reports_waiting{which="open"} 2.0' in told
    assert 'reports_waiting{which="overdue"} 1.0' in told
    shown = console.get(reverse("admin:generation_generation_change", args=[made.pk])).content.decode()
    assert made.consent.wording in shown


@pytest.mark.django_db(transaction=True)
def test_reported_taken_down_and_deleted_at_once(sandbox: RunningSandbox, settings: Any) -> None:
    alice = make_user()
    fund(alice, 100)
    staff = make_staff("ops")
    job = run_until(order(alice))

    found = in_parallel(
        *[partial(reports.report, user=alice, job_id=job.pk, reason="other")] * 3,
        *[partial(reports.take_down, job, actor=staff, reason="x")] * 2,
        partial(jobs.delete, user=alice, job_id=job.pk),
    )

    job.refresh_from_db()
    assert (job.state, job.taken_down_at is not None, job.deleted_at is not None) == (State.SUCCEEDED, True, True)
    assert Report.objects.count() <= 1
    assert not Report.objects.filter(status=ReportStatus.OPEN).exists()
    assert AuditLog.objects.filter(action="generation.taken_down").count() == 1
    assert len(found) == 6
    sweep()
    assert not StoredObject.objects.filter(key__startswith="content/").exists()
    books.check()


def test_a_job_that_failed_has_nothing_to_take_down(rich: User, sandbox: RunningSandbox, ops: User) -> None:
    job = order(rich)
    finish.fail(job.pk, code="provider_failed", where=moves.Q())

    with pytest.raises(Conflict):
        reports.take_down(job, actor=ops, reason="x")
