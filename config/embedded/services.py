"""What `manage.py up` runs: each service's command, how it says that it is ready, how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from config.embedded import addresses, commands, postgres, processes, valkey

LOGS = settings.VAR_DIR / "log"


@dataclass(frozen=True)
class Service:
    """One child. Those of a lower stage start earlier and stop later."""

    name: str
    stage: int
    start: Callable[[], subprocess.Popen[bytes]]
    answers: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10
    is_reloaded: bool = False
    is_loud: bool = True

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"


@dataclass(frozen=True)
class Port:
    """A port that a service listens on, and the setting that moves it."""

    service: str
    setting: str
    number: int


def cluster() -> postgres.Postgres:
    """This checkout's PostgreSQL."""
    base: Path = settings.BASE_DIR
    return postgres.Postgres(
        data=settings.VAR_DIR / "postgres",
        sockets=addresses.sockets_dir(base),
        log=LOGS / "postgres.log",
        uid=addresses.server_uid(base),
    )


def ports() -> list[Port]:
    return [
        Port("web", "PORT", settings.PORT),
        Port("sandbox", "SANDBOX_PORT", settings.SANDBOX_PORT),
        Port("sandbox", "SANDBOX_SMTP_PORT", settings.SANDBOX_SMTP_PORT),
    ]


def wanted(names: Iterable[str] = ()) -> list[Service]:
    """The services of these names; without names, all that this environment asks for, in the order of starting.

    A server that DATABASE_URL or REDIS_URL names elsewhere is not ours to run.
    Raises: ValueError for an unknown name.
    """
    every = {service.name: service for service in _all()}
    chosen = set(names) or set(every)
    if unknown := sorted(chosen - every.keys()):
        raise ValueError(f"no service {', '.join(unknown)}; there are {', '.join(every)}")
    if addresses.database_url(settings.BASE_DIR) != settings.DATABASE_URL:
        chosen.discard("postgres")
    if addresses.redis_url(settings.BASE_DIR) != settings.REDIS_URL:
        chosen.discard("valkey")
    if not settings.SANDBOX_ENABLED:
        chosen.discard("sandbox")
    return [service for name, service in every.items() if name in chosen]


def _all() -> list[Service]:
    database = cluster()
    redis = valkey.Valkey(database.sockets, LOGS / "valkey.log")
    return [
        Service("postgres", 0, database.start, database.answers, postgres.STOP, stop_timeout_s=60, is_loud=False),
        Service("valkey", 0, redis.start, redis.answers, valkey.STOP, is_loud=False),
        Service(
            "sandbox",
            1,
            _python("sandbox", "-m", "sandbox", **sandbox_environment()),
            _responds(f"http://127.0.0.1:{settings.SANDBOX_PORT}/health"),
            is_reloaded=True,
        ),
        *(
            Service(
                name,
                2,
                _process(name, commands.worker(queues, concurrency=concurrency)),
                lambda: True,
                stop_timeout_s=25,
                is_reloaded=True,
            )
            for name, (queues, concurrency) in commands.WORKERS.items()
        ),
        Service(
            "web",
            3,
            _process("web", commands.web(host=settings.HOST, port=settings.PORT, threads=settings.WEB_THREADS)),
            _responds(f"http://{local_host()}:{settings.PORT}/health/live"),
            is_reloaded=True,
        ),
        Service(
            "beat",
            3,
            _process("beat", commands.beat()),
            lambda: True,
            is_reloaded=True,
        ),
    ]


def local_host() -> str:
    """An address of this machine under which what listens on HOST is reached."""
    host: str = settings.HOST
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  compared, not listened on


def _python(name: str, *arguments: str, **environment: str) -> Callable[[], subprocess.Popen[bytes]]:
    return _process(name, [sys.executable, *arguments], **environment)


def _process(name: str, command: list[str], **environment: str) -> Callable[[], subprocess.Popen[bytes]]:
    return lambda: processes.spawn(
        command,
        cwd=settings.BASE_DIR,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        log=LOGS / f"{name}.log",
    )


def sandbox_environment() -> dict[str, str]:
    """The sandbox reads no settings of ours: it gets the same secrets, and where to send webhooks."""
    names = (
        *("HOST", "SANDBOX_PORT", "SANDBOX_SMTP_PORT", "PUBLIC_URL", "ENVIRONMENT"),
        *("RAZORPAY_KEY_ID", "RAZORPAY_KEY_SECRET", "RAZORPAY_WEBHOOK_SECRET"),
        *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
        *("MONNIFY_API_KEY", "MONNIFY_SECRET_KEY", "MONNIFY_CONTRACT_CODE"),
        *("MAGIC_HOUR_API_KEY", "MAGIC_HOUR_WEBHOOK_SECRET"),
        "XAI_API_KEY",
        *("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"),
        *("KIE_API_KEY", "KIE_WEBHOOK_SECRET"),
    )
    folder = os.environ.get("SANDBOX_DIR") or str(settings.VAR_DIR / "sandbox")
    return {name: str(getattr(settings, name)) for name in names} | {"SANDBOX_DIR": folder}


def _responds(url: str) -> Callable[[], bool]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with direct.open(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    return answers
