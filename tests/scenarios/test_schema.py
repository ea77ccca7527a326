"""Every operation of the schema, asked by a machine that makes things up: no 5xx, nothing that the schema rules out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from generation.providers import photogrammetry
from tests import books
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import Stack

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]

LASTING = {"ACCESS_TOKEN_MINUTES": "600", "SIGN_UP_GRANT": "500"}
# Whoever calls these is signed out, or gone.
ENDINGS = r"logout|destroy_all|users_me_(delete|destroy)"
# What the schema cannot say (a password's strength, a signature, what is for sale) is refused all the same.
EXCEPT = "positive_data_acceptance"


class Machine:
    """Schemathesis as a process, against the running product."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.config = folder / "schemathesis.toml"
        self.config.touch()

    def know(self, **ids: str) -> None:
        """Give operations the ids of things that exist: by the beginning of their name, longest first."""
        self.config.write_text(
            "\n".join(
                f'[[operations]]\ninclude-operation-id-regex = "^{start}"\nparameters = {{ "path.id" = "{one}" }}\n'
                for start, one in ids.items()
            )
        )

    def ask(self, token: str, *options: str) -> None:
        """Run it as whoever holds the token, or as nobody.

        Raises: AssertionError with its report.
        """
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(self.config)),
                *("run", f"{self.stack.url}/api/schema", "--exclude-checks", EXCEPT, "--generation-database", "none"),
                *("--suppress-health-check", "all", "--request-timeout", "60", "--max-response-time", "30"),
                *("--continue-on-failure", "--warnings", "off", "--no-shrink"),
                # Two threads at once in Python 3.11's parser break each other, and Hypothesis parses to name strategies
                *("--workers", "1"),
                *(("--header", f"Authorization: Bearer {token}") if token else ()),
                *options,
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-20_000:]}{done.stderr[-2000:]}"
        assert "passed" in done.stdout


@pytest.fixture
def machine(stack: Stack, tmp_path: Path) -> Machine:
    return Machine(stack, tmp_path)


def joined(stack: Stack, name: str) -> Customer:
    person = Customer(stack, f"{name}@example.com")
    person.join()
    return person


def ask_as_everybody(stack: Stack, machine: Machine, examples: int, *options: str) -> None:
    alice, leaver = joined(stack, "alice"), joined(stack, "leaver")
    photo = alice.upload(portrait())
    order = {"item": "credits:10", "gateway": "razorpay"}
    machine.know(
        photos_=photo,
        photos_delete=alice.upload(portrait(2)),
        wallets_=alice.ok("GET", "wallets")["results"][0]["id"],
        payments_=alice.ok("POST", "payments", key="one", json=order)["id"],
        generations_=alice.ended(alice.headshot(photo)["id"])["id"],
        generations_delete=alice.headshot(photo)["id"],
    )

    # What cannot be made here answers 503 as it should, which the machine takes for a breakdown.
    left_out = f"{ENDINGS}|models_create" if photogrammetry.missing() else ENDINGS
    machine.ask(alice.token, "--exclude-operation-id-regex", left_out, "--max-examples", str(examples), *options)
    # most of what nobody says is not even read
    machine.ask("", "--max-examples", str(examples // 2), *options)
    machine.ask(leaver.token, "--include-operation-id-regex", ENDINGS, "--max-examples", str(examples), *options)

    books.check()
    assert {name: process.poll() for name, process in stack.processes.items()} == dict.fromkeys(stack.processes)
    assert "[error" not in stack.log("web"), stack.log("web")[-5000:]


@pytest.mark.parametrize("stack", [LASTING], indirect=True)
def test_nothing_that_is_made_up_breaks_anything(stack: Stack, machine: Machine) -> None:
    ask_as_everybody(stack, machine, 4, "--phases", "examples,fuzzing", "--seed", "1")


@pytest.mark.deep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("stack", [LASTING], indirect=True)
def test_nothing_that_is_made_up_at_length_breaks_anything(stack: Stack, machine: Machine) -> None:
    ask_as_everybody(stack, machine, 60, "--phases", "examples,coverage,fuzzing,stateful")
