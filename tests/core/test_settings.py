"""The settings file, the example and the checks name the same things."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "config" / "settings.py").read_text()


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


def boot(**environment: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "-c", "import config.wsgi"],
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
    result = boot(**SAFE)

    assert result.returncode == 0, result.stderr


def test_an_unsafe_production_does_not_boot_and_says_each_fix() -> None:
    unsafe = {"ENVIRONMENT": "production", "DEBUG": "true", "SANDBOX_ENABLED": "true", "ALLOWED_HOSTS": "*"}

    result = boot(**unsafe | {"RAZORPAY_KEY_ID": "k", "RATELIMIT_ENABLE": "false", "MFA_REQUIRED": "false"})

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
    result = boot(ENVIRONMENT="prod")

    assert result.returncode != 0
    assert "development, test or production" in result.stderr
