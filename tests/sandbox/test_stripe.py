"""Stripe's simulator, driven by Stripe's own SDK."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import stripe
from stripe import StripeClient

from sandbox.stripe.objects import VERSION
from sandbox.webhooks import stripe_signature
from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Receiver


def intent(bank: StripeClient, amount: int = 999, **more: Any) -> stripe.PaymentIntent:
    return bank.v1.payment_intents.create({"amount": amount, "currency": "usd", **more})  # type: ignore[typeddict-item]


def session(bank: StripeClient, amount: int = 999, **more: Any) -> stripe.checkout.Session:
    line = {
        "price_data": {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Basic, 100 credits"}},
        "quantity": 1,
    }
    asked = {"mode": "payment", "success_url": "http://shop.test/done", "line_items": [line]} | more
    return bank.v1.checkout.sessions.create(asked)  # type: ignore[arg-type]


def paid(sandbox: RunningSandbox, bank: StripeClient, amount: int = 999, **more: Any) -> stripe.Charge:
    made = intent(bank, amount, **more)
    sandbox.stripe_checkout(made.id)
    [charge] = bank.v1.charges.list({"payment_intent": made.id}).data
    return charge


def test_vector_of_the_provider_page_holds() -> None:
    body = b'{"id":"evt_1","object":"event","type":"invoice.paid"}'

    signature = stripe_signature("whsec_example", 1763700000, body)

    assert signature == "6e08952a8d6d036e520459ddc2654d006dd3696a8dae62678bc2114f77ad5da9"


def test_the_sandbox_speaks_the_version_that_the_sdk_pins(bank: StripeClient, sandbox: RunningSandbox) -> None:
    intent(bank)

    [call] = sandbox.requests(provider="stripe")
    assert call["headers"]["stripe-version"] == VERSION
    with pytest.raises(stripe.InvalidRequestError, match="speaks"):
        bank.v1.payment_intents.list(options={"stripe_version": "2024-06-20"})


def test_an_intent_is_created_retrieved_and_listed(bank: StripeClient) -> None:
    made = intent(bank, metadata={"reference": "r-1"})

    assert made.id.startswith("pi_")
    assert str(made.client_secret).startswith(f"{made.id}_secret_")
    assert (made.status, made.amount, made.currency, made.amount_received) == (
        "requires_payment_method", 999, "usd", 0,
    )  # fmt: skip
    again = bank.v1.payment_intents.retrieve(made.id)
    assert again.metadata["reference"] == "r-1"
    assert [one.id for one in bank.v1.payment_intents.list().data] == [made.id]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": 49, "currency": "usd"}, "amount_too_small"),
        ({"amount": -1, "currency": "usd"}, "parameter_invalid_integer"),
        ({"amount": "9.99", "currency": "usd"}, "parameter_invalid_integer"),
        ({"currency": "usd"}, "parameter_missing"),
        ({"amount": 999}, "parameter_missing"),
        ({"amount": 999, "currency": "usd", "customer": "cus_nobody"}, "resource_missing"),
        ({"amount": 999, "currency": "usd", "colour": "red"}, "parameter_unknown"),
        ({"amount": 999, "currency": "usd", "payment_method_types": ["card"]},
         "payment_method_types_no_longer_supported"),
    ],
)  # fmt: skip
def test_a_bad_intent_is_refused_by_name(bank: StripeClient, body: dict[str, Any], code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        bank.v1.payment_intents.create(body)  # type: ignore[arg-type]

    assert (refused.value.http_status, refused.value.code) == (400, code)
    assert not bank.v1.payment_intents.list().data


def test_wrong_keys_unknown_ids_and_unknown_paths(bank: StripeClient, sandbox: RunningSandbox) -> None:
    stranger = StripeClient("sk_test_wrong", base_addresses={"api": sandbox.stripe_url}, max_network_retries=0)

    with pytest.raises(stripe.AuthenticationError):
        stranger.v1.payment_intents.list()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        bank.v1.payment_intents.retrieve("pi_nobody")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        bank.v1.coupons.list()


def test_one_key_is_one_intent(bank: StripeClient) -> None:
    options: Any = {"idempotency_key": "payment-1"}
    body: Any = {"amount": 999, "currency": "usd"}

    first = bank.v1.payment_intents.create(body, options=options)
    second = bank.v1.payment_intents.create(body, options=options)

    assert first.id == second.id
    with pytest.raises(stripe.IdempotencyError):
        bank.v1.payment_intents.create(body | {"amount": 1000}, options=options)
    assert len(bank.v1.payment_intents.list().data) == 1


def test_twenty_twins_with_one_key_make_one_intent(bank: StripeClient) -> None:
    def create(_: int) -> str:
        try:
            made = bank.v1.payment_intents.create(
                {"amount": 999, "currency": "usd"}, options={"idempotency_key": "twins"}
            )
        except stripe.APIError as error:
            return "" if error.http_status == 409 else str(error)
        return made.id

    with ThreadPoolExecutor(10) as pool:
        ids = set(pool.map(create, range(20))) - {""}

    assert len(ids) == 1
    assert len(bank.v1.payment_intents.list().data) == 1


def test_paying_makes_a_charge_and_tells(sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver) -> None:
    made = intent(bank, metadata={"reference": "r-1"})

    handed = sandbox.stripe_checkout(made.id)

    assert handed["paymentIntent"]["status"] == "succeeded"
    after = bank.v1.payment_intents.retrieve(made.id, {"expand": ["latest_charge"]})
    charge: Any = after.latest_charge
    assert (after.amount_received, charge.amount_captured, charge.captured, charge.paid) == (999, 999, True, True)
    assert charge.metadata["reference"] == "r-1"
    [received] = receiver.wait(made.id, "payment_intent.succeeded")
    event = stripe.Webhook.construct_event(
        received.body, received.headers["stripe-signature"], sandbox.keys["STRIPE_WEBHOOK_SECRET"]
    )
    assert (event.api_version, event.data.object["id"]) == (VERSION, made.id)
    receiver.wait(charge.id, "charge.succeeded")
    assert bank.v1.events.retrieve(event.id).type == "payment_intent.succeeded"
    moved = bank.v1.balance_transactions.retrieve(charge.balance_transaction)
    assert (moved.amount, moved.type) == (999, "charge")


@pytest.mark.parametrize(
    ("card", "decline_code"), [("4000000000000002", "generic_decline"), ("4000000000009995", "insufficient_funds")]
)
def test_published_cards_decline_and_another_try_pays(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver, card: str, decline_code: str
) -> None:
    made = intent(bank)

    handed = sandbox.stripe_checkout(made.id, card=card)

    assert (handed["error"]["code"], handed["error"]["decline_code"]) == ("card_declined", decline_code)
    after = bank.v1.payment_intents.retrieve(made.id)
    assert after.status == "requires_payment_method"
    assert after.last_payment_error
    assert after.last_payment_error.decline_code == decline_code
    receiver.wait(made.id, "payment_intent.payment_failed")
    sandbox.stripe_checkout(made.id)
    charges = bank.v1.charges.list({"payment_intent": made.id}).data
    assert [(one.status, one.failure_code) for one in charges] == [("succeeded", None), ("failed", "card_declined")]


def test_three_d_secure_asks_first(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = intent(bank)

    asked = sandbox.stripe_checkout(made.id, card="4000002500003155")
    assert asked["paymentIntent"]["status"] == "requires_action"
    refused = sandbox.stripe_checkout(made.id, "refuse")
    assert refused["error"]["code"] == "payment_intent_authentication_failure"
    assert not bank.v1.charges.list().data
    sandbox.stripe_checkout(made.id, card="4000002500003155")
    sandbox.stripe_checkout(made.id, "authenticate")

    assert bank.v1.payment_intents.retrieve(made.id).status == "succeeded"


def test_an_intent_can_be_confirmed_and_captured_by_the_api(bank: StripeClient) -> None:
    made = intent(bank, capture_method="manual", confirm=True, payment_method="pm_card_visa")
    assert (made.status, made.amount_capturable) == ("requires_capture", 999)

    taken = bank.v1.payment_intents.capture(made.id)

    assert (taken.status, taken.amount_received) == ("succeeded", 999)
    with pytest.raises(stripe.CardError) as declined:
        intent(bank, confirm=True, payment_method="pm_card_chargeDeclined")
    assert declined.value.http_status == 402


def test_a_paid_intent_cannot_be_canceled_an_open_one_can(sandbox: RunningSandbox, bank: StripeClient) -> None:
    open_one, done = intent(bank), intent(bank)
    sandbox.stripe_checkout(done.id)

    assert bank.v1.payment_intents.cancel(open_one.id, {"cancellation_reason": "abandoned"}).status == "canceled"
    for id in (open_one.id, done.id):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            bank.v1.payment_intents.cancel(id)
        assert refused.value.code == "payment_intent_unexpected_state"
    assert sandbox.stripe_checkout(open_one.id)["error"]["code"] == "payment_intent_unexpected_state"


def test_a_session_is_paid_on_its_page(sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver) -> None:
    made = session(bank, client_reference_id="r-1", payment_intent_data={"metadata": {"reference": "r-1"}},
                   metadata={"only": "here"})  # fmt: skip
    assert (made.status, made.payment_status, made.payment_intent) == ("open", "unpaid", None)
    assert made.url == f"{sandbox.stripe_url}/checkout/{made.id}"
    assert "Basic, 100 credits" in requests.get(made.url, timeout=10).text

    assert sandbox.stripe_checkout(made.id) == {"url": "http://shop.test/done"}

    after = bank.v1.checkout.sessions.retrieve(made.id, {"expand": ["payment_intent.latest_charge"]})
    paying: Any = after.payment_intent
    assert (after.status, after.payment_status, after.url) == ("complete", "paid", None)
    assert (paying.status, paying.metadata.to_dict(), paying.latest_charge.amount_captured) == (
        "succeeded", {"reference": "r-1"}, 999,
    )  # fmt: skip
    [received] = receiver.wait(made.id, "checkout.session.completed")
    assert received.json["data"]["object"]["payment_status"] == "paid"
    found = bank.v1.checkout.sessions.list({"payment_intent": paying.id}).data
    assert [one.id for one in found] == [made.id]
    [line] = bank.v1.checkout.sessions.line_items.list(made.id).data
    assert line.amount_total == 999


def test_a_session_is_expired_by_the_api_and_by_its_time(sandbox: RunningSandbox, bank: StripeClient) -> None:
    first, second = session(bank), session(bank)
    sandbox.stripe_checkout(first.id, "fail")

    assert bank.v1.checkout.sessions.expire(first.id).status == "expired"
    sandbox.advance(24 * 3600)

    wait_for(lambda: bank.v1.checkout.sessions.retrieve(second.id).status == "expired", "the session's end")
    [ended] = bank.v1.payment_intents.list().data
    assert ended.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        bank.v1.checkout.sessions.expire(first.id)
    assert "error" in sandbox.stripe_checkout(first.id)


def test_an_abandoned_session_stays_open(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = session(bank, cancel_url="http://shop.test/back")

    assert sandbox.stripe_checkout(made.id, "abandon") == {"url": "http://shop.test/back"}
    assert bank.v1.checkout.sessions.retrieve(made.id).status == "open"


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "setup"},
        {"line_items": []},
        {"ui_mode": "hosted"},
        {"client_reference_id": "r" * 201},
        {"expires_at": 5},
        {"customer": "cus_1", "customer_email": "a@example.test"},
        {"payment_method_types": ["card"]},
    ],
)
def test_a_bad_session_is_refused(bank: StripeClient, more: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        session(bank, **more)


def test_refunds_in_part_and_in_full(sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver) -> None:
    charge = paid(sandbox, bank)

    part = bank.v1.refunds.create({"charge": charge.id, "amount": 400, "metadata": {"refund": "x"}})
    assert (part.status, part.amount, part.charge) == ("succeeded", 400, charge.id)
    after = bank.v1.charges.retrieve(charge.id)
    assert (after.amount_refunded, after.refunded) == (400, False)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        bank.v1.refunds.create({"charge": charge.id, "amount": 600})
    bank.v1.refunds.create({"payment_intent": str(charge.payment_intent)})

    assert bank.v1.charges.retrieve(charge.id).refunded is True
    with pytest.raises(stripe.InvalidRequestError) as refused:
        bank.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"
    assert len(bank.v1.refunds.list({"charge": charge.id}).data) == 2
    receiver.wait(part.id, "refund.created")
    receiver.wait(charge.id, "charge.refunded", 2)


def test_magic_refunds_come_later_or_fail(sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver) -> None:
    charge = paid(sandbox, bank)

    later = bank.v1.refunds.create({"charge": charge.id, "amount": 102})
    failing = bank.v1.refunds.create({"charge": charge.id, "amount": 101})
    assert (later.status, failing.status) == ("pending", "pending")
    sandbox.advance(31)

    wait_for(lambda: bank.v1.refunds.retrieve(later.id).status == "succeeded", "the refund")
    receiver.wait(failing.id, "refund.failed")
    assert bank.v1.charges.retrieve(charge.id).amount_refunded == 102


@pytest.mark.parametrize(("verdict", "status"), [("win", "won"), ("lose", "lost")])
def test_a_dispute_runs_its_course(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver, verdict: str, status: str
) -> None:
    charge = paid(sandbox, bank)

    dispute = sandbox.stripe_dashboard("charges", charge.id, "dispute")
    assert bank.v1.charges.retrieve(charge.id).disputed is True
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        bank.v1.refunds.create({"charge": charge.id})
    sandbox.stripe_dashboard("disputes", dispute["id"], "review")
    sandbox.stripe_dashboard("disputes", dispute["id"], verdict)

    after = bank.v1.disputes.retrieve(dispute["id"])
    assert (after.status, after.amount, after.charge) == (status, 999, charge.id)
    receiver.wait(dispute["id"], "charge.dispute.created")
    receiver.wait(dispute["id"], "charge.dispute.closed")
    assert sandbox.call("POST", f"/stripe/dashboard/disputes/{dispute['id']}/lose").status_code == 400
    assert [one.id for one in bank.v1.disputes.list({"payment_intent": str(charge.payment_intent)}).data] == [after.id]


def test_an_inquiry_takes_no_money(sandbox: RunningSandbox, bank: StripeClient) -> None:
    charge = paid(sandbox, bank)

    asked = sandbox.stripe_dashboard("charges", charge.id, "inquire")
    sandbox.stripe_dashboard("disputes", asked["id"], "close")

    after = bank.v1.disputes.retrieve(asked["id"])
    assert (after.status, after.balance_transactions) == ("warning_closed", [])


def test_the_disputed_test_card_is_disputed_at_once(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = intent(bank)

    sandbox.stripe_checkout(made.id, card="4000000000000259")

    [dispute] = bank.v1.disputes.list().data
    assert (dispute.reason, dispute.payment_intent) == ("fraudulent", made.id)


def test_lists_page_by_id_within_their_window(bank: StripeClient) -> None:
    made = [intent(bank).id for _ in range(25)]
    now = int(time.time())

    first = bank.v1.payment_intents.list()
    assert ([one.id for one in first.data], first.has_more) == (made[::-1][:10], True)
    assert [one.id for one in bank.v1.payment_intents.list({"limit": 4}).auto_paging_iter()] == made[::-1]
    assert len(bank.v1.payment_intents.list({"created": {"gte": now - 60}, "limit": 100}).data) == 25
    assert not bank.v1.payment_intents.list({"created": {"gte": now + 60}}).data
    with pytest.raises(stripe.InvalidRequestError):
        bank.v1.payment_intents.list({"limit": 101})
    with pytest.raises(stripe.InvalidRequestError):
        bank.v1.payment_intents.list({"starting_after": "pi_nobody"})


def test_customers_are_kept(bank: StripeClient) -> None:
    made = bank.v1.customers.create({"email": "a@example.test", "metadata": {"user": "7"}})

    bank.v1.customers.update(made.id, {"name": "A. Person"})

    after = bank.v1.customers.retrieve(made.id)
    assert (after.email, after.name) == ("a@example.test", "A. Person")
    assert intent(bank, customer=made.id).customer == made.id


# Magic amounts ---------------------------------------------------------------------------------


def test_magic_amounts_mean_what_the_front_page_says(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver
) -> None:
    assert sandbox.stripe_checkout(intent(bank, 5001).id)["error"]["code"] == "card_declined"
    assert paid(sandbox, bank, 5005).amount_captured == 4905
    assert paid(sandbox, bank, 5006).amount_captured == 5106
    quiet = intent(bank, 5004)
    sandbox.stripe_checkout(quiet.id)
    five = intent(bank, 5003)
    sandbox.stripe_checkout(five.id)

    copies = receiver.wait(five.id, "payment_intent.succeeded", 5)
    assert len({one.body for one in copies}) == 1
    assert not receiver.about(quiet.id)


def test_amount_02_is_paid_thirty_seconds_later(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver
) -> None:
    made = session(bank, 5002)
    sandbox.stripe_checkout(made.id)

    [first] = receiver.wait(made.id, "checkout.session.completed")
    assert first.json["data"]["object"]["payment_status"] == "unpaid"
    [charge] = bank.v1.charges.list().data
    assert (charge.status, charge.captured) == ("pending", False)
    sandbox.advance(30)
    receiver.wait(made.id, "checkout.session.async_payment_succeeded")

    assert bank.v1.checkout.sessions.retrieve(made.id).payment_status == "paid"


def test_amount_07_sends_webhooks_before_the_answer(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver
) -> None:
    made = intent(bank, 5007)

    sandbox.stripe_checkout(made.id)

    assert receiver.about(made.id, "payment_intent.succeeded")


# Faults and pages ------------------------------------------------------------------------------


def test_faults_break_the_next_calls_only(sandbox: RunningSandbox, bank: StripeClient) -> None:
    for mode, kind in (
        ("500", stripe.APIError),
        ("429", stripe.RateLimitError),
        ("401", stripe.AuthenticationError),
        ("refuse", stripe.APIConnectionError),
        ("wrongtype", stripe.APIError),
    ):
        sandbox.fault("stripe", mode)
        with pytest.raises(kind):
            intent(bank)
    assert not bank.v1.payment_intents.list().data

    assert intent(bank).status == "requires_payment_method"


def test_a_json_body_is_refused_as_the_real_api_does(sandbox: RunningSandbox) -> None:
    answer = requests.post(
        f"{sandbox.stripe_url}/v1/payment_intents",
        data=json.dumps({"amount": 999, "currency": "usd"}),
        headers={"Authorization": f"Bearer {sandbox.keys['STRIPE_SECRET_KEY']}", "Content-Type": "application/json"},
        timeout=10,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_person_pays_on_the_page(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = session(bank, cancel_url="http://shop.test/back")
    pressed = f"{sandbox.stripe_url}/checkout/{made.id}"

    asked = requests.post(f"{pressed}/pay", data={"card": "4000002500003155"}, timeout=10)
    assert "3-D Secure" in asked.text
    done = requests.post(f"{pressed}/authenticate", timeout=10, allow_redirects=False)

    assert (done.status_code, done.headers["location"]) == (303, "http://shop.test/done")
    assert "declined" in requests.post(
        f"{sandbox.stripe_url}/checkout/{intent(bank).id}/pay", data={"card": "4000000000000002"}, timeout=10
    ).text  # fmt: skip
    assert requests.get(f"{sandbox.stripe_url}/checkout/nothing", timeout=10).status_code == 404


def test_dashboard_shows_everything(sandbox: RunningSandbox, bank: StripeClient) -> None:
    charge = paid(sandbox, bank, description="<script>alert(1)</script>")
    refund = sandbox.stripe_dashboard("charges", charge.id, "refund", amount="100")
    dispute = sandbox.stripe_dashboard("charges", charge.id, "dispute")

    page = requests.get(f"{sandbox.stripe_url}/dashboard", timeout=10).text

    for id in (charge.id, refund["id"], dispute["id"], str(charge.payment_intent)):
        assert id in page
    detail = requests.get(f"{sandbox.stripe_url}/dashboard/charges/{charge.id}", timeout=10).text
    assert charge.id in detail
    assert "<script>alert" not in detail
