"""The ten things that staff do most, each in a real browser, with what really comes of it."""

from __future__ import annotations

import csv
import io
import re
import uuid

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from audit.models import Approval
from billing.models import Payment, PaymentStart, StaffGrant
from inbox.models import Delivery
from notifications.models import Mail
from tests.browser.conftest import CHROMIUM, Desk
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import Stack, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here: `make browser` installs it"),
    pytest.mark.usefixtures("balanced"),
]


def find(page: Page, text: str) -> None:
    """Look for something as staff do: a slash, what they have in hand, Enter."""
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def press(page: Page, button: str, **given: str | bool) -> None:
    """Open an act's dialog, fill it in and send it."""
    act(page, button).first.click()
    send(page, button, **given)


def act(page: Page, button: str) -> Locator:
    """The button of an act: on an object's page it is a link in the admin's dress."""
    return page.get_by_role("button", name=button, exact=True).or_(page.get_by_role("link", name=button, exact=True))


def press_again(page: Page, button: str, shown: str) -> None:
    """Send a dialog once more that has shown what it would come to."""
    expect(page.locator("#modal-content").get_by_text("Nothing is done yet")).to_be_visible()
    expect(page.locator("#modal-content").get_by_text(re.compile(shown)).first).to_be_visible()
    send(page, f"Confirm: {button}")


def send(page: Page, button: str, **given: str | bool) -> None:
    dialog = page.locator("#modal-content")
    for name, value in given.items():
        field = dialog.locator(f"[name={name}]")
        field.check() if value is True else field.fill(str(value))
    dialog.get_by_role("button", name=button, exact=True).click()


def told(page: Page, what: str) -> None:
    """The console has loaded the page anew, and says what was done."""
    expect(page.locator("#modal-content #dialog")).to_have_count(0)
    expect(page.get_by_text(re.compile(what)).first).to_be_visible()


# --- Money ------------------------------------------------------------------------------------------------------------


def test_a_payment_is_found_by_what_the_gateway_calls_it(desk: Desk, customer: Customer) -> None:
    paid = customer.buy()
    start = PaymentStart.objects.get(payment_id=paid["id"])
    page = desk("support")

    for known_as in (start.ref, paid["id"]):
        find(page, known_as)
        page.wait_for_url(f"**/billing/payment/{paid['id']}/change/")
        expect(page.get_by_text("₹499.00").first).to_be_visible()
        expect(page.get_by_text(customer.email).first).to_be_visible()


def test_a_balance_is_explained_by_what_made_it(desk: Desk, customer: Customer) -> None:
    customer.buy()
    job = customer.ended(customer.headshot(customer.upload(portrait()))["id"])
    assert job["status"] == "succeeded"
    balance = customer.balance()["balance"]
    page = desk("support")

    find(page, customer.email)

    page.wait_for_url("**/admin/customer/**")
    card = page.locator("article", has=page.get_by_role("heading", name="Credits", exact=True))
    expect(card.get_by_text(f"{balance} credits").first).to_be_visible()
    moves = page.locator(".timeline li", has=page.get_by_text(re.compile("^\\s*Credits: "))).locator(".amount")
    expect(moves).not_to_have_count(0)
    amounts = [int(re.sub(r"[^\d-]", "", shown)) for shown in moves.all_inner_texts()]
    assert sum(amounts) == balance
    lots = page.locator("article", has=page.get_by_role("heading", name="Lots")).locator("li a").all_inner_texts()
    assert sum(int(lot.split()[0].replace(",", "")) for lot in lots) == balance
    expect(page.get_by_alt_text("What the job made")).to_be_visible()


def test_a_part_is_paid_back_for_a_reason(desk: Desk, customer: Customer) -> None:
    paid = customer.buy()
    before = customer.balance()["balance"]
    page = desk("finance")
    find(page, paid["id"])

    press(page, "Refund", amount="249.50", reason="Half of it was of no use.")
    press_again(page, "Refund", "105 credits → 55 credits")
    told(page, "The refund is")
    until(lambda: Payment.objects.get(pk=paid["id"]).refunded == 24_950, "the gateway has paid it back")
    assert customer.ok("GET", f"payments/{paid['id']}")["status"] == "partially_refunded"
    assert before - customer.balance()["balance"] == 50
    page.reload()
    expect(page.get_by_text("Half of it was of no use.").first).to_be_visible()
    assert until(lambda: customer.mails("on their way back"), "the customer is told by mail")


def test_a_great_grant_takes_a_second_person(desk: Desk, customer: Customer) -> None:
    maker = desk("finance")
    find(maker, customer.email)
    press(maker, "Give credits", amount="600", reason="A day of lost work.")
    press_again(maker, "Give credits", "becomes a request")
    told(maker, "waits for a colleague's approval")
    assert customer.balance()["balance"] == 5

    approval = f"{Approval.objects.latest('created_at').pk}"
    find(maker, approval)
    press(maker, "Approve", reason="I think so myself.")
    expect(maker.get_by_text("Somebody else has to decide")).to_be_visible()
    assert Approval.objects.get(pk=approval).state == "pending"
    assert customer.balance()["balance"] == 5

    checker = desk("finance")
    checker.get_by_role("link", name="Approvals asked for").click()
    checker.get_by_role("link", name=re.compile("600")).first.click()
    press(checker, "Approve", reason="Seen in their ticket.")
    press_again(checker, "Approve", "5 credits → 605 credits")
    told(checker, "Approved and done")
    assert customer.balance()["balance"] == 605
    grant = StaffGrant.objects.get(approval_id=approval)
    assert (grant.amount, grant.approval.requester_id == grant.approval.approver_id) == (600, False)


