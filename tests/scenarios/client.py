"""A customer's app: HTTP only, patient with a server that dies, always with the same key for the same wish."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable
from typing import Any

import requests
from PIL import Image, ImageDraw

from tests.scenarios.stack import Stack, until

PASSWORD = "a long enough pass phrase 7"
Meanwhile = Callable[[], object]
OPEN = ("queued", "submitting", "running", "storing")


def portrait(seed: int = 1, size: tuple[int, int] = (900, 1200)) -> bytes:
    """A drawn portrait, as JPEG bytes."""
    image = Image.new("RGB", size, (200 - seed % 60, 210, 220))
    draw = ImageDraw.Draw(image)
    w, h = size
    draw.ellipse((w * 0.3, h * 0.15, w * 0.7, h * 0.6), fill=(224, 172 + seed % 40, 140))
    draw.rectangle((w * 0.15, h * 0.62, w * 0.85, h), fill=(40 + 37 * seed % 160, 60, 90))
    draw.ellipse((w * 0.4, h * 0.3, w * 0.45, h * 0.34), fill=(20, 20, 20))
    draw.ellipse((w * 0.55, h * 0.3, w * 0.6, h * 0.34), fill=(20, 20, 20))
    draw.arc((w * 0.42, h * 0.38, w * 0.58, h * 0.5), 20, 160, fill=(120, 30, 30), width=w // 60)
    to = io.BytesIO()
    image.save(to, "JPEG", quality=90)
    return to.getvalue()


class Customer:
    """One person in front of the running product."""

    def __init__(self, stack: Stack, email: str, *, meanwhile: Meanwhile | None = None) -> None:
        self.stack = stack
        self.email = email
        self.meanwhile = meanwhile or (lambda: None)  # what goes on while this person waits
        self.token = ""

    def send(self, method: str, path: str, *, key: str | None = None, **kwargs: Any) -> requests.Response:
        """One request, once, whatever the answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["Idempotency-Key"] = key
        if isinstance(kwargs.get("files"), bytes):
            kwargs["files"] = {"file": ("me.jpg", kwargs["files"])}
        return requests.request(
            method,
            path if path.startswith("http") else f"{self.stack.api}/{path}",
            headers=headers | kwargs.pop("headers", {}),
            timeout=60,
            allow_redirects=False,
            **kwargs,
        )

    def ask(self, method: str, path: str, *, key: str | None = None, **kwargs: Any) -> requests.Response:
        """One request, repeated with the same key while the server is away or busy with the first try."""
        heard: list[str] = []

        def once() -> list[requests.Response] | None:
            self.revived()
            try:
                response = self.send(method, path, key=key, **kwargs)
            except requests.RequestException as error:
                heard.append(type(error).__name__)
                return None
            heard.append(f"{response.status_code} {response.text[:200]}")
            busy = response.status_code in (502, 503) or (
                response.status_code == 409 and response.json()["error"] in ("idempotency_in_progress", "conflict")
            )
            return None if busy else [response]  # a refusal is falsy, and an answer

        try:
            return until(once, f"{method} {path} is answered")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; the last of {len(heard)} tries: {heard[-3:]}") from error

    def ok(self, method: str, path: str, *, key: str | None = None, **kwargs: Any) -> Any:
        """The JSON of a 2xx answer."""
        response = self.ask(method, path, key=key, **kwargs)
        assert 200 <= response.status_code < 300, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def mails(self, pattern: str = "") -> list[dict[str, Any]]:
        """What this person has received, by subject."""
        found = requests.get(f"{self.stack.sandbox}/mail/messages", params={"to": self.email}, timeout=60).json()
        messages = found["messages"] if isinstance(found, dict) else found
        return [m for m in messages if re.search(pattern, m["subject"], re.I)]

    def join(self) -> None:
        """Register, follow the link in the mail, sign in."""
        response = self.ask("POST", "auth/register", json={"email": self.email, "password": PASSWORD})
        assert response.status_code in (201, 409), response.text  # 409: the first try died after its commit
        mail = until(lambda: self.revived() and self.mails("confirm|verify"), "the verification mail")[0]
        token = re.search(r"/verify-email/([\w.~:-]+)", mail["text"])
        assert token, mail["text"]
        response = self.ask("POST", "auth/verify-email", json={"token": token[1]})
        assert response.status_code in (200, 400), response.text  # 400: used by the first try
        signed_in = self.ok("POST", "auth/login", json={"email": self.email, "password": PASSWORD})
        assert signed_in["user"]["email"] == self.email
        self.token = signed_in["access"]

    def revived(self) -> bool:
        """Always true; dead processes are started again, and whatever goes on meanwhile goes on."""
        self.stack.revive()
        self.meanwhile()
        return True

    def buy(self, item: str = "package:BASIC", *, verify: bool = True) -> dict[str, Any]:
        """Start a payment, pay at the gateway, hand its answer in, wait until it is credited."""
        payment = self.ok("POST", "payments", key=uuid.uuid4().hex, json={"item": item, "gateway": "razorpay"})
        handed = until(lambda: self.revived() and self.pay(payment), "the gateway takes the payment")
        if verify:
            self.ok("POST", f"payments/{payment['id']}/verify", json=handed)
        return self.settled(payment["id"])

    def pay(self, payment: dict[str, Any], button: str = "pay", **fields: str) -> dict[str, Any]:
        """Press a button of the gateway's checkout page; `again="1"` pays a paid order twice."""
        order = payment["client"]["order_id"]
        response = requests.post(
            f"{self.stack.sandbox}/razorpay/checkout/{order}/{button}",
            headers={"Accept": "application/json"},
            data=fields,
            timeout=60,
        )
        assert response.ok, response.text
        found: dict[str, Any] = response.json()
        return found

    def settled(self, payment_id: str) -> dict[str, Any]:
        """The payment once it is credited."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ok("GET", f"payments/{payment_id}")
            return found if found["status"] not in ("created", "pending") else None

        return until(look, f"payment {payment_id} ends")

    def upload(self, picture: bytes) -> str:
        """Upload a photo. Returns its id."""
        photo_id: str = self.ok("POST", "photos", files=picture)["id"]
        return photo_id

    def headshot(self, photo: str, **fields: Any) -> dict[str, Any]:
        """Ask for a headshot."""
        body = {"photo": photo, "consent": True} | fields
        job: dict[str, Any] = self.ok("POST", "headshots", key=uuid.uuid4().hex, json=body)
        return job

    def ended(self, job_id: str, *, within_s: float = 150) -> dict[str, Any]:
        """The job once it has ended."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ok("GET", f"generations/{job_id}")
            return found if found["status"] not in OPEN else None

        return until(look, f"job {job_id} ends", within_s=within_s)

    def picture(self, job: dict[str, Any]) -> Image.Image:
        """The job's picture, through its signed link."""
        response = self.ask("GET", job["outputs"][0]["url"])
        assert response.status_code == 200
        image = Image.open(io.BytesIO(response.content))
        image.load()
        return image

    def balance(self) -> dict[str, int]:
        """The credits balance."""
        found: dict[str, int] = self.ok("GET", "credits/balance")
        return found
