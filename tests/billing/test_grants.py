"""The sign-up grant: once per person and per mailbox, within the day's budget, and never in the way of verifying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from billing import grants, ledger, mailboxes
from billing.models import CreditLot, LedgerTransaction, PromoSpending, SignUpGrant
from tests import books
from tests.billing import given
from tests.people import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books(settings: Settings) -> Iterator[None]:
    settings.SIGN_UP_GRANT, settings.PROMO_DAILY_BUDGET, settings.PROMO_DOMAIN_DAILY_CAP = 5, 1000, 1000
    yield
    books.check()


def person(email: str) -> User:
    user = given.person()
    user.email = email
    user.save(update_fields=["email"])
    return user


def outcome(email: str) -> str:
    decided = grants.sign_up(user=person(email))
    assert decided is not None
    return decided.outcome


def test_verifying_the_mailbox_brings_five_promo_credits() -> None:
    user = make_user("alice@example.com", verified=True)

    assert ledger.balance(user.pk) == ledger.Balance(5, 0, 0, 5, 0)
    assert CreditLot.objects.get().category == "promo"
    assert given.house("promo") == -5
    assert LedgerTransaction.objects.get().key == f"sign-up:{user.pk}"
    decided = SignUpGrant.objects.get(user=user)
    assert (decided.outcome, decided.amount) == ("granted", 5)
    assert AuditLog.objects.get(action="sign_up_grant.decided").new == {"outcome": "granted", "amount": 5}


def test_registering_alone_brings_none() -> None:
    user = make_user("alice@example.com", verified=False)

    assert ledger.balance(user.pk).balance == 0
    assert not SignUpGrant.objects.exists()


def test_one_person_is_decided_about_once(settings: Settings) -> None:
    user = person("alice@example.com")

    first, again = grants.sign_up(user=user), grants.sign_up(user=user)
    settings.SIGN_UP_GRANT = 0
    later = grants.sign_up(user=user)

    assert first == again == later
    assert ledger.balance(user.pk).balance == 5
    assert PromoSpending.objects.get(scope="").amount == 5


def test_one_mailbox_in_many_spellings_is_granted_once() -> None:
    assert outcome("jane.doe@gmail.com") == "granted"

    for email in ("janedoe@gmail.com", "j.a.n.e.doe+news@googlemail.com", "JaneDoe@GMAIL.com", "janedoe+1@gmail.com."):
        assert outcome(email) == "mailbox_used", email

    assert outcome("jane.doe2@gmail.com") == "granted"
    assert LedgerTransaction.objects.count() == 2


def test_the_days_budget_ends_the_gifts_and_nothing_else(settings: Settings) -> None:
    settings.PROMO_DAILY_BUDGET = 12

    found = [outcome(f"person{number}@site{number}.example") for number in range(4)]

    assert found == ["granted", "granted", "budget_spent", "budget_spent"]
    assert PromoSpending.objects.get(scope="").amount == 10
    assert given.house("promo") == -10


def test_a_domain_has_its_own_cap_that_costs_others_nothing(settings: Settings) -> None:
    settings.PROMO_DOMAIN_DAILY_CAP = 5

    assert [outcome(f"{name}@farm.example") for name in "abc"] == ["granted", "domain_capped", "domain_capped"]
    assert outcome("a@other.example") == "granted"

    assert PromoSpending.objects.get(scope="").amount == 10


def test_a_refused_mailbox_is_not_used_up(settings: Settings) -> None:
    settings.PROMO_DAILY_BUDGET = 4
    assert outcome("jane@gmail.com") == "budget_spent"

    settings.PROMO_DAILY_BUDGET = 100
    assert outcome("jane+again@gmail.com") == "granted"


def test_another_day_has_a_new_budget(settings: Settings) -> None:
    settings.PROMO_DAILY_BUDGET = 5
    assert outcome("a@example.com") == "granted"
    PromoSpending.objects.update(day="2020-01-01")

    assert outcome("b@example.com") == "granted"


def test_switched_off_nobody_gets_anything(settings: Settings) -> None:
    settings.SIGN_UP_GRANT = 0

    user = make_user("alice@example.com", verified=True)

    assert user.is_verified
    assert ledger.balance(user.pk).balance == 0
    assert SignUpGrant.objects.get().outcome == "off"


def test_a_fault_of_ours_does_not_stop_the_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("no ledger today")

    monkeypatch.setattr("billing.ledger.grant", broken)

    user = make_user("alice@example.com", verified=True)

    assert user.is_verified
    assert not SignUpGrant.objects.exists()
    assert not PromoSpending.objects.exists()


def test_the_mailbox_is_kept_only_as_a_keyed_hash(settings: Settings) -> None:
    outcome("jane.doe@gmail.com")
    kept = bytes(SignUpGrant.objects.get().mailbox_hash)

    assert len(kept) == 32
    assert kept == mailboxes.keyed_hash("janedoe@gmail.com")
    settings.MAILBOX_HASH_KEY = "another key"
    assert kept != mailboxes.keyed_hash("janedoe@gmail.com")


@pytest.mark.parametrize(
    ("email", "mailbox"),
    [
        ("Jane.Doe+tag@Gmail.com", "janedoe@gmail.com"),
        ("jane.doe@googlemail.com", "janedoe@gmail.com"),
        ("jane.doe+x@outlook.com", "jane.doe@outlook.com"),
        ("jane+x@me.com", "jane@icloud.com"),
        ("jane+x@pm.me", "jane@proton.me"),
        ("jane-x@yahoo.com", "jane@yahoo.com"),
        ("jane+x@yahoo.com", "jane+x@yahoo.com"),
        ("jane.doe+x@example.com", "jane.doe+x@example.com"),
        ("+jane@gmail.com", "+jane@gmail.com"),
        ("STRASSE@example.com", "strasse@example.com"),
        ("jane@example.com.", "jane@example.com"),
        ('"a@b"@example.com', '"a@b"@example.com'),
    ],
)
def test_spellings_of_known_providers_are_one_mailbox(email: str, mailbox: str) -> None:
    assert mailboxes.normalise(email) == mailbox
