"""Money back and money lost: the figures, the credits that follow, and what happens when the other side dies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from billing import disputes, ledger, looks, payments, refunds
from billing.errors import RefundNotPossible
from billing.gateways.base import DisputeStatus
from billing.models import Break, Debt, Dispute, Freeze, Payment, Refund
from tests import books
from tests.billing.buying import available, bought, fresh, pay, priced, start, together
from tests.billing.given import held, spent
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db


def capture_of(payment: Payment) -> str:
    return str(payment.attempts.get(counts="price").ref)


def ask(payment: Payment, amount: int, finance: User, **more: Any) -> Refund:
    return refunds.request(payment_id=payment.pk, amount=amount, reason="asked for it", actor=finance, **more)


def figures(payment: Payment) -> tuple[str, int, int, int, int]:
    row = fresh(payment)
    return row.state, row.refunded, row.refunding, row.lost, row.taken


def at_gateway(sandbox: RunningSandbox, payment: Payment) -> dict[str, Any]:
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    return dict(sandbox.ask("GET", f"/razorpay/v1/payments/{capture_of(payment)}", auth=auth))


# --- By staff -------------------------------------------------------------------------------------------------------


def test_staff_refund_takes_the_credits_back(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)

    refund = ask(payment, 49_900, finance)

    assert (refund.state, refund.actor_id) == ("processed", finance.pk)
    assert figures(payment) == ("refunded", 49_900, 0, 0, 100)
    assert at_gateway(sandbox, payment)["status"] == "refunded"
    assert available(alice) == 5
    assert Freeze.objects.get().state == "taken"
    actions = set(AuditLog.objects.filter(entity_id=str(refund.pk)).values_list("action", flat=True))
    assert actions >= {"refund.requested", "refund.processed"}
    books.check()


def test_a_part_takes_its_part_rounded_down_and_the_last_part_the_rest(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)

    ask(payment, 10_000, finance)
    assert figures(payment) == ("partially_refunded", 10_000, 0, 0, 20)
    ask(payment, 10_000, finance)
    assert figures(payment) == ("partially_refunded", 20_000, 0, 0, 40)
    ask(payment, 29_900, finance)
    assert figures(payment) == ("refunded", 49_900, 0, 0, 100)

    assert available(alice) == 5
    books.check()


def test_goodwill_leaves_the_credits(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)

    ask(payment, 20_000, finance, keeps_credits=True)
    assert (figures(payment), available(alice)) == (("partially_refunded", 20_000, 0, 0, 0), 105)
    ask(payment, 29_900, finance)

    assert figures(payment) == ("refunded", 49_900, 0, 0, 59)
    assert available(alice) == 46
    books.check()


def test_what_is_spent_becomes_a_debt_that_does_not_block(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    spent(alice, 80)

    ask(payment, 49_900, finance)

    balance = ledger.balance(alice.pk)
    assert (balance.available, balance.debt) == (0, 75)  # the promo credits went first
    assert Debt.objects.get().is_blocking is False
    books.check()


def test_more_than_came_is_refused(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    ask(payment, 40_000, finance)

    for amount in (9_901, 49_900, 0, -1):
        with pytest.raises(RefundNotPossible):
            ask(payment, amount, finance)
    with pytest.raises(RefundNotPossible):
        ask(start(alice, "credits:10"), 100, finance)

    assert Refund.objects.count() == 1
    books.check()


@pytest.mark.django_db(transaction=True)
def test_refunds_at_once_never_exceed_what_came(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)

    results = together(*[lambda: ask(payment, 20_000, finance) for _ in range(6)])

    assert sum(isinstance(result, Refund) for result in results) == 2
    assert figures(payment)[:3] == ("partially_refunded", 40_000, 0)
    assert at_gateway(sandbox, payment)["amount_refunded"] == 40_000
    books.check()


def test_a_gateway_that_is_away_gets_it_later_and_once(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.fault("razorpay", "500")

    refund = ask(payment, 49_900, finance)

    assert (refund.state, refund.tries) == ("requested", 1)
    assert figures(payment) == ("succeeded", 0, 49_900, 0, 0)
    assert available(alice) == 5  # frozen meanwhile
    books.check()
    assert refunds.send_due() == 0
    Refund.objects.update(next_at="2020-01-01T00:00Z")
    assert refunds.send_due() == 1
    assert refunds.send_due() == 0
    assert Refund.objects.get().state == "processed"
    assert at_gateway(sandbox, payment)["amount_refunded"] == 49_900
    books.check()


def test_an_answer_that_was_lost_is_found_before_a_second_try(
    alice: User, finance: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = bought(sandbox, alice)
    monkeypatch.setattr("billing.refunds.record", _die)
    with pytest.raises(KeyboardInterrupt):
        ask(payment, 20_000, finance)
    monkeypatch.undo()
    assert at_gateway(sandbox, payment)["amount_refunded"] == 20_000
    sandbox.call("DELETE", "/control/requests")

    Refund.objects.update(lease_until="2020-01-01T00:00Z")
    refunds.send_due()

    assert Refund.objects.get().state == "processed"
    assert at_gateway(sandbox, payment)["amount_refunded"] == 20_000
    assert figures(payment) == ("partially_refunded", 20_000, 0, 0, 40)
    books.check()


def _die(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def test_a_refund_that_the_gateway_refuses_is_undone_and_shown(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "refund")  # in the dashboard; we have not heard of it

    refund = ask(payment, 49_900, finance)

    assert refund.state == "failed"
    assert Break.objects.get(kind="refund_failed").payment_id == payment.pk
    assert figures(payment) == ("succeeded", 0, 0, 0, 0)
    assert available(alice) == 105
    books.check()
    payments.refresh(payment)
    assert figures(payment) == ("refunded", 49_900, 0, 0, 100)
    books.check()


def test_a_refund_that_fails_days_later_gives_everything_back(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    spent(alice, 85)
    refund = ask(payment, 49_900, finance)
    assert ledger.balance(alice.pk).debt == 80

    sandbox.gateway("refunds", str(refund.ref), "fail")
    payments.refresh(payment, refund_facts=[_gateway().fetch_refund(str(refund.ref))])

    assert figures(payment) == ("succeeded", 0, 0, 0, 0)
    balance = ledger.balance(alice.pk)
    assert (balance.available, balance.debt) == (20, 0)
    assert Refund.objects.get().state == "failed"
    assert Break.objects.filter(kind="refund_failed").exists()
    books.check()
    payments.refresh(payment)
    books.check()


def _gateway() -> Any:
    from billing import gateways

    return gateways.get("razorpay")


def test_a_pending_refund_is_asked_about_until_it_is_through(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice, priced(50_000))
    pay(sandbox, payment)
    payments.refresh(payment)

    refund = ask(payment, 20_002, finance)  # a magic amount: pending, then processed
    assert refund.state == "sent"
    assert figures(payment)[:3] == ("partially_refunded", 20_002, 0)
    sandbox.gateway("refunds", str(refund.ref), "process")
    Refund.objects.update(next_at="2020-01-01T00:00Z")
    refunds.send_due()

    assert Refund.objects.get().state == "processed"
    assert Refund.objects.get().next_at is None
    books.check()


def test_nothing_is_refunded_while_a_dispute_is_open(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    look_at_dispute(sandbox, payment)

    with pytest.raises(RefundNotPossible):
        ask(payment, 100, finance)


# --- Found at the gateway -------------------------------------------------------------------------------------------


def test_dashboard_refunds_go_in_once_however_often_seen(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "refund", amount="10000")
    sandbox.gateway("payments", capture_of(payment), "refund", amount="10000")

    for _ in range(3):
        payments.refresh(payment)

    assert figures(payment) == ("partially_refunded", 20_000, 0, 0, 40)
    assert Refund.objects.count() == 2
    books.check()


def test_a_dashboard_refund_beside_ours_is_an_excess_for_a_person(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    dispute = look_at_dispute(sandbox, payment)
    sandbox.gateway("disputes", dispute.ref, "lose")
    look_at_dispute(sandbox, payment, dispute.ref)
    assert figures(payment) == ("refunded", 0, 0, 49_900, 100)

    sandbox.gateway("payments", capture_of(payment), "refund", amount="10000")
    payments.refresh(payment)

    filed = Break.objects.get(kind="refund_excess")
    assert filed.amount == 10_000
    assert figures(payment) == ("refunded", 0, 0, 49_900, 100)
    books.check()


# --- Disputes -------------------------------------------------------------------------------------------------------


def look_at_dispute(sandbox: RunningSandbox, payment: Payment, ref: str | None = None) -> Dispute:
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    ref = ref or sandbox.ask("GET", "/razorpay/v1/disputes", auth=auth)["items"][0]["id"]
    payments.refresh(payment, dispute_refs=[ref])
    return Dispute.objects.get(ref=ref)


def test_a_dispute_freezes_what_is_left_and_a_win_thaws_it(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    spent(alice, 35)
    sandbox.gateway("payments", capture_of(payment), "dispute")

    dispute = look_at_dispute(sandbox, payment)
    assert (fresh(payment).state, dispute.state) == ("disputed", "open")
    assert ledger.balance(alice.pk).frozen == 70
    assert available(alice) == 0
    books.check()

    sandbox.gateway("disputes", dispute.ref, "win")
    payments.refresh(payment)
    assert figures(payment) == ("succeeded", 0, 0, 0, 0)
    assert available(alice) == 70
    books.check()


def test_a_lost_dispute_takes_the_rest_and_the_debt_blocks(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    spent(alice, 35)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    dispute = look_at_dispute(sandbox, payment)

    sandbox.gateway("disputes", dispute.ref, "lose")
    payments.refresh(payment)
    payments.refresh(payment)

    assert figures(payment) == ("refunded", 0, 0, 49_900, 100)
    debt = Debt.objects.get()
    assert (debt.remaining, debt.is_blocking) == (30, True)
    books.check()
    bought(sandbox, alice, "credits:50")
    assert Debt.objects.get().remaining == 0
    assert available(alice) == 20
    books.check()


def test_what_was_held_when_a_dispute_opened_freezes_as_it_frees_up(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    key = held(alice, 60)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    look_at_dispute(sandbox, payment)
    assert ledger.balance(alice.pk).frozen == 45

    assert disputes.tend() == 0
    ledger.release(key=key)
    assert disputes.tend() == 1
    assert disputes.tend() == 0

    assert (ledger.balance(alice.pk).frozen, available(alice)) == (100, 5)
    books.check()


def test_a_partial_dispute_freezes_its_part(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "dispute", amount="24950")

    dispute = look_at_dispute(sandbox, payment)

    assert (ledger.balance(alice.pk).frozen, available(alice)) == (50, 55)
    sandbox.gateway("disputes", dispute.ref, "lose")
    payments.refresh(payment)
    assert figures(payment) == ("partially_refunded", 0, 0, 24_950, 50)
    assert available(alice) == 55
    books.check()


def test_a_closed_inquiry_without_a_deduction_is_a_win(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "dispute", phase="retrieval")
    dispute = look_at_dispute(sandbox, payment)

    sandbox.gateway("disputes", dispute.ref, "close")
    payments.refresh(payment)

    assert Dispute.objects.get().state == "won"
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    books.check()


def test_a_verdict_that_turns_is_followed_both_ways(alice: User, sandbox: RunningSandbox) -> None:

    payment = bought(sandbox, alice)
    spent(alice, 35)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    ref = look_at_dispute(sandbox, payment).ref
    fact = _gateway().fetch_dispute(ref)
    lost = replace(fact, status=DisputeStatus.LOST, lost=49_900)
    won = replace(fact, status=DisputeStatus.WON)

    for told, expected, credits in (
        (lost, ("refunded", 0, 0, 49_900, 100), 0),
        (won, ("succeeded", 0, 0, 0, 0), 70),
        (lost, ("refunded", 0, 0, 49_900, 100), 0),
        (won, ("succeeded", 0, 0, 0, 0), 70),
        (replace(fact, phase="arbitration"), ("disputed", 0, 0, 0, 0), 0),
        (won, ("succeeded", 0, 0, 0, 0), 70),
    ):
        payments.settle(payment.pk, payments.News([], (), [told], looks.begin()))
        assert figures(payment) == expected
        assert available(alice) == credits
        books.check()


@pytest.mark.parametrize("stale", [DisputeStatus.OPEN, DisputeStatus.LOST])
def test_a_dispute_that_is_won_is_not_undone_by_a_look_begun_earlier(
    alice: User, sandbox: RunningSandbox, stale: DisputeStatus
) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", capture_of(payment), "dispute")
    ref = look_at_dispute(sandbox, payment).ref
    before = replace(_gateway().fetch_dispute(ref), status=stale, lost=49_900 if stale is DisputeStatus.LOST else 0)
    number = looks.begin()
    sandbox.gateway("disputes", ref, "win")
    payments.refresh(payment)

    payments.settle(payment.pk, payments.News([], (), [before], number))

    assert (Dispute.objects.get().state, available(alice)) == ("won", 105)
    books.check()


def test_a_dispute_over_a_second_capture_leaves_the_credits_alone(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    second = pay(sandbox, payment, again="1")["razorpay_payment_id"]
    payments.refresh(payment)
    sandbox.gateway("payments", second, "dispute")

    dispute = look_at_dispute(sandbox, payment)
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    sandbox.gateway("disputes", dispute.ref, "lose")
    payments.refresh(payment)

    assert Dispute.objects.get().lost == 49_900
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    books.check()


def test_the_worker_sends_what_settling_left_to_it(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    from billing import tasks

    payment = bought(sandbox, alice)
    pay(sandbox, payment, again="1")
    payments.refresh(payment)
    assert Refund.objects.get().state == "requested"

    tasks.send_refunds()
    tasks.send_refunds()

    assert wait_for(lambda: Refund.objects.filter(state="processed").exists(), "the refund")
    assert Refund.objects.get().tries == 1
    books.check()
