"""The logs: which logger tells what, one file for many processes, nothing secret in them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.db import connection
from django.test import Client

from core import logs
from tests.people import PASSWORD, api, make_user

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys
from core import logs
logs.configure({"level": "INFO", "json": True, "file": sys.argv[1], "max_bytes": 20_000, "count": 100})
import structlog
log = structlog.get_logger("writer")
for number in range(400):
    log.info("line", writer=sys.argv[2], number=number, filler="x" * (number % 90))
"""


def said(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_processes_that_share_a_file_lose_and_double_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log" / "atelier.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(n)], cwd=ROOT, stderr=subprocess.DEVNULL)
        for n in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4

    files = [path for path in file.parent.iterdir() if path.suffix != ".lock"]
    lines = [(line["writer"], line["number"]) for path in files for line in said(path.read_text())]
    assert len(files) > 5
    assert all(path.stat().st_size < 25_000 for path in files)
    assert sorted(lines) == sorted((str(n), number) for n in range(4) for number in range(400))


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_files_are_kept_than_asked(tmp_path: Path, count: int) -> None:
    handler = logs.RotatedFile(str(tmp_path / "a.log"), max_bytes=100, count=count)
    for number in range(100):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, f"line {number}", None, None))
    handler.close()

    kept = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock")
    assert kept == ["a.log", "a.log.1", "a.log.2"][:count]
    assert "line 99" in (tmp_path / "a.log").read_text()


def test_a_line_in_production_is_json_with_its_stack(tmp_path: Path) -> None:
    script = """
import sys, structlog, logging
from core import logs
logs.configure({"level": "DEBUG", "json": True, "file": sys.argv[1], "max_bytes": 1000000, "count": 2})
try:
    token = "a" * 40
    raise ValueError("no such thing")
except ValueError:
    structlog.get_logger("error").exception("unhandled", password="hidden", amount=5)
logging.getLogger("botocore.auth").debug("Authorization: AWS4-HMAC-SHA256 Signature=abc")
logging.getLogger("botocore.auth").info("found credentials")
structlog.get_logger("jobs").debug("ours", text="\\ud800", number=2**70, key=__import__("uuid").UUID(int=7))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.log")], cwd=ROOT, capture_output=True, text=True, check=True
    )

    lines = said(done.stderr)
    in_file = said((tmp_path / "a.log").read_text())
    assert [line["event"] for line in in_file] == [line["event"] for line in lines]
    assert [line["event"] for line in lines] == ["unhandled", "found credentials", "ours"]
    assert (lines[2]["text"], lines[2]["number"]) == ("\ud800", 2**70)
    assert (lines[0]["logger"], lines[0]["level"], lines[0]["amount"]) == ("error", "error", 5)
    assert "ValueError: no such thing" in lines[0]["exception"]
    assert "in <module>" in lines[0]["exception"]
    assert lines[0]["password"] == "[redacted]"
    assert "a" * 40 not in done.stderr


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJI.eyJ0eXAi-_.c2lnbmF0dXJl",
        "Bearer abc.def~123",
        "postgres://atelier:hunter2@db/atelier",
        "redis://:hunter2@cache/0",
        "/files/abc:def:ghi",
        "/verify-email/0193.abc",
        "/reset-password/0193.abc",
        "/pay/abc:def",
        "DETAIL:  Failing row contains (1, argon2$hunter2).",
    ],
)
def test_secrets_inside_a_text_are_struck_out(secret: str) -> None:
    line = logs._scrub(None, "", f'{{"exception": "went wrong at {secret}"}}')

    assert "[redacted]" in line
    for part in ("hunter2", "eyJ0eXAi", "abc"):
        assert part not in line
    assert line.startswith('{"exception": "went wrong at ')


@pytest.mark.django_db(transaction=True)
def test_requests_sign_ins_and_facts_have_their_loggers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    user = make_user("alice@example.com")
    client = api()
    assert client.post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD}).status_code == 200
    assert client.post("/api/v1/auth/login", {"email": user.email, "password": "wrong one 1"}).status_code == 401

    lines: list[Any] = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    by_logger = {
        name: [line for line in lines if line["logger"] == name] for name in ("request", "security", "business")
    }
    assert [(line["path"], line["status"]) for line in by_logger["request"]] == [
        ("/api/v1/auth/login", 200),
        ("/api/v1/auth/login", 401),
    ]
    assert all(line["ms"] > 0 for line in by_logger["request"])
    outcomes = [line["outcome"] for line in by_logger["security"] if line["event"] == "login"]
    assert outcomes == ["ok", "invalid_credentials"]
    assert {"user.registered", "user.verified", "user.logged_in"} <= {line["event"] for line in by_logger["business"]}
    assert all(line["user"] in (str(user.pk), None) for line in by_logger["business"])
    assert user.email not in str(lines)


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_no_fact(caplog: pytest.LogCaptureFixture) -> None:
    from django.db import transaction

    import audit

    caplog.set_level("INFO", logger="business")
    with transaction.atomic():
        audit.record("thing.made", ("thing", 1), new={"credits": 5, "name": "Alice"})
        transaction.set_rollback(True)
    assert caplog.records == []
    audit.record("thing.made", ("thing", 1), new={"credits": 5, "name": "Alice"})

    line: Any = caplog.records[0].msg
    assert (line["event"], line["subject"], line["figures"]) == ("thing.made", "thing:1", {"credits": 5})


def test_a_request_cannot_write_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    formatter: Any = next(
        h.formatter for h in logging.getLogger().handlers if isinstance(h.formatter, logging.Formatter)
    )
    caplog.set_level("INFO", logger="request")
    Client().get("/api/v1/x%0A2026-01-01%20[error]%20forged%0D")

    assert "\n" not in formatter.format(caplog.records[-1])
    assert structlog.is_configured()


def test_sql_is_never_written_with_its_values(db: None, settings: Any, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("django.db.backends").setLevel("DEBUG")
    connection.force_debug_cursor = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", ["hunter2"])
    finally:
        connection.force_debug_cursor = False
        logging.getLogger("django.db.backends").setLevel("NOTSET")

    assert "hunter2" not in capfd.readouterr().err
