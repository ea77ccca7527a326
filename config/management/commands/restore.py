"""Bring a backup back, or only show that it could be."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import backups


class Command(BaseCommand):
    help = "Restore a backup (the newest, if none is named) into a copy, prove the copy, and put it in the place."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="as `backup --list` shows it")
        parser.add_argument("--drill", action="store_true", help="restore and prove, then remove the copy")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._restore(options["name"], is_drill=options["drill"], is_agreed=options["yes"])
        except backups.BackupError as error:
            raise CommandError(str(error)) from error

    def _restore(self, name: str | None, *, is_drill: bool, is_agreed: bool) -> None:
        if name is None:
            there = backups.all_of_them()
            if not there:
                raise CommandError("There is no backup.")
            name = there[-1].name
        if not is_drill and not is_agreed:
            self.stdout.write(f"{name} is to take the place of the database, which stays under another name.")
            if not _agreed():
                raise CommandError("Nothing was changed.")
        if not is_drill:
            backups.refuse_while_in_use()  # rather now than after an hour's work
        copy = backups.restore(name)
        self.stdout.write(f"{name} is restored as {copy}.")
        is_whole = True
        for command, is_fine, said in backups.prove(copy):
            is_whole &= is_fine
            self.stdout.write(f"{'ok' if is_fine else 'FAILED':<8}{command}: {said}")
        if is_drill:
            backups.drop(copy)
        if not is_whole:
            raise CommandError(
                "The backup does not hold." if is_drill else f"{copy} is left to look at; nothing changed."
            )
        if is_drill:
            self.stdout.write("The backup can be restored.")
            return
        try:
            former = backups.put_in_place(copy, backup=name)
        except backups.BackupError:
            backups.drop(copy)
            raise
        self.stdout.write(f"It is in place; the former database is {former}. Drop that when nothing is missed.")


def _agreed() -> bool:
    try:
        return input("Type yes to go on: ") == "yes"
    except EOFError:
        return False
