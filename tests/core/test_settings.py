"""The settings file, the example and the checks name the same things."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import get_commands

from config.management.commands.settings_page import page
from core import boot

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "config" / "settings.py").read_text()

GUIDES = ("production.md", "runbook.md", "troubleshooting.md")
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
COMPOSE = {"APP_POSTGRES_HOST", "POSTGRES_CONNECTIONS", "TLS_DIR"}


def names_in_settings() -> set[str]:
    direct = re.findall(r'(?:env\.\w+|secret|provider_url)\(\s*"([A-Z0-9_]+)"', SETTINGS)
    looped = re.search(r"for name in \(((?:\s*\"[A-Z_0-9]+\",?)+)\s*\)", SETTINGS)
    return set(direct) | set(re.findall(r'"([A-Z0-9_]+)"', looped[1]) if looped else [])


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    example = (ROOT / ".env.example").read_text()

    in_example = re.findall(r"^#([A-Z0-9_]+)=", example, re.M)

    assert set(in_example) == names_in_settings() - {"KILL_POINT"}  # tests alone arm it
    assert len(in_example) == len(set(in_example))


def test_copying_the_example_changes_nothing() -> None:
    example = (ROOT / ".env.example").read_text()

    assert not [line for line in example.splitlines() if line and not line.startswith("#")]


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "-c", "import config.wsgi, sys; sys.exit('opentelemetry.exporter' in sys.modules)"],
        cwd=ROOT,
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SAFE = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "s" * 40,
    "JWT_SECRET": "a" * 40,
    "JWT_REFRESH_SECRET": "b" * 40,
    "MAILBOX_HASH_KEY": "m" * 40,
    "ALLOWED_HOSTS": "api.example.test",
    "ALLOWED_ORIGINS": "https://app.example.test",
    "TRUSTED_PROXIES": "10.0.0.0/8",
    "PUBLIC_URL": "https://api.example.test",
    "EMAIL_URL": "smtp+tls://u:p@mail.example.test:587",
    "DATABASE_URL": "postgres://u:p@db.example.test/atelier",
    "REDIS_URL": "redis://redis.example.test/0",
}


def test_a_safe_production_boots() -> None:
    result = start(**SAFE)

    assert result.returncode == 0, result.stderr


def test_an_unsafe_production_does_not_boot_and_says_each_fix() -> None:
    unsafe = {"ENVIRONMENT": "production", "DEBUG": "true", "SANDBOX_ENABLED": "true", "ALLOWED_HOSTS": "*"}

    result = start(**unsafe | {"RAZORPAY_KEY_ID": "k", "RATELIMIT_ENABLE": "false", "MFA_REQUIRED": "false"})

    assert result.returncode != 0
    for name in (
        "SECRET_KEY",
        "JWT_SECRET",
        "MAILBOX_HASH_KEY",
        "DEBUG",
        "ALLOWED_HOSTS",
        "SANDBOX_ENABLED",
        "TRUSTED_PROXIES",
        "PUBLIC_URL",
        "RAZORPAY_WEBHOOK_SECRET",
        "RATELIMIT_ENABLE",
        "MFA_REQUIRED",
        "DATABASE_URL",
        "REDIS_URL",
    ):
        assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_environment_is_named() -> None:
    result = start(ENVIRONMENT="prod")

    assert result.returncode != 0
    assert "development, test or production" in result.stderr


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page(), "make settings"


def test_a_refusal_keeps_its_id(settings: Any) -> None:
    for name in ("SECRET_KEY", "JWT_SECRET", "JWT_REFRESH_SECRET", "MAILBOX_HASH_KEY"):
        setattr(settings, name, name.lower() * 8)
    settings.PRODUCTION, settings.TRUSTED_PROXIES = True, []

    found = {found.id: found.hint for found in run_checks(tags=["security"])}

    assert found["core.E012"] == "Set it to your proxies' networks, e.g. 10.0.0.0/8."
    assert not {"core.E001", "core.E002", "core.E003", "core.E004", "core.E005"} & found.keys()
    assert len({rule.id for rule in (*boot.ALWAYS, *boot.IN_PRODUCTION)}) == len((*boot.ALWAYS, *boot.IN_PRODUCTION))


def test_names_of_other_back_ends_are_warned_of(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not boot.old_names()
    monkeypatch.setenv("GROK_API_KEY", "given")
    monkeypatch.setenv("NODE_ENV", "given")  # ENVIRONMENT is set beside it
    settings.RAZORPAY_KEY_ID, settings.RAZORPAY_BASE_URL = "given", "https://api.razorpay.com"
    settings.PUBLIC_URL = "http://127.0.0.1:8000"

    found = {(found.id, found.hint) for found in run_checks(tags=["compatibility"]) if found.id.startswith("core.W")}

    assert found == {
        ("core.W001", "Set XAI_API_KEY."),
        ("core.W002", "Set PUBLIC_URL to an address that it reaches."),
    }
    example = (ROOT / ".env.example").read_text()
    assert all(f"#{ours}=" in example for ours in boot.OLD_NAMES.values())


def test_the_guides_name_only_what_there_is() -> None:
    """Settings, commands and links of the pages that people follow in a hurry."""
    named = names_in_settings() | set(boot.OLD_NAMES) | COMPOSE | {"NAME_FILE"}
    for guide in GUIDES:
        text = (ROOT / "docs" / guide).read_text()
        assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands()), guide
        assert set(re.findall(r"make ([a-z0-9-]+)`", text)) <= TARGETS, guide
        assert {name for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", text)} <= named, guide
        for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
            target = (ROOT / "docs" / path).read_text() if path else text
            assert not anchor or anchor in {slug(heading) for heading in re.findall(r"^#+ (.+)$", target, re.M)}


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
