"""An order and its payment at a gateway: in time, too late, twice, canceled against each other, a gateway away."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from billing import payments, refunds
from billing.errors import NotForSale, RefundNotPossible
from billing.fulfilment import Fulfilled
from billing.gateways.base import Rejected
from billing.models import Break, Payment
from notifications.models import Mail
from store import goods, leaving, orders, telling, unpaid
from store.models import Because, Order, Product
from tests import books
from tests.billing import striping
from tests.billing.buying import fresh as again
from tests.people import api
from tests.sandbox.process import RunningSandbox
from tests.store.material import confirmed, fresh, placed, product, run_out, shelf

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree(db: None) -> Product:
    return product(3, 8_900, "EUR")


def begun(user: User, order: Order) -> Payment:
    """An open payment of the order at Stripe."""
    return payments.start(user=user, item=order.item, gateway="stripe").payment


def mails(user: User) -> list[str]:
    told = Mail.objects.filter(user=user).exclude(name__in=["verify-email", "welcome"])
    return list(told.order_by("pk").values_list("name", flat=True))


def test_paid_in_time(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree, quantity=2)
    payment = begun(alice, order)
    assert (payment.amount, payment.currency) == (17_800, "EUR")
    striping.pay(sandbox, payment)

    for _ in range(2):
        payments.refresh(payment)

    assert (fresh(order).state, fresh(order).payment_id, fresh(order).next_at) == ("confirmed", payment.pk, None)
    assert shelf(tree) == (3, 2)
    assert mails(alice) == ["order-confirmed"]
    books.check()


def test_unpaid_orders_are_given_up_with_their_payments(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order, other = placed(alice, tree), placed(alice, tree)
    payment = begun(alice, order)
    assert unpaid.sweep() == 0
    run_out(order)

    assert (unpaid.sweep(), unpaid.sweep()) == (1, 0)

    assert (fresh(order).state, fresh(order).because, again(payment).state) == ("canceled", "unpaid", "canceled")
    assert (fresh(other).state, shelf(tree)) == ("pending", (3, 1))
    told = Mail.objects.get(name="order-canceled").context
    assert (told["reason"], told["refunded"]) == ("It was not paid in time.", "")
    books.check()


def test_after_its_time_nobody_begins_to_pay(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree)
    run_out(order)

    with pytest.raises(NotForSale):
        begun(alice, order)

    assert not Payment.objects.exists()


def test_paid_while_it_is_given_up(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)
    striping.pay(sandbox, payment)  # and nobody tells us
    run_out(order)

    unpaid.sweep()

    assert (fresh(order).state, again(payment).state) == ("confirmed", "succeeded")
    assert shelf(tree) == (3, 1)
    books.check()


def test_while_nobody_can_tell_whether_it_was_paid_the_stock_stays(
    alice: User, tree: Product, sandbox: RunningSandbox, settings: Settings
) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)
    striping.pay(sandbox, payment)
    run_out(order)
    there, settings.STRIPE_BASE_URL = settings.STRIPE_BASE_URL, "http://127.0.0.1:9"

    assert unpaid.sweep() == 1
    assert (fresh(order).state, again(payment).state, shelf(tree)) == ("pending", "pending", (3, 1))

    settings.STRIPE_BASE_URL = there
    run_out(order)
    unpaid.sweep()
    assert (fresh(order).state, shelf(tree)) == ("confirmed", (3, 1))
    books.check()


def late(sandbox: RunningSandbox, user: User, order: Order, monkeypatch: pytest.MonkeyPatch) -> Payment:
    """An order given up, whose buyer has paid on a checkout that the gateway did not close."""
    payment = begun(user, order)
    run_out(order)
    with monkeypatch.context() as patch:
        patch.setattr("billing.gateways.stripe.Stripe.close", lambda *_: None)
        unpaid.sweep()
    assert (fresh(order).state, again(payment).state) == ("canceled", "canceled")
    striping.pay(sandbox, payment)
    return payment


def test_late_money_reserves_anew(
    alice: User, tree: Product, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = placed(alice, tree, quantity=2)
    payment = late(sandbox, alice, order, monkeypatch)
    assert shelf(tree) == (3, 0)

    payments.refresh(payment)

    assert (fresh(order).state, fresh(order).because, fresh(order).canceled_at) == ("confirmed", "", None)
    assert shelf(tree) == (3, 2)
    assert mails(alice) == ["order-canceled", "order-confirmed"]
    books.check()


def test_late_money_for_what_is_sold_goes_back_in_full_with_a_mail(
    alice: User, bob: User, tree: Product, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = placed(alice, tree, product(9, 100, "EUR"), quantity=2)
    payment = late(sandbox, alice, order, monkeypatch)
    placed(bob, tree, quantity=2)

    payments.refresh(payment)
    refunds.send_due()
    payments.refresh(payment)

    assert (again(payment).state, again(payment).fulfilment, again(payment).refunded) == ("refunded", "refused", 18_000)
    assert (fresh(order).state, fresh(order).payment_id) == ("canceled", None)
    assert [shelf(line.product)[1] for line in order.lines.all()] == [2, 0]
    told = Mail.objects.get(user=alice, name="payment-failed").context
    assert "the goods have been sold" in told["reason"]
    books.check()


def test_late_money_for_what_the_buyer_gave_up_goes_back(
    alice: User, tree: Product, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = placed(alice, tree)
    payment = late(sandbox, alice, order, monkeypatch)
    orders.cancel(order)
    assert fresh(order).because == "buyer"

    payments.refresh(payment)
    refunds.send_due()

    assert (again(payment).state, fresh(order).state, shelf(tree)) == ("refunded", "canceled", (3, 0))
    books.check()


def test_canceling_finds_that_it_has_just_been_paid(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)
    striping.pay(sandbox, payment)

    answer = api(alice).post(f"/api/v1/orders/{order.pk}/cancel")
    refunds.send_due()

    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert (again(payment).state, again(payment).refunded, shelf(tree)) == ("refunded", 8_900, (3, 0))
    assert mails(alice) == ["order-confirmed", "order-canceled", "refund"]
    books.check()


def test_canceling_closes_what_is_open(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)

    orders.cancel(order)

    assert (fresh(order).state, again(payment).state, shelf(tree)) == ("canceled", "canceled", (3, 0))
    with pytest.raises(NotForSale):
        begun(alice, order)
    books.check()


def test_a_second_payment_of_an_order_goes_back(
    alice: User, tree: Product, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = placed(alice, tree)
    first = begun(alice, order)
    with monkeypatch.context() as patch:
        patch.setattr("billing.gateways.stripe.Stripe.close", lambda *_: None)
        payments.cancel(first)
    second = begun(alice, order)
    for payment in (second, first):
        striping.pay(sandbox, payment)
        payments.refresh(payment)
    refunds.send_due()

    assert (again(second).state, again(first).state) == ("succeeded", "refunded")
    assert (fresh(order).payment_id, shelf(tree)) == (second.pk, (3, 1))
    assert not Break.objects.exists()
    assert goods.deliver(payment=again(second)) == Fulfilled()
    books.check()


def test_a_disputed_order_waits_for_the_bank(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)
    striping.pay(sandbox, payment)
    payments.refresh(payment)
    sandbox.stripe_dashboard("charges", striping.charge_of(payment), "dispute")
    payments.refresh(payment)

    with pytest.raises(RefundNotPossible):
        orders.cancel(fresh(order))

    assert (fresh(order).state, shelf(tree)) == ("confirmed", (3, 1))
    books.check()


def test_what_staff_has_refunded_in_part_goes_back_only_once(alice: User, tree: Product, finance: User) -> None:
    order = confirmed(alice, product(3, 250_000))
    refunds.request(payment_id=fresh(order).payment_id, amount=50_000, reason="Scratched.", actor=finance)  # type: ignore[arg-type]

    orders.cancel(fresh(order), because=Because.STAFF)
    refunds.send_due()

    payment = Payment.objects.get()
    assert (payment.state, payment.refunded) == ("refunded", 250_000)
    assert Mail.objects.get(name="order-canceled").context["refunded"] == "\u20a62,000.00"
    books.check()


def test_a_refund_that_fails_is_left_to_a_person(
    alice: User, tree: Product, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = placed(alice, tree)
    payment = begun(alice, order)
    striping.pay(sandbox, payment)
    payments.refresh(payment)
    orders.cancel(fresh(order))

    def refuse(*_: Any, **__: Any) -> Any:
        raise Rejected("no", status=400, code="no")

    monkeypatch.setattr("billing.gateways.stripe.Stripe.refund", refuse)
    refunds.send_due()

    assert Break.objects.get().kind == "refund_failed"
    assert (fresh(order).state, again(payment).refunding) == ("canceled", 0)
    books.check()


# --- Who leaves -------------------------------------------------------------------------------------------------------


def test_leaving_cancels_refunds_and_forgets(alice: User, tree: Product, sandbox: RunningSandbox) -> None:
    waiting, paid_for = placed(alice, tree), placed(alice, tree)
    begun(alice, waiting)
    payment = begun(alice, paid_for)
    striping.pay(sandbox, payment)
    payments.refresh(payment)

    assert leaving.erase(user=alice) == ["refunds"]
    refunds.send_due()
    assert leaving.erase(user=alice) == []

    assert set(Order.objects.values_list("state", "because")) == {("canceled", "erased")}
    assert [row.address for row in Order.objects.all()] == [{}, {}]
    assert (again(payment).state, shelf(tree)) == ("refunded", (3, 0))
    books.check()


def test_an_export_tells_of_orders(alice: User, bob: User) -> None:
    order = confirmed(alice)
    placed(bob)

    mine = {part.name: list(part.rows) for part in telling.export(user=alice)}  # type: ignore[union-attr]

    assert [row["id"] for row in mine["orders"]] == [order.pk]
    assert mine["orders"][0]["address"]["postcode"] == "01001000"
    assert [row["of_order"] for row in mine["order_lines"]] == [order.pk]
