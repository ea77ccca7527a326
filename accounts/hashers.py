"""How passwords are stored."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2id(Argon2PasswordHasher):
    """Argon2id with one lane and 46 MiB, one of OWASP's recommended settings.

    Django's default takes 100 MiB and eight threads for each sign-in, which a burst of sign-ins multiplies.
    Source: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
    """

    time_cost = 1
    memory_cost = 47_104
    parallelism = 1
