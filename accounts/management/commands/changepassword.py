"""In the place of Django's own command, which would tell neither the person nor the audit log, and end no session."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import credentials
from accounts.models import User
from core.errors import Error


class Command(BaseCommand):
    help = "Set a person's password, asked for twice; they are told by mail and signed out everywhere."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, email: str, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist as error:
            raise CommandError(f"There is nobody with the address {email}.") from error
        new = getpass.getpass(f"New password of {user.email}: ")
        if new != getpass.getpass("Once more: "):
            raise CommandError("The two are not the same; nothing was changed.")
        try:
            credentials.set_password(user, new=new)
        except Error as error:
            raise CommandError(" ".join(detail["message"] for detail in error.details) or error.message) from error
        self.stdout.write(f"Changed the password of {user.email}.")
