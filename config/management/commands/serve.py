"""One of our long-running processes in this process's place: what a container runs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.embedded import commands, services
from core import boot

ROLES = ("web", *commands.WORKERS, "beat", "sandbox")


class Command(BaseCommand):
    help = "Become the web, a worker, beat, or in development the sandbox; `up` is for all of them on one machine."
    requires_system_checks = ()  # boot.refuse says the same in fewer words

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", choices=ROLES)
        parser.add_argument("--concurrency", type=int, help="threads of a worker, instead of the usual number")

    def handle(self, *args: Any, **options: Any) -> None:
        boot.refuse()
        command, environment = _process(options["role"], options["concurrency"])
        sys.stdout.flush()
        os.execve(command[0], command, {**os.environ, **environment})  # noqa: S606  our own Python, no shell


def _process(role: str, concurrency: int | None) -> tuple[list[str], dict[str, str]]:
    if role == "web":
        return commands.web(host=settings.HOST, port=settings.PORT, threads=settings.WEB_THREADS), {}
    if role == "beat":
        return commands.beat(), {}
    if role == "sandbox":
        return [sys.executable, "-m", "sandbox"], services.sandbox_environment()
    queues, usual = commands.WORKERS[role]
    return commands.worker(queues, concurrency=concurrency or usual), {}
