"""Dump the database into the storage, once or for ever."""

from __future__ import annotations

import signal
import time
from argparse import ArgumentParser
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError

from config import backups
from core import clock

log = structlog.get_logger("backup")
PATIENCE_S = 60.0  # after a failure, and between two looks at the clock


class Command(BaseCommand):
    help = "Dump the database to BACKUP_BUCKET, else beside the files; the bucket's own objects are not in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--list", action="store_true", help="show what there is")
        parser.add_argument("--every", type=int, metavar="SECONDS", help="stay, and dump whenever the newest is so old")
        parser.add_argument("--keep", type=int, metavar="N", help="afterwards remove all but the newest N")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] is not None and options["keep"] < 1:
            raise CommandError("--keep must leave at least one.")
        if options["list"]:
            for backup in backups.all_of_them():
                self.stdout.write(f"{backup.name}  {backup.bytes:,} bytes")
            return
        if options["every"] is None:
            try:
                self._dump(options["keep"])
            except backups.BackupError as error:
                raise CommandError(str(error)) from error
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while True:
                time.sleep(self._tend(options["every"], options["keep"]))
        except KeyboardInterrupt:
            return

    def _tend(self, every_s: int, keep: int | None) -> float:
        """Dump if it is time; the seconds until the next look."""
        try:
            there = backups.all_of_them()
            age_s = (clock.now() - there[-1].at).total_seconds() if there else every_s
            if age_s >= every_s:
                self._dump(keep)
                age_s = 0.0
            return min(PATIENCE_S, every_s - age_s)
        except Exception:
            # Whatever it was may pass, and a backup that gives up for ever is noticed too late.
            log.exception("backup_failed")
            return PATIENCE_S

    def _dump(self, keep: int | None) -> None:
        made = backups.take()
        self.stdout.write(f"{made.name}: {made.bytes:,} bytes")
        for old in backups.prune(keep=keep) if keep else ():
            self.stdout.write(f"{old.name}: removed")
