"""Prove that the audit log is as it was sealed; name whatever is not."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

import orjson
from django.core.management.base import BaseCommand

from audit import verification


class Command(BaseCommand):
    help = "Verify the audit log: exits 1 and names each row or seal that was changed, removed, inserted or cut off."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        report = verification.verify()
        if options["json"]:
            told = asdict(report) | {"is_clean": report.is_clean}
            self.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        else:
            for finding in report.findings:
                self.stdout.write(f"{finding.what}: {finding.problem}")
            if report.problems > len(report.findings):
                self.stdout.write(f"... and {report.problems - len(report.findings)} more.")
            verdict = (
                "The log is as it was sealed" if report.is_clean else f"{report.problems} things are not as sealed"
            )
            self.stdout.write(
                f"{verdict}: {report.seals} seals over {report.rows} rows, of which {report.erased} without their "
                f"personal part (erased) and {report.purged} purged; {report.unsealed} rows not yet sealed; "
                f"{report.heads} heads in the storage."
            )
            if report.head:
                self.stdout.write(f"Head: {report.head}")
        if not report.is_clean:
            sys.exit(1)
