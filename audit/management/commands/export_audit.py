"""Write the audit log with its seals to a file that proves itself (docs/verify_audit_export.py)."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import export


class Command(BaseCommand):
    help = "Export the audit log with its seals as JSONL; docs/verify_audit_export.py verifies it without a database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="where to; - for the standard output. It must not exist.")
        parser.add_argument("--details", action="store_true", help="with the personal parts: addresses, names, e-mails")

    def handle(self, *args: Any, **options: Any) -> None:
        lines = export.lines(with_details=options["details"])
        if options["file"] == "-":
            for line in lines:
                sys.stdout.write(f"{line}\n")
            return
        try:
            number = os.open(options["file"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        count = 0
        with os.fdopen(number, "w", encoding="utf-8") as file:
            for count, line in enumerate(lines, 1):  # noqa: B007  told after the loop
                file.write(f"{line}\n")
        self.stdout.write(f"{count} lines.")
