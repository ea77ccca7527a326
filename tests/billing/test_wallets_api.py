"""credits/balance, credits/history, credits/explain, wallets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing import ledger
from billing.models import CreditLot, Wallet
from core.ids import new_id
from tests import books
from tests.billing import given
from tests.people import api, make_user

pytestmark = pytest.mark.django_db

NOBODYS = "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4"
READS = ["credits/balance", "credits/history", "credits/explain", "wallets"]


def get(user: User | None, path: str, **query: Any) -> Any:
    return api(user).get(f"/api/v1/{path}", query)


@pytest.mark.parametrize("path", [*READS, f"wallets/{NOBODYS}", f"wallets/{NOBODYS}/entries"])
def test_nobody_reads_without_signing_in(path: str, db: None) -> None:
    answer = get(None, path)

    assert (answer.status_code, answer.json()["error"]) == (401, "not_authenticated")


@pytest.mark.parametrize("path", READS)
def test_an_unverified_person_reads_their_own(path: str) -> None:
    assert get(make_user(verified=False), path).status_code == 200


def test_balance_tells_what_is_there(alice: User) -> None:
    sale = given.bought(alice, 100)
    given.held(alice, 30)
    ledger.freeze(user_id=alice.pk, amount=20, key="f", subject=("dispute", new_id()), source=("sale", sale))

    answer = get(alice, "credits/balance")

    assert answer.status_code == 200
    assert answer.json() == {"balance": 105, "held": 30, "frozen": 20, "available": 55, "debt": 0}


def test_balance_of_somebody_without_credits_is_zero() -> None:
    user = make_user(verified=False)
    assert get(user, "credits/balance").json() == {"balance": 0, "held": 0, "frozen": 0, "available": 0, "debt": 0}


def test_debt_is_told(alice: User) -> None:
    sale = given.bought(alice, 100)
    given.spent(alice, 105)
    ledger.claw_back(user_id=alice.pk, amount=100, key="c", subject=("refund", new_id()), source=("sale", sale))

    assert get(alice, "credits/balance").json()["debt"] == 100


def test_balance_costs_one_query_beside_signing_in(alice: User) -> None:
    client = api(alice)

    with CaptureQueriesContext(connection) as asked:
        client.get("/api/v1/credits/balance")

    assert len(asked) == 2, [query["sql"] for query in asked]


def test_history_is_newest_first_and_paged(alice: User) -> None:
    given.bought(alice, 100)
    for amount in range(1, 6):
        given.spent(alice, amount)

    first = get(alice, "credits/history", limit=2).json()
    last = get(alice, "credits/history", limit=2, page=4).json()

    assert first["count"] == 7
    assert [(entry["kind"], entry["amount"], entry["balance_after"]) for entry in first["results"]] == [
        ("spend", -5, 90),
        ("spend", -4, 95),
    ]
    assert last["results"] == [last["results"][0]]
    assert (last["results"][0]["kind"], last["results"][0]["amount"]) == ("grant", 5)
    assert first["next"].endswith("page=2")
    assert sorted(first["results"][0]) == ["amount", "balance_after", "created_at", "id", "kind", "subject"]
    assert first["results"][0]["subject"]["type"] == "job"


def test_history_never_shows_anothers_entries(alice: User, bob: User) -> None:
    given.bought(bob, 100)

    assert [entry["amount"] for entry in get(alice, "credits/history").json()["results"]] == [5]


@pytest.mark.parametrize("path", ["credits/history", "wallets"])
@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"page": 0}, {"colour": "red"}])
def test_bad_pages_are_refused(alice: User, path: str, query: dict[str, Any]) -> None:
    answer = get(alice, path, **query)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid")


def test_a_page_past_the_end_is_not_found(alice: User) -> None:
    assert get(alice, "credits/history", page=99).status_code == 404


def test_lists_cost_the_same_however_long(alice: User) -> None:
    client = api(alice)

    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(f"/api/v1/{path}", {"limit": 100}).status_code == 200
        return len(asked)

    wallet = given.wallet(alice).pk
    paths = ["credits/history", f"wallets/{wallet}/entries", "wallets", "credits/explain"]
    short = {path: queries(path) for path in paths}
    for _ in range(15):
        given.bought(alice, 10, expires_at=given.later(days=1))
        given.held(alice, 1)
        given.spent(alice, 2)

    assert {path: queries(path) for path in paths} == short
    assert short["credits/history"] <= 4
    assert short["credits/explain"] <= 8


def test_explain_tells_lots_in_the_order_in_which_they_are_spent(alice: User) -> None:
    paid = given.bought(alice, 100)
    ending = given.bought(alice, 40, category="subscription", expires_at=given.later(days=3))
    given.held(alice, 30)
    ledger.freeze(user_id=alice.pk, amount=20, key="f", subject=("dispute", new_id()), source=("sale", paid))

    told = get(alice, "credits/explain").json()

    assert {name: told[name] for name in ("balance", "held", "frozen", "available", "debt")} == {
        "balance": 145,
        "held": 30,
        "frozen": 20,
        "available": 95,
        "debt": 0,
    }
    assert [(lot["category"], lot["remaining"], lot["frozen"]) for lot in told["lots"]] == [
        ("subscription", 40, 0),
        ("promo", 5, 0),
        ("paid", 100, 20),
    ]
    assert told["lots"][0]["source"] == {"type": "sale", "id": str(ending)}
    assert [(hold["amount"], hold["subject"]["type"]) for hold in told["holds"]] == [(30, "job")]
    assert [freeze["amount"] for freeze in told["freezes"]] == [20]
    assert told["debts"] == []
    lot = CreditLot.objects.get(source_id=ending)
    assert lot.expires_at is not None
    assert told["next_expiry"] == {"at": told["lots"][0]["expires_at"], "amount": 40}
    words = " ".join(told["explanation"])
    assert "You own 145 credits; 95 credits can be spent now." in words
    assert "30 credits held" in words
    assert "20 credits out of reach" in words
    assert f"40 credits will end on {lot.expires_at:%d %B %Y at %H:%M} UTC" in words


def test_explain_tells_debts(alice: User) -> None:
    sale = given.bought(alice, 100)
    given.spent(alice, 105)
    ledger.claw_back(
        user_id=alice.pk,
        amount=100,
        key="c",
        subject=("dispute", new_id()),
        source=("sale", sale),
        is_blocking=True,
    )

    told = get(alice, "credits/explain").json()

    assert [(debt["amount"], debt["remaining"], debt["unit"], debt["is_blocking"]) for debt in told["debts"]] == [
        (100, 100, "CREDIT", True)
    ]
    assert told["lots"] == []
    assert told["next_expiry"] is None
    assert told["explanation"][-1] == (
        "You owe 100 credits; your next purchase repays it first. Nothing can be spent before."
    )


def test_what_explains_a_balance_adds_up_to_it(alice: User) -> None:
    sales = [given.bought(alice, 100 + n, expires_at=given.later(days=n) if n % 2 else None) for n in range(6)]
    for amount in (120, 3):
        given.spent(alice, amount)
        given.held(alice, amount)
    for n, sale in enumerate(sales):
        source = ("sale", sale)
        if n % 2:
            ledger.freeze(user_id=alice.pk, amount=9, key=f"f{n}", subject=("dispute", new_id()), source=source)
        else:
            ledger.claw_back(user_id=alice.pk, amount=150, key=f"c{n}", subject=("refund", new_id()), source=source)

    told = get(alice, "credits/explain").json()

    def total(rows: str, figure: str) -> int:
        return sum(row[figure] for row in told[rows])

    assert told["balance"] == total("lots", "remaining") > 0
    assert told["held"] == total("holds", "amount") == 123
    assert told["frozen"] == total("freezes", "amount") == total("lots", "frozen") == 18
    assert told["debt"] == total("debts", "remaining") > 0
    assert told["available"] == told["balance"] - told["held"] - told["frozen"]
    history = get(alice, "credits/history", limit=100).json()["results"]
    assert history[0]["balance_after"] == told["balance"] == sum(entry["amount"] for entry in history)
    for newer, older in itertools.pairwise(history):
        assert newer["balance_after"] - newer["amount"] == older["balance_after"]
    books.check()


def test_wallets_are_the_callers_own(alice: User, bob: User) -> None:
    given.topped_up(alice, 150_000)
    given.held(alice, 1000, unit="NGN", wallet_kind="primary")

    told = get(alice, "wallets").json()

    assert told["count"] == 3
    by_kind = {wallet["kind"]: wallet for wallet in told["results"]}
    assert by_kind["primary"] == {
        "id": str(given.wallet(alice, "primary").pk),
        "kind": "primary",
        "unit": "NGN",
        "exponent": 2,
        "balance": 150_000,
        "held": 1000,
        "frozen": 0,
        "available": 149_000,
    }
    assert (by_kind["credits"]["exponent"], by_kind["credits"]["balance"]) == (0, 5)


def test_a_wallet_is_found_by_its_owner_only(alice: User, bob: User) -> None:
    given.topped_up(alice, 500)
    mine = given.wallet(alice, "primary").pk

    assert get(alice, f"wallets/{mine}").json()["balance"] == 500
    entries = get(alice, f"wallets/{mine}/entries").json()
    assert [(entry["kind"], entry["amount"]) for entry in entries["results"]] == [("purchase", 500)]
    for path in (f"wallets/{mine}", f"wallets/{mine}/entries"):
        assert get(bob, path).status_code == 404


def test_house_wallets_are_nobodys(alice: User) -> None:
    given.bought(alice, 10)
    ours = Wallet.objects.get(user=None, kind="issued").pk

    assert get(alice, f"wallets/{ours}").status_code == 404
    assert get(alice, f"wallets/{ours}/entries").status_code == 404


@pytest.mark.parametrize("path", ["wallets/not-an-id", "wallets/not-an-id/entries"])
def test_an_id_that_is_none_is_not_found(alice: User, path: str) -> None:
    assert get(alice, path).status_code == 404


@pytest.mark.parametrize("path", READS)
def test_reads_take_no_other_method(alice: User, path: str) -> None:
    assert api(alice).post(f"/api/v1/{path}", {}).status_code == 405
