"""hold, extend, capture, release."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from audit.models import AuditLog
from billing import ledger
from billing.errors import DebtOutstanding, HoldClosed, InsufficientCredits, InsufficientFunds, LedgerKeyMismatch
from billing.models import CreditLot, Hold, LedgerEntry, LedgerTransaction
from core import context
from core.ids import new_id
from notifications.models import Mail
from tests import books
from tests.billing import given

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    books.check()


def test_hold_moves_nothing_and_keeps_it_from_others() -> None:
    user = given.person()
    given.bought(user, 100)

    found = ledger.hold(user_id=user.pk, amount=60, key="job:1", subject=("job", new_id()), alarm_at=given.later())

    assert (found.status, found.available, found.required, found.is_replay) == ("ok", 40, 60, False)
    assert ledger.balance(user.pk) == ledger.Balance(balance=100, held=60, frozen=0, available=40, debt=0)
    with pytest.raises(InsufficientCredits) as refused:
        given.held(user, 41)
    assert (refused.value.status, refused.value.code, refused.value.charged) == (402, "insufficient_credits", "none")
    assert refused.value.details == [
        {
            "code": "insufficient_credits",
            "message": "This needs 41 credits; 40 credits available.",
            "required": 41,
            "available": 40,
            "unit": "CREDIT",
        }
    ]
    assert Hold.objects.count() == 1
    assert given.held(user, 40)


def test_hold_without_a_wallet_is_refused() -> None:
    user = given.person()

    with pytest.raises(InsufficientFunds) as refused:
        given.held(user, 1, unit="USD", wallet_kind="primary")

    assert refused.value.details[0]["available"] == 0
    assert refused.value.details[0]["unit"] == "USD"


def test_the_same_key_answers_the_first_hold_even_when_nothing_is_left() -> None:
    user = given.person()
    given.bought(user, 50)
    job = new_id()
    asked = {"user_id": user.pk, "amount": 50, "key": "k", "subject": ("job", job), "alarm_at": given.later()}

    first = ledger.hold(**asked)
    again = ledger.hold(**asked)

    assert (again.hold_id, again.is_replay, again.available) == (first.hold_id, True, 0)
    assert given.wallet(user).held == 50


@pytest.mark.parametrize("change", ["amount", "subject", "wallet"])
def test_the_same_key_with_other_figures_is_refused(change: str) -> None:
    user, other = given.person(), given.person()
    for somebody in (user, other):
        given.bought(somebody, 100)
    asked = {"user_id": user.pk, "amount": 50, "key": "k", "subject": ("job", new_id())}
    ledger.hold(**asked, alarm_at=given.later())

    with pytest.raises(LedgerKeyMismatch):
        ledger.hold(
            **asked
            | {
                "amount": {"amount": 49},
                "subject": {"subject": ("job", new_id())},
                "wallet": {"user_id": other.pk},
            }[change],
            alarm_at=given.later(),
        )

    assert given.wallet(user).held == 50
    assert given.wallet(other).held == 0


def test_capture_spends_and_answers_the_first_capture_again() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.held(user, 60)

    first = ledger.capture(key=key, memo="headshot")
    again = ledger.capture(key=key)

    assert (first.amount, first.before, first.after, first.available) == (60, 100, 40, 40)
    assert again.transaction_id == first.transaction_id
    assert (again.is_replay, again.amount, again.after) == (True, 60, 40)
    spend = LedgerTransaction.objects.get(kind="spend")
    assert (spend.key, spend.memo, spend.subject_type) == (f"{key}:capture", "headshot", "job")
    assert sorted(spend.entries.values_list("amount", "balance_after")) == [(-60, 40), (60, None)]
    assert given.house("spent") == 60
    assert ledger.balance(user.pk) == ledger.Balance(40, 0, 0, 40, 0)


def test_a_part_is_captured_and_the_rest_is_free_again() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.held(user, 60)

    captured = ledger.capture(key=key, amount=25)

    assert (captured.amount, captured.available) == (25, 75)
    assert ledger.balance(user.pk) == ledger.Balance(75, 0, 0, 75, 0)
    with pytest.raises(LedgerKeyMismatch):
        ledger.capture(key=key, amount=26)


def test_more_than_is_held_is_never_captured() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.held(user, 60)

    with pytest.raises(ValueError, match="more than"):
        ledger.capture(key=key, amount=61)

    assert Hold.objects.get(key=key).state == "open"


def test_release_frees_and_is_final() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.held(user, 60)

    first, again = ledger.release(key=key), ledger.release(key=key)

    assert (first.amount, first.available, first.is_replay) == (60, 100, False)
    assert (again.amount, again.available, again.is_replay) == (60, 100, True)
    with pytest.raises(HoldClosed):
        ledger.capture(key=key)
    assert not LedgerTransaction.objects.filter(kind="spend").exists()


def test_a_captured_hold_is_not_released_or_extended() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.spent(user, 60)

    with pytest.raises(HoldClosed):
        ledger.release(key=key)
    with pytest.raises(HoldClosed):
        ledger.extend(key=key, to=70)

    assert ledger.balance(user.pk).balance == 40


@pytest.mark.parametrize("operation", [ledger.capture, ledger.release, lambda key: ledger.extend(key=key, to=1)])
def test_an_unknown_hold_is_named(operation: object) -> None:
    with pytest.raises(Hold.DoesNotExist):
        operation(key="nobody")  # type: ignore[operator]


def _released(one_by_one: bool) -> dict[str, object]:
    """What is left of two people's holds of credits that have ended meanwhile, one of them released before."""
    first, second = given.person(), given.person()
    for user in (first, second):
        given.bought(user, 60, expires_at=given.later())
    keys = [given.held(user, amount) for user, amount in ((first, 30), (second, 40), (first, 20), (second, 5))]
    for user in (first, second):
        ledger.end_lots(user_id=user.pk)
    ledger.release(key=keys[0])

    if one_by_one:
        for key in keys:
            ledger.release(key=key)
    else:
        ledger.release_all([*reversed(keys), keys[1]])
        ledger.release_all(keys)

    told = AuditLog.objects.filter(user_id__in=(first.pk, second.pk), action="credits.released")
    return {
        "holds": list(Hold.objects.filter(key__in=keys).order_by("pk").values_list("state", "amount", "captured")),
        "wallets": [ledger.balance(user.pk) for user in (first, second)],
        "expired": sorted(
            LedgerTransaction.objects.filter(kind="expiry", entries__wallet__user__in=(first, second)).values_list(
                "entries__amount", flat=True
            )
        ),
        "audit": sorted((str(row.user_id == first.pk), row.new["amount"], str(row.metadata.keys())) for row in told),
    }


