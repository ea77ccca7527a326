"""The shelf over REST: everybody reads, ops write, and the kept list changes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from store.models import Product
from tests.people import api
from tests.store.material import key, placed, product, shelf

BODY = {
    "name": "Juniper",
    "description": "Twelve years old.\nWired last spring.",
    "category": "bonsai",
    "price": {"amount": 8_900, "currency": "EUR"},
    "image_url": "https://shop.example.com/juniper.jpg",
    "stock_quantity": 3,
}

pytestmark = pytest.mark.django_db
commits = pytest.mark.django_db(transaction=True)  # that is when the kept list is dropped


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False


def listed(query: str = "") -> list[str]:
    answer = api().get(f"/api/v1/products{query}")
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


@commits
def test_ops_put_a_product_on_the_shelf_and_everybody_sees_it(ops: User) -> None:
    assert listed() == []

    made = api(ops).post("/api/v1/products", BODY, format="json")

    assert made.status_code == 201, made.content
    body = made.json()
    assert made["Location"] == f"/api/v1/products/{body['id']}"
    assert body.items() >= BODY.items()
    assert (body["available"], body["is_active"]) == (3, True)
    assert listed() == ["Juniper"]
    assert api().get(made["Location"]).json() == body
    fact = AuditLog.objects.get(action="product.created")
    assert (fact.actor_id, fact.new["amount"], fact.new["stock"]) == (ops.pk, 8_900, 3)


@commits
@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_shows_at_once_and_keeps_what_is_not_named(ops: User, method: str) -> None:
    row = product(3, name="Pine")
    before = api().get("/api/v1/products")
    assert api().get("/api/v1/products", headers={"If-None-Match": before["ETag"]}).status_code == 304

    changed = getattr(api(ops), method)(
        f"/api/v1/products/{row.pk}", {"stock_quantity": 5, "price": {"amount": 1, "currency": "USD"}}, format="json"
    )

    assert changed.status_code == 200, changed.content
    after = api().get("/api/v1/products", headers={"If-None-Match": before["ETag"]})
    assert (after.status_code, after["ETag"] == before["ETag"]) == (200, False)
    [shown] = after.json()["results"]
    assert (shown["name"], shown["stock_quantity"], shown["price"]) == ("Pine", 5, {"amount": 1, "currency": "USD"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"price": {"amount": 0, "currency": "EUR"}},
        {"price": {"amount": 19.99, "currency": "EUR"}},
        {"price": {"amount": 100}},
        {"price": {"amount": 100, "currency": "XXX"}},
        {"price": 100},
        {"stock_quantity": -1},
        {"stock_quantity": "3"},
        {"category": "Bonsai Trees"},
        {"image_url": "javascript:alert(1)"},
        {"image_url": "http://shop.example.com/a.jpg"},
        {"reserved": 5},
        {"id": "01937a2c-1d87-7b1c-9d3e-5f6071829304"},
    ],
)
def test_what_is_no_product_is_refused(ops: User, wrong: dict[str, Any]) -> None:
    row = product(3)

    assert api(ops).post("/api/v1/products", BODY | wrong, format="json").status_code == 400
    assert api(ops).patch(f"/api/v1/products/{row.pk}", wrong, format="json").status_code == 400

    assert Product.objects.count() == 1
    assert shelf(row) == (3, 0)


def test_less_than_what_is_reserved_cannot_lie_on_the_shelf(ops: User, alice: User) -> None:
    row = product(3)
    placed(alice, row, quantity=2)

    refused = api(ops).patch(f"/api/v1/products/{row.pk}", {"stock_quantity": 1}, format="json")

    assert (refused.status_code, refused.json()["error"]) == (409, "stock_reserved")
    assert shelf(row) == (3, 2)
    shown = api().get(f"/api/v1/products/{row.pk}").json()
    assert (shown["stock_quantity"], shown["available"]) == (3, 1)


def test_filters(alice: User) -> None:
    product(1, name="Red pot", category="pot", description="Glazed 100%")
    product(0, name="Old juniper")
    last = product(1, name="Young juniper")
    product(5, name="Hidden juniper", is_active=False)
    placed(alice, last)

    assert listed() == ["Young juniper", "Old juniper", "Red pot"]
    assert listed("?category=pot") == ["Red pot"]
    assert listed("?search=JUNIPER") == ["Young juniper", "Old juniper"]
    assert listed("?search=100%25") == ["Red pot"]
    assert listed("?search=_") == []
    assert listed("?in_stock=true") == ["Red pot"]
    assert listed("?in_stock=false") == ["Young juniper", "Old juniper"]
    assert api().get("/api/v1/products?colour=red").status_code == 400


def test_the_list_takes_two_queries(django_assert_num_queries: Callable[..., Any]) -> None:
    for _ in range(3):
        product()

    with django_assert_num_queries(2):
        assert len(listed("?limit=3")) == 3


def test_what_was_never_ordered_is_deleted_and_the_rest_hidden(ops: User, alice: User) -> None:
    fresh, ordered = product(), product()
    placed(alice, ordered)

    for row in (fresh, ordered, ordered):
        assert api(ops).delete(f"/api/v1/products/{row.pk}").status_code == 204

    assert list(Product.objects.values_list("pk", "is_active")) == [(ordered.pk, False)]
    assert listed() == []
    assert [api().get(f"/api/v1/products/{row.pk}").status_code for row in (fresh, ordered)] == [404, 404]
    assert api(ops).delete(f"/api/v1/products/{fresh.pk}").status_code == 404
    assert AuditLog.objects.filter(action__in=["product.deleted", "product.hidden"]).count() == 2


@pytest.mark.parametrize("group", ["alice", "support", "finance"])
def test_nobody_else_writes(request: pytest.FixtureRequest, group: str) -> None:
    person, row = request.getfixturevalue(group), product(3)

    answers = [
        api(person).post("/api/v1/products", BODY, format="json"),
        api(person).put(f"/api/v1/products/{row.pk}", {"stock_quantity": 0}, format="json"),
        api(person).delete(f"/api/v1/products/{row.pk}"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert api().post("/api/v1/products", BODY, format="json").status_code == 401
    assert shelf(row) == (3, 0)


def test_the_same_key_makes_one_product(ops: User) -> None:
    headers = key()

    answers = [api(ops, **headers).post("/api/v1/products", BODY, format="json") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert Product.objects.count() == 1
