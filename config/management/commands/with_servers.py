"""Run another command with the embedded servers up: joining those that run, else starting them for its length."""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.embedded import background
from config.embedded.supervisor import UpError


class Command(BaseCommand):
    help = "Run a manage.py command with PostgreSQL and Valkey up."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--services", default="postgres,valkey", help="what it needs, separated by commas")
        parser.add_argument("--debugger", metavar="HOST:PORT", help="run the command under debugpy, listening there")
        parser.add_argument("command", nargs=REMAINDER, help="the command and its arguments")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["command"]:
            raise CommandError("Name the command to run.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing outlives us
        try:
            with background.running(*options["services"].split(",")):
                under = ("-Xfrozen_modules=off", "-m", "debugpy", "--listen", options["debugger"])
                python = [sys.executable, *(under if options["debugger"] else ())]
                command = [*python, "manage.py", *options["command"]]
                status = subprocess.run(command, cwd=settings.BASE_DIR).returncode
        except UpError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            status = 130
        sys.exit(status)
