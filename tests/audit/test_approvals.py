"""Four eyes: limits of a day, and acts that happen once, by a colleague's word, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils.module_loading import import_string
from pytest_django import Settings

from accounts import standing
from accounts.models import User
from audit import approvals
from audit.models import Approval, AuditLog, DayTotal
from audit.tasks import expire_approvals
from core.errors import Conflict, NotFound, PermissionDenied
from core.ids import new_id
from tests import pressing
from tests.people import PASSWORD, make_staff

pytestmark = pytest.mark.django_db

ACT = "tests.audit.test_approvals.leave_a_mark"
WHY = "Lost a week to our fault."


def leave_a_mark(approval: Approval) -> None:
    """The act of these tests; each time that it runs a row is left, in its transaction."""
    DayTotal.objects.create(day="2000-01-01", scope=f"mark:{new_id()}", unit="CREDIT", amount=approval.amount)
    if "fail" in approval.payload:
        raise Conflict("The act does not want to.")
    if "die" in approval.payload:
        connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")


def marks() -> int:
    return DayTotal.objects.filter(scope__startswith="mark:").count()


@pytest.fixture(autouse=True)
def registered(settings: Settings) -> None:
    settings.APPROVAL_ACTS = settings.APPROVAL_ACTS | {ACT: "billing.give_staffgrant"}


@pytest.fixture
def colleague(db: None) -> Iterator[User]:
    """A second person of finance."""
    user = User.objects.create_user("finance2@example.test", PASSWORD, is_staff=True)
    user.groups.set(make_staff("finance").groups.all())
    return user


@pytest.fixture
def finance(colleague: User) -> User:
    return User.objects.get(email="finance@example.test")


def asked(requester: User, customer: User | None = None, **payload: Any) -> Approval:
    return approvals.request(
        ACT,
        approval_id=new_id(),
        payload=payload,
        summary="Leave a mark",
        unit="CREDIT",
        amount=700,
        customer_id=customer.pk if customer else None,
        reason=WHY,
        requester=requester,
    )


# --- Limits -----------------------------------------------------------------------------------------------------------


def alone(actor: User, customer: User, amount: int, *, unit: str = "CREDIT", own: int | None = None) -> bool:
    return approvals.takes_alone(unit=unit, amount=amount, customer_id=customer.pk, actor=actor, own_limit=own)


def test_limits_add_up_per_member_of_staff(finance: User, alice: User, bob: User) -> None:
    assert [alone(finance, alice, 300), alone(finance, bob, 200), alone(finance, bob, 1)] == [True, True, False]


def test_limits_add_up_per_customer(finance: User, colleague: User, alice: User, bob: User) -> None:
    assert [alone(finance, alice, 300), alone(colleague, alice, 200), alone(colleague, alice, 1)] == [True, True, False]
    assert alone(colleague, bob, 300)


def test_a_refused_amount_is_not_counted(finance: User, alice: User) -> None:
    assert not alone(finance, alice, 501)
    assert not alone(finance, alice, 200, own=100)
    assert alone(finance, alice, 500)


def test_limits_are_of_a_day_and_a_unit(finance: User, alice: User) -> None:
    assert alone(finance, alice, 500)
    assert alone(finance, alice, 500_000, unit="INR")
    assert not alone(finance, alice, 1, unit="INR")
    assert not alone(finance, alice, 1, unit="BRL")
    DayTotal.objects.update(day="2000-01-01")
    assert alone(finance, alice, 500)


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_do_not_pass_the_limit(finance: User, alice: User) -> None:
    passed: list[bool] = []

    def go() -> None:
        with transaction.atomic():
            passed.append(alone(finance, alice, 100))
        connection.close()

    run_together([go] * 10)

    assert sum(passed) == 5


def run_together(jobs: list[Any]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- Deciding ---------------------------------------------------------------------------------------------------------


def test_a_colleague_approves_and_it_is_done_once(finance: User, colleague: User, alice: User) -> None:
    approval = asked(finance, alice)
    assert marks() == 0

    done = approvals.approve(approval.pk, approver=colleague, reason="Checked the ticket.")

    assert (done.state, done.approver_id, done.decision_reason) == ("executed", colleague.pk, "Checked the ticket.")
    assert marks() == 1
    with pytest.raises(Conflict, match="executed already"):
        approvals.approve(approval.pk, approver=colleague, reason="Again.")
    with pytest.raises(Conflict):
        approvals.refuse(approval.pk, approver=colleague, reason="No.")
    assert marks() == 1
    rows = AuditLog.objects.filter(entity_id=str(approval.pk)).order_by("id")
    assert [(row.action, row.actor_id) for row in rows] == [
        ("approval.requested", finance.pk),
        ("approval.approved", colleague.pk),
        ("approval.executed", colleague.pk),
    ]
    assert {row.user_id for row in rows} == {alice.pk}


def test_what_was_approved_counts_towards_the_day(finance: User, colleague: User, alice: User, bob: User) -> None:
    approvals.approve(asked(finance, alice).pk, approver=colleague, reason=WHY)

    assert not alone(colleague, alice, 1)
    assert not alone(finance, bob, 1)
    assert alone(colleague, bob, 500)


def test_a_refused_request_is_never_done(finance: User, colleague: User) -> None:
    approval = asked(finance)

    assert approvals.refuse(approval.pk, approver=colleague, reason="No.").state == "refused"
    with pytest.raises(Conflict, match="refused already"):
        approvals.approve(approval.pk, approver=colleague, reason="After all.")

    assert marks() == 0


def test_nobody_decides_about_their_own_request_superusers_included(finance: User, colleague: User) -> None:
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)

    for person in (finance, boss):
        approval = asked(person)
        for decide in (approvals.approve, approvals.refuse):
            with pytest.raises(PermissionDenied, match="Somebody else"):
                decide(approval.pk, approver=person, reason=WHY)
        approval.refresh_from_db()
        assert approval.state == "pending"
    assert marks() == 0


def test_nobody_benefits_themselves(finance: User, colleague: User) -> None:
    with pytest.raises(PermissionDenied):
        asked(finance, finance)
    approval = asked(finance, colleague)
    with pytest.raises(PermissionDenied, match="themselves"):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)
    assert marks() == 0


def test_others_neither_ask_nor_decide(finance: User, support: User, ops: User, alice: User) -> None:
    with pytest.raises(PermissionDenied):
        asked(ops)
    approval = asked(finance)
    for person in (support, ops, alice):
        with pytest.raises(PermissionDenied):
            approvals.approve(approval.pk, approver=person, reason=WHY)
    assert marks() == 0


def test_only_registered_acts_run(finance: User, colleague: User, settings: Settings) -> None:
    with pytest.raises(LookupError):
        approvals.request(
            "os.system",
            approval_id=new_id(),
            payload={},
            summary="",
            unit="CREDIT",
            amount=1,
            customer_id=None,
            reason=WHY,
            requester=finance,
        )
    approval = asked(finance)
    settings.APPROVAL_ACTS = {}
    with pytest.raises(LookupError):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)
    assert marks() == 0


def test_every_registered_act_exists(settings: Settings) -> None:
    for path in settings.APPROVAL_ACTS:
        assert callable(import_string(path))


def test_whoever_asked_must_still_work_here(finance: User, colleague: User) -> None:
    approval = asked(finance)
    standing.suspend(finance, actor=colleague, reason="Left.")

    with pytest.raises(Conflict, match="no longer"):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)

    assert marks() == 0


def test_a_suspended_colleague_decides_nothing(finance: User, colleague: User) -> None:
    approval = asked(finance)
    colleague = standing.suspend(colleague, actor=finance, reason="Left.")

    with pytest.raises(PermissionDenied):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)


def test_an_act_that_refuses_leaves_the_request_open(finance: User, colleague: User) -> None:
    approval = asked(finance, fail=True)

    with pytest.raises(Conflict, match="does not want"):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)

    approval.refresh_from_db()
    assert (approval.state, approval.approver_id, marks()) == ("pending", None, 0)
    assert not AuditLog.objects.filter(action="approval.approved").exists()


def test_an_unknown_request_is_not_found(colleague: User) -> None:
    with pytest.raises(NotFound):
        approvals.approve(new_id(), approver=colleague, reason=WHY)


def test_after_a_day_it_is_over(finance: User, colleague: User) -> None:
    late, fresh = old_request(finance), asked(finance)

    with pytest.raises(Conflict, match="anew"):
        approvals.approve(late.pk, approver=colleague, reason=WHY)
    expire_approvals()
    expire_approvals()

    states = dict(Approval.objects.values_list("pk", "state"))
    assert states == {late.pk: "expired", fresh.pk: "pending"}
    assert AuditLog.objects.filter(action="approval.expired").count() == 1
    assert marks() == 0


def old_request(requester: User) -> Approval:
    return Approval.objects.create(
        act=ACT,
        payload={},
        summary="Leave a mark",
        unit="CREDIT",
        amount=700,
        requester=requester,
        reason=WHY,
        expires_at=Now() - timedelta(minutes=1),
    )


def test_it_can_be_decided_for_a_day(finance: User) -> None:
    approval = asked(finance)
    approval.refresh_from_db()

    assert approval.expires_at - approval.created_at == timedelta(hours=24)


# --- What the database itself refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"payload": {"amount": 9}},
        {"act": "os.system"},
        {"amount": 1},
        {"reason": "Another."},
        {"summary": "Harmless"},
        {"expires_at": Now() + timedelta(days=9)},
    ],
)
def test_what_was_asked_stays(finance: User, change: dict[str, Any]) -> None:
    approval = asked(finance)

    with pytest.raises(DatabaseError, match="as it was asked"), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(**change)


def test_the_database_refuses_ones_own_approval(finance: User, alice: User, colleague: User) -> None:
    approval = asked(finance, colleague)

    for approver in (finance, colleague):
        with pytest.raises(IntegrityError, match="approval_b"), transaction.atomic():
            Approval.objects.filter(pk=approval.pk).update(state="approved", approver=approver, decided_at=Now())


def test_a_decision_is_final_and_nothing_is_deleted(finance: User, colleague: User) -> None:
    approval = approvals.refuse(asked(finance).pk, approver=colleague, reason="No.")

    with pytest.raises(DatabaseError, match="decided once"), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(state="pending", approver=None, decided_at=None)
    with pytest.raises(DatabaseError, match="stay"), transaction.atomic():
        approval.delete()


# --- At once, and halfway ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_who_approve_at_once_do_it_once(finance: User, colleague: User, alice: User) -> None:
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)
    approval = asked(finance, alice)
    outcomes: list[str] = []

    def go(approver: User) -> None:
        try:
            outcomes.append(approvals.approve(approval.pk, approver=approver, reason=WHY).state)
        except Conflict:
            outcomes.append("too late")
        finally:
            connection.close()

    run_together([lambda who=who: go(who) for who in (colleague, boss) * 4])

    assert sorted(outcomes) == ["executed"] + ["too late"] * 7
    assert marks() == 1


@pytest.mark.django_db(transaction=True)
def test_approving_and_refusing_at_once_decides_one_way(finance: User, colleague: User) -> None:
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)
    approval = asked(finance)
    outcomes: list[str] = []

    def go(decide: Any, approver: User) -> None:
        try:
            outcomes.append(decide(approval.pk, approver=approver, reason=WHY).state)
        except Conflict:
            outcomes.append("too late")
        finally:
            connection.close()

    run_together([lambda: go(approvals.approve, colleague), lambda: go(approvals.refuse, boss)])

    approval.refresh_from_db()
    assert sorted(outcomes) == sorted([approval.state, "too late"])
    assert marks() == (1 if approval.state == "executed" else 0)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_dies_halfway_leaves_it_undone_and_open(
    finance: User, colleague: User, settings: Settings
) -> None:
    approval = asked(finance, die=True)

    with pytest.raises(DatabaseError):
        approvals.approve(approval.pk, approver=colleague, reason=WHY)
    connection.close()

    approval.refresh_from_db()
    assert (approval.state, marks()) == ("pending", 0)


def test_an_id_stands_for_one_request(finance: User) -> None:
    approval = asked(finance)

    assert approvals.asked_before(new_id(), {}) is None
    assert approvals.asked_before(approval.pk, approval.payload, amount=approval.amount) == approval
    for payload, amount in (({"other": 1}, None), ({}, approval.amount + 1)):
        with pytest.raises(Conflict, match="other figures"):
            approvals.asked_before(approval.pk, payload, amount=amount)


# --- The console and the shell ----------------------------------------------------------------------------------------


def press(person: User, act: str, approval: Approval, reason: str = WHY) -> Any:
    client = Client()
    client.force_login(person)
    url = reverse(f"admin:audit_approval_{act}", args=[approval.pk])
    return pressing.press(client, url, {"reason": reason})


def test_a_colleague_approves_in_the_console(finance: User, colleague: User) -> None:
    approval = asked(finance)

    assert "Somebody else has to decide" in press(finance, "approve", approval).content.decode()
    assert press(colleague, "approve", approval).status_code == 302

    approval.refresh_from_db()
    assert (approval.state, approval.decision_reason, marks()) == ("executed", WHY, 1)
    assert "executed already" in press(colleague, "refuse", approval).content.decode()


def test_support_sees_what_waits_and_decides_nothing(finance: User, support: User) -> None:
    approval = asked(finance)

    assert press(support, "approve", approval).status_code == 403
    assert marks() == 0


def test_the_command_lists_and_decides(finance: User, colleague: User, alice: User) -> None:
    approval, other = asked(finance, alice), asked(finance)

    said = StringIO()
    call_command("approvals", stdout=said)
    with pytest.raises(CommandError, match="Say who"):
        call_command("approvals", approve=str(approval.pk))
    with pytest.raises(CommandError, match="Somebody else"):
        call_command("approvals", approve=str(approval.pk), by=finance.email, reason=WHY)
    with pytest.raises(CommandError, match="nobody"):
        call_command("approvals", approve=str(approval.pk), by="x@example.test", reason=WHY)
    call_command("approvals", approve=str(approval.pk), by=colleague.email, reason=WHY, stdout=said)
    call_command("approvals", refuse=str(other.pk), by=colleague.email, reason="No.", stdout=said)

    assert str(approval.pk) in said.getvalue()
    assert "executed: Leave a mark" in said.getvalue()
    assert "refused: Leave a mark" in said.getvalue()
    told = AuditLog.objects.filter(actor_id=colleague.pk).values_list("entity_id", "on_behalf_of_id").distinct()
    assert set(told) == {(str(approval.pk), alice.pk), (str(other.pk), None)}
    assert marks() == 1
