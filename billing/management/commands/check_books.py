"""Prove that the books balance; name every row that breaks an invariant."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime, parse_duration

from billing import books
from core import clock


class Command(BaseCommand):
    help = "Check the books: exits 1 and names the rows if any invariant is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as one JSON document")
        parser.add_argument(
            "--since", metavar="WHEN", help="only what was touched since: 2026-01-31T12:00Z, or a span such as 00:15:00"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = books.run(since=_moment(options["since"]))
        if options["json"]:
            self.stdout.write(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2).decode())
        else:
            for finding in report.findings:
                self.stdout.write(f"{finding.check}: {finding.row}: {finding.problem}")
            verdict = "The books balance" if report.is_clean else f"{len(report.findings)} rows break the books"
            self.stdout.write(f"{verdict} ({len(report.checks)} checks, {report.took_ms} ms).")
        if not report.is_clean:
            sys.exit(1)


def _moment(text: str | None) -> Any:
    if text is None:
        return None
    try:
        if (moment := parse_datetime(text)) is not None:
            return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
        if (span := parse_duration(text)) is not None and span > timedelta(0):
            return clock.now() - span
    except ValueError:
        pass
    raise CommandError(f"--since: {text!r} is neither a time nor a span")
