"""Import a catalogue of wearables from a CSV file, or take an import back."""

from __future__ import annotations

import csv
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import Error
from core.texts import cell
from wearables import imports
from wearables.imports import Report, Source

SHOWN = 20


class Command(BaseCommand):
    help = "Import wearables from CSV: ID, Category, Wearable Item, and any field of theirs. Nothing is deleted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")
        parser.add_argument("--encoding", default="", help="if it is none of UTF-8, UTF-16 and cp1252")
        parser.add_argument("--delimiter", default="", help="if it is none of , ; | and tab")
        parser.add_argument("--errors", type=Path, help="write every line that is left out to this CSV file")
        parser.add_argument("--rollback", metavar="IMPORT", help="take the last import back, by its id")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["file"]) == bool(options["rollback"]):
            raise CommandError("Name a file, or --rollback with the id of an import.")
        try:
            if options["rollback"]:
                done = imports.roll_back(import_id=_uuid(options["rollback"]))
                self.stdout.write(", ".join(f"{count} {what.replace('_', ' ')}" for what, count in done.items()))
            else:
                self._import(options)
        except Error as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error

    def _import(self, options: dict[str, Any]) -> None:
        path: Path = options["file"]
        source = Source(path, path.name, options["encoding"], options["delimiter"])
        with ExitStack() as stack:
            if options["errors"]:
                file = stack.enter_context(options["errors"].open("w", newline="", encoding="utf-8"))
                writer = csv.writer(file)
                writer.writerow(["line", "id", "reason"])
                source.on_error = lambda line, code, reason: writer.writerow([line, cell(code), reason])
            source.told = self._bar(path.stat().st_size)
            if options["dry_run"]:
                report, made = imports.check(source), None
            else:
                made = imports.run(source)
                report = Report(**made.report)
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        self._tell(report)
        if made is None:
            self.stdout.write("Nothing was changed: this was a dry run.")
        else:
            self.stdout.write(f"Imported. To take it back: manage.py import_wearables --rollback {made.pk}")

    def _bar(self, size: int) -> Any:
        """How much is read, on a terminal only."""
        if not self.stderr.isatty():
            return lambda position: None

        def draw(position: int) -> None:
            share = min(1.0, position / max(1, size))
            self.stderr.write(f"\r[{'#' * int(share * 40):<40}] {share:4.0%} read", ending="")
            sys.stderr.flush()

        return draw

    def _tell(self, report: Report) -> None:
        names = {"\t": "tab"}
        self.stdout.write(f"{report.encoding}, delimiter {names.get(report.delimiter, report.delimiter)}")
        if report.ignored:
            self.stdout.write(f"Columns left alone: {', '.join(report.ignored)}")
        for item in report.errors[:SHOWN]:
            self.stdout.write(f"line {item['line']}: {item['code'] and item['code'] + ': '}{item['reason']}")
        if report.bad > SHOWN:
            self.stdout.write(f"... and {report.bad - SHOWN} more lines; --errors FILE keeps them all")
        for item in report.duplicates[:SHOWN]:
            self.stdout.write(f"line {item['line']}: {item['code']} stands again in line {item['won']}, which counts")
        if report.repeated > SHOWN:
            self.stdout.write(f"... and {report.repeated - SHOWN} more repeated")
        self.stdout.write(", ".join(f"{count} {what}" for what, count in report.figures.items()))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise CommandError(f"{text} is not the id of an import.") from error
