"""The front page and the studio, as somebody does who has just typed `make run`; and whoever does not do as told."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from core.ids import new_id
from tests.browser.conftest import CHROMIUM
from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.stack import Stack, until

NAME = "<img src=x onerror=alert(1)>"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here: `make browser` installs it"),
    pytest.mark.usefixtures("balanced"),
]


def test_somebody_signs_up_buys_and_sees_their_picture(stack: Stack, page: Page) -> None:
    page.goto(stack.url)
    expect(page.get_by_text("Health: ok")).to_be_visible()
    page.get_by_role("link", name="Open the studio").click()

    page.get_by_label("First name").fill(NAME)
    page.get_by_label("E-mail address").fill("nora@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create my account").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Ensure this field has at least 8 characters.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Confirm your mailbox")).to_be_focused()
    nora = as_in(page, Customer(stack, "nora@example.com"))
    until(lambda: nora.mails("confirm"), "the verification mail")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the mailbox").click()
    mailbox = opened.value
    mailbox.get_by_role("link", name=re.compile("confirm", re.I)).click()
    with mailbox.expect_popup() as opened:
        mailbox.frame_locator("iframe").get_by_role("link", name=re.compile("confirm", re.I)).first.click()
    opened.value.get_by_role("button").click()
    expect(opened.value.get_by_role("heading", name="Your address is confirmed")).to_be_visible()

    expect(page.get_by_role("heading", name="Get credits")).to_be_visible()
    expect(page.get_by_text(NAME)).to_be_visible()
    page.get_by_role("button", name="Buy Basic").dblclick()
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Thank you: Basic, 100 credits, paid.")
    expect(page.get_by_title("Get credits")).to_have_text("105 credits")

    expect(page.get_by_role("heading", name="Make a headshot")).to_be_visible()
    photo = page.locator("[name=photo]")
    photo.set_input_files({"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"})
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("is not a JPEG, PNG, GIF or WebP picture")
    photo.set_input_files({"name": "me.jpg", "mimeType": "image/jpeg", "buffer": portrait()})
    expect(page.get_by_alt_text("Your photo")).to_be_visible()
    page.get_by_label("Style").fill("navy suit, sandbox:slow")
    page.get_by_role("button", name="Make my headshot").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("the person pictured agrees")
    page.get_by_label("agrees").check()
    page.get_by_role("button", name="Make my headshot").dblclick()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.reload()

    picture = page.get_by_alt_text("The headshot: navy suit, sandbox:slow")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 300
    expect(page.locator("#gallery img")).to_have_count(1)
    expect(page.get_by_title("Get credits")).to_have_text("55 credits")
    counts = {what: nora.ok("GET", what)["count"] for what in ("payments", "photos", "headshots")}
    assert counts == {"payments": 1, "photos": 1, "headshots": 1}

    nora.ok("POST", "auth/logout")
    page.reload()
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("This session has ended; sign in again.")
    page.get_by_role("button", name="Sign in instead").click()
    page.get_by_label("E-mail address").fill("nora@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_alt_text("The headshot: navy suit, sandbox:slow")).to_be_visible()


def test_a_checkout_that_was_left_can_be_gone_back_to_or_given_up(stack: Stack, page: Page) -> None:
    olaf = Customer(stack, "olaf@example.com")
    olaf.join()
    page.goto(f"{stack.url}/studio")
    page.get_by_role("button", name="Sign in instead").click()
    page.get_by_label("E-mail address").fill(olaf.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Buy Premium").click()
    expect(page.get_by_role("button", name="Pay", exact=True)).to_be_visible()

    page.go_back()
    page.get_by_role("button", name="Buy Premium").click()
    page.get_by_role("button", name="Abandon").click()
    expect(page.get_by_role("heading", name="We have not seen the money yet")).to_be_visible()
    page.get_by_role("link", name="Back to the checkout").click()
    page.get_by_role("button", name="Abandon").click()
    page.get_by_role("button", name="Cancel this payment").click()

    expect(page.get_by_role("status")).to_have_text("The payment has ended as canceled; nothing was bought.")
    expect(page.get_by_role("heading", name="Get credits")).to_be_visible()
    page.goto(f"{stack.url}/studio?payment={new_id()}")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("There is nothing here.")
    expect(page.get_by_role("heading", name="Get credits")).to_be_visible()
    (payment,) = olaf.ok("GET", "payments")["results"]
    assert (payment["status"], olaf.balance()["available"]) == ("canceled", 5)


def as_in(page: Page, person: Customer) -> Customer:
    """The person with the session of this tab."""
    person.token = json.loads(page.evaluate("sessionStorage.getItem('studio.session')"))["access"]
    return person
