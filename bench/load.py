"""Load by wrk: 32 connections from one thread, each request as another signed-in person."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender

CONNECTIONS = 32

# Whole requests, composed once: the load must cost little beside what it measures.
_SCRIPT = """
local tokens = {%s}
local requests, turn = {}, 0
init = function()
  for number, token in ipairs(tokens) do
    requests[number] = wrk.format('GET', %s, {
      ['Host'] = wrk.host .. ':' .. wrk.port, ['Authorization'] = 'Bearer ' .. token, ['Accept'] = 'application/json',
      ['User-Agent'] = 'bench', ['X-Forwarded-For'] = '203.0.113.7', ['X-Forwarded-Proto'] = 'https'})
  end
end
request = function()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""


@dataclass(frozen=True)
class Load:
    """What one contender did under one load. Units: requests per second, CPU seconds per request."""

    rate: float
    cpu_s: float
    count: int


def require() -> None:
    """Raises: SystemExit without wrk."""
    if shutil.which("wrk") is None:
        raise SystemExit("The load comes from wrk, not found here (Debian: apt install wrk, macOS: brew install wrk).")


def script(folder: Path, path: str, tokens: Sequence[str]) -> Path:
    """Write wrk's script."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "requests.lua"
    made.write_text(_SCRIPT % (",".join(json.dumps(token) for token in tokens), json.dumps(path)))
    return made


def put(contender: Contender, requests: Path, *, seconds: int) -> Load:
    """Ask as fast as it answers.

    Raises: RuntimeError when anything but 2xx came back, or nothing did.
    """
    before = contender.cpu_s()
    told = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", requests, f"{contender.url}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = contender.cpu_s() - before
    count = int(found[1]) if (found := re.search(r"(\d+) requests in", told)) else 0
    rate = float(found[1]) if (found := re.search(r"Requests/sec:\s+([\d.]+)", told)) else 0.0
    if not count or "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"{contender.name} did not answer properly:\n{told}")
    return Load(rate, used / count, count)
