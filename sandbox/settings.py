"""What the sandbox reads from the environment; nothing else in it does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


class SettingsError(Exception):
    """A setting that keeps the sandbox from starting; the text is one line and names the fix."""


@dataclass(frozen=True)
class Settings:
    host: str
    port: int
    smtp_port: int
    directory: Path
    public_url: str
    razorpay_key_id: str
    razorpay_key_secret: str
    razorpay_webhook_secret: str
    stripe_secret_key: str
    stripe_webhook_secret: str
    monnify_api_key: str
    monnify_secret_key: str
    monnify_contract_code: str
    magic_hour_api_key: str
    magic_hour_webhook_secret: str
    kie_api_key: str
    kie_webhook_secret: str
    xai_api_key: str
    livekit_api_key: str
    livekit_api_secret: str
    speed_s: float
    slow_s: float
    late_s: float
    pending_s: float
    webhook_retry_s: float

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read and check every setting.

        Raises: SettingsError, always so in production: real keys must never meet a simulator.
        """
        if environ.get("ENVIRONMENT", "development").strip().lower() == "production":
            raise SettingsError(
                "refuses to run with ENVIRONMENT=production: it simulates payments; point the provider base URLs "
                "at the real providers, or set ENVIRONMENT=development."
            )
        port = _port(environ, "SANDBOX_PORT", 8001)
        smtp_port = _port(environ, "SANDBOX_SMTP_PORT", port + 1 if port else 0)
        public_url = environ.get("PUBLIC_URL") or "http://127.0.0.1:8000"
        if urlsplit(public_url).scheme not in ("http", "https") or not urlsplit(public_url).hostname:
            raise SettingsError(f"PUBLIC_URL must be an http(s) address, not {public_url!r}.")
        return cls(
            host=environ.get("HOST") or "127.0.0.1",
            port=port,
            smtp_port=smtp_port,
            directory=Path(environ.get("SANDBOX_DIR") or "var/sandbox"),
            public_url=public_url.rstrip("/"),
            razorpay_key_id=_secret(environ, "RAZORPAY_KEY_ID", "rzp_test_sandbox"),
            razorpay_key_secret=_secret(environ, "RAZORPAY_KEY_SECRET", "sandbox_key_secret"),
            razorpay_webhook_secret=_secret(environ, "RAZORPAY_WEBHOOK_SECRET", "sandbox_webhook_secret"),
            stripe_secret_key=_secret(environ, "STRIPE_SECRET_KEY", "sk_test_sandbox"),
            stripe_webhook_secret=_secret(environ, "STRIPE_WEBHOOK_SECRET", "whsec_sandbox"),
            monnify_api_key=_secret(environ, "MONNIFY_API_KEY", "MK_TEST_SANDBOX"),
            monnify_secret_key=_secret(environ, "MONNIFY_SECRET_KEY", "sandbox_secret_key"),
            monnify_contract_code=_secret(environ, "MONNIFY_CONTRACT_CODE", "1000000001"),
            magic_hour_api_key=_secret(environ, "MAGIC_HOUR_API_KEY", "mhk_test_sandbox"),
            magic_hour_webhook_secret=_secret(environ, "MAGIC_HOUR_WEBHOOK_SECRET", "sandbox_webhook_secret"),
            kie_api_key=_secret(environ, "KIE_API_KEY", "kie_test_sandbox"),
            kie_webhook_secret=_secret(environ, "KIE_WEBHOOK_SECRET", ""),  # without one callbacks are unsigned
            xai_api_key=_secret(environ, "XAI_API_KEY", "xai_test_sandbox"),
            livekit_api_key=_secret(environ, "LIVEKIT_API_KEY", "APIsandbox"),
            livekit_api_secret=_secret(environ, "LIVEKIT_API_SECRET", "sandbox_livekit_secret_of_32_letters"),
            speed_s=_seconds(environ, "SANDBOX_SPEED_S", 1),
            slow_s=_seconds(environ, "SANDBOX_SLOW_S", 20),
            late_s=_seconds(environ, "SANDBOX_LATE_S", 1000),
            pending_s=_seconds(environ, "SANDBOX_PENDING_S", 30),
            webhook_retry_s=_seconds(environ, "SANDBOX_WEBHOOK_RETRY_S", 1),
        )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) > 65535:
        raise SettingsError(f"{name} must be a port number from 0 (any free one) to 65535, not {text!r}.")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 10**9:
        raise SettingsError(f"{name} must be a number of seconds, not {text!r}.")
    return value


def _secret(environ: Mapping[str, str], name: str, default: str) -> str:
    path = environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE cannot be read: {error}.") from error
    return environ.get(name) or default