def test_released_in_a_set_they_are_as_released_one_by_one() -> None:
    one_by_one = _released(one_by_one=True)

    assert one_by_one["wallets"] == [ledger.Balance(0, 0, 0, 0, 0)] * 2
    assert _released(one_by_one=False) == one_by_one


def test_a_set_of_none_releases_nothing_and_one_that_is_wrong_refuses_the_set() -> None:
    user = given.person()
    given.bought(user, 100)
    open_one, spent = given.held(user, 10), given.spent(user, 20)

    ledger.release_all([])
    for wrong, error in ((spent, HoldClosed), ("nobody", Hold.DoesNotExist)):
        with pytest.raises(error, match=wrong), transaction.atomic():
            ledger.release_all([open_one, wrong])

    assert ledger.balance(user.pk) == ledger.Balance(80, 10, 0, 70, 0)
    assert Hold.objects.get(key=open_one).state == "open"


def test_extend_is_absolute_and_only_rises() -> None:
    user = given.person()
    given.bought(user, 100)
    key = given.held(user, 10)

    assert ledger.extend(key=key, to=30).amount == 30
    assert ledger.extend(key=key, to=30).amount == 30
    assert ledger.extend(key=key, to=20).amount == 30
    refused = ledger.extend(key=key, to=101)

    assert (refused.status, refused.amount, refused.available) == ("insufficient", 30, 70)
    assert given.wallet(user).held == 30
    assert ledger.capture(key=key).amount == 30


def test_a_replayed_hold_is_recognised_after_it_was_extended() -> None:
    user = given.person()
    given.bought(user, 100)
    asked = {"user_id": user.pk, "amount": 10, "key": "call", "subject": ("talk", new_id()), "alarm_at": given.later()}
    ledger.hold(**asked)
    ledger.extend(key="call", to=50)

    assert ledger.hold(**asked).is_replay
    assert given.wallet(user).held == 50


