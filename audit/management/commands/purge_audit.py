"""Purge sealed rows of the audit log whose time is over."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InternalError

from audit import retention
from core import clock


class Command(BaseCommand):
    help = (
        "Delete audit rows older than so many days, whole seals at a time, as the tables' owner. Tells, without --yes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, required=True, help="how old rows must be")
        parser.add_argument("--yes", action="store_true", help="do it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 1:
            raise CommandError("--days must be at least 1.")
        before = clock.now() - timedelta(days=options["days"])
        if not options["yes"]:
            found = retention.due(before)
            self.stdout.write(f"Would delete {found.rows} rows under seals {found.first} to {found.last}.")
            return
        rows = 0
        try:
            for done in retention.purge(before):
                rows += done.rows
                self.stdout.write(f"Seals {done.first} to {done.last}: {done.rows} rows.")
        except retention.PurgeRefused as error:
            raise CommandError(str(error)) from error
        except InternalError as error:
            raise CommandError(f"Only the owner of the audit tables may purge. {error}") from error
        self.stdout.write(f"Deleted {rows} rows; the chain stands.")
