"""Refunds, waivers and breaks by staff: alone, by four eyes, by hand; through functions, the console and the shell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from audit import approvals
from audit.models import Approval, AuditLog
from billing import breaks, ledger, payments, refunds, staff_refunds
from billing.errors import RefundNotPossible
from billing.models import Break, BreakKind, Debt, Payment, Refund
from core import context
from core.errors import Conflict, NotFound, PermissionDenied
from core.ids import new_id
from notifications.models import Mail
from tests import books, pressing
from tests.billing.buying import available, bought, fresh, order_of, pay, start
from tests.billing.given import house, spent, topped_up, wallet
from tests.people import make_staff
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

WHY = "The customer asked for it."


@pytest.fixture(autouse=True)
def _books(db: None) -> Iterator[None]:
    yield
    books.check()


@pytest.fixture
def colleague(finance: User) -> User:
    """A second member of finance."""
    user: User = User.objects.create_user("second@example.test", "x" * 20, is_staff=True)
    user.groups.set(finance.groups.all())
    return user


def refund(actor: User, payment: Payment, amount: int, **more: Any) -> Refund | Approval:
    given = {"request_id": new_id(), "payment_id": payment.pk, "amount": amount, "reason": WHY, "actor": actor}
    return staff_refunds.refund(**given | more)


# --- Refunds ----------------------------------------------------------------------------------------------------------


def test_within_the_days_limits_it_is_sent_at_once_and_the_customer_is_told(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)

    done = refund(finance, payment, 24_950)

    assert isinstance(done, Refund)
    assert (done.state, done.method, done.actor_id) == ("processed", "gateway", finance.pk)
    mail = Mail.objects.get(name="refund")
    assert (mail.user_id, mail.context["amount"], mail.context["goods"]) == (alice.pk, "₹249.50", "Basic, 100 credits")
    assert mail.context["consequence"] == "50 credits were taken back for it."
    assert available(alice) == 55


def test_beyond_them_a_colleague_decides_and_a_worker_sends_it(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.APPROVAL_LIMITS = {"INR": 30_000}
    payment = bought(sandbox, alice)
    assert isinstance(refund(finance, payment, 20_000), Refund)

    waiting = refund(finance, payment, 10_001)

    assert isinstance(waiting, Approval)
    assert (fresh(payment).refunded, fresh(payment).refunding) == (20_000, 0)
    with pytest.raises(PermissionDenied):
        approvals.approve(waiting.pk, approver=finance, reason="Mine.")
    approvals.approve(waiting.pk, approver=colleague, reason="Yes.")
    assert fresh(payment).refunding == 10_001
    refunds.send_due()
    row = Refund.objects.get(cause=f"staff:{waiting.pk}")
    assert (row.state, row.actor_id, row.reason) == ("sent", finance.pk, WHY)
    assert fresh(payment).refunded == 30_001


def test_an_approval_that_no_longer_fits_decides_nothing(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.APPROVAL_LIMITS = {}
    payment = bought(sandbox, alice)
    waiting = refund(finance, payment, 49_900)
    refunds.request(payment_id=payment.pk, amount=1_000, reason="meanwhile", actor=finance)

    with pytest.raises(RefundNotPossible):
        approvals.approve(waiting.pk, approver=colleague, reason="Yes.")

    assert Approval.objects.get().state == "pending"
    assert fresh(payment).refunded == 1_000


def test_what_was_paid_back_by_hand_needs_a_colleague_and_a_fresh_reference(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox
) -> None:
    payment = payments.start(user=alice, item="wallet:primary:500000", gateway="monnify").payment
    sandbox.monnify_checkout(order_of(payment))
    payments.refresh(payment)
    with pytest.raises(RefundNotPossible, match="by hand"):
        refund(finance, payment, 100_000)

    waiting = refund(finance, payment, 100_000, reference="TRF-1")

    assert isinstance(waiting, Approval)
    assert wallet(alice, "primary").balance == 500_000
    approvals.approve(waiting.pk, approver=colleague, reason="Seen on the statement.")
    row = Refund.objects.get()
    assert (row.state, row.method, row.ref, row.next_at) == ("processed", "manual", "manual:TRF-1", None)
    assert wallet(alice, "primary").balance == 400_000
    assert house("gateway_monnify", "NGN") == -400_000
    assert sandbox.requests(provider="monnify", path="refunds") == []
    assert Mail.objects.get(name="refund").context["way"] == "by bank transfer"
    again = refund(finance, payment, 100_000, reference="TRF-1")
    with pytest.raises(RefundNotPossible, match="recorded already"):
        approvals.approve(again.pk, approver=colleague, reason="Yes.")


def test_a_wallet_payment_is_never_paid_back_by_hand(alice: User, finance: User, colleague: User) -> None:
    topped_up(alice, 50_000)
    payment = payments.start(user=alice, item="wallet:calls:50000", gateway="wallet").payment
    waiting = refund(finance, payment, 10_000, reference="TRF-2")

    with pytest.raises(RefundNotPossible, match="goes back to that wallet"):
        approvals.approve(waiting.pk, approver=colleague, reason="Yes.")

    assert not Refund.objects.exists()


def test_the_form_sent_twice_refunds_once(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment, request_id = bought(sandbox, alice), new_id()

    first, again = (refund(finance, payment, 10_000, request_id=request_id) for _ in range(2))

    assert first.pk == again.pk
    assert fresh(payment).refunded == 10_000
    with pytest.raises(Conflict):
        refund(finance, payment, 10_100, request_id=request_id)


def test_who_may_not_does_not(
    alice: User, bob: User, support: User, ops: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    own = bought(sandbox, finance)

    for actor, target in ((alice, payment), (bob, payment), (support, payment), (ops, payment), (finance, own)):
        with pytest.raises(PermissionDenied):
            refund(actor, target, 1_000)
    with pytest.raises(NotFound):
        staff_refunds.refund(request_id=new_id(), payment_id=new_id(), amount=1, reason=WHY, actor=finance)
    for amount in (0, -1, 49_901):
        with pytest.raises(RefundNotPossible):
            refund(finance, payment, amount)

    assert not Refund.objects.exists()
    assert not Approval.objects.exists()


def test_goodwill_keeps_the_credits_and_says_so(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)

    refund(finance, payment, 49_900, keeps_credits=True)

    assert available(alice) == 105
    assert Mail.objects.get(name="refund").context["consequence"] == "What you bought stays yours."


def test_surplus_is_sent_back_with_a_mail_and_refused_goods_with_theirs_alone(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    pay(sandbox, payment, again=1)
    payments.refresh(payment)
    refunds.send_due()
    assert Mail.objects.get(name="refund").context["reason"] == "You had paid for it already."
    other = start(alice, "credits:10")
    pay(sandbox, other)
    User.objects.filter(pk=alice.pk).update(status="deleting")

    payments.refresh(other)
    refunds.send_due()

    assert Refund.objects.get(payment=other).origin == "refused"
    assert Mail.objects.filter(name="refund").count() == 1


def test_a_dispute_is_told_to_finance_once(
    alice: User, finance: User, colleague: User, support: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    dispute = sandbox.gateway("payments", payment.attempts.get().ref, "dispute")

    for _ in range(2):
        payments.refresh(payment, dispute_refs=[dispute["id"]])

    mails = Mail.objects.filter(name="dispute-opened")
    assert {mail.user_id for mail in mails} == {finance.pk, colleague.pk}
    assert mails.count() == 2
    assert mails[0].context["amount"] == "₹499.00"


# --- Debts ------------------------------------------------------------------------------------------------------------


def in_debt(user: User, finance: User, sandbox: RunningSandbox) -> Debt:
    payment = bought(sandbox, user)
    spent(user, 80)
    refunds.request(payment_id=payment.pk, amount=49_900, reason=WHY, actor=finance)
    return Debt.objects.get()


def test_a_debt_is_waived_alone_or_by_four_eyes(
    alice: User, finance: User, colleague: User, support: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    debt = in_debt(alice, finance, sandbox)
    settings.APPROVAL_LIMITS = {"CREDIT": 74}
    with pytest.raises(PermissionDenied):
        staff_refunds.waive(request_id=new_id(), debt_id=debt.pk, reason=WHY, actor=support)

    waiting = staff_refunds.waive(request_id=new_id(), debt_id=debt.pk, reason=WHY, actor=finance)

    assert isinstance(waiting, Approval)
    debt.refresh_from_db()
    assert debt.remaining == 75
    approvals.approve(waiting.pk, approver=colleague, reason="Yes.")
    debt.refresh_from_db()
    assert (debt.remaining, debt.waived) == (0, 75)
    assert staff_refunds.waive(request_id=new_id(), debt_id=debt.pk, reason=WHY, actor=finance) == debt


def test_a_small_debt_is_waived_at_once(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    debt = in_debt(alice, finance, sandbox)

    done = staff_refunds.waive(request_id=new_id(), debt_id=debt.pk, reason=WHY, actor=finance)

    assert isinstance(done, Debt)
    assert ledger.balance(alice.pk).debt == 0
    row = AuditLog.objects.get(action="debt.waived")
    assert (row.actor_id, row.metadata["reason"]) == (finance.pk, WHY)


# --- Breaks -----------------------------------------------------------------------------------------------------------


def underpaid(user: User, sandbox: RunningSandbox, item: str = "wallet:primary:500000", sent: int = 300_000) -> Break:
    payment = payments.start(user=user, item=item, gateway="monnify").payment
    sandbox.monnify_checkout(order_of(payment), amount=sent)
    payments.refresh(payment)
    return Break.objects.get(payment=payment)


def test_an_underpaid_top_up_is_credited_for_what_came(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    row = underpaid(alice, sandbox)

    payment = staff_refunds.credit_in_part(break_id=row.pk, reason=WHY, actor=finance)

    assert (payment.state, payment.amount, payment.granted) == ("succeeded", 300_000, 300_000)
    assert wallet(alice, "primary").balance == 300_000
    row.refresh_from_db()
    assert (row.resolved_by_id, row.resolution) == (finance.pk, f"credited in part: {WHY}")
    assert Mail.objects.filter(name="payment-confirmation").count() == 1
    assert AuditLog.objects.get(action="payment.repriced").actor_id == finance.pk
    with pytest.raises(Conflict):
        staff_refunds.credit_in_part(break_id=row.pk, reason=WHY, actor=finance)
    payments.refresh(payment)
    assert wallet(alice, "primary").balance == 300_000


def test_a_part_of_a_package_is_rounded_down(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    from tests.billing.buying import priced

    payment = start(alice, priced(49_905))  # the sandbox pays a rupee less
    pay(sandbox, payment)
    payments.refresh(payment)

    staff_refunds.credit_in_part(break_id=Break.objects.get().pk, reason=WHY, actor=finance)

    assert (fresh(payment).credits, fresh(payment).granted, available(alice)) == (99, 99, 104)


def test_an_underpaid_payment_goes_back(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MONNIFY_REFUNDS = True
    row = underpaid(alice, sandbox)

    done = staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)

    assert isinstance(done, Refund)
    assert (done.state, done.amount, wallet(alice, "primary").balance) == ("processed", 300_000, 0)
    row.refresh_from_db()
    assert row.resolution.startswith(f"refund {done.pk}")
    with pytest.raises(Conflict):
        staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)


def test_the_excess_of_an_overpaid_payment_goes_back_and_nothing_else(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MONNIFY_REFUNDS = True
    row = underpaid(alice, sandbox, sent=520_000)
    assert row.kind == "overpaid"

    staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)

    assert fresh(row.payment).refunded == 20_000  # type: ignore[arg-type]
    assert wallet(alice, "primary").balance == 500_000


def test_a_break_beyond_the_limits_stays_open_until_it_is_approved(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MONNIFY_REFUNDS, settings.APPROVAL_LIMITS = True, {}
    row = underpaid(alice, sandbox)
    waiting = staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)
    assert isinstance(waiting, Approval)
    row.refresh_from_db()
    assert row.resolved_at is None

    approvals.approve(waiting.pk, approver=colleague, reason="Yes.")
    done = staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)

    assert isinstance(done, Refund)
    row.refresh_from_db()
    assert row.resolved_by_id == finance.pk
    refunds.send_due()


@pytest.mark.parametrize("how", ["refused", "expired", "not yet swept"])
def test_a_break_whose_refund_came_to_nothing_is_asked_for_again(
    alice: User,
    finance: User,
    colleague: User,
    sandbox: RunningSandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    settings.MONNIFY_REFUNDS, settings.APPROVAL_LIMITS = True, {}
    row = underpaid(alice, sandbox)

    def ask() -> Refund | Approval:
        return staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)

    for _ in range(2):
        with monkeypatch.context() as patch:
            if how != "refused":
                patch.setattr(approvals, "VALID_FOR", timedelta(minutes=-1))
            old = ask()
        if how == "refused":
            assert ask() == old
            approvals.refuse(old.pk, approver=colleague, reason="No.")
        if how == "expired":
            approvals.expire_due()
        again = ask()
        assert isinstance(again, Approval)
        assert (again.state, ask()) == ("pending", again)
        assert again != old
        if how != "refused":
            break

    approvals.approve(again.pk, approver=colleague, reason="Yes.")
    refunds.send_due()
    done = ask()

    assert isinstance(done, Refund)
    assert (Refund.objects.count(), fresh(row.payment).refunded) == (1, 300_000)  # type: ignore[arg-type]
    row.refresh_from_db()
    assert row.resolved_by_id == finance.pk
    with pytest.raises(Conflict):
        ask()


def test_a_break_is_dismissed_with_a_reason_by_who_may(finance: User, support: User, ops: User) -> None:
    breaks.file(BreakKind.UNKNOWN_PAYMENT, cause="x", gateway="razorpay", amount=100, currency="INR")
    row = Break.objects.get()
    for actor in (support, ops):
        with pytest.raises(PermissionDenied):
            staff_refunds.dismiss(break_id=row.pk, reason=WHY, actor=actor)
    with pytest.raises(RefundNotPossible):
        staff_refunds.refund_break(break_id=row.pk, reason=WHY, actor=finance)
    with pytest.raises(Conflict):
        staff_refunds.credit_in_part(break_id=row.pk, reason=WHY, actor=finance)

    staff_refunds.dismiss(break_id=row.pk, reason=WHY, actor=finance)

    row.refresh_from_db()
    assert (row.resolved_by_id, row.resolution) == (finance.pk, f"dismissed: {WHY}")
    with pytest.raises(Conflict):
        staff_refunds.dismiss(break_id=row.pk, reason=WHY, actor=finance)
    with pytest.raises(NotFound):
        staff_refunds.dismiss(break_id=new_id(), reason=WHY, actor=finance)


# --- The console and the shell ----------------------------------------------------------------------------------------


def press(actor: User, act: str, pk: Any, **form: Any) -> Any:
    client = Client()
    client.force_login(actor)
    return pressing.press(client, reverse(f"admin:billing_{act}", args=[pk]), {"reason": WHY} | form)


def test_the_console_refunds_by_post_alone(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MFA_REQUIRED = False
    payment, client = bought(sandbox, alice), Client()
    client.force_login(finance)
    page = client.get(reverse("admin:billing_payment_change", args=[payment.pk]))
    assert "Refund" in page.content.decode()
    assert client.get(reverse("admin:billing_payment_refund", args=[payment.pk])).status_code == 200
    assert not Refund.objects.exists()

    wrong = press(finance, "payment_refund", payment.pk, amount="600.00", request_id=new_id())
    assert "more than what came in" in wrong.content.decode()
    for text in ("100.005", "1,00", "-100"):
        wrong = press(finance, "payment_refund", payment.pk, amount=text, request_id=new_id())
        assert "Write it in INR like 99.00" in wrong.content.decode()
    assert not Refund.objects.exists()
    done = press(finance, "payment_refund", payment.pk, amount="100.00", request_id=new_id())

    assert done.status_code == 302
    assert Refund.objects.get().amount == 10_000
    assert AuditLog.objects.filter(action="refund.requested", actor_id=finance.pk, source="ADMIN").count() == 1
    assert press(make_staff("support"), "payment_refund", payment.pk, amount=1).status_code == 403


def test_what_a_worker_does_for_staff_is_on_record_as_theirs_and_the_customers(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MFA_REQUIRED = False
    settings.APPROVAL_LIMITS = {"INR": 5_000}
    payment = bought(sandbox, alice)
    press(finance, "payment_refund", payment.pk, amount="100.00", request_id=new_id())
    client = Client(headers={"x-request-id": "asked-in-the-console"})
    client.force_login(colleague)
    approve = reverse("admin:audit_approval_approve", args=[Approval.objects.get().pk])
    assert pressing.press(client, approve, {"reason": WHY}).status_code == 302

    current_app.tasks["billing.send_refunds"]()

    rows = AuditLog.objects.filter(entity_type="refund").order_by("id")
    sources = {row.action: row.source for row in rows}
    assert (sources["refund.requested"], sources["refund.processed"]) == ("ADMIN", "SYSTEM")
    for row in rows:
        told = (row.actor_id, row.on_behalf_of_id, row.request_id)
        assert told == (colleague.pk, alice.pk, "asked-in-the-console"), row.action
    assert context.current() == context.Context()


def test_the_console_resolves_breaks_and_debts(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MFA_REQUIRED = False
    row = underpaid(alice, sandbox)

    assert press(finance, "break_credit_in_part", row.pk).status_code == 302
    row.refresh_from_db()
    assert row.resolved_by_id == finance.pk
    assert "already" in press(finance, "break_dismiss", row.pk).content.decode()
    debt = in_debt(alice, finance, sandbox)
    assert press(finance, "debt_waive", debt.pk, request_id=new_id()).status_code == 302
    debt.refresh_from_db()
    assert debt.remaining == 0


def test_the_shell_refunds_and_resolves(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    said = StringIO()
    asked = ["refund", str(payment.pk), "--amount=10000", "--by=finance@example.test", "--reason", WHY]

    call_command(*asked, stdout=said)
    assert "Nothing was done" in said.getvalue()
    assert not Refund.objects.exists()
    call_command(*asked, "--yes", stdout=said)
    assert Refund.objects.get().state == "processed"
    with pytest.raises(CommandError):
        call_command(*asked[:2], "--amount=90000", *asked[3:], "--yes", stdout=said)
    row = underpaid(alice, sandbox)
    call_command("breaks", stdout=said)
    assert f"{row.pk}  underpaid  monnify  ₦3,000.00" in said.getvalue()
    call_command("breaks", f"--credit={row.pk}", "--by=finance@example.test", "--reason", WHY, stdout=said)
    row.refresh_from_db()
    assert row.resolved_by_id == finance.pk
    for action in ("payment.repriced", "break.resolved"):
        told = AuditLog.objects.get(action=action)
        assert (told.actor_id, told.on_behalf_of_id) == (finance.pk, alice.pk), action
    for bad in (["--dismiss=x"], [f"--dismiss={row.pk}"], [f"--dismiss={new_id()}"]):
        with pytest.raises(CommandError):
            call_command("breaks", *bad, "--by=finance@example.test", "--reason", WHY, stdout=said)
    with pytest.raises(CommandError):
        call_command("breaks", f"--dismiss={row.pk}", stdout=said)