@pytest.mark.parametrize("amount", [0, -1, 1.0, True, 10**15 + 1, "5"])
def test_only_whole_positive_amounts_are_held(amount: object) -> None:
    user = given.person()
    given.bought(user, 100)

    with pytest.raises(ValueError, match="whole number"):
        given.held(user, amount)  # type: ignore[arg-type]


def test_money_is_held_and_spent_from_its_own_wallet() -> None:
    user = given.person()
    given.topped_up(user, 5000)
    key = given.held(user, 1000, unit="NGN", wallet_kind="primary")

    captured = ledger.capture(key=key, amount=400)

    assert (captured.before, captured.after, captured.available) == (5000, 4600, 4600)
    assert given.house("sales", "NGN") == 400
    assert given.house("adjustment", "NGN") == -5000
    assert ledger.balance(user.pk).balance == 0


def test_soonest_to_end_is_spent_first_then_promo_then_oldest() -> None:
    user = given.person()
    paid = given.bought(user, 10)
    promo = given.bought(user, 10, category="promo")
    subscription = given.bought(user, 10, category="subscription", expires_at=given.later(days=2))
    ending_promo = given.bought(user, 10, category="promo", expires_at=given.later(days=1))
    newer_paid = given.bought(user, 10)

    order = []
    for _ in range(5):
        left = set(CreditLot.objects.filter(exhausted_at=None).values_list("source_id", flat=True))
        given.spent(user, 10)
        order += left - set(CreditLot.objects.filter(exhausted_at=None).values_list("source_id", flat=True))

    assert order == [ending_promo, subscription, promo, paid, newer_paid]


def test_one_capture_takes_from_several_lots() -> None:
    user = given.person()
    given.bought(user, 10)
    given.bought(user, 10)
    given.bought(user, 10)

    given.spent(user, 25)

    assert given.lots(user) == [("paid", 5)]
    assert LedgerEntry.objects.filter(wallet=given.wallet(user), amount=-25).count() == 1


def test_debt_of_a_lost_dispute_blocks_spending_until_it_is_repaid() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    key = given.held(user, 10)
    given.spent(user, 30)
    ledger.claw_back(
        user_id=user.pk,
        amount=100,
        key="dispute:1",
        subject=("dispute", new_id()),
        source=("sale", sale),
        is_blocking=True,
    )
    given.bought(user, 5, category="promo")

    with pytest.raises(DebtOutstanding) as refused:
        given.held(user, 1)

    assert refused.value.details == [
        {
            "code": "debt_outstanding",
            "message": "Owed: 40 credits.",
            "required": 1,
            "available": 5,
            "unit": "CREDIT",
            "debts": [{"amount": 40, "unit": "CREDIT"}],
        }
    ]
    assert ledger.extend(key=key, to=11).status == "debt_outstanding"
    assert ledger.capture(key=key).amount == 10  # what was promised before is still honoured
    given.bought(user, 40)
    assert given.held(user, 1)


def test_debt_of_a_refund_does_not_block() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    given.spent(user, 100)
    ledger.claw_back(user_id=user.pk, amount=100, key="refund:1", subject=("refund", new_id()), source=("sale", sale))
    given.bought(user, 20, category="promo")

    assert given.held(user, 20)


def test_low_credit_mail_leaves_once_when_the_threshold_is_crossed(settings: object) -> None:
    settings.LOW_CREDIT_THRESHOLD = 50  # type: ignore[attr-defined]
    user = given.person()
    given.bought(user, 120)

    given.spent(user, 70)
    assert not Mail.objects.filter(name="credit-low-warning").exists()
    key = given.held(user, 1)
    captured = ledger.capture(key=key)
    ledger.capture(key=key)
    given.spent(user, 9)

    mail = Mail.objects.get(name="credit-low-warning")
    assert (mail.cause, mail.to) == (f"low:{captured.transaction_id}", user.email)
    assert mail.context == {"remaining": "49 credits"}


