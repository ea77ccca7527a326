"""Somebody fills the wallet for calls through Monnify and talks until the money is gone: HTTP alone, real workers."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

import pytest
import requests

from billing.models import Hold
from tests import books
from tests.scenarios.client import Customer
from tests.scenarios.stack import WAKES, Stack, until

pytestmark = pytest.mark.scenario
# Ten naira a second: a hundred are gone within a test.
quick = pytest.mark.parametrize(
    "stack",
    [
        {
            "CALL_RATE": "60000",
            "CALL_SLICE_S": "10",
            "CALL_HEARTBEAT_S": "8",
            "CALL_SILENCE_S": "30",
            "WAKE_EVERY_S": f"{WAKES},calls.tend=0.5,calls.tend_rooms=0.5",
        }
    ],
    indirect=True,
    ids=["aileana"],
)


class Caller(Customer):
    def tops_up(self, naira: int) -> None:
        body = {"item": f"wallet:calls:{naira * 100}", "gateway": "monnify"}
        payment = self.ok("POST", "payments", key=secrets.token_hex(8), json=body)
        reference = quote(payment["client"]["transaction_reference"], safe="")
        where = f"{self.stack.sandbox}/monnify/checkout/{reference}/pay"
        assert requests.post(where, headers={"Accept": "application/json"}, timeout=60).ok
        assert self.settled(payment["id"])["status"] == "succeeded"

    def calls(self, **body: Any) -> dict[str, Any]:
        call: dict[str, Any] = self.ok("POST", "calls", key=secrets.token_hex(8), json=body)
        return call

    def money(self) -> tuple[int, int]:
        """(balance, held) of the wallet for calls, in kobo."""
        [found] = [wallet for wallet in self.ok("GET", "wallets")["results"] if wallet["kind"] == "calls"]
        return found["balance"], found["held"]

    def over(self, call: dict[str, Any], *, beating: bool = True) -> dict[str, Any]:
        """The call once it has ended, which we do not ask for."""

        def look() -> dict[str, Any] | None:
            place = f"calls/{call['id']}"
            found: dict[str, Any] = self.ok("POST", f"{place}/heartbeat") if beating else self.ok("GET", place)
            return found if found["status"] != "answered" else None

        return until(look, "the call ends")


@quick
def test_calls_are_paid_by_the_second_until_the_money_is_gone(stack: Stack) -> None:
    alice, bob = Caller(stack, "caller@example.com"), Caller(stack, "callee@example.com")
    alice.join()
    bob.join()
    bob_id = bob.ok("GET", "users/me")["id"]
    poor = alice.ask("POST", "calls", key="poor", json={"callee": bob_id})
    assert (poor.status_code, poor.json()["error"]) == (402, "insufficient_funds")

    alice.tops_up(100)
    assert alice.money() == (10_000, 0)
    call = alice.calls(callee=bob_id)
    assert (call["status"], alice.money()) == ("ringing", (10_000, 1000))
    refused = alice.ask("PATCH", f"calls/{call['id']}/answer")
    assert (refused.status_code, refused.json()["error"]) == (403, "callee_only")
    [waiting] = bob.ok("GET", "calls", params={"role": "callee", "status": "ringing"})["results"]
    assert bob.ok("PATCH", f"calls/{waiting['id']}/answer")["livekit"]["url"].startswith("ws://")
    gone = alice.over(call)
    assert (gone["status"], gone["reason"], gone["billed_s"], gone["cost"]) == ("completed", "out_of_funds", 10, 10_000)
    assert alice.money() == (0, 0)

    alice.tops_up(1000)
    talk = alice.calls(callee=bob_id)
    bob.ok("PATCH", f"calls/{talk['id']}/answer")
    token = alice.ok("POST", f"calls/{talk['id']}/heartbeat")["livekit"]["token"]
    rtc = requests.post(f"{stack.sandbox}/livekit/rtc", params={"access_token": token}, timeout=60)
    assert rtc.ok, rtc.text
    identity = rtc.json()["identity"]
    where = f"{stack.sandbox}/livekit/dashboard/call-{talk['id']}/{identity}/leave"
    assert requests.post(where, timeout=60).ok
    left = alice.over(talk, beating=False)
    assert (left["reason"], left["charged"] in ("settled", "none")) == ("left", True)

    phone = alice.calls(recipient_phone="+2348012345678", recipient_name="Dispatch")
    alice.ok("PATCH", f"calls/{phone['id']}/answer")
    held = until(
        lambda: (found := alice.ok("POST", f"calls/{phone['id']}/heartbeat"))["held"] > 10_000 and found,
        "a second slice",
    )
    assert held["status"] == "answered"
    ended = alice.ok("PATCH", f"calls/{phone['id']}/end")
    assert alice.ok("PATCH", f"calls/{phone['id']}/end") == ended
    assert (ended["status"], ended["cost"]) == ("completed", 1000 * ended["billed_s"])
    assert alice.money() == (100_000 - left["cost"] - ended["cost"], 0)

    until(lambda: len(alice.mails("your call")) == 3, "three mails that sum up")
    assert any("Dispatch" in mail["text"] for mail in alice.mails("your call"))
    assert bob.mails("your call") == []

    def rooms() -> bool:
        asked = requests.get(f"{stack.sandbox}/control/requests", params={"provider": "livekit"}, timeout=60).json()
        paths = [request["path"] for request in asked]
        return sum("CreateRoom" in path for path in paths) >= 2 and sum("DeleteRoom" in path for path in paths) >= 3

    until(rooms, "the rooms are deleted")
    assert not Hold.objects.filter(state="open").exists()
    books.check()
