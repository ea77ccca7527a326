"""What an installation needs before anything of it runs; run again at each new release."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from core import storage


class Command(BaseCommand):
    help = (
        "Bring the tables up to date, add missing first rows, and make the bucket at S3_ENDPOINT_URL if there is none."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, stdout=self.stdout)
        call_command("seed", stdout=self.stdout)
        try:
            if storage.make():
                self.stdout.write("The bucket was made.")
        except storage.StorageUnusable as error:
            raise CommandError(str(error)) from error
