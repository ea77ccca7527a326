"""Credits that staff give: alone, by four eyes, and voided."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts import standing
from accounts.models import User
from audit import approvals
from audit.models import Approval, AuditLog
from billing import ledger, staff_grants
from billing.models import StaffGrant, Wallet
from core.errors import Conflict, PermissionDenied
from core.ids import new_id
from tests import books, pressing
from tests.billing.given import held, person, wallet
from tests.people import PASSWORD, api, make_staff

pytestmark = pytest.mark.django_db

WHY = "The picture came late."


@pytest.fixture(autouse=True)
def _books(db: None) -> Iterator[None]:
    yield
    books.check()


def give(actor: User, user: User, amount: int, **other: Any) -> StaffGrant | Approval:
    return staff_grants.give(
        **{"grant_id": new_id(), "user_id": user.pk, "amount": amount, "reason": WHY, "actor": actor} | other
    )


def balance(user: User) -> int:
    return ledger.balance(user.pk).balance


def test_support_gives_a_hundred_a_day_alone(support: User) -> None:
    alice, bob = person(), person()

    kinds = [type(give(support, alice, 60)), type(give(support, bob, 40)), type(give(support, bob, 1))]

    assert kinds == [StaffGrant, StaffGrant, Approval]
    assert (balance(alice), balance(bob)) == (60, 40)
    row = AuditLog.objects.filter(action="staff_grant.given").earliest("id")
    assert (row.actor_id, row.user_id, row.new) == (support.pk, alice.pk, {"amount": 60})


def test_finance_gives_five_hundred_a_day_alone(finance: User) -> None:
    alice = person()

    assert isinstance(give(finance, alice, 500), StaffGrant)
    assert isinstance(give(finance, alice, 1), Approval)
    assert balance(alice) == 500


def test_what_a_colleague_approves_is_given_once(support: User, finance: User) -> None:
    alice = person()
    waiting = give(support, alice, 1000)
    assert isinstance(waiting, Approval)
    assert balance(alice) == 0

    approvals.approve(waiting.pk, approver=finance, reason="Yes.")
    with pytest.raises(Conflict):
        approvals.approve(waiting.pk, approver=finance, reason="Yes.")

    assert balance(alice) == 1000
    grant = StaffGrant.objects.get(user=alice)
    assert (grant.actor_id, grant.approval_id, grant.amount, grant.reason) == (support.pk, waiting.pk, 1000, WHY)


def test_a_superuser_needs_four_eyes_too(finance: User) -> None:
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)
    alice = person()
    waiting = give(boss, alice, 501)
    assert isinstance(waiting, Approval)

    with pytest.raises(PermissionDenied):
        approvals.approve(waiting.pk, approver=boss, reason="Mine.")

    assert balance(alice) == 0


def test_nobody_gives_to_themselves_and_others_give_nothing(support: User, finance: User, ops: User) -> None:
    alice = person()

    for actor, user in ((support, support), (finance, finance), (ops, alice), (alice, alice), (person(), alice)):
        with pytest.raises(PermissionDenied):
            give(actor, user, 5)

    assert not StaffGrant.objects.exists()
    assert not Approval.objects.exists()


def test_the_form_sent_twice_gives_once(support: User, finance: User) -> None:
    alice = person()
    small, big = new_id(), new_id()

    for _ in range(2):
        give(support, alice, 30, grant_id=small)
        give(finance, alice, 900, grant_id=big)
    with pytest.raises(Conflict):
        give(support, alice, 31, grant_id=small)

    assert balance(alice) == 30
    assert Approval.objects.count() == 1


def test_who_is_gone_gets_nothing_even_after_the_request(support: User, finance: User) -> None:
    alice = person()
    waiting = give(support, alice, 400)
    User.objects.filter(pk=alice.pk).update(status="deleting")

    with pytest.raises(Conflict):
        approvals.approve(waiting.pk, approver=finance, reason="Yes.")
    with pytest.raises(Conflict):
        give(support, alice, 5)

    assert balance(alice) == 0
    assert Approval.objects.get().state == "pending"


@pytest.mark.django_db(transaction=True)
def test_ten_grants_at_once_stay_within_the_day(support: User) -> None:
    people = [person() for _ in range(10)]

    def go(user: User) -> None:
        give(support, user, 25)
        connection.close()

    threads = [threading.Thread(target=go, args=[user]) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(balance(user) for user in people) == 100
    assert (StaffGrant.objects.count(), Approval.objects.count()) == (4, 6)


def test_voiding_ends_what_is_left(finance: User) -> None:
    alice = person()
    grant = give(finance, alice, 100)
    key = held(alice, 30)

    voided = staff_grants.void(grant.pk, actor=finance, reason="Wrong person.")
    again = staff_grants.void(grant.pk, actor=finance, reason="Again.")

    assert (voided.ended, again.void_reason) == (70, "Wrong person.")
    assert balance(alice) == 30
    ledger.release(key=key)
    assert wallet(alice).balance == 0
    assert AuditLog.objects.filter(action="staff_grant.voided").count() == 1


def test_voiding_what_is_spent_takes_nothing(finance: User) -> None:
    alice = person()
    grant = give(finance, alice, 100)
    ledger.capture(key=held(alice, 100))

    assert staff_grants.void(grant.pk, actor=finance, reason="Late.").ended == 0
    assert balance(alice) == 0
    assert not alice.debts.exists()


def test_support_voids_nothing(support: User) -> None:
    grant = give(support, person(), 10)

    with pytest.raises(PermissionDenied):
        staff_grants.void(grant.pk, actor=support, reason=WHY)


def test_the_customer_is_not_told_the_reason(support: User, alice: User) -> None:
    give(support, alice, 10, reason="Complains a lot.")

    history = api(alice).get("/api/v1/credits/history")

    assert history.status_code == 200
    assert "Complains" not in history.content.decode()
    assert api(alice).get("/api/v1/credits/balance").json()["available"] == 15


# --- In the console ---------------------------------------------------------------------------------------------------


def console(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def press(client: Client, user: User, **fields: Any) -> Any:
    form = {"amount": 50, "reason": WHY, "grant_id": new_id()} | fields
    return pressing.press(client, reverse("admin:billing_wallet_give", args=[wallet(user).pk]), form)


def test_support_gives_on_the_wallets_page(support: User) -> None:
    alice = person()
    client = console(support)
    page = reverse("admin:billing_wallet_change", args=[wallet(alice).pk])
    assert "/give" in client.get(page).content.decode()

    done = press(client, alice)
    more = press(client, alice, amount=51)

    assert (done["Location"], more["Location"]) == (page, page)
    text = client.get(page).content.decode()
    assert "50 credits are given." in text
    assert "waits for a colleague" in text
    assert balance(alice) == 50


@pytest.mark.parametrize("amount", ["0", "-5", "1.5", "", "100001", "9" * 30])
def test_a_bad_amount_gives_nothing(support: User, amount: str) -> None:
    alice = person()

    assert press(console(support), alice, amount=amount).status_code == 200
    assert balance(alice) == 0


def test_money_wallets_have_no_such_button(support: User, alice: User) -> None:
    page = reverse("admin:billing_wallet_change", args=[wallet(alice, "primary").pk])

    assert "/give" not in console(support).get(page).content.decode()


def test_our_own_wallets_get_nothing(support: User) -> None:
    give(support, person(), 5)
    house = Wallet.objects.house().filter(unit="CREDIT").earliest("kind")
    form = {"amount": 5, "reason": WHY, "grant_id": new_id(), "_form_submitted": "True"}

    answer = console(support).post(reverse("admin:billing_wallet_give", args=[house.pk]), form)

    assert "Our own wallets" in answer.content.decode()


def test_finance_voids_on_the_grants_page_and_support_sees_no_button(finance: User) -> None:
    grant = give(finance, person(), 20)
    url = reverse("admin:billing_staffgrant_void", args=[grant.pk])

    assert console(make_staff("support")).post(url, {"reason": WHY, "_form_submitted": "True"}).status_code == 403
    assert pressing.press(console(finance), url, {"reason": WHY}).status_code == 302

    assert StaffGrant.objects.get().ended == 20


def test_a_suspended_colleague_gives_nothing(finance: User, support: User) -> None:
    support = standing.suspend(support, actor=finance, reason="Left.")

    with pytest.raises(PermissionDenied):
        give(support, person(), 5)
