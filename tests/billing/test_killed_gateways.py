"""A process that dies between any two steps of buying and refunding, at each gateway; once more, and it is right."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from billing import payments, reconcile, refunds
from billing.models import LedgerTransaction, Package, Payment, PaymentAttempt, Refund
from core.killpoints import POINTS
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, fresh
from tests.billing.test_gateway_contract import SHOPS, Shop, begin, bought
from tests.dying import die_at
from tests.people import api, make_user
from tests.sandbox.process import RunningSandbox
from tests.scenarios.time import pass_time

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(transactional_db: None) -> User:
    return make_user("alice@example.com")


@pytest.fixture(params=["stripe", "monnify"])  # Razorpay dies over HTTP, in the scenarios
def shop(request: pytest.FixtureRequest, alice: User, sandbox: RunningSandbox, settings: Settings) -> Shop:
    settings.MONNIFY_REFUNDS = True
    found = SHOPS[request.param]
    values = {"name": "Basic", "credits": 100, "amount": 50_000}
    Package.objects.update_or_create(code="BASIC", currency=found.currency, defaults=values)
    return found


def points(prefix: str) -> list[str]:
    return [name for name in POINTS if name.startswith(prefix)]


def order(user: User, shop: Shop, key: str) -> Any:
    client = api(user, **{"Idempotency-Key": key})
    return client.post("/api/v1/payments", {"item": "package:BASIC", "gateway": shop.name})


def test_a_death_while_starting(alice: User, sandbox: RunningSandbox, shop: Shop) -> None:
    for number, point in enumerate(points("payments.start."), 1):
        die_at(point, lambda point=point: order(alice, shop, point))  # type: ignore[misc]
        pass_time(120)

        answer = order(alice, shop, point)

        assert answer.status_code in (200, 201), (point, answer.json())
        payment = Payment.objects.get(pk=answer.json()["id"])
        assert (Payment.objects.count(), payment.state) == (number, "pending"), point
        shop.pay(sandbox, str(payment.starts.latest("n").ref))
        assert payments.refresh(payment).state == "succeeded", point
        assert available(alice) == 5 + 100 * number, point
    assert PaymentAttempt.objects.filter(state="captured").count() == len(points("payments.start."))
    books.check()


def test_a_death_while_settling(alice: User, sandbox: RunningSandbox, shop: Shop) -> None:
    for number, point in enumerate(points("payments.settle."), 1):
        payment, ref = begin(alice, shop)
        shop.pay(sandbox, ref)
        die_at(point, lambda payment=payment: payments.refresh(payment))  # type: ignore[misc]

        for _ in range(2):
            pass_time(3600)
            reconcile.poll()

        assert (fresh(payment).state, available(alice)) == ("succeeded", 5 + 100 * number), point
        grants = LedgerTransaction.objects.filter(key=f"payment:{payment.pk}:grant")
        assert (grants.count(), Mail.objects.filter(name="payment-confirmation").count()) == (1, number), point
    books.check()


def test_a_death_while_refunding(alice: User, sandbox: RunningSandbox, shop: Shop) -> None:
    for point in points("refunds."):
        payment = bought(alice, shop, sandbox)
        die_at(
            point,
            lambda payment=payment: refunds.request(  # type: ignore[misc]
                payment_id=payment.pk, amount=20_000, reason="asked", actor=None
            ),
        )

        for _ in range(3):
            pass_time(3600)
            refunds.send_due()
            payments.refresh(payment)

        assert (fresh(payment).refunded, fresh(payment).refunding, fresh(payment).taken) == (20_000, 0, 40), point
        assert Refund.objects.filter(payment=payment).count() == 1, point
    told = [one for one in sandbox.requests(provider=shop.name, method="POST") if "refund" in one["path"]]
    assert len(told) <= len(points("refunds.")) + 1
    assert available(alice) == 5 + 60 * len(points("refunds."))
    books.check()
