"""What is sold changes by four eyes alone: through the function and the console; what has begun keeps its price."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit import approvals
from audit.models import Approval, AuditLog
from billing import payments, plans, pricing, staff_offers, staff_prices, subscriptions
from billing.models import CreditPrice, Package, Payment, Plan, SubscriptionChange
from core.errors import Conflict, Invalid, NotFound, PermissionDenied
from core.ids import new_id
from tests import books, pressing
from tests.billing import striping
from tests.billing.buying import available, together
from tests.billing.test_subscriptions import begun, call, first_paid, fresh, live_lots, living, tick
from tests.people import PASSWORD, api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

WHY = "Costs have risen."


@pytest.fixture
def colleague(finance: User) -> User:
    """A second member of finance."""
    user: User = User.objects.create_user("second@example.test", PASSWORD, is_staff=True)
    user.groups.set(finance.groups.all())
    return user


def package(currency: str = "INR") -> Package:
    return Package.objects.get(code="BASIC", currency=currency)


def plan(code: str = "starter", interval: str = "month") -> Plan:
    return Plan.objects.get(code=code, interval=interval, retired_at=None)


def ask(actor: User, row: staff_prices.Priced, *, request_id: Any = None, **new: Any) -> Approval:
    return staff_prices.ask(
        request_id=request_id or new_id(),
        kind=staff_prices.kind_of(row),
        row_id=row.pk,
        new=staff_prices.figures(row) | new,
        reason=WHY,
        actor=actor,
    )


def change(finance: User, colleague: User, row: staff_prices.Priced, **new: Any) -> None:
    approvals.approve(ask(finance, row, **new).pk, approver=colleague, reason="Yes.")


# --- Asking and approving ---------------------------------------------------------------------------------------------


def test_a_price_changes_when_a_colleague_lets_it(finance: User, colleague: User) -> None:
    waiting = ask(finance, package(), amount=59_900, credits=120)

    assert waiting.summary == "BASIC INR: amount: ₹499.00 → ₹599.00, credits: 100 → 120"
    assert package().amount == 49_900
    with pytest.raises(PermissionDenied):
        approvals.approve(waiting.pk, approver=finance, reason="Mine.")
    with pytest.raises(IntegrityError, match="approval_by_another"), transaction.atomic():
        Approval.objects.filter(pk=waiting.pk).update(state="approved", approver=finance, decided_at="2026-01-01T00Z")
    approvals.approve(waiting.pk, approver=colleague, reason="Yes.")

    assert (package().amount, package().credits, package("USD").amount) == (59_900, 120, 999)
    row = AuditLog.objects.get(action="package.repriced")
    assert row.old
    assert row.new
    assert (row.old["amount"], row.new["amount"], row.actor_id) == (49_900, 59_900, finance.pk)
    assert (row.entity_id, row.metadata["reason"]) == (str(package().pk), WHY)


@pytest.mark.django_db(transaction=True)
def test_the_kept_lists_show_it_at_once(finance: User, colleague: User) -> None:
    def shown() -> set[int]:
        lists = api().get("/api/v1/credits/packages").json(), api().get("/api/v1/payments/pricing").json()
        listed = api().get("/api/v1/subscriptions/plans").json()
        return {int(found) for found in re.findall(r"'amount': (\d+)", str((lists, listed)))}

    assert {49_900, 999, 500} <= shown()

    for row, amount in ((package(), 59_900), (plan(), 1_099), (CreditPrice.objects.get(), 600)):
        change(finance, colleague, row, amount=amount)

    approvals.approve(offer(finance, package(), code="TINY", amount=9_911).pk, approver=colleague, reason="Yes.")

    assert {59_900, 1_099, 600, 9_911} <= shown()
    assert not {49_900, 500} & shown()


def test_what_is_withdrawn_is_not_sold(finance: User, colleague: User) -> None:
    change(finance, colleague, package(), is_for_sale=False)
    change(finance, colleague, plan(), is_for_sale=False)

    with pytest.raises(Invalid):
        plans.named("starter", "month")
    with pytest.raises(Exception, match="not sold in INR"):
        pricing.quote("package:BASIC", "INR")
    assert plan().edition == 1  # withdrawing changes nobody's terms


def test_only_finance_asks_and_approves(finance: User, support: User, ops: User, alice: User) -> None:
    for actor in (support, ops, alice):
        with pytest.raises(PermissionDenied):
            ask(actor, package(), amount=1)
    waiting = ask(finance, package(), amount=59_900)
    for actor in (support, ops, alice):
        with pytest.raises(PermissionDenied):
            approvals.approve(waiting.pk, approver=actor, reason="Yes.")
    assert package().amount == 49_900


@pytest.mark.parametrize(
    ("kind", "new"),
    [
        ("package", {}),
        ("package", {"amount": 0}),
        ("package", {"credits": 0}),
        ("package", {"credits": 2**31}),
        ("package", {"name": ""}),
        ("credit_price", {"least": 0}),
        ("credit_price", {"least": 2_000}),
        ("credit_price", {"amount": -1}),
        ("plan", {"amount": 0}),
        ("plan", {"max_avatars": 0}),
    ],
)
def test_what_cannot_be_sold_is_not_asked_for(finance: User, kind: str, new: dict[str, int]) -> None:
    row = {"package": package(), "credit_price": CreditPrice.objects.get(), "plan": plan()}[kind]

    with pytest.raises(Invalid):
        ask(finance, row, **new)

    assert not Approval.objects.exists()


def test_what_does_not_exist_is_not_found(finance: User) -> None:
    with pytest.raises(NotFound):
        ask(finance, Package(id=new_id(), currency="INR", amount=1), amount=2)
    with pytest.raises(Invalid):
        staff_prices.ask(
            request_id=new_id(), kind="package", row_id=package().pk, new={"code": "X"}, reason=WHY, actor=finance
        )


def test_sent_twice_it_is_asked_once(finance: User) -> None:
    request_id = new_id()

    first, again = (ask(finance, package(), request_id=request_id, amount=59_900) for _ in range(2))

    assert first.pk == again.pk
    with pytest.raises(Conflict):
        ask(finance, package(), request_id=request_id, amount=69_900)
    assert Approval.objects.count() == 1


def test_what_has_changed_meanwhile_is_asked_for_anew(finance: User, colleague: User) -> None:
    dearer, larger = ask(finance, package(), amount=59_900), ask(finance, package(), credits=50)
    approvals.approve(dearer.pk, approver=colleague, reason="Yes.")

    with pytest.raises(Conflict, match="anew"):
        approvals.approve(larger.pk, approver=colleague, reason="Yes.")

    assert (package().amount, package().credits) == (59_900, 100)
    waiting = ask(finance, plan(), amount=1_099)
    old = plan()
    change(finance, colleague, plan(), credits=90)
    with pytest.raises(Conflict):
        approvals.approve(waiting.pk, approver=colleague, reason="Yes.")
    with pytest.raises(Conflict, match="replaced"):
        ask(finance, old, amount=1_099)


@pytest.mark.django_db(transaction=True)
def test_at_once_one_of_two_changes_happens(finance: User, colleague: User) -> None:
    asked = [ask(finance, plan(), amount=amount) for amount in (1_099, 1_199)]

    done = together(
        *[lambda one=one: approvals.approve(one.pk, approver=colleague, reason="Yes.") for one in asked for _ in "ab"]
    )

    assert sorted(type(one).__name__ for one in done) == ["Approval", "Conflict", "Conflict", "Conflict"]
    assert Plan.objects.filter(code="starter", interval="month").count() == 2
    assert plan().amount in (1_099, 1_199)


# --- What has begun ---------------------------------------------------------------------------------------------------


def test_a_payment_that_has_begun_keeps_its_price(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox
) -> None:
    payment = striping.start(alice)

    change(finance, colleague, package("USD"), amount=1_299, credits=50)
    striping.pay(sandbox, payment)
    settled = payments.refresh(payment)

    assert (settled.state, settled.amount, settled.granted) == ("succeeded", 999, 100)
    assert striping.start(alice).amount == 1_299
    books.check()


def test_subscribers_keep_theirs_and_the_next_one_gets_a_new_price_at_the_gateway(
    alice: User, bob: User, finance: User, colleague: User, sandbox: RunningSandbox
) -> None:
    row, waiting = living(sandbox, alice), begun(bob)
    old = row.plan

    change(finance, colleague, plan(), amount=1_299, credits=80, max_avatars=2)
    subscriptions.refresh(row)
    first_paid(sandbox, waiting)
    subscriptions.refresh(waiting)

    assert (fresh(waiting).plan, fresh(waiting).state, available(bob)) == (old, "active", 105)
    row = tick(sandbox, row)
    assert (row.plan, live_lots(alice), plans.avatar_limit(alice.pk)) == (old, [("subscription", 100)], 3)
    assert set(Payment.objects.values_list("amount", flat=True)) == {999}
    # Asked for what they have, they keep it; another plan and back is today's price.
    kept = call(alice, "put", f"/{row.pk}", {"plan": "starter"}).json()
    assert (kept["plan"]["price"]["amount"], kept["next_plan"]) == (999, None)
    subscriptions.cancel(waiting, at_once=True)
    later = living(sandbox, bob)
    assert (later.plan, later.plan.edition, available(bob)) == (plan(), 2, 85)
    assert later.plan.price_ref not in (None, old.price_ref)
    assert Payment.objects.filter(amount=1_299, granted=80).count() == 1
    books.check()


def test_an_upgrade_whose_price_changed_before_it_was_seen_gives_what_was_asked(
    alice: User, finance: User, colleague: User, sandbox: RunningSandbox
) -> None:
    row = living(sandbox, alice)
    call_command("sync_plans")
    sandbox.fault("stripe", "refuse", when="after", method="POST", path="/subscriptions/")
    assert call(alice, "put", f"/{row.pk}", {"plan": "pro"}).status_code == 502

    change(finance, colleague, plan("pro"), amount=3_999)
    subscriptions.refresh(row)

    asked = SubscriptionChange.objects.get()
    assert (asked.state, asked.new_plan.amount, available(alice)) == ("applied", 2_999, 105 + asked.credits)
    assert fresh(row).plan == asked.new_plan
    books.check()


# --- The console ------------------------------------------------------------------------------------------------------


def press(actor: User, act: str, pk: Any, **form: Any) -> Any:
    client = Client()
    client.force_login(actor)
    return client.post(reverse(f"admin:billing_{act}", args=[pk]), {"reason": WHY, "_form_submitted": "True"} | form)


def test_the_console_shows_the_change_before_it_asks(finance: User, colleague: User, support: User, ops: User) -> None:
    row, client = package(), Client()
    client.force_login(finance)
    assert "Change" in client.get(reverse("admin:billing_package_change", args=[row.pk])).content.decode()
    opened = client.get(reverse("admin:billing_package_change_price", args=[row.pk])).content.decode()
    assert 'value="499.00"' in opened  # begins with what is
    form = {"name": "Basic", "amount": "599.00", "credits": 100, "is_popular": "on", "is_shown": "on"}
    form |= {"is_for_sale": "on", "request_id": new_id()}

    shown = press(finance, "package_change_price", row.pk, **form).content.decode()

    assert not Approval.objects.exists()
    assert "<li>amount: ₹499.00 → ₹599.00</li><li>stays: $9.99 in USD</li>" in shown
    seen = re.search(r'name="seen" value="([^"]*)"', shown)
    assert seen
    form["seen"] = html.unescape(seen[1])
    other = press(finance, "package_change_price", row.pk, **form | {"amount": "699"})
    assert other.status_code == 200  # what was shown is not what is sent
    assert press(finance, "package_change_price", row.pk, **form).status_code == 302
    waiting = Approval.objects.get()
    assert (waiting.payload["new"]["amount"], waiting.reason) == (59_900, WHY)
    assert press(support, "package_change_price", row.pk, **form).status_code == 403
    assert press(ops, "package_change_price", row.pk, **form).status_code == 403
    client.force_login(colleague)
    pressing.press(client, reverse("admin:audit_approval_approve", args=[waiting.pk]), {"reason": "Yes."})
    assert package().amount == 59_900
    assert "Nothing would change" in press(finance, "package_change_price", row.pk, **form).content.decode()


def test_the_console_changes_plans_and_single_credits(finance: User, colleague: User) -> None:
    def twice(act: str, pk: Any, **form: Any) -> None:
        form |= {"is_for_sale": "on", "request_id": new_id()}
        shown = press(finance, act, pk, **form).content.decode()
        seen = re.search(r'name="seen" value="([^"]*)"', shown)
        assert seen, shown
        assert press(finance, act, pk, seen=html.unescape(seen[1]), **form).status_code == 302
        approvals.approve(Approval.objects.latest("created_at").pk, approver=colleague, reason="Yes.")

    old = plan()
    twice("plan_change_price", old.pk, name="Starter", amount="10.99", credits=110, max_avatars=4)
    twice("creditprice_change_price", CreditPrice.objects.get().pk, amount="6", least=20, most=500)

    assert (plan().amount, plan().credits, plan().max_avatars, plan().edition) == (1_099, 110, 4, 2)
    assert plan().lookup_key == "atelier-starter-month-usd-1099-2"
    assert CreditPrice.objects.filter(amount=600, least=20, most=500).exists()
    client = Client()
    client.force_login(finance)
    assert "change-price" not in client.get(reverse("admin:billing_plan_change", args=[old.pk])).content.decode()


# --- Something new --------------------------------------------------------------------------------------------------


def offer(actor: User, like: staff_prices.Priced, *, request_id: Any = None, **new: Any) -> Approval:
    return staff_offers.ask(
        request_id=request_id or new_id(),
        kind=staff_prices.kind_of(like),
        like_id=like.pk,
        new=staff_offers.terms(like) | new,
        reason=WHY,
        actor=actor,
    )


def test_something_new_is_sold_when_a_colleague_lets_it(
    finance: User, colleague: User, alice: User, sandbox: RunningSandbox
) -> None:
    small = offer(finance, package(), code="tiny", name="Tiny", amount=9_900, credits=15)
    euros = offer(finance, package(), currency="eur", amount=899)
    yearly = offer(finance, plan("pro"), code="studio", interval="year", name="Studio", amount=99_900, credits=4_000)
    single = offer(finance, CreditPrice.objects.get(), currency="USD", amount=9)
    assert not Package.objects.filter(code="TINY").exists()

    for asked in (small, euros, yearly, single):
        approvals.approve(asked.pk, approver=colleague, reason="Yes.")

    assert Package.objects.get(code="TINY").currency == "INR"
    assert Package.objects.get(code="BASIC", currency="EUR").amount == 899
    assert plan("studio", "year").edition == 1
    assert CreditPrice.objects.filter(currency="USD", amount=9).exists()
    assert AuditLog.objects.filter(action__endswith=".added").count() == 4
    assert pricing.quote("package:TINY", "INR").credits == 15
    books.check()


@pytest.mark.parametrize(
    ("new", "error"),
    [
        ({}, Conflict),
        ({"code": "basic"}, Conflict),
        ({"code": "two words"}, Invalid),
        ({"code": ""}, Invalid),
        ({"currency": "XXX"}, Invalid),
        ({"code": "FREEBIE", "amount": 0}, Invalid),
        ({"code": "EMPTY", "credits": 0}, Invalid),
        ({"code": "BELOW", "amount": -1}, Invalid),
        ({"code": "MORE", "position": 3}, Invalid),
    ],
)
def test_what_cannot_be_sold_is_not_offered(finance: User, new: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        offer(finance, package(), **new)
    assert not Approval.objects.exists()


def test_what_was_offered_twice_is_sold_once(finance: User, colleague: User, support: User) -> None:
    with pytest.raises(PermissionDenied):
        offer(support, package(), code="TINY")
    sent = new_id()
    first, again = (offer(finance, package(), request_id=sent, code="TINY") for _ in range(2))
    assert first == again
    with pytest.raises(Conflict):
        offer(finance, package(), request_id=sent, code="OTHER")
    twin = offer(colleague, package(), code="tiny", amount=1_000)
    approvals.approve(first.pk, approver=colleague, reason="Yes.")

    with pytest.raises(Conflict):
        approvals.approve(twin.pk, approver=finance, reason="Yes.")

    assert Package.objects.get(code="TINY").amount == package().amount


def test_the_console_shows_what_is_offered_before_it_asks(finance: User, support: User) -> None:
    row = package()
    form = {"code": "TINY", "currency": "INR", "name": "Tiny", "amount": "99.00", "credits": 15, "is_shown": "on"}
    form |= {"is_for_sale": "on", "request_id": new_id()}

    shown = press(finance, "package_sell_another", row.pk, **form).content.decode()

    assert "<li>new: TINY INR</li><li>price: ₹99.00</li>" in shown
    assert not Approval.objects.exists()
    seen = re.search(r'name="seen" value="([^"]*)"', shown)
    assert seen
    form["seen"] = html.unescape(seen[1])
    assert press(support, "package_sell_another", row.pk, **form).status_code == 403
    assert press(finance, "package_sell_another", row.pk, **form).status_code == 302
    assert Approval.objects.get().payload["new"]["code"] == "TINY"
