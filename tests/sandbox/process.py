"""The sandbox as a real process on free ports, for any test that needs the outside world."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests

ROOT = Path(__file__).resolve().parents[2]
START_DEADLINE_S = STOP_DEADLINE_S = 120
PATIENCE_S = 150
T = TypeVar("T")

KEYS = {
    "RAZORPAY_KEY_ID": "rzp_test_tests",
    "RAZORPAY_KEY_SECRET": "rz_key_secret_example",
    "RAZORPAY_WEBHOOK_SECRET": "rz_webhook_secret_example",
    "STRIPE_SECRET_KEY": "sk_test_tests",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_tests",
    "STRIPE_WEBHOOK_SECRET": "whsec_example",
    "MONNIFY_API_KEY": "MK_TEST_TESTS",
    "MONNIFY_SECRET_KEY": "monnify_secret_example",
    "MONNIFY_CONTRACT_CODE": "1000000001",
    "MAGIC_HOUR_API_KEY": "mhk_test_tests",
    "MAGIC_HOUR_WEBHOOK_SECRET": "mh_secret_example",
    "KIE_API_KEY": "kie_test_tests",
    "KIE_WEBHOOK_SECRET": "kie_key_example",
    "XAI_API_KEY": "xai_test_tests",
    "LIVEKIT_API_KEY": "APItests",
    "LIVEKIT_API_SECRET": "livekit_secret_example_of_32_letters",
}


def wait_for(condition: Callable[[], T | None], what: str) -> T:
    """Ask until the answer is truthy; fail naming what was waited for."""
    end = time.monotonic() + PATIENCE_S
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.02)


@dataclass
class RunningSandbox:
    """A started sandbox: where it is, and what tests ask of it."""

    base_url: str
    smtp_url: str
    directory: Path
    process: subprocess.Popen[str]
    keys: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def smtp_port(self) -> int:
        return int(self.smtp_url.rpartition(":")[2])

    @property
    def razorpay_url(self) -> str:
        return f"{self.base_url}/razorpay"

    @property
    def stripe_url(self) -> str:
        return f"{self.base_url}/stripe"

    @property
    def monnify_url(self) -> str:
        return f"{self.base_url}/monnify"

    @property
    def magic_hour_url(self) -> str:
        return f"{self.base_url}/magic-hour"

    @property
    def kie_url(self) -> str:
        return f"{self.base_url}/kie"

    @property
    def xai_url(self) -> str:
        return f"{self.base_url}/xai"

    @property
    def livekit_url(self) -> str:
        return f"{self.base_url}/livekit"

    @property
    def env(self) -> dict[str, str]:
        """The settings that point Atelier at this sandbox."""
        return self.keys | {
            "RAZORPAY_BASE_URL": self.razorpay_url,
            "STRIPE_BASE_URL": self.stripe_url,
            "MONNIFY_BASE_URL": self.monnify_url,
            "MAGIC_HOUR_BASE_URL": self.magic_hour_url,
            "KIE_BASE_URL": self.kie_url,
            "XAI_BASE_URL": self.xai_url,
            "LIVEKIT_BASE_URL": self.livekit_url,
            "EMAIL_URL": self.smtp_url,
        }

    def call(self, method: str, path: str, json: Any = None, **options: Any) -> requests.Response:
        options.setdefault("timeout", 60)
        options.setdefault("headers", {})["Accept"] = "application/json"
        return self.session.request(method, self.base_url + path, json=json, **options)

    def ask(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """Call and insist on success; answers the JSON."""
        answer = self.call(method, path, json, **options)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    # Control surface -------------------------------------------------------------------------

    def reset(self) -> None:
        self.ask("POST", "/control/reset")

    def deliver_webhooks(self, wanted: bool, provider: str | None = None) -> None:
        self.ask("POST", "/control/webhooks", {"deliver": wanted} | ({"provider": provider} if provider else {}))

    def deliveries(self, **filters: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/control/deliveries", params=filters))

    def resend(self, delivery_id: str, times: int = 1) -> list[str]:
        return list(self.ask("POST", f"/control/deliveries/{delivery_id}/resend", {"times": times})["deliveries"])

    def fault(self, provider: str, mode: str, count: int | None = 1, **more: Any) -> None:
        self.ask("POST", "/control/faults", {"provider": provider, "mode": mode, "count": count, **more})

    def clear_faults(self) -> None:
        self.ask("DELETE", "/control/faults")

    def requests(self, **filters: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/control/requests", params=filters))

    def advance(self, seconds: float) -> None:
        self.ask("POST", "/control/advance", {"seconds": seconds})

    def tune(self, **values: float) -> None:
        self.ask("POST", "/control/settings", values)

    # The customer and the gateway's people -------------------------------------------------------

    def checkout(self, order_id: str, act: str = "pay", **form: Any) -> dict[str, Any]:
        """Press a button of the hosted checkout; what the real one hands to the client."""
        return dict(self.call("POST", f"/razorpay/checkout/{order_id}/{act}", form).json())

    def gateway(self, things: str, id: str, act: str, **form: Any) -> dict[str, Any]:
        """Act on the gateway's dashboard: ("payments", id, "refund"|"dispute"|"authorize"|"capture"),
        ("disputes", id, "win"|"lose"|"review"|"close"|"action-required"), ("refunds", id, "process"|"fail")."""
        return dict(self.ask("POST", f"/razorpay/dashboard/{things}/{id}/{act}", form))

    def stripe_checkout(self, id: str, act: str = "pay", **form: Any) -> dict[str, Any]:
        """Press a button of Stripe's checkout: pay, fail, abandon, and for 3-D Secure authenticate or refuse."""
        return dict(self.call("POST", f"/stripe/checkout/{id}/{act}", form).json())

    def stripe_dashboard(self, things: str, id: str, act: str, **form: Any) -> dict[str, Any]:
        """Act on Stripe's dashboard: ("charges", id, "refund"|"dispute"|"inquire"),
        ("disputes", id, "review"|"win"|"lose"|"close"), ("refunds", id, "succeed"|"fail"),
        ("subscriptions", id, "renew"|"fail"|"finalize"|"retry"|"give-up"|"unpaid"|"lapse"|"card")."""
        return dict(self.ask("POST", f"/stripe/dashboard/{things}/{id}/{act}", form))

    def monnify_checkout(self, reference: str, act: str = "pay", **form: Any) -> dict[str, Any]:
        """Press a button of Monnify's checkout: pay, fail, cancel or abandon."""
        return dict(self.call("POST", f"/monnify/checkout/{quote(reference, safe='')}/{act}", form).json())

    def monnify_dashboard(self, things: str, id: str, act: str, **form: Any) -> dict[str, Any]:
        """Act on Monnify's dashboard: ("transactions", reference, "pay"|"reverse"|"refund"),
        ("refunds", reference, "complete"|"fail")."""
        return dict(self.ask("POST", f"/monnify/dashboard/{things}/{quote(id, safe='')}/{act}", form))

    def messages(self, to: str = "", subject: str = "") -> list[dict[str, Any]]:
        """Mails received, newest first."""
        return list(self.ask("GET", "/mail/messages", params={"to": to, "subject": subject}))

    def wait_for_message(self, to: str, subject: str = "") -> dict[str, Any]:
        return wait_for(lambda: self.messages(to, subject), f"mail to {to} about {subject!r}")[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)