# --- Jobs -------------------------------------------------------------------------------------------------------------


def test_a_failed_job_is_made_after_all(stack: Stack, desk: Desk, customer: Customer) -> None:
    customer.buy()
    refusal = {"provider": "magic-hour", "mode": "400", "path": "/v1/ai-headshot-generator"}
    requests.post(f"{stack.sandbox}/control/faults", json=refusal, timeout=60).raise_for_status()
    job = customer.ended(customer.headshot(customer.upload(portrait()))["id"])
    assert (job["status"], customer.balance()["available"]) == ("failed", 105)
    page = desk("support")
    find(page, job["id"])

    press(page, "Retry", reason="Tried again for the customer.")

    told(page, "Ordered again: round 2, 50 credits held")
    assert customer.ended(job["id"])["status"] == "succeeded"
    assert customer.balance()["balance"] == 55
    page.reload()
    expect(page.get_by_alt_text("What it made").first).to_be_visible()


def test_a_stuck_job_is_ended_and_its_credits_are_free(desk: Desk, customer: Customer) -> None:
    customer.buy()
    job = customer.headshot(customer.upload(portrait()), style_prompt="sandbox:late")
    assert customer.balance()["available"] == 55
    page = desk("support")
    find(page, job["id"])

    press(page, "Release", reason="It would take until tomorrow.")

    told(page, "the credits are free again")
    assert customer.ended(job["id"])["status"] == "failed"
    assert customer.balance()["available"] == 105
    expect(act(page, "Release")).to_have_count(0)


# --- Messages ---------------------------------------------------------------------------------------------------------


def test_a_webhook_is_handled_again_once_it_is_seen_what_that_does(
    stack: Stack, desk: Desk, customer: Customer
) -> None:
    paid = customer.buy()
    stack.hear_all()
    ref = PaymentStart.objects.get(payment_id=paid["id"]).ref.encode()
    heard = until(
        lambda: next((d for d in Delivery.objects.filter(state="processed") if ref in bytes(d.body)), None),
        "it is handled",
    )
    page = desk("ops")
    find(page, str(heard.pk))

    press(page, "Replay", reason="The customer misses credits.")
    press_again(page, "Replay", "[Nn]othing")

    told(page, "It is handled again at once")
    until(lambda: Delivery.objects.get(pk=heard.pk).handled_at > heard.handled_at, "it is handled again")
    assert customer.balance()["balance"] == 105


def test_a_mail_is_sent_again(desk: Desk, customer: Customer) -> None:
    first = until(lambda: customer.mails("welcome"), "the welcome mail")
    assert len(first) == 1
    mail = Mail.objects.get(user__email=customer.email, name="welcome")
    page = desk("support")
    find(page, str(mail.pk))
    expect(page.frame_locator("iframe").get_by_role("link").first).to_be_visible()

    press(page, "Send again", reason="They deleted it by mistake.")

    told(page, f"Queued again, to {customer.email}")
    again = until(lambda: len(customer.mails("welcome")) == 2 and customer.mails("welcome"), "it comes again")
    assert again[0]["text"] == again[1]["text"]
    expect(act(page, "Send again")).to_have_count(0)


# --- Traces and switches ----------------------------------------------------------------------------------------------


def test_what_was_done_to_a_person_is_exported(desk: Desk, customer: Customer) -> None:
    page = desk("finance")
    page.get_by_role("link", name="Audit log").click()
    page.locator("[name=user]").fill(customer.email)
    page.keyboard.press("Enter")
    expect(page.locator("#result_list").get_by_text("user.registered").first).to_be_visible()

    page.get_by_role("button", name=re.compile("csv", re.I)).click()
    expect(page.get_by_text("It is being written").first).to_be_visible()

    def ready() -> bool:
        page.reload()
        return page.get_by_role("link", name="Download").is_visible()

    until(ready, "the file is ready")
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download").click()
    rows = list(csv.DictReader(io.StringIO(coming.value.path().read_text("utf-8-sig"))))
    assert {"user.registered", "user.verified"} <= {row["action"] for row in rows}


def test_a_provider_is_switched_off_and_on(desk: Desk, customer: Customer) -> None:
    def ask() -> requests.Response:
        return customer.send("POST", "images", key=uuid.uuid4().hex, json={"prompt": "A lighthouse at dusk."})

    customer.buy()
    page = desk("ops")
    page.get_by_role("link", name="Providers").click()
    page.get_by_role("link", name="xai").first.click()

    press(page, "Switch provider off", reason="They are down.")
    press_again(page, "Switch provider off", "image, Picture")
    told(page, "Off: ")
    refused = ask()
    assert (refused.status_code, refused.json()["error"]) == (503, "operation_unavailable")
    assert customer.balance()["available"] == 105

    press(page, "Switch provider on", reason="They are back.")
    press_again(page, "Switch provider on", "image, Picture")
    told(page, "On: ")
    assert ask().status_code == 202
