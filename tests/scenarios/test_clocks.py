"""Machines whose clocks are wrong by an hour: the database's clock decides, and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.scenarios.client import PASSWORD, portrait
from tests.scenarios.shop import Shop, key, refused
from tests.scenarios.stack import ROOT, until

pytestmark = pytest.mark.scenario

HOUR_S = 3600


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A product of which nothing runs before its clocks are set."""
    running = Shop("sandbox")
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def twin(shop: Shop) -> str:
    """The address of a second web machine, which shares nothing with the first but the database and Redis."""
    return shop.stack.add_web("twin")


@pytest.fixture(scope="module", params=[1, -1], ids=["ahead", "behind"])
def skewed(shop: Shop, twin: str, request: Any) -> Iterator[int]:
    """The first web, worker and beat are so many hours ahead, the second web as much behind."""
    wrong = {"PYTHONPATH": str(ROOT / "tests" / "scenarios" / "skew")}
    hours = {"web": request.param, "twin": -request.param, "worker": -request.param, "beat": -request.param}
    for name, skew_h in hours.items():
        shop.stack.own[name] = wrong | {"CLOCK_SKEW_S": str(skew_h * HOUR_S)}
        if name in shop.stack.processes:
            shop.stack.kill(name)
    shop.stack.start(*hours)
    yield request.param
    assert "unhandled" not in shop.stack.log("web") + shop.stack.log("twin")
    shop.check_books()


def test_a_purchase_and_headshots_go_as_ever(shop: Shop, skewed: int) -> None:
    person = shop.customer()
    person.buy("credits:145", verify=False)
    picture = person.upload(portrait(6))
    quote = person.ok("POST", "generations/quote", json={"operation": "headshot"})["quote"]

    jobs = [
        person.headshot(picture, quote=quote, style_prompt="sandbox:hang"),
        person.headshot(picture, style_prompt="sandbox:lost"),
        person.headshot(picture, style_prompt="sandbox:fail"),
    ]

    assert [person.ended(job["id"])["charged"] for job in jobs] == ["settled", "settled", "none"]
    assert person.picture(person.ok("GET", f"generations/{jobs[0]['id']}")).width >= 300
    assert person.balance()["available"] == 50
    until(lambda: len(person.mails("headshot")) >= 3, "the mails about them")


def test_two_web_machines_two_hours_apart_are_one(shop: Shop, twin: str, skewed: int) -> None:
    """What one of them signs the other believes, until the database's clock says that it is over."""
    webs = (shop.stack.url, twin)
    person = shop.customer()
    person.buy("credits:95")
    picture = person.upload(portrait(7))

    def post(web: str, path: str, body: dict[str, Any], **headers: str) -> requests.Response:
        return requests.post(f"{web}/api/v1/{path}", json=body, headers=headers, timeout=60)

    for here, there in (webs, webs[::-1]):
        signed_in = post(here, "auth/login", {"email": person.email, "password": PASSWORD}).json()
        for web in (here, there):
            bearer = {"Authorization": f"Bearer {signed_in['access']}"}
            assert requests.get(f"{web}/api/v1/users/me", headers=bearer, timeout=60).status_code == 200
        fresh = post(there, "auth/refresh", {"refresh": signed_in["refresh"]})
        again = post(here, "auth/refresh", {"refresh": fresh.json()["refresh"]})
        assert (fresh.status_code, again.status_code) == (200, 200)
        bearer = {"Authorization": f"Bearer {again.json()['access']}"}

        quote = post(here, "generations/quote", {"operation": "headshot"}, **bearer).json()["quote"]
        body, wish = {"photo": picture, "consent": True, "quote": quote}, {"Idempotency-Key": key()}
        made = [post(web, "headshots", body, **bearer, **wish) for web in (there, here, there)]
        assert [answer.status_code for answer in made] == [202, 202, 202]
        assert [answer.headers.get("Idempotent-Replayed") for answer in made] == [None, "true", "true"]
        assert len({answer.content for answer in made}) == 1
        person.ended(made[0].json()["id"])

        job = requests.get(f"{here}/api/v1/generations/{made[0].json()['id']}", headers=bearer, timeout=60).json()
        link = job["outputs"][0]["url"].removeprefix(shop.stack.url)
        shown = [requests.get(f"{web}{link}", timeout=60) for web in webs]
        assert [answer.status_code for answer in shown] == [200, 200]
        assert len({answer.content for answer in shown}) == 1
    assert person.balance() == {"balance": 0, "held": 0, "frozen": 0, "available": 0, "debt": 0}


def test_what_has_run_out_is_refused_by_both(shop: Shop, twin: str, skewed: int) -> None:
    """Neither clock gives a token or a link an hour more."""
    webs = (shop.stack.url, twin)
    person = shop.customer()
    photo = person.upload(portrait(8))
    for name in ("web", "twin"):
        shop.stack.own[name] |= {"ACCESS_TOKEN_MINUTES": "0", "SIGNED_URL_S": "1"}
        shop.stack.kill(name)
    shop.stack.start("web", "twin")

    link = person.ok("GET", f"photos/{photo}/url")["url"].removeprefix(shop.stack.url)
    for web in webs:
        until(lambda web=web: requests.get(f"{web}{link}", timeout=60).status_code == 404, "the link has run out")
    for here in webs:
        given = {"email": person.email, "password": PASSWORD}
        access = requests.post(f"{here}/api/v1/auth/login", json=given, timeout=60).json()["access"]
        for web in webs:
            headers = {"Authorization": f"Bearer {access}"}
            refused(requests.get(f"{web}/api/v1/users/me", headers=headers, timeout=60), 401, "token_expired")
