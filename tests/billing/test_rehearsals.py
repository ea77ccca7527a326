"""What staff are shown before a money act is what the books say after it; and showing it changes nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import Approval, AuditLog
from billing import ledger, rehearsal, staff_grants, staff_refunds
from billing.models import Debt, LedgerEntry, Payment, Refund, StaffGrant
from core.errors import Conflict
from core.ids import new_id
from notifications.models import Mail
from tests import books, pressing
from tests.billing.buying import bought
from tests.billing.given import held, person, wallet
from tests.people import make_staff, make_user
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db
WHY = "Ticket 12."


def console(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def look(user: User, button: str, pk: Any, **form: Any) -> list[str]:
    """What the first sending of the form shows."""
    url = reverse(f"admin:{button}", args=[pk])
    answer = console(user).post(url, {"reason": WHY, "_form_submitted": "True"} | form)
    assert answer.status_code == 200, answer.content
    return list(answer.context["form"].shown)


def everything() -> list[Any]:
    """Whatever a rehearsal could leave behind."""
    models = (LedgerEntry, Refund, StaffGrant, Approval, AuditLog, Mail)
    return [*(model._default_manager.count() for model in models), *Payment.objects.values_list("state", "refunding")]


def test_a_grant_shows_the_balance_and_asks_when_it_is_too_much(support: User) -> None:
    alice = person()
    form: dict[str, Any] = {"amount": 50, "grant_id": new_id()}
    before = everything()

    shown = look(support, "billing_wallet_give", wallet(alice).pk, **form)

    assert shown == [
        "Credits: balance 0 credits → 50 credits, available 0 credits → 50 credits",
        "Lot of 50 credits, promo, new: 0 → 50 left",
        "Posted to our account promo: -50 credits",
    ]
    [asked, *then] = look(support, "billing_wallet_give", wallet(alice).pk, amount=400, grant_id=new_id())
    assert "becomes a request" in asked
    assert then[0] == "Credits: balance 0 credits → 400 credits, available 0 credits → 400 credits"
    assert everything() == before
    url = reverse("admin:billing_wallet_give", args=[wallet(alice).pk])
    opened = console(support).get(url).content.decode()
    told = console(support).post(url, {"reason": WHY, "_form_submitted": "True"} | form).content.decode()
    assert ("Confirm: Give credits" in opened, "Confirm: Give credits" in told) == (False, True)
    assert '<button type="button"' in opened  # the cross, which the keyboard reaches
    assert 'aria-label="Close"' in opened
    assert pressing.press(console(support), url, {"reason": WHY, **form}).shown == shown
    assert ledger.balance(alice.pk).balance == 50
    books.check()


def test_a_refund_shows_money_credits_and_debt_and_asks_no_gateway(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    held(alice, 60)
    before, calls = everything(), len(sandbox.requests(provider="razorpay"))
    own = ledger.balance(alice.pk)

    shown = look(finance, "billing_payment_refund", payment.pk, amount="499.00", request_id=new_id())

    assert shown[0] == "Payment: refunded, ₹499.00 of ₹499.00 given back"
    assert "Debt: owed 0 credits → " in "".join(shown)
    assert "Posted to our account gateway_razorpay: +₹499.00" in shown
    assert "Posted to our account sales: -₹499.00" in shown
    assert (everything(), len(sandbox.requests(provider="razorpay"))) == (before, calls)
    assert ledger.balance(alice.pk) == own
    kept = look(finance, "billing_payment_refund", payment.pk, amount="1", keeps_credits="on", request_id=new_id())
    assert "The customer's balances and debts stay as they are." in kept
    [asked, *_] = look(
        finance, "billing_payment_refund", payment.pk, amount="1.00", reference="bank-1", request_id=new_id()
    )
    assert "becomes a request" in asked
    assert everything() == before

    done = staff_refunds.refund(request_id=new_id(), payment_id=payment.pk, amount=49_900, reason=WHY, actor=finance)
    assert isinstance(done, Refund)
    assert f"Debt: owed 0 credits → {Debt.objects.get().remaining} credits" in shown
    books.check()


def test_an_approver_sees_it_before_and_may_not_approve_their_own(finance: User) -> None:
    alice, colleague = make_user(), User.objects.create_user("colleague@example.test", "x", is_staff=True)
    colleague.groups.set(finance.groups.all())
    waiting = staff_grants.give(grant_id=new_id(), user_id=alice.pk, amount=600, reason=WHY, actor=finance)
    assert isinstance(waiting, Approval)
    before = everything()

    shown = look(colleague, "audit_approval_approve", waiting.pk)

    assert shown[0] == waiting.summary
    assert "Credits: balance 5 credits → 605 credits, available 5 credits → 605 credits" in shown
    assert everything() == before
    assert look(finance, "audit_approval_approve", waiting.pk) == []  # refused at once
    url = reverse("admin:audit_approval_approve", args=[waiting.pk])
    assert pressing.press(console(colleague), url, {"reason": WHY}).status_code == 302
    assert ledger.balance(alice.pk).balance == 605
    books.check()


def test_voiding_shows_what_goes_and_what_has_changed_is_shown_again(finance: User) -> None:
    alice = person()
    grant = staff_grants.give(grant_id=new_id(), user_id=alice.pk, amount=20, reason=WHY, actor=make_staff("support"))
    url = reverse("admin:billing_staffgrant_void", args=[grant.pk])
    client = console(finance)
    form = {"reason": WHY, "_form_submitted": "True"}
    first = client.post(url, form).context["form"]
    assert "Lot of 20 credits, promo: 20 → 0 left" in first.shown

    held(alice, 5)
    again = client.post(url, form | {"seen": first.data["seen"]})

    assert again.status_code == 200
    assert "Lot of 20 credits, promo: 20 → 5 left" in again.context["form"].shown
    assert StaffGrant.objects.get().voided_at is None
    assert client.post(url, form | {"seen": again.context["form"].data["seen"]}).status_code == 302
    assert StaffGrant.objects.get().ended == 15
    books.check()


@pytest.mark.django_db(transaction=True)
def test_it_is_one_snapshot_and_others_are_told_to_wait() -> None:
    alice = person()
    support = make_staff("support")

    def give() -> Any:
        return staff_grants.give(grant_id=new_id(), user_id=alice.pk, amount=7, reason=WHY, actor=support)

    def beside(other: Any) -> Any:
        """The act, after somebody else's has committed since the snapshot."""

        def act() -> Any:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(timeout=60)
            return give()

        return act

    def elsewhere() -> None:
        staff_grants.give(grant_id=new_id(), user_id=bob.pk, amount=40, reason=WHY, actor=colleague)
        connection.close()

    def here() -> None:
        give()
        connection.close()

    bob, colleague = person(), make_staff("finance")
    seven = "Credits: balance 0 credits → 7 credits, available 0 credits → 7 credits"

    told = rehearsal.of(beside(elsewhere), customer_id=alice.pk)
    assert (told[0], told[-1]) == (seven, "Posted to our account promo: -7 credits")
    with pytest.raises(Conflict):
        rehearsal.of(beside(here), customer_id=alice.pk)
    assert ledger.balance(alice.pk).balance == 7
    books.check()
