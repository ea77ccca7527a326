"""An invariant that stops sales: what is refused while it is broken, and all that goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from audit.models import AuditLog
from billing import payments, sales, staff_refunds, subscriptions
from billing.errors import SalesStopped
from billing.models import BookCheck, Payment, Refund, SalesStop, Subscription
from core.errors import NotFound, PermissionDenied
from core.ids import new_id
from generation.models import Generation
from tests import books
from tests.billing.buying import available, bought, fresh, order_of, start
from tests.generation.material import order
from tests.people import api
from tests.sandbox.process import RunningSandbox
from tests.store.material import placed

pytestmark = pytest.mark.django_db
WHY = "Balances are off."
RULE = "held"
_moments = iter(range(1, 10_000))


def checked(*broken: str) -> None:
    """What the newest check has found."""
    findings = [{"check": name, "row": "wallet 1", "problem": "off by 3"} for name in broken]
    at = timezone.now() + timedelta(seconds=next(_moments))
    BookCheck.objects.create(began_at=at, took_ms=1, is_clean=not broken, findings=findings)


@pytest.fixture
def stopping(finance: User) -> SalesStop:
    return sales.may_stop(RULE, actor=finance, reason=WHY)


def test_only_the_newest_check_of_a_rule_that_stops_sales_does(finance: User, stopping: SalesStop) -> None:
    assert sales.standing().stop is None
    checked("balance", "chain")
    assert sales.standing().stop is None
    checked("balance", RULE)
    found = sales.standing().stop
    assert found
    assert (found.name, found.rule) == (RULE, "What a wallet holds is the sum of its open holds.")
    with CaptureQueriesContext(connection) as queries, pytest.raises(SalesStopped):
        sales.insist()
    assert len(queries) == 1

    checked()
    assert sales.standing().stop is None
    checked(RULE)
    sales.may_not_stop(RULE, actor=finance, reason="It is known.")
    sales.insist()
    actions = AuditLog.objects.filter(entity_type="salesstop").order_by("id").values_list("action", "actor_id")
    assert list(actions) == [("sales_stop.set", finance.pk), ("sales_stop.cleared", finance.pk)]


def test_whatever_begins_a_payment_is_refused_in_one_way(alice: User, stopping: SalesStop) -> None:
    checked(RULE)
    client = api(alice)
    for path, body in {
        "payments": {"item": "package:BASIC", "gateway": "razorpay"},
        "credits/purchase": {"package": "BASIC", "gateway": "wallet"},
        "subscriptions": {"plan": "pro"},
    }.items():
        answer = client.post(f"/api/v1/{path}", body, format="json", headers={"Idempotency-Key": path})
        told = answer.json()
        assert (path, answer.status_code, told["error"], told["charged"]) == (path, 503, "sales_stopped", "none")
        assert answer["Retry-After"] == "300"
    with pytest.raises(SalesStopped):
        placed(alice)
    assert not Payment.objects.exists()
    assert not Subscription.objects.exists()


def test_what_has_begun_goes_on(alice: User, finance: User, stopping: SalesStop, sandbox: RunningSandbox) -> None:
    earlier, unpaid = bought(sandbox, alice), start(alice, "package:PREMIUM")
    checked(RULE)
    before = available(alice)

    sandbox.checkout(order_of(unpaid))
    payments.refresh(unpaid)
    assert (fresh(unpaid).state, available(alice)) == ("succeeded", before + 500)
    job = order(alice)
    assert Generation.objects.get(pk=job.pk).is_open
    refund = staff_refunds.refund(
        request_id=new_id(), payment_id=earlier.pk, amount=earlier.amount, reason=WHY, actor=finance
    )
    assert isinstance(refund, Refund)
    assert refund.state == "processed"
    with pytest.raises(SalesStopped):
        start(alice)
    assert Payment.objects.count() == 2
    books.check()


def test_a_lost_answer_is_told_again_but_nothing_new_is_opened(
    alice: User, stopping: SalesStop, sandbox: RunningSandbox
) -> None:
    client = api(alice)
    body = {"item": "package:BASIC", "gateway": "razorpay"}

    def ask() -> Any:
        return client.post("/api/v1/payments", body, format="json", headers={"Idempotency-Key": "k"})

    first = ask()
    checked(RULE)

    assert ask().json()["id"] == first.json()["id"]
    sandbox.fault("razorpay", "refuse", count=1)
    checked()
    other = {"item": "credits:20", "gateway": "razorpay"}
    lost = client.post("/api/v1/payments", other, format="json", headers={"Idempotency-Key": "lost"})
    assert lost.status_code >= 500
    checked(RULE)
    again = client.post("/api/v1/payments", other, format="json", headers={"Idempotency-Key": "lost"})
    assert again.json()["error"] == "sales_stopped"
    checked()
    once_more = client.post("/api/v1/payments", other, format="json", headers={"Idempotency-Key": "lost"})
    assert once_more.status_code == 201
    assert subscriptions.live_of(alice) is None


def test_finance_sets_and_clears_it_and_everybody_in_the_console_is_told(
    finance: User, support: User, ops: User
) -> None:
    client, page = Client(), "/admin/invariants/"
    client.force_login(finance)
    assert client.post(page, {"name": RULE, "reason": " "}).status_code == 302
    assert client.post(page, {"name": "nonsense", "reason": WHY}).status_code == 404
    assert not SalesStop.objects.exists()
    assert client.post(page, {"name": RULE, "reason": WHY}).status_code == 302
    checked(RULE)

    shown = client.get(page).content.decode()
    assert WHY in shown
    assert "Let it not stop sales" in shown
    for person in (finance, support, ops):
        client.force_login(person)
        assert 'role="alert">Nothing is sold' in client.get("/admin/").content.decode(), person
    client.force_login(ops)
    assert "Let it not stop sales" not in client.get(page).content.decode()
    assert client.post(page, {"name": RULE, "reason": WHY, "clear": ""}).status_code == 403
    for act in (sales.may_stop, sales.may_not_stop):
        with pytest.raises(PermissionDenied):
            act(RULE, actor=support, reason=WHY)  # type: ignore[operator]
    with pytest.raises(NotFound):
        sales.may_stop("nonsense", actor=finance, reason=WHY)

    client.force_login(finance)
    client.post(page, {"name": RULE, "reason": WHY, "clear": ""})
    assert "Nothing is sold" not in client.get("/admin/").content.decode()
