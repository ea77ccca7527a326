"""The pages people see, in a real browser: the mailed link, the checkout, the documentation, the console."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from tests.accounts.authenticator import code_of
from tests.browser.conftest import CHROMIUM
from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.stack import Stack, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here: `make browser` installs it"),
    pytest.mark.usefixtures("balanced"),
]


def test_a_person_verifies_pays_and_staff_see_it(stack: Stack, page: Page) -> None:
    boss = User.objects.create_superuser("boss@example.com", PASSWORD)
    alice = Customer(stack, "alice@example.com")
    alice.ok("POST", "auth/register", json={"email": alice.email, "password": PASSWORD})
    mail = until(lambda: alice.mails("confirm"), "the verification mail")[0]
    link = re.search(r"http://\S+/verify-email/\S+", mail["text"])
    assert link

    page.goto(link[0])
    page.get_by_role("button").click()
    expect(page.get_by_text(re.compile("confirmed|verified", re.I)).first).to_be_visible()

    alice.token = alice.ok("POST", "auth/login", json={"email": alice.email, "password": PASSWORD})["access"]
    assert alice.balance()["available"] == 5
    payment = alice.ok(
        "POST",
        "payments",
        key="hosted",
        json={
            "item": "package:BASIC",
            "gateway": "razorpay",
            "flow": "hosted",
            "return_url": "http://localhost:5173/paid",
        },
    )
    page.route("http://localhost:5173/**", lambda route: route.fulfill(body="back in the shop"))
    page.goto(payment["checkout_url"])
    page.get_by_role("button", name=re.compile("^pay", re.I)).first.click()
    expect(page.get_by_text("back in the shop")).to_be_visible()
    assert f"payment={payment['id']}" in page.url
    assert alice.settled(payment["id"])["status"] == "succeeded"
    job = alice.ended(alice.headshot(alice.upload(portrait()))["id"])
    assert job["status"] == "succeeded"

    stack.hear_all()
    page.goto(f"{stack.url}/admin/")
    page.locator("[name=username]").fill(boss.email)
    page.locator("[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    secret = base64.b32decode(page.locator("#secret").inner_text().replace(" ", "")).hex()
    page.locator("[name=code]").fill(code_of(secret))
    page.keyboard.press("Enter")
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("heading", name="What needs a human now")).to_be_visible()
    for place, shown in (
        ("billing/payment", "succeeded"),
        ("billing/ledgerentry", "49,900|49900|100"),
        ("generation/generation", "succeeded"),
        ("audit/auditlog", "generation.succeeded"),
        ("notifications/mail", "welcome"),
        ("inbox/delivery", "payment.captured"),
    ):
        page.goto(f"{stack.url}/admin/{place}/")
        expect(page.locator("#result_list, table").get_by_text(re.compile(shown, re.I)).first).to_be_visible()


def test_a_forgotten_password_and_a_new_address(stack: Stack, page: Page) -> None:
    alice = Customer(stack, "anna@example.com")
    alice.join()
    new = "staple battery horse 4"

    alice.ok("POST", "auth/forgot-password", json={"email": alice.email})
    page.goto(_link(alice, "new password", "reset-password"))
    page.get_by_label("New password").fill("Sunshine2024")
    page.get_by_label("The same once more").fill("Sunshine2024")
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile("leaked"))
    page.get_by_label("New password").fill(new)
    page.get_by_label("The same once more").fill(new)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Your password is changed")).to_be_visible()
    assert alice.ask("GET", "users/me").json()["error"] == "session_ended"
    assert until(lambda: alice.mails("password .* was changed"), "the mail that tells of it")

    alice.token = alice.ok("POST", "auth/login", json={"email": alice.email, "password": new})["access"]
    moved = Customer(stack, "anna@new.example.com")
    alice.ok("POST", "auth/change-email", json={"password": new, "email": moved.email})
    page.goto(_link(moved, "confirm your new", "confirm-email"))
    expect(page.get_by_text(moved.email)).to_be_visible()
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Your address is changed")).to_be_visible()
    assert alice.ok("GET", "users/me")["email"] == moved.email
    assert until(lambda: alice.mails("address .* was changed"), "the mail to the old address")
    assert alice.balance()["available"] == 5


def _link(person: Customer, subject: str, path: str) -> str:
    """The link in a mail to the person."""
    mail = until(lambda: person.mails(subject), f"the mail about {subject}")[0]
    link = re.search(rf"http://\S+/{path}/\S+", mail["text"])
    assert link
    return link[0]


def test_the_hosted_pages_of_stripe_and_monnify_take_the_money(stack: Stack, page: Page) -> None:
    alice = Customer(stack, "ada@example.com")
    alice.join()
    page.route("http://localhost:5173/**", lambda route: route.fulfill(body="back in the shop"))

    def order(**item: str) -> str:
        hosted = {"flow": "hosted", "return_url": "http://localhost:5173/paid"}
        payment = alice.ok("POST", "payments", key=item["gateway"], json=item | hosted)
        page.goto(payment["checkout_url"])
        return str(payment["id"])

    def back_in_the_shop(payment: str) -> None:
        expect(page.get_by_text("back in the shop")).to_be_visible()
        assert f"payment={payment}" in page.url
        assert alice.settled(payment)["status"] == "succeeded"

    def pay_by_a_card_that_asks() -> None:
        page.get_by_label("Test card").select_option("4000002500003155")
        page.get_by_role("button", name="Pay", exact=True).click()
        expect(page.get_by_text("3-D Secure: your bank asks")).to_be_visible()

    payment = order(item="package:BASIC", gateway="stripe", currency="USD")
    pay_by_a_card_that_asks()
    page.get_by_role("button", name="It is not me").click()
    expect(page.get_by_role("heading", name="Payment failed")).to_be_visible()
    assert alice.balance()["available"] == 5
    page.get_by_role("link", name="Back to the checkout").click()
    pay_by_a_card_that_asks()
    page.get_by_role("button", name="It is me").click()
    back_in_the_shop(payment)
    assert alice.balance()["available"] == 105

    payment = order(item="wallet:primary:500000", gateway="monnify")
    page.get_by_label("Method").select_option("CARD")
    page.get_by_role("button", name="Pay", exact=True).click()
    back_in_the_shop(payment)
    (primary,) = [one for one in alice.ok("GET", "wallets")["results"] if one["kind"] == "primary"]
    assert (primary["unit"], primary["balance"]) == ("NGN", 500_000)


def test_the_documentation_is_served_by_us_and_lists_every_area(stack: Stack, page: Page) -> None:
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith(stack.url) else None)
    # what the page's own policy forbids never leaves the browser
    page.on("requestfailed", lambda request: elsewhere.remove(request.url) if request.failure == "csp" else None)

    page.goto(f"{stack.url}/api")

    expect(page.get_by_text("/api/v1/headshots").first).to_be_visible()
    expect(page.get_by_text("/api/v1/payments/{id}/verify").first).to_be_visible()
    page.goto(f"{stack.url}/redoc")
    expect(page.get_by_role("heading", name="Order a headshot")).to_be_visible()
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