def test_low_credit_mail_leaves_at_each_crossing_and_at_nothing_else(settings: object) -> None:
    settings.LOW_CREDIT_THRESHOLD = 50  # type: ignore[attr-defined]
    user = given.person()
    given.bought(user, 60)

    first = ledger.capture(key=given.held(user, 20))
    given.spent(user, 20)  # below already
    given.bought(user, 10)  # still below: 30
    given.spent(user, 1)
    sale = given.bought(user, 71)
    ledger.end_lots(user_id=user.pk, source=("sale", sale))  # what ends is no capture
    given.bought(user, 71)
    second = ledger.capture(key=given.held(user, 51))

    mails = Mail.objects.filter(name="credit-low-warning").order_by("pk")
    assert [(mail.cause, mail.context["remaining"]) for mail in mails] == [
        (f"low:{first.transaction_id}", "40 credits"),
        (f"low:{second.transaction_id}", "49 credits"),
    ]


def test_each_movement_leaves_its_audit_row_in_the_same_transaction() -> None:
    user = given.person()
    given.bought(user, 100)
    with context.use(
        source="API", request_id="r-1", actor_id=user.pk, ip="203.0.113.7", user_agent="app/1", on_behalf_of_id=None
    ):
        key = given.held(user, 10)
    ledger.capture(key=key)
    ledger.release(key=given.held(user, 5))

    rows = AuditLog.objects.filter(user_id=user.pk, action__startswith="credits.").order_by("id")
    assert [row.action for row in rows] == [
        "credits.granted",
        "credits.held",
        "credits.captured",
        "credits.held",
        "credits.released",
    ]
    asked = rows[1]
    assert (asked.source, asked.request_id, asked.actor_id) == ("API", "r-1", user.pk)
    assert (asked.entity_type, asked.new) == ("job", {"amount": 10, "available": 90})
    assert asked.metadata == {"hold": key}


def test_the_audit_row_keeps_the_hash_that_the_log_itself_would_make() -> None:
    from audit.trail import detail_hash

    user = given.person()
    given.bought(user, 10)
    with context.use(source="API", ip="203.0.113.7", user_agent="ünïcode/1"):
        given.held(user, 10)

    row = AuditLog.objects.get(action="credits.held", user_id=user.pk)
    detail = row.detail
    assert (detail.ip, detail.user_agent, detail.personal) == ("203.0.113.7", "ünïcode/1", {})
    assert bytes(row.detail_hash or b"") == detail_hash(bytes(detail.salt), detail.ip, detail.user_agent, {})


def test_a_refusal_leaves_the_callers_transaction_usable() -> None:
    user = given.person()
    given.bought(user, 10)

    with transaction.atomic():
        with pytest.raises(InsufficientCredits):
            given.held(user, 11)
        given.held(user, 10)

    assert given.wallet(user).held == 10


def test_what_rolls_back_never_happened() -> None:
    user = given.person()
    given.bought(user, 10)

    with transaction.atomic():
        given.spent(user, 10)
        transaction.set_rollback(True)

    assert ledger.balance(user.pk) == ledger.Balance(10, 0, 0, 10, 0)
    assert not AuditLog.objects.filter(action="credits.held").exists()


def test_hold_and_capture_are_one_statement_each() -> None:
    user = given.person()
    given.bought(user, 1000)

    with CaptureQueriesContext(
        connection,
    ) as asked:
        key = given.held(user, 10)
        ledger.capture(key=key)

    assert len(asked) == 2


def test_the_path_past_djangos_cursor_answers_the_same() -> None:
    user = given.person()
    given.bought(user, 100)
    job = new_id()
    asked = {"user_id": user.pk, "amount": 5, "key": "k", "subject": ("job", job), "alarm_at": given.later()}

    plain = ledger.hold(**asked)
    with CaptureQueriesContext(connection):
        watched = ledger.hold(**asked)

    assert plain.hold_id == watched.hold_id
    assert watched.available == plain.available


def test_alarm_at_is_kept_and_ends_nothing() -> None:
    user = given.person()
    given.bought(user, 10)
    ledger.hold(
        user_id=user.pk,
        amount=10,
        key="late",
        subject=("job", new_id()),
        alarm_at=given.later() - timedelta(days=2),
    )

    assert Hold.objects.get(key="late").state == "open"
    assert ledger.capture(key="late").amount == 10
