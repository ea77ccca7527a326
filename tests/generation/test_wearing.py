"""What is chosen from the catalogue reaches the prompt: by name, as it was when it was ordered."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from generation import prompts
from generation.models import Generation, Kind, State
from tests import books
from tests.generation.material import fund, photo_of, run_until
from tests.generation.scripted import Play, install, made
from tests.people import api, make_user
from tests.sandbox.process import RunningSandbox
from wearables import customizations
from wearables.models import Customization, Wearable


@pytest.fixture
def polo(db: None) -> Wearable:
    return Wearable.objects.create(code="W1", category="Tops", name="Striped Polo Shirt")


@pytest.fixture
def look(alice: User, polo: Wearable) -> Customization:
    values = {"name": "Mine", "wearable_id": polo.pk, "color_name": "midnight", "fit": "SLIM"}
    return customizations.create(user=alice, values=values)


def post(user: User, path: str, **body: Any) -> Any:
    return api(user).post(f"/api/v1/{path}", body, headers={"Idempotency-Key": uuid4().hex})


def test_a_picture_shows_what_is_worn(
    alice: User, polo: Wearable, look: Customization, monkeypatch: pytest.MonkeyPatch
) -> None:
    play: Play = install(monkeypatch)
    play.prepared = {"optimized_prompt": "A better wording"}
    play.answers = [made()]
    fund(alice, 100)
    jeans = Wearable.objects.create(code="W2", category="Bottoms", name="Distressed Jeans")
    body = {"prompt": "A walk", "wearables": [str(jeans.pk), str(jeans.pk)], "customization": str(look.pk)}

    answer = post(alice, "images", optimize_prompt=True, **body)

    assert answer.status_code == 202, answer.content
    assert answer.json()["params"].items() >= {"wearables": [str(jeans.pk)], "customization": str(look.pk)}.items()
    Wearable.objects.update(name="Renamed")
    customizations.delete(user=alice, customization_id=look.pk)
    job = run_until(Generation.objects.get(pk=answer.json()["id"]))
    assert job.state == State.SUCCEEDED
    worn = "Wearing: Distressed Jeans (Bottoms); Striped Polo Shirt (Tops), in midnight, slim fit."
    (order,) = play.orders
    assert order.params["prompt"] == f"A walk {worn}"
    assert order.params["optimized_prompt"] == f"A better wording {worn}"
    assert play.prepares[0].params["prompt"] == f"A walk {worn}"
    assert job.params["prompt"] == "A walk"
    books.check()


def test_a_headshot_without_a_style_has_that_one(alice: User, polo: Wearable, sandbox: RunningSandbox) -> None:
    fund(alice, 100)
    photo = photo_of(alice)

    answer = post(alice, "headshots", photo=str(photo.pk), consent=True, wearables=[str(polo.pk)])

    assert answer.status_code == 202, answer.content
    job = run_until(Generation.objects.get(pk=answer.json()["id"]))
    assert job.state == State.SUCCEEDED
    assert job.attempts.get().request["params"]["style_prompt"] == "Wearing: Striped Polo Shirt (Tops)."
    books.check()


def test_what_is_not_there_or_not_theirs_is_named_and_costs_nothing(
    alice: User, polo: Wearable, look: Customization
) -> None:
    bob = make_user("bob@example.com")
    fund(bob, 100)
    hidden = Wearable.objects.create(code="W2", category="Tops", name="Tee", is_active=False)
    for wrong, field in (
        ({"wearables": [str(polo.pk), str(hidden.pk)]}, "wearables"),
        ({"wearables": [str(uuid4())]}, "wearables"),
        ({"customization": str(look.pk)}, "customization"),
        ({"customization": str(uuid4())}, "customization"),
    ):
        answer = post(bob, "images", prompt="A walk", **wrong)
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (404, field)
        assert answer.json()["charged"] == "none"
    for wrong in ({"wearables": "x"}, {"wearables": ["x"]}, {"wearables": [str(uuid4()) for _ in range(9)]}):
        assert post(bob, "images", prompt="A walk", **wrong).status_code == 400
    assert post(bob, "videos", prompt="A walk", wearables=[str(polo.pk)]).status_code == 400
    assert not Generation.objects.exists()
    books.check()


def test_own_words_are_moderated_and_not_endless(alice: User, polo: Wearable) -> None:
    fund(alice, 100)
    naked = customizations.create(user=alice, values={"name": "x", "attributes": {"top": "naked"}})
    long = customizations.create(user=alice, values={"name": "x", "attributes": {str(n): "y" * 200 for n in range(7)}})

    answer = post(alice, "images", prompt="A walk", customization=str(naked.pk))
    assert (answer.status_code, answer.json()["error"]) == (422, "moderated")
    answer = post(alice, "images", prompt="A walk", customization=str(long.pk))
    assert (answer.status_code, answer.json()["details"][0]["code"]) == (400, "too_long")
    assert not Generation.objects.exists()


def test_saying_it_twice_says_it_once() -> None:
    once = prompts.dressed(Kind.IMAGE, {"prompt": "A walk"}, "Wearing: a hat.")
    assert prompts.dressed(Kind.IMAGE, once, "Wearing: a hat.") == once == {"prompt": "A walk Wearing: a hat."}
    assert prompts.dressed(Kind.IMAGE, {"prompt": "A walk"}, "") == {"prompt": "A walk"}
