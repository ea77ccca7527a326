"""Wallets of money: filled through a gateway, emptied again by refunds and lost disputes."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User, UserStatus
from billing import disputes, ledger, payments, pricing, refunds
from billing.errors import CurrencyNotSold
from billing.fulfilment import Fulfilled, Refused
from billing.gateways.razorpay import Razorpay
from billing.models import Debt, Freeze, Payment, Wallet
from billing.pricing import Quote
from core.errors import Invalid
from notifications.models import Mail
from tests import books
from tests.billing.buying import bought, fresh, order_of, pay, start
from tests.billing.given import held, house, wallet
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

TOP_UP = "wallet:primary:500000"


@pytest.fixture
def naira(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A gateway that takes naira, dollars and pounds too, with disputes and refunds that fail later."""
    monkeypatch.setattr(Razorpay, "currencies", ("INR", "NGN", "USD", "EUR", "GBP"))
    monkeypatch.setattr(Razorpay, "default_currency", "NGN")
    return sandbox


def money(user: User, kind: str = "primary") -> tuple[int, int, int]:
    row = wallet(user, kind)
    return row.balance or 0, row.held, row.frozen


def capture_of(payment: Payment) -> str:
    return str(payment.attempts.get(counts="price").ref)


# --- The item ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "currency", "amount", "kind"),
    [
        ("wallet:primary:10000", "NGN", 10_000, "primary"),
        ("wallet:primary:100000000", "NGN", 100_000_000, "primary"),
        ("wallet:calls:10000", "NGN", 10_000, "calls"),
        ("wallet:primary:50", "USD", 50, "primary"),
        ("wallet:primary:50", "EUR", 50, "primary"),
        ("wallet:primary:50", "GBP", 50, "primary"),
    ],
)
def test_a_top_up_costs_what_it_brings(item: str, currency: str, amount: int, kind: str) -> None:
    quote = pricing.quote(item, currency)

    assert (quote.item, quote.amount, quote.currency, quote.wallet_kind, quote.credits) == (
        item,
        amount,
        currency,
        kind,
        0,
    )


