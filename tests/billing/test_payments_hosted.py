"""Hosted flow: a link that works in any browser, and the way back to where the client wanted."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import checkouts, payments
from billing.models import Payment
from tests import books
from tests.billing.buying import available, fresh, order_of, pay, start
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db
APP = "https://app.example.com"


@pytest.fixture(autouse=True)
def origins(settings: Settings) -> None:
    settings.ALLOWED_ORIGINS = [APP]


def hosted(user: User, return_url: str = "") -> Payment:
    return start(user, flow="hosted", return_url=return_url)


def path_of(url: str) -> str:
    return urlsplit(url).path


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/",
        "https://app.example.com.evil.com/",
        "https://app.example.com@evil.com/",
        "https://user:x@app.example.com/",
        "http://app.example.com/",
        "javascript:alert(1)",
        "//app.example.com/",
        "https://app.example.com:444/",
    ],
)
def test_only_our_own_origins_can_be_returned_to(alice: User, sandbox: RunningSandbox, url: str) -> None:
    body = {"item": "package:BASIC", "gateway": "razorpay", "flow": "hosted", "return_url": url}

    response = api(alice, **{"Idempotency-Key": "a"}).post("/api/v1/payments", body)

    assert response.status_code == 400
    assert response.json()["details"][0]["field"] == "return_url"
    assert not Payment.objects.exists()


def test_the_checkout_url_is_never_null_in_hosted_flow(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice)

    assert checkouts.url_of(payment) == f"{sandbox.razorpay_url}/checkout/{order_of(payment)}"
    payments.cancel(payment)
    closed = checkouts.url_of(checkouts.payment(payment.pk))
    assert closed
    assert b"not completed" in Client().get(path_of(closed)).content
    assert checkouts.url_of(start(alice, "credits:10")) is None


def test_a_stand_in_brings_the_browser_back_through_us(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice, f"{APP}/paid?tab=1&payment=forged#top")
    url = urlsplit(str(checkouts.url_of(payment)))
    [callback] = parse_qs(url.query)["callback_url"]
    handed = pay(sandbox, payment)

    response = Client().post(path_of(callback), handed)

    assert response.status_code == 303
    assert response["Location"] == f"{APP}/paid?tab=1&payment={payment.pk}#top"
    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    assert Client().post(path_of(callback), handed).status_code == 303
    assert available(alice) == 105
    books.check()


def test_the_real_razorpay_is_paid_on_our_own_page(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    payment = hosted(alice, f"{APP}/paid")
    settings.RAZORPAY_BASE_URL = "https://api.razorpay.com"
    url = str(checkouts.url_of(payment))
    assert url.startswith(f"{settings.PUBLIC_URL}/pay/")

    page = Client().get(path_of(url))

    text = page.content.decode()
    assert page.status_code == 200
    assert "https://checkout.razorpay.com/v1/checkout.js" in text
    assert order_of(payment) in text
    assert "₹499.00" in text
    assert "/done" in text
    assert f"{APP}/paid?payment={payment.pk}" in text
    assert "no-store" in page["Cache-Control"]


def test_a_forged_return_still_goes_back_and_moves_nothing(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice, f"{APP}/paid")
    forged = {
        "razorpay_order_id": order_of(payment),
        "razorpay_payment_id": "pay_forged",
        "razorpay_signature": "0" * 64,
    }

    response = Client().post(path_of(checkouts.done_url(payment.pk)), forged)

    assert response["Location"] == f"{APP}/paid?payment={payment.pk}"
    assert fresh(payment).state == "pending"


def test_the_way_back_works_while_the_gateway_is_away(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice, f"{APP}/paid")
    sandbox.fault("razorpay", "500", count=None)

    response = Client().get(path_of(checkouts.done_url(payment.pk)))

    assert response.status_code == 303
    sandbox.clear_faults()


def test_without_a_return_url_our_page_tells_how_it_ended(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice)
    done = path_of(checkouts.done_url(payment.pk))
    assert b"not seen the money yet" in Client().get(done).content

    pay(sandbox, payment)

    assert b"Thank you" in Client().get(done).content
    assert b"Thank you" in Client().get(path_of(checkouts.page_url(payment.pk))).content


def test_a_link_cannot_be_made_up(alice: User, sandbox: RunningSandbox) -> None:
    payment = hosted(alice)
    signed = checkouts.page_url(payment.pk).rsplit("/", 1)[1]

    for wrong in (str(payment.pk), signed[:-1] + ("A" if signed[-1] != "A" else "B"), "x"):
        assert Client().get(f"/pay/{wrong}").status_code == 404
        assert Client().post(f"/pay/{wrong}/done", {}).status_code == 404
    assert Client().post(f"/pay/{signed}").status_code == 405


def test_whoever_comes_back_again_and_again_makes_us_look_only_so_often(
    alice: User, sandbox: RunningSandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"returns": (3, 86_400, "payment")}
    payment, other = hosted(alice, f"{APP}/paid"), start(alice, "credits:10", flow="hosted", return_url=f"{APP}/x")
    looks: list[Payment] = []
    monkeypatch.setattr(payments, "verify", lambda looked_at, claim: looks.append(looked_at))

    for _ in range(6):
        response = Client().get(path_of(checkouts.done_url(payment.pk)))
        assert response["Location"] == f"{APP}/paid?payment={payment.pk}"
    Client().get(path_of(checkouts.done_url(other.pk)))

    assert looks == [payment] * 3 + [other]
