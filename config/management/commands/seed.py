"""The rows that an installation begins with: migrations bring them, this brings back what is missing."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.db.migrations import RunPython
from django.db.migrations.loader import MigrationLoader

import audit
from wearables import starter

_INSERT = re.compile(r'INSERT INTO "(\w+)"')


class Command(BaseCommand):
    help = (
        "Add what is missing of prices, operations and blocked terms, and wearables if there are none; change nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        added: Counter[str] = Counter()

        def count(execute: Any, sql: str, params: Any, many: bool, info: Any) -> Any:
            answer = execute(sql, params, many, info)
            if found := _INSERT.match(sql):
                added[found[1]] += info["cursor"].rowcount
            return answer

        with transaction.atomic():
            with connection.execute_wrapper(count):
                for migration in MigrationLoader(connection).disk_migrations.values():
                    for operation in migration.operations:
                        code: Any = operation.code if isinstance(operation, RunPython) else None
                        # Every `seed` inserts by a unique code and leaves alone what it meets.
                        if getattr(code, "__name__", "") == "seed":
                            code(apps, None)
            added["wearables_wearable"] += starter.ensure()
            added = +added
            if added:
                audit.record("installation.seeded", ("installation", "rows"), new=dict(added))
        for table, rows in sorted(added.items()):
            self.stdout.write(f"{table}: {rows} added")
        self.stdout.write("Now all of it is there." if added else "All of it was there.")