@pytest.mark.parametrize(
    ("item", "currency", "sentence"),
    [
        ("wallet:primary:9999", "NGN", "Put ₦100.00 to ₦1,000,000.00 on the wallet at once."),
        ("wallet:primary:100000001", "NGN", "Put ₦100.00 to ₦1,000,000.00 on the wallet at once."),
        ("wallet:calls:9999", "NGN", "Put ₦100.00 to ₦1,000,000.00 on the wallet at once."),
        ("wallet:primary:49", "USD", "Put $0.50 to $1,000,000.00 on the wallet at once."),
        *(
            (item, "NGN", "Order wallet:primary:<amount> or wallet:calls:<amount>, in minor units.")
            for item in (
                "wallet:primary",
                "wallet:primary:",
                "wallet:primary:-5",
                "wallet:primary:1e6",
                "wallet:primary:100.00",
                "wallet:primary:010000",
                "wallet:primary:9999999999999",
                "wallet:primary:\u0665\u0660\u0660\u0660\u0660",
                "wallet:credits:10000",
                "wallet:house:10000",
                "wallet:primary:10000:NGN",
            )
        ),
    ],
)
def test_a_bad_top_up_is_refused_in_one_sentence(item: str, currency: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        pricing.quote(item, currency)

    assert refused.value.message == sentence


@pytest.mark.parametrize(("item", "currency"), [("wallet:calls:10000", "USD"), ("wallet:primary:10000", "INR")])
def test_a_wallet_is_filled_only_in_its_currencies(item: str, currency: str) -> None:
    with pytest.raises(CurrencyNotSold):
        pricing.quote(item, currency)


def test_the_same_amount_in_two_currencies_is_two_payments_of_one_item(alice: User, naira: RunningSandbox) -> None:
    first = start(alice, TOP_UP)
    second = start(alice, TOP_UP, currency="usd")

    assert (fresh(first).state, second.state, second.currency) == ("canceled", "pending", "USD")


# --- Paid -------------------------------------------------------------------------------------------------------------


def test_a_top_up_fills_the_wallet_once_and_writes_of_it(alice: User, naira: RunningSandbox) -> None:
    payment = bought(naira, alice, TOP_UP)
    payments.refresh(payment)

    assert (payment.state, payment.granted, payment.credits) == ("succeeded", 500_000, 0)
    assert money(alice) == (500_000, 0, 0)
    assert (house("gateway_razorpay", "NGN"), house("sales", "NGN")) == (-500_000, 0)
    entries = api(alice).get(f"/api/v1/wallets/{wallet(alice, 'primary').pk}/entries").json()["results"]
    assert [(row["kind"], row["amount"], row["balance_after"], row["subject"]) for row in entries] == [
        ("purchase", 500_000, 500_000, {"type": "payment", "id": str(payment.pk)})
    ]
    mail = Mail.objects.get(name="payment-confirmation")
    assert mail.context["goods"] == "₦5,000.00 on your primary wallet"
    books.check()


def test_a_wallet_in_another_currency_is_opened_when_first_filled(alice: User, naira: RunningSandbox) -> None:
    bought_for = start(alice, "wallet:primary:5000", currency="GBP")
    pay(naira, bought_for)
    payments.refresh(bought_for)

    assert Wallet.objects.get(user=alice, kind="primary", unit="GBP").balance == 5_000
    assert Wallet.objects.get(user=alice, kind="primary", unit="NGN").balance == 0
    books.check()


def test_a_top_up_for_somebody_who_left_goes_back(alice: User, naira: RunningSandbox) -> None:
    payment = start(alice, TOP_UP)
    pay(naira, payment)
    User.objects.filter(pk=alice.pk).update(status=UserStatus.DELETING)

    payments.refresh(payment)
    refunds.send_due()

    row = fresh(payment)
    assert (row.state, row.fulfilment, row.granted) == ("refunded", "refused", 0)
    assert money(alice) == (0, 0, 0)
    books.check()


# --- Back again -------------------------------------------------------------------------------------------------------


def test_a_refund_takes_the_money_from_the_wallet_that_it_filled(
    alice: User, finance: User, naira: RunningSandbox
) -> None:
    payment = bought(naira, alice, "wallet:calls:500000")

    refunds.request(payment_id=payment.pk, amount=200_000, reason="asked", actor=finance)

    assert money(alice, "calls") == (300_000, 0, 0)
    assert (fresh(payment).state, fresh(payment).taken) == ("partially_refunded", 200_000)
    books.check()
    refunds.request(payment_id=payment.pk, amount=300_000, reason="asked", actor=finance)
    assert money(alice, "calls") == (0, 0, 0)
    assert (house("gateway_razorpay", "NGN"), house("sales", "NGN")) == (0, 0)
    books.check()


def test_what_was_spent_of_a_top_up_becomes_a_debt_that_the_next_one_repays(
    alice: User, finance: User, naira: RunningSandbox
) -> None:
    payment = bought(naira, alice, TOP_UP)
    ledger.capture(key=held(alice, 300_000, unit="NGN", wallet_kind="primary"))

    refunds.request(payment_id=payment.pk, amount=500_000, reason="asked", actor=finance)

    debt = Debt.objects.get()
    assert (debt.unit, debt.remaining, debt.is_blocking) == ("NGN", 300_000, False)
    assert money(alice) == (0, 0, 0)
    assert (house("writeoff", "NGN"), house("sales", "NGN")) == (-300_000, 300_000)
    books.check()
    bought(naira, alice, "wallet:primary:400000")
    assert money(alice) == (100_000, 0, 0)
    assert Debt.objects.get().remaining == 0
    assert house("writeoff", "NGN") == 0
    books.check()


def test_a_refund_of_a_top_up_that_fails_later_gives_all_of_it_back(
    alice: User, finance: User, naira: RunningSandbox
) -> None:
    payment = bought(naira, alice, TOP_UP)
    ledger.capture(key=held(alice, 300_000, unit="NGN", wallet_kind="primary"))
    refund = refunds.request(payment_id=payment.pk, amount=500_000, reason="asked", actor=finance)

    naira.gateway("refunds", str(refund.ref), "fail")
    payments.refresh(payment, refund_facts=[Razorpay().fetch_refund(str(refund.ref))])

    assert (fresh(payment).state, fresh(payment).taken) == ("succeeded", 0)
    assert money(alice) == (200_000, 0, 0)
    assert Debt.objects.get().remaining == 0
    assert (house("writeoff", "NGN"), house("sales", "NGN")) == (0, 300_000)
    books.check()


def test_a_dispute_freezes_what_is_there_and_the_rest_as_it_comes(alice: User, naira: RunningSandbox) -> None:
    payment = bought(naira, alice, TOP_UP)
    hold = held(alice, 300_000, unit="NGN", wallet_kind="primary")
    dispute = naira.gateway("payments", capture_of(payment), "dispute")

    payments.refresh(payment, dispute_refs=[dispute["id"]])

    assert money(alice) == (500_000, 300_000, 200_000)
    ledger.release(key=hold)
    assert disputes.tend() == 1
    assert money(alice) == (500_000, 0, 500_000)
    assert disputes.tend() == 0
    naira.gateway("disputes", dispute["id"], "win")
    payments.refresh(payment)
    assert money(alice) == (500_000, 0, 0)
    assert fresh(payment).state == "succeeded"
    books.check()


def test_a_lost_dispute_empties_the_wallet_and_blocks_what_is_owed(alice: User, naira: RunningSandbox) -> None:
    payment = bought(naira, alice, TOP_UP)
    ledger.capture(key=held(alice, 100_000, unit="NGN", wallet_kind="primary"))
    dispute = naira.gateway("payments", capture_of(payment), "dispute")
    payments.refresh(payment, dispute_refs=[dispute["id"]])

    naira.gateway("disputes", dispute["id"], "lose")
    payments.refresh(payment)

    assert money(alice) == (0, 0, 0)
    assert Freeze.objects.get().state == "taken"
    debt = Debt.objects.get()
    assert (debt.unit, debt.remaining, debt.is_blocking) == ("NGN", 100_000, True)
    assert (house("gateway_razorpay", "NGN"), house("sales", "NGN"), house("writeoff", "NGN")) == (0, 100_000, -100_000)
    books.check()


# --- The door for orders ----------------------------------------------------------------------------------------------


def quote_order(*, user: Any, rest: str, currency: str) -> Quote:
    if rest != f"of-{user.email}":
        raise Invalid("There is no such order.")
    return Quote(f"parcel:{rest}", "parcel", "An order", 0, 250_000, currency, wallet_kind="")


def hand_over(*, payment: Payment) -> Fulfilled | Refused:
    return Refused("sold out") if payment.user.first_name == "Late" else Fulfilled()


@pytest.fixture
def store(settings: Settings) -> None:
    settings.BILLING_QUOTES = {"parcel": f"{__name__}.quote_order"}
    settings.BILLING_FULFILMENT = settings.BILLING_FULFILMENT | {"parcel": f"{__name__}.hand_over"}


def test_what_nobody_sells_is_no_item(alice: User, naira: RunningSandbox) -> None:
    body = {"item": "parcel:1", "gateway": "razorpay"}
    response = api(alice, **{"Idempotency-Key": "k"}).post("/api/v1/payments", body)

    assert (response.status_code, response.json()["error"]) == (400, "invalid")


@pytest.mark.usefixtures("store")
def test_an_order_is_priced_and_handed_over_by_the_store(alice: User, bob: User, naira: RunningSandbox) -> None:
    payment = bought(naira, alice, "parcel:of-alice@example.com")

    assert (payment.state, payment.fulfilment, payment.granted, payment.amount) == (
        "succeeded",
        "fulfilled",
        0,
        250_000,
    )
    assert house("sales", "NGN") == 250_000
    with pytest.raises(Invalid):
        start(bob, "parcel:of-alice@example.com")
    books.check()


@pytest.mark.usefixtures("store")
def test_an_order_that_cannot_be_handed_over_is_refunded_in_full(alice: User, naira: RunningSandbox) -> None:
    payment = start(alice, "parcel:of-alice@example.com")
    assert order_of(payment)
    User.objects.filter(pk=alice.pk).update(first_name="Late")
    pay(naira, payment)

    payments.refresh(payment)
    refunds.send_due()

    assert (fresh(payment).state, fresh(payment).fulfilment) == ("refunded", "refused")
    assert Mail.objects.filter(user=alice, name="payment-failed").count() == 1
    assert house("sales", "NGN") == 0
    books.check()


@pytest.mark.usefixtures("store")
def test_a_refunded_order_takes_no_credits(alice: User, finance: User, naira: RunningSandbox) -> None:
    payment = bought(naira, alice, "parcel:of-alice@example.com")

    refunds.request(payment_id=payment.pk, amount=250_000, reason="returned", actor=finance)

    assert (fresh(payment).state, fresh(payment).taken) == ("refunded", 0)
    assert ledger.balance(alice.pk).available == 5
    books.check()