def start(directory: Path, **env: str) -> RunningSandbox:
    """Start a sandbox on `directory` and wait until it listens. Environment not named here does not reach it."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    keys = {name: env.get(name, value) for name, value in KEYS.items()}
    settings = {"SANDBOX_PORT": "0", "SANDBOX_SPEED_S": "0.1", "SANDBOX_WEBHOOK_RETRY_S": "0.1", "ENVIRONMENT": "test"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox"],
        cwd=ROOT,
        env=keep | settings | keys | env | {"SANDBOX_DIR": str(directory), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_DEADLINE_S) else ""
    if not line.startswith("sandbox ready "):
        process.kill()
        process.wait(STOP_DEADLINE_S)
        raise AssertionError(f"the sandbox did not start: {line!r}")
    base_url, smtp_url = line.split()[2:4]
    return RunningSandbox(base_url, smtp_url, directory, process, keys)


def stop(sandbox: RunningSandbox) -> int:
    """SIGTERM, and its exit status."""
    sandbox.session.close()
    if sandbox.process.poll() is None:
        sandbox.process.terminate()
    try:
        return sandbox.process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        sandbox.kill()
        raise AssertionError("the sandbox did not stop on SIGTERM") from None
    finally:
        assert sandbox.process.stdout is not None
        sandbox.process.stdout.close()


@contextmanager
def running_sandbox(directory: Path | None = None, **env: str) -> Iterator[RunningSandbox]:
    """A sandbox for the length of a `with`, in its own temporary folder unless one is given.

    `env` are its settings, e.g. PUBLIC_URL (where webhooks go), SANDBOX_SPEED_S, SANDBOX_PORT for a fixed one.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-") as temporary:
        sandbox = start(directory or Path(temporary), **env)
        try:
            yield sandbox
        finally:
            stop(sandbox)
