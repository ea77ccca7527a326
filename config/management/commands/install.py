"""What an installation needs before anything of it runs; run again at each new release."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from config import app_role
from core import storage


class Command(BaseCommand):
    help = (
        "Bring the tables up to date, add missing first rows, let the role of web and workers at them, "
        "and make the bucket at S3_ENDPOINT_URL if there is none."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, stdout=self.stdout)
        call_command("seed", stdout=self.stdout)
        if settings.APP_DATABASE_URL:
            try:
                self.stdout.write(f"Web and workers connect as {app_role.entrust()}.")
            except app_role.RoleError as error:
                raise CommandError(str(error)) from error
        try:
            if storage.make():
                self.stdout.write("The bucket was made.")
        except storage.StorageUnusable as error:
            raise CommandError(str(error)) from error
