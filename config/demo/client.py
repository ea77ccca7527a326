"""A customer's app and the world around it, by HTTP alone."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

OPEN = ("queued", "submitting", "running", "storing")
PATIENCE_S = 75  # the longest wait for a rate limit
T = TypeVar("T")


class DemoError(Exception):
    """Something did not hold; the message says what."""


@dataclass
class Customer:
    """One person with an app, a mailbox and a card."""

    api: str
    sandbox: str
    email: str
    note: Callable[[str], None]
    token: str = ""
    http: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.http.trust_env = False  # it all happens on this machine

    def ask(self, method: str, path: str, *, key: str | None = None, **body: Any) -> Any:
        """One call to the API; waits when told to.

        Raises: DemoError with the API's own words.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        waited = 0
        while True:
            answer = self.http.request(method, f"{self.api}/{path}", headers=headers, timeout=60, **body)
            if answer.status_code != 429:
                break
            pause_s = int(answer.headers.get("Retry-After", "60"))
            waited += pause_s
            if waited > PATIENCE_S:
                break
            self.note(f"the rate limit asks for {pause_s} s of patience …")
            time.sleep(pause_s)
        if answer.ok:
            return answer.json() if answer.content else None
        raise DemoError(f"{method} {path}: {answer.status_code} {_words(answer)}")

    def register(self, password: str, first_name: str) -> Any:
        """Sign up; the answer signs in too."""
        answer = self.ask(
            "POST", "auth/register", json={"email": self.email, "password": password, "first_name": first_name}
        )
        self.token = answer["access"]
        return answer["user"]

    def mails(self, subject: str = "") -> list[dict[str, Any]]:
        """What the mailbox holds, oldest first."""
        where = {"to": self.email, "subject": subject}
        answer = self.http.get(f"{self.sandbox}/mail/messages", params=where, timeout=20)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found[::-1]

    def await_mail(self, pattern: str) -> dict[str, Any]:
        """The mail whose text or subject matches."""

        def look() -> dict[str, Any] | None:
            return next((m for m in self.mails() if re.search(pattern, f"{m['subject']}\n{m['text']}", re.I)), None)

        return wait_for(look, f"a mail like {pattern!r}", within_s=60)

    def verify(self) -> dict[str, Any]:
        """Open the link of the verification mail. Returns the mail."""
        mail = self.await_mail(r"/verify-email/")
        found = re.search(r"/verify-email/([^\s\"'>)]+)", mail["text"])
        if not found:
            raise DemoError("the verification mail has no link")
        self.ask("POST", "auth/verify-email", json={"token": found[1]})
        return mail

    def balance(self) -> dict[str, int]:
        answer: dict[str, int] = self.ask("GET", "credits/balance")
        return answer

    def buy(self, item: str) -> dict[str, Any]:
        """Pay at the gateway's checkout and hand its answer in. Returns the settled payment."""
        payment = self.ask("POST", "payments", key=uuid.uuid4().hex, json={"item": item, "gateway": "razorpay"})
        checkout = f"{self.sandbox}/razorpay/checkout/{payment['client']['order_id']}/pay"
        handed = self.http.post(checkout, headers={"Accept": "application/json"}, timeout=60)
        if not handed.ok:
            raise DemoError(f"the checkout answered {handed.status_code}: {handed.text[:300]}")
        proof = {name: value for name, value in handed.json().items() if name.startswith("razorpay_")}
        self.ask("POST", f"payments/{payment['id']}/verify", json=proof)

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ask("GET", f"payments/{payment['id']}")
            return found if found["status"] not in ("created", "pending") else None

        return wait_for(look, "the payment's end", within_s=90, step_s=1)

    def upload(self, picture: Path) -> dict[str, Any]:
        with open(picture, "rb") as file:
            answer: dict[str, Any] = self.ask("POST", "photos", files={"file": (picture.name, file)})
        return answer

    def headshot(self, photo: str, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Order a headshot and watch it. Returns the ended job."""
        job = self.ask("POST", "headshots", key=uuid.uuid4().hex, json={"photo": photo, "consent": True})

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ask("GET", f"generations/{job['id']}")
            show(found)
            return found if found["status"] not in OPEN else None

        return wait_for(look, "the headshot's end", within_s=20 * 60, step_s=1)

    def download(self, url: str, to: Path) -> None:
        """Fetch a signed link into a file."""
        with self.http.get(url, stream=True, timeout=60) as answer, open(to, "wb") as file:
            answer.raise_for_status()
            for part in answer.iter_content(1 << 16):
                file.write(part)


def wait_for(look: Callable[[], T | None], what: str, *, within_s: float, step_s: float = 0.2) -> T:
    """Ask until there is an answer. Raises: DemoError after the deadline."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoError(f"waited {within_s:g} s in vain for {what}")
        time.sleep(step_s)
    return found


def _words(answer: requests.Response) -> str:
    try:
        body = answer.json()
        details = "; ".join(str(detail.get("message", detail)) for detail in body.get("details", []))
        return f"{body['error']}: {body['message']} {details}".strip()
    except (ValueError, KeyError, AttributeError):
        return answer.text[:300]
