"""The process: refusals at the start, the end, and what survives a kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import magic_hour
import pytest
import razorpay
import requests

from tests.sandbox.process import ROOT, RunningSandbox, running_sandbox, start, stop, wait_for
from tests.sandbox.receiver import Receiver


def run(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": os.environ["PATH"], "SANDBOX_PORT": "0", "SANDBOX_DIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "sandbox"],
        cwd=ROOT,
        env=settings | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gateway_of(sandbox: RunningSandbox) -> razorpay.Client:
    keys = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    return razorpay.Client(auth=keys, base_url=sandbox.razorpay_url)


@pytest.mark.parametrize("value", ["production", "Production", " PRODUCTION "])
def test_production_is_refused_with_one_line(tmp_path: Path, value: str) -> None:
    refused = run(tmp_path / "state", ENVIRONMENT=value)

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "ENVIRONMENT=production" in refused.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"SANDBOX_PORT": "eighty"}, "SANDBOX_PORT"),
        ({"SANDBOX_SPEED_S": "fast"}, "SANDBOX_SPEED_S"),
        ({"PUBLIC_URL": "localhost:8000"}, "PUBLIC_URL"),
        ({"RAZORPAY_KEY_SECRET_FILE": "/nonexistent"}, "RAZORPAY_KEY_SECRET_FILE"),
        ({"SANDBOX_DIR": "/proc/nowhere"}, "SANDBOX_DIR"),
    ],
)
def test_bad_setting_is_named_in_one_line(tmp_path: Path, env: dict[str, str], named: str) -> None:
    refused = run(tmp_path, **env)

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert named in refused.stderr


def test_busy_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        web = run(tmp_path, SANDBOX_PORT=port)
        smtp = run(tmp_path, SANDBOX_SMTP_PORT=port)

    assert web.returncode == 1
    assert f"{port}" in web.stderr
    assert "SANDBOX_PORT" in web.stderr
    assert smtp.returncode == 1
    assert "SANDBOX_SMTP_PORT" in smtp.stderr


def test_second_sandbox_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with running_sandbox(tmp_path):
        refused = run(tmp_path)

    assert refused.returncode == 1
    assert "used by another sandbox" in refused.stderr


def test_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")

    with running_sandbox(tmp_path / "state", RAZORPAY_KEY_SECRET_FILE=str(tmp_path / "secret")) as sandbox:
        keys = (sandbox.keys["RAZORPAY_KEY_ID"], "from-a-file")
        assert razorpay.Client(auth=keys, base_url=sandbox.razorpay_url).order.all()["count"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_it_at_once_even_with_hanging_callers(tmp_path: Path, number: signal.Signals) -> None:
    sandbox = start(tmp_path)
    sandbox.fault("razorpay", "hang", count=None)
    errors: list[Exception] = []

    def hang() -> None:
        try:
            gateway_of(sandbox).order.all(timeout=60)
        except Exception as error:
            errors.append(error)

    callers = [threading.Thread(target=hang) for _ in range(3)]
    for caller in callers:
        caller.start()
    wait_for(lambda: len(sandbox.requests(provider="razorpay")) == 3, "hanging callers")
    began = time.monotonic()

    sandbox.process.send_signal(number)

    assert stop(sandbox) == 0
    assert time.monotonic() - began < 20
    for caller in callers:
        caller.join(60)
    assert len(errors) == 3


def test_state_and_timed_actions_survive_a_kill(tmp_path: Path, receiving: Receiver, photo: Path) -> None:
    receiving.clear()
    env = {"PUBLIC_URL": receiving.url, "SANDBOX_PENDING_S": "1", "SANDBOX_SPEED_S": "1"}
    sandbox = start(tmp_path, **env)
    gateway = gateway_of(sandbox)
    order = gateway.order.create({"amount": 50_002, "currency": "INR", "payment": {"capture": "automatic"}})
    sandbox.checkout(order["id"])
    studio = magic_hour.Client(token=sandbox.keys["MAGIC_HOUR_API_KEY"], base_url=sandbox.magic_hour_url)
    path = studio.v1.files.upload_file(str(photo))
    project = studio.v1.ai_headshot_generator.create(assets={"image_file_path": path}, name="kept").id

    sandbox.kill()
    stop(sandbox)
    sandbox = start(tmp_path, **env)

    try:
        receiving.wait(order["id"], "order.paid")
        receiving.wait(project, "image.completed")
        assert gateway_of(sandbox).order.fetch(order["id"])["status"] == "paid"
    finally:
        stop(sandbox)


def test_nothing_of_the_product_is_imported() -> None:
    listing = subprocess.run(
        [sys.executable, "-c", "import sandbox.__main__, sys; print('\\n'.join(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    tops = {name.partition(".")[0] for name in listing}
    assert not tops & {
        "django", "rest_framework", "config", "core", "audit", "inbox", "notifications", "accounts", "billing",
        "generation", "dashboard",
    }  # fmt: skip


def test_links_point_where_the_caller_found_it(sandbox: RunningSandbox) -> None:
    url = sandbox.magic_hour_url.replace("127.0.0.1", "localhost")
    headers = {"Authorization": f"Bearer {sandbox.keys['MAGIC_HOUR_API_KEY']}"}

    answer = requests.post(
        f"{url}/v1/files/upload-urls", json={"items": [{"type": "image", "extension": "png"}]}, headers=headers,
        timeout=10,
    )  # fmt: skip

    assert answer.json()["items"][0]["upload_url"].startswith(url.rpartition("/")[0])
