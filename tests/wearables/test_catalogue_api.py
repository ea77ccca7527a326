"""wearables: searched, filtered, counted, kept until it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from tests.people import api
from tests.wearables.given import HEADER, load
from wearables import catalogue
from wearables.models import Wearable

pytestmark = pytest.mark.django_db
URL = "/api/v1/wearables"


def ask(**query: Any) -> Any:
    answer = Client().get(URL, query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def codes(**query: Any) -> list[str]:
    return [row["code"] for row in ask(**query)["results"]]


def counted(facet: str, **query: Any) -> dict[Any, int]:
    return {told["value"]: told["count"] for told in ask(**query)["facets"][facet]}


def test_the_list_shows_what_is_on_offer(shown: dict[str, Wearable]) -> None:
    body = ask(limit=2)

    assert (body["count"], [row["code"] for row in body["results"]], body["previous"]) == (6, ["W1", "W2"], None)
    assert body["next"].endswith("/api/v1/wearables?limit=2&page=2")
    assert codes(limit=2, page=3) == ["W5", "W6"]
    polo = body["results"][0]
    assert polo.items() >= {
        "code": "W1", "category": "Tops", "subcategory": "Shirts", "name": "Striped Polo Shirt", "style": "Classic",
        "image_url": "https://example.com/polo.png", "has_image": True, "tags": ["tops", "classic"], "sort_order": 1,
    }.items()  # fmt: skip
    assert Client().get(f"{URL}/{polo['id']}").json() == polo
    for missing in (shown["W7"].pk, uuid4()):
        assert Client().get(f"{URL}/{missing}").status_code == 404
    assert Client().get(f"{URL}/categories").json() == [
        {"category": "Bottoms", "count": 1},
        {"category": "Cultural / Cosplay", "count": 1},
        {"category": "Footwear", "count": 1},
        {"category": "Tops", "count": 3},
    ]


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("striped polo", ["W1"]),
        ("POLO striped", ["W1"]),
        ("stri", ["W1"]),
        ("shirts", ["W1", "W2", "W4"]),  # by what they are: tees and blouses too
        ("red", ["W2", "W4"]),
        ("silk blouse", ["W4"]),
        ("blue loafer", ["W5"]),
        ("distresed jeens", ["W3"]),  # by trigrams
        ("ドレス", ["W6"]),
        ("👗", ["W6"]),
        ("the", ["W5"]),  # says nothing in English, and stands in leather
        ("hidden", []),
        ("a:* & !b | ' \\ ( %", ["W3", "W4", "W5"]),  # words alone count: a says nothing, b begins
        ("zebra", []),
    ],
)
def test_search(shown: dict[str, Wearable], term: str, found: list[str]) -> None:
    assert codes(search=term) == found


def test_the_nearest_comes_first(db: None, tmp_path: Path) -> None:
    load(
        tmp_path,
        f"{HEADER}\nA,Tops,Cotton Shirt Dress\nB,Tops,Shirt Dress Long\nC,Tops,Dress Shirt\nD,Tops,Shirt Dress\n",
    )

    assert codes(search="shirt dress") == ["D", "B", "A", "C"]


def test_filters_narrow_and_facets_count_what_is_left(shown: dict[str, Wearable]) -> None:
    assert codes(category="Tops") == ["W1", "W2", "W4"]
    assert codes(category=["Tops", "Bottoms"], color=["Red", "Blue"]) == ["W2", "W3", "W4"]
    assert codes(category="tops") == []
    assert codes(has_image="true") == ["W1", "W4"]
    assert codes(has_image="false", color="Blue") == ["W3", "W5"]
    assert codes(tags=["tops", "red"]) == ["W2", "W4"]
    assert codes(search="red", material="Silk", fit="REGULAR", size="ONE_SIZE", season="All Season") == ["W4"]
    assert counted("category") == {"Tops": 3, "Bottoms": 1, "Cultural / Cosplay": 1, "Footwear": 1}
    assert counted("color") == {"Blue": 2, "Multi-Color": 2, "Red": 2}
    assert counted("has_image", category="Tops") == {True: 2, False: 1}
    assert counted("tags", color="Red") == {"tops": 2, "red": 2, "cotton": 1, "silk": 1, "casual": 1}
    assert list(ask()["facets"]) == [
        "category", "style", "color", "material", "season", "occasion", "size", "fit", "has_image", "tags",
    ]  # fmt: skip
    assert ask(color="None of these")["facets"]["category"] == []


@pytest.mark.parametrize(
    "query",
    ["colour=Red", "search=", "search=%00", "category=%00", "has_image=perhaps", "limit=0", "page=0", "limit=101",
     f"search={'x' * 101}", f"tags={'x' * 61}", "&".join(f"tags={n}" for n in range(21)), "search=a&sort=x"],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused(shown: dict[str, Wearable], query: str) -> None:
    answer = Client().get(f"{URL}?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid")


def test_no_page_beyond_the_last(shown: dict[str, Wearable]) -> None:
    assert Client().get(f"{URL}?page=99").status_code == 404


def queries(path: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert Client().get(path).status_code == 200
    return len(found)


def test_how_many_queries_it_takes(shown: dict[str, Wearable]) -> None:
    assert queries(URL) == 2
    assert queries(URL) == 0
    assert queries(f"{URL}?limit=1") == 1  # the same facets
    assert queries(f"{URL}?search=polo") == 6  # with a transaction of its own
    assert queries(f"{URL}?search=jeens") == 8
    assert queries(f"{URL}/categories") == 1
    assert queries(f"{URL}/{shown['W1'].pk}") == 1


def test_words_that_nobody_says_are_looked_up_in_the_indexes(shown: dict[str, Wearable]) -> None:
    with CaptureQueriesContext(connection) as found:
        assert Client().get(f"{URL}?search=qwertz").json()["count"] == 0
    asked = [row["sql"] for row in found if row["sql"].startswith("SELECT") and "wearables_wearable" in row["sql"]]

    with connection.cursor() as cursor:  # in the same transaction, so as it was asked
        for sql in asked[:3]:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Bitmap Index Scan on wearables_" in plan
    assert len(asked) >= 3


@pytest.mark.django_db(transaction=True)
def test_it_is_kept_until_it_changes(shown: dict[str, Wearable], tmp_path: Path) -> None:
    first = Client().get(URL)
    assert Client().get(URL, headers={"If-None-Match": first["ETag"]}).status_code == 304

    load(tmp_path, f"{HEADER}\nW8,Tops,Green Hoodie\n")

    second = Client().get(URL, headers={"If-None-Match": first["ETag"]})
    assert (second.status_code, second.json()["count"]) == (200, 7)
    boss = User.objects.create_superuser("boss@example.test", "x")
    row = shown["W1"]
    row.is_active = False
    catalogue.save(row, changed=["is_active"], actor=boss)
    assert ask()["count"] == 6


def test_signed_in_or_not_makes_no_difference(shown: dict[str, Wearable], alice: User) -> None:
    assert api(alice).get(URL).json() == ask()
