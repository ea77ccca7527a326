"""Selections and customisations: mine alone, all or nothing, whoever else writes at the same time."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import exports
from accounts.models import User
from audit.models import AuditLog
from tests.people import api
from wearables import leaving, selections, telling
from wearables.models import Customization, Selection, Wearable

pytestmark = pytest.mark.django_db
SELECTIONS = "/api/v1/wearables/selections"
CUSTOMIZATIONS = "/api/v1/wearables/customizations"


def chosen(client: Any) -> list[str]:
    return [row["wearable"]["code"] for row in client.get(SELECTIONS).json()["results"]]


def ids(shown: dict[str, Wearable], *codes: str) -> dict[str, list[str]]:
    return {"wearables": [str(shown[code].pk) for code in codes]}


def test_adding_replacing_removing(shown: dict[str, Wearable], alice: User) -> None:
    client = api(alice)

    answer = client.post(SELECTIONS, ids(shown, "W1", "W2", "W1"))
    assert answer.status_code == 200
    assert (answer.json()["added"], answer.json()["removed"]) == (2, 0)
    assert client.post(SELECTIONS, ids(shown, "W2", "W3")).json()["added"] == 1
    assert chosen(client) == ["W3", "W2", "W1"]
    kept = Selection.objects.get(user=alice, wearable=shown["W3"])
    body = client.put(SELECTIONS, ids(shown, "W3", "W4")).json()
    assert (body["added"], body["removed"]) == (1, 2)
    assert [row["wearable"]["code"] for row in body["selections"]] == ["W4", "W3"]
    assert Selection.objects.filter(pk=kept.pk).exists()
    assert client.put(SELECTIONS, ids(shown, "W3", "W4")).json()["added"] == 0
    assert client.delete(f"{SELECTIONS}/{kept.pk}").status_code == 204
    assert client.delete(f"{SELECTIONS}/{kept.pk}").status_code == 404
    assert client.put(SELECTIONS, {"wearables": []}).json() == {"added": 0, "removed": 1, "selections": []}
    assert AuditLog.objects.filter(action="selection.changed").count() == 4


def test_what_is_not_on_offer_is_named_and_nothing_changes(shown: dict[str, Wearable], alice: User) -> None:
    client = api(alice)
    client.post(SELECTIONS, ids(shown, "W1"))
    nobody = str(uuid4())
    asked = {"wearables": [str(shown["W2"].pk), nobody, str(shown["W7"].pk)]}

    for method in (client.post, client.put):
        answer = method(SELECTIONS, asked)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert [told["code"] for told in answer.json()["details"]] == ["unknown_wearable", "unknown_wearable"]
        assert nobody in answer.json()["details"][0]["message"]
    assert chosen(client) == ["W1"]
    Wearable.objects.filter(code="W1").update(is_active=False)
    assert client.put(SELECTIONS, ids(shown, "W1", "W2")).status_code == 200  # what was chosen stays chosen
    assert client.get(SELECTIONS).json()["results"][1]["wearable"]["is_active"] is False


@pytest.mark.parametrize(
    "body",
    [{}, {"wearables": "x"}, {"wearables": ["x"]}, {"wearables": [None]}, {"wearables": [], "user": "x"}, [],
     {"wearables": [str(uuid4()) for _ in range(101)]}],
)  # fmt: skip
def test_bad_selections(shown: dict[str, Wearable], alice: User, body: Any) -> None:
    assert api(alice).put(SELECTIONS, body).status_code == 400
    assert not Selection.objects.exists()


def test_only_so_many(shown: dict[str, Wearable], alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "MAX_SELECTED", 2)
    client = api(alice)
    assert client.post(SELECTIONS, ids(shown, "W1", "W2")).status_code == 200
    assert client.post(SELECTIONS, ids(shown, "W3")).json()["details"][0]["code"] == "too_many"
    assert client.put(SELECTIONS, ids(shown, "W3", "W4")).status_code == 200


def test_the_list_costs_the_same_however_long_it_is(shown: dict[str, Wearable], alice: User) -> None:
    client = api(alice)
    client.post(SELECTIONS, ids(shown, "W1"))
    with CaptureQueriesContext(connection) as short:
        client.get(SELECTIONS)
    client.post(SELECTIONS, ids(shown, "W2", "W3", "W4"))
    with CaptureQueriesContext(connection) as long:
        client.get(SELECTIONS)
    assert len(short) == len(long)


@pytest.mark.django_db(transaction=True)
def test_two_that_replace_at_once_leave_one_choice_whole(shown: dict[str, Wearable], alice: User) -> None:
    pairs = [[shown["W1"].pk, shown["W2"].pk], [shown["W3"].pk, shown["W4"].pk]]
    gate = threading.Barrier(4)
    failed: list[BaseException] = []

    def replace(wanted: list[Any]) -> None:
        try:
            gate.wait(60)
            for _ in range(10):
                selections.replace(user=alice, wearable_ids=wanted)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=replace, args=[pairs[n % 2]]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    left = set(Selection.objects.filter(user=alice).values_list("wearable_id", flat=True))
    assert left in [set(pair) for pair in pairs]


# --- Customisations -------------------------------------------------------------------------------------------------

LOOK = {
    "name": "Evening", "primary_color": "#1F2a44", "color_name": "midnight", "size": "M", "fit": "SLIM",
    "attributes": {"collar": "open"},
}  # fmt: skip


def test_a_customisations_life(shown: dict[str, Wearable], alice: User, bob: User) -> None:
    client = api(alice)
    made = client.post(CUSTOMIZATIONS, LOOK | {"wearable": str(shown["W1"].pk)})
    assert made.status_code == 201
    assert made.json().items() >= (LOOK | {"wearable": str(shown["W1"].pk), "secondary_color": ""}).items()
    place = made["Location"]
    assert client.get(place).json() == made.json() == client.get(CUSTOMIZATIONS).json()["results"][0]

    edited = client.patch(place, {"fit": "LOOSE", "wearable": None})
    assert (edited.status_code, edited.json()["fit"], edited.json()["wearable"]) == (200, "LOOSE", None)
    assert edited.json()["updated_at"] > made.json()["updated_at"]
    for method in ("get", "patch", "delete"):
        assert getattr(api(bob), method)(place).status_code == 404
    assert api(bob).get(CUSTOMIZATIONS).json()["count"] == 0
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert [row.action for row in AuditLog.objects.filter(entity_type="customization").order_by("id")] == [
        "customization.created", "customization.updated", "customization.deleted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"primary_color": "red"}, {"primary_color": "#12345g"}, {"primary_color": "#123"},
     {"size": "XXXL"}, {"fit": "slim"}, {"attributes": []}, {"attributes": {"a": {"b": 1}}},
     {"attributes": {"a": "x" * 201}}, {"attributes": {"": "x"}}, {"attributes": {"a\0": "x"}}, {"status": "COMPLETED"},
     {"attributes": {str(n): "x" for n in range(21)}}, {"color_name": "a\u202eb"}, {"user": str(uuid4())}],
)  # fmt: skip
def test_bad_customisations(alice: User, wrong: dict[str, Any]) -> None:
    client = api(alice)
    assert client.post(CUSTOMIZATIONS, LOOK | wrong).status_code == 400
    assert not Customization.objects.exists()
    place = client.post(CUSTOMIZATIONS, LOOK)["Location"]
    assert client.patch(place, wrong).status_code == 400


def test_of_an_item_that_is_not_on_offer(shown: dict[str, Wearable], alice: User) -> None:
    for missing in (str(uuid4()), str(shown["W7"].pk)):
        answer = api(alice).post(CUSTOMIZATIONS, LOOK | {"wearable": missing})
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (404, "wearable")


def test_leaving_takes_them_along_and_a_copy_holds_them(shown: dict[str, Wearable], alice: User, bob: User) -> None:
    for person in (alice, bob):
        api(person).post(SELECTIONS, ids(shown, "W1"))
        api(person).post(CUSTOMIZATIONS, LOOK)
    told = {part.name: list(part.rows) for part in telling.export(user=alice) if isinstance(part, exports.Rows)}
    assert [row["code"] for row in told["selections"]] == ["W1"]
    assert told["customizations"][0]["attributes"] == {"collar": "open"}

    assert leaving.erase(user=alice) == []
    assert leaving.erase(user=alice) == []

    assert set(Selection.objects.values_list("user", flat=True)) == {bob.pk}
    assert set(Customization.objects.values_list("user", flat=True)) == {bob.pk}
