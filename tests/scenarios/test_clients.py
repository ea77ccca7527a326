"""What people who write clients get: pages of curl, typed line by line, and a TypeScript client, compiled and run."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests import books
from tests.people import PASSWORD, make_staff
from tests.scenarios.client import Customer, portrait
from tests.scenarios.conftest import stack  # noqa: F401  one product for all pages
from tests.scenarios.stack import ROOT, WAKES, Stack
from tests.skips import LACKS_CURL, LACKS_NPM
from tests.wearables import given

PAGES = ROOT / "docs" / "tutorials"
FIRST, *PRODUCTS = ["README.md", "realign.md", "lustify.md", "aiasmr.md", "aileana.md", "mozukai.md"]
SETTINGS = {
    "MFA_REQUIRED": "false",
    "CALL_RING_S": "600",  # a machine that does much else is no silent caller
    "CALL_SILENCE_S": "600",
    "GENERATION_POLL_MIN_S": "0.5",
    "WAKE_EVERY_S": f"{WAKES},generation.advance_sync=0.5,billing.poll_subscriptions=0.5",
}
CLIENT = ROOT / "clients" / "typescript"
by_node = pytest.mark.skipif(not (CLIENT / "node_modules" / ".made").exists(), reason=LACKS_NPM)
NEXT = "<<<next block>>>"
PATIENCE_S = 150
pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(PATIENCE_S + 60),
]
by_curl = pytest.mark.skipif(not shutil.which("curl"), reason=LACKS_CURL)
running = pytest.mark.parametrize("stack", [SETTINGS], indirect=True, ids=["typed"])


# --- Pages of curl ----------------------------------------------------------------------------------------------------


@dataclass
class Typed:
    """A page that is being typed."""

    promised: list[str]  # what each block of commands is said to print
    shell: subprocess.Popen[str]
    folder: Path


def blocks(name: str) -> list[tuple[str, str]]:
    """A page's commands, each block with the text that follows it at once."""
    text = (PAGES / name).read_text()
    found = re.findall(r"```sh\n(.*?)```\n(?:```text\n(.*?)```\n)?", text, re.S)
    assert len(found) == text.count("```sh")
    assert sum(1 for _, said in found if said) == text.count("```text")
    return found


@pytest.fixture(scope="module")
def typed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Typed]]:  # noqa: F811
    """All pages at once, each by a person of its own: mostly they wait."""
    make_staff("ops")
    given.load(tmp_path_factory.mktemp("catalogue"), f"{given.HEADER}\nW00001,Tops,Linen Blazer\n")
    pages: dict[str, Typed] = {}
    for name in PRODUCTS:
        folder = tmp_path_factory.mktemp(name)
        (folder / "me.jpg").write_bytes(portrait())
        typed = [*blocks(FIRST), *blocks(name)]
        script = "".join(f"{commands}\necho; echo '{NEXT}'\n" for commands, _ in typed)
        environment = {"API": stack.api, "SANDBOX": stack.sandbox, "OPS_PASSWORD": PASSWORD}
        environment |= {"EMAIL": f"{name.removesuffix('.md')}@example.com"}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
        shell = subprocess.Popen(
            ["sh", "-eu", "-c", script],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        pages[name] = Typed([said for _, said in typed], shell, folder)
    yield pages
    for page in pages.values():
        if page.shell.poll() is None:
            os.killpg(page.shell.pid, 9)
        page.shell.communicate()
    books.check()


@by_curl
@running
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_page_does_what_it_says(typed: dict[str, Typed], name: str) -> None:
    page = typed[name]

    said, _ = page.shell.communicate(timeout=PATIENCE_S)

    assert page.shell.returncode == 0, said[-3000:]
    printed = said.split(f"{NEXT}\n")
    for number, promised in enumerate(page.promised):
        wanted = ".*".join(re.escape(part) for part in promised.rstrip("\n").split("…"))
        assert not promised or re.fullmatch(wanted, printed[number].strip("\n"), re.S), (promised, printed[number])


@by_curl
@running
def test_what_the_pages_fetch_is_what_was_made(typed: dict[str, Typed]) -> None:
    for page in typed.values():
        page.shell.wait(PATIENCE_S)

    headshot = Image.open(io.BytesIO((typed["realign.md"].folder / "headshot.jpg").read_bytes()))
    headshot.load()
    assert (typed["lustify.md"].folder / "nia.jpg").stat().st_size > 1000
    assert (typed["aiasmr.md"].folder / "soap.mp4").read_bytes()[4:8] == b"ftyp"


def test_every_page_is_typed() -> None:
    assert sorted(path.name for path in PAGES.iterdir()) == sorted([FIRST, *PRODUCTS])
    assert re.findall(r"\]\((\w+\.md)\)", (PAGES / FIRST).read_text()) == PRODUCTS


# --- TypeScript -------------------------------------------------------------------------------------------------------

# Two calls at once with a token that is over: both are answered, and the session goes on.
RENEWED = """
import { connect, told } from "./dist/index.js";
const kept = [];
const { api, signIn } = connect(process.env.ORIGIN, (tokens) => kept.push(tokens));
signIn({ access: "over", refresh: process.env.REFRESH });
const asked = await Promise.all([1, 2].map(() => api.GET("/api/v1/users/me")));
console.log(asked.map((answer) => told(answer).email).join(" "), kept.length);
"""


def node(*command: str, **environment: str) -> str:
    """Run one of the client's tools or programs; what it prints."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env={"PATH": f"node_modules/.bin:{os.environ['PATH']}", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@by_node
def test_the_typescript_client_is_what_the_schema_says() -> None:
    node("npm", "run", "--silent", "generate", "--", "--check")  # else: make client


@by_node
@running
def test_the_typescript_client_compiles_strictly_and_makes_a_headshot(stack: Stack, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "me.jpg").write_bytes(portrait())
    picture, where = tmp_path / "headshot.png", {"ORIGIN": stack.url, "SANDBOX": stack.sandbox}

    assert node("tsc", "--strict") == ""
    said = node("node", "dist/example.js", f"{tmp_path}/me.jpg", str(picture), EMAIL="tess@example.com", **where)

    assert "refused: insufficient_credits, charged: none\npayment: succeeded\n" in said
    assert f"succeeded: {picture}, {picture.stat().st_size} bytes; 55 credits left" in said
    Image.open(picture).load()
    tess = Customer(stack, "tess@example.com")
    signed_in = tess.ok("POST", "auth/login", json={"email": tess.email, "password": "correct horse battery 9"})
    renewed = node("node", "--input-type=module", "--eval", RENEWED, REFRESH=signed_in["refresh"], **where)
    assert renewed == "tess@example.com tess@example.com 2\n"
    books.check()


def test_no_package_is_tied_to_where_it_came_from() -> None:
    assert "resolved" not in (CLIENT / "package-lock.json").read_text()
