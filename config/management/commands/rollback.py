"""Take the last migration back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder


class Command(BaseCommand):
    help = "Undo the migration that was applied last, after asking."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        applied = MigrationRecorder(connection).migration_qs.order_by("-pk").values_list("app", "name")
        last = next((key for key in applied if key in executor.loader.graph.nodes), None)
        if last is None:
            raise CommandError("No migration is applied.")
        app, _ = last
        earlier = [node.key for node in executor.loader.graph.node_map[last].parents if node.key[0] == app]
        target = earlier[0][1] if earlier else None
        doomed = [migration for migration, _ in executor.migration_plan([(app, target)])]
        self.stdout.write("This takes back, with all data that only its tables and columns hold:")
        for migration in doomed:
            self.stdout.write(f"  {migration}")
            for operation in migration.operations:
                self.stdout.write(f"    {operation.describe()}")
        if not options["yes"] and not _agreed():
            raise CommandError("Nothing was changed.")
        try:
            call_command("migrate", app, target or "zero", verbosity=0, stdout=self.stdout)
        except IrreversibleError as error:
            raise CommandError(f"It cannot be taken back: {error}") from error
        self.stdout.write("Taken back. `make migrate` applies it again.")


def _agreed() -> bool:
    try:
        return input("Type yes to go on: ") == "yes"
    except EOFError:
        return False
