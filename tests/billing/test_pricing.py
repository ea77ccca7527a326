"""What can be ordered, and what one clear sentence refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from billing.models import Payment
from tests import books
from tests.billing.buying import order_of
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

WALLET = {"name": "wallet", "currencies": ["NGN", "USD", "EUR", "GBP"], "default_currency": "NGN"}


def order(user: User, key: str = "k", **body: Any) -> Any:
    body = {"gateway": "razorpay", **body}
    return api(user, **{"Idempotency-Key": key}).post("/api/v1/payments", body)


def purchase(user: User, key: str = "k", **body: Any) -> Any:
    body = {"gateway": "razorpay", **body}
    return api(user, **{"Idempotency-Key": key}).post("/api/v1/credits/purchase", body)


def test_packages_are_public_and_seeded() -> None:
    body = api().get("/api/v1/credits/packages?currency=inr").json()

    assert [
        (p["code"], p["credits"], p["price"]["amount"], p["is_popular"], p["is_for_sale"]) for p in body["results"]
    ] == [
        ("FREE", 5, 0, False, False),
        ("BASIC", 100, 49900, True, True),
        ("PREMIUM", 500, 199900, False, True),
        ("ENTERPRISE", 2000, 499900, False, True),
    ]
    usd = api().get("/api/v1/credits/packages?currency=USD").json()["results"]
    assert [(p["code"], p["credits"], p["price"]["amount"], p["is_popular"]) for p in usd] == [
        ("BASIC", 100, 999, False),
        ("STANDARD", 250, 1999, True),
        ("PREMIUM", 500, 3499, False),
        ("ENTERPRISE", 1000, 5999, False),
    ]


@pytest.fixture(autouse=True)
def _razorpay_alone(settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = settings.MONNIFY_SECRET_KEY = ""


def test_pricing_is_public_and_names_only_configured_gateways(settings: Settings) -> None:
    settings.RAZORPAY_KEY_ID = "rzp_test_x"
    settings.RAZORPAY_KEY_SECRET = "x"
    body = api().get("/api/v1/payments/pricing").json()

    assert body["gateways"] == [
        {"name": "razorpay", "currencies": ["INR"], "default_currency": "INR"},
        WALLET,
    ]
    assert body["top_ups"][:2] == [
        {"wallet": "primary", "currency": "NGN", "least": 10_000, "most": 100_000_000},
        {"wallet": "calls", "currency": "NGN", "least": 10_000, "most": 100_000_000},
    ]
    assert body["custom_credits"] == [{"price": {"amount": 500, "currency": "INR"}, "least": 10, "most": 1000}]
    assert len(body["packages"]) == 8


def test_a_gateway_without_its_keys_is_not_offered(settings: Settings) -> None:
    settings.RAZORPAY_KEY_SECRET = ""

    assert api().get("/api/v1/payments/pricing").json()["gateways"] == [WALLET]


def test_the_price_list_takes_a_bounded_number_of_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):
        api().get("/api/v1/payments/pricing")


@pytest.mark.parametrize(
    ("item", "code", "sentence"),
    [
        ("credits:9", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:1001", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:-50", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:10.5", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:1e2", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:\u0665\u0660", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:0", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:99999999999999999999", "invalid", "Order a whole number of credits from 10 to 1,000."),
        ("credits:", "invalid", "Order package:<code>, credits:<number> or wallet:<kind>:<amount>."),
        ("package:FREE", "not_for_sale", "FREE is not for sale: those credits come with a new account."),
        ("package:free", "not_for_sale", "FREE is not for sale: those credits come with a new account."),
        ("package:NOPE", "invalid", "There is no package 'NOPE'."),
        ("package:STANDARD", "currency_not_sold", "STANDARD is not sold in INR; choose USD."),
        ("gold:1", "invalid", "Order package:<code>, credits:<number> or wallet:<kind>:<amount>."),
        ("order", "invalid", "Order package:<code>, credits:<number> or wallet:<kind>:<amount>."),
    ],
)
def test_what_is_not_sold_is_refused_in_one_sentence(
    alice: User, sandbox: RunningSandbox, item: str, code: str, sentence: str
) -> None:
    response = order(alice, item=item)

    assert (response.status_code, response.json()["error"]) == (400, code)
    assert response.json()["message"] == sentence
    assert response.json()["charged"] == "none"
    assert not Payment.objects.exists()
    assert sandbox.requests(provider="razorpay") == []


@pytest.mark.parametrize(
    ("item", "currency"), [("credits:50", "USD"), ("package:BASIC", "EUR"), ("package:BASIC", "USD")]
)
def test_another_currency_is_refused(alice: User, sandbox: RunningSandbox, item: str, currency: str) -> None:
    response = order(alice, item=item, currency=currency)

    assert (response.status_code, response.json()["error"]) == (400, "currency_not_sold")
    assert not Payment.objects.exists()


def test_a_currency_that_does_not_exist_is_refused(alice: User, sandbox: RunningSandbox) -> None:
    assert order(alice, item="package:BASIC", currency="XXX").status_code == 400
    assert order(alice, item="package:BASIC", currency="rupees").status_code == 400


def test_the_persons_own_currency_counts_when_none_is_asked_for(alice: User, sandbox: RunningSandbox) -> None:
    User.objects.filter(pk=alice.pk).update(currency="USD")
    alice.refresh_from_db()

    assert order(alice, item="package:BASIC").json()["error"] == "currency_not_sold"
    assert order(alice, item="package:BASIC", currency="inr", key="2").json()["currency"] == "INR"


@pytest.mark.parametrize(
    "body",
    [
        {"credits": 9},
        {"credits": 1001},
        {"credits": -10},
        {"credits": 10.5},
        {"credits": "50"},
        {"credits": True},
        {"credits": 50, "package": "BASIC"},
        {},
        {"package": "FREE"},
        {"credits": 50, "amount": 1},
        {"credits": 50, "gateway": "stripe"},
        {"credits": 50, "currency": "USD"},
    ],
)
def test_bad_purchases_are_refused(alice: User, sandbox: RunningSandbox, body: dict[str, Any]) -> None:
    response = purchase(alice, **body)

    assert response.status_code == 400
    assert response.json()["details"]
    assert not Payment.objects.exists()


@pytest.mark.parametrize(
    ("body", "credits", "amount", "item"),
    [
        ({"credits": 10}, 10, 5_000, "credits:10"),
        ({"credits": 1000}, 1000, 500_000, "credits:1000"),
        ({"package": "basic"}, 100, 49_900, "package:BASIC"),
        ({"package": "Enterprise"}, 2000, 499_900, "package:ENTERPRISE"),
    ],
)
def test_purchases_are_priced_by_us(
    alice: User, sandbox: RunningSandbox, body: dict[str, Any], credits: int, amount: int, item: str
) -> None:
    response = purchase(alice, **body)

    assert response.status_code == 201
    told = response.json()
    assert (told["credits"], told["amount"], told["currency"], told["item"]) == (credits, amount, "INR", item)
    order = sandbox.ask("GET", f"/razorpay/v1/orders/{order_of(Payment.objects.get())}", auth=keys(sandbox))
    assert (order["amount"], order["currency"]) == (amount, "INR")
    books.check()


def keys(sandbox: RunningSandbox) -> tuple[str, str]:
    return sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"]
