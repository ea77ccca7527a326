"""For when nobody is left who could do it in the console."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import standing
from accounts.models import User
from core.errors import Error


class Command(BaseCommand):
    help = "Remove the second factor of a member of staff, who is told by mail and sets up another at the next sign-in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, email: str, reason: str, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist as error:
            raise CommandError(f"There is nobody with the address {email}.") from error
        try:
            standing.reset_mfa(user, actor=None, reason=reason)
        except Error as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Reset the second factor of {user.email}.")
