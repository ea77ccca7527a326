"""Begin anew in development: an empty database, no files, an empty sandbox."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import staff
from config.embedded import addresses, supervisor

# Secrets stay: what was signed outside with them goes on to be valid.
THROWN_AWAY = ("postgres", "postgres.part", "media", "sandbox", "demo")


class Command(BaseCommand):
    help = "Throw the embedded database, the stored files and the sandbox's state away."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT != "development":
            raise CommandError("Only a development database is thrown away.")
        if addresses.database_url(settings.BASE_DIR) != settings.DATABASE_URL:
            raise CommandError("DATABASE_URL names a server of yours; drop and create that database yourself.")
        if supervisor.is_running(settings.VAR_DIR):
            raise CommandError(supervisor.describe(settings.VAR_DIR))
        doomed = [settings.VAR_DIR / name for name in THROWN_AWAY if (settings.VAR_DIR / name).exists()]
        if not doomed:
            self.stdout.write("There is nothing to throw away.")
            return
        if not options["yes"]:
            self.stdout.write("This removes for good:")
            for path in doomed:
                self.stdout.write(f"  {path}")
            try:
                agreed = input("Type yes to go on: ") == "yes"
            except EOFError:
                agreed = False
            if not agreed:
                raise CommandError("Nothing was changed.")
        for path in doomed:
            shutil.rmtree(path)
        staff.passwords_file().unlink(missing_ok=True)
        self.stdout.write("Gone. `make run` begins anew.")
