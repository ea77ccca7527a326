"""How passwords are stored."""

from __future__ import annotations

import unicodedata

from django.contrib.auth.hashers import Argon2PasswordHasher


def normalise(password: str) -> str:
    """One spelling (NFKC) for what looks the same but is typed differently by two keyboards.

    Source: NIST SP 800-63B, on passwords with Unicode characters.
    """
    return unicodedata.normalize("NFKC", password)


class Argon2id(Argon2PasswordHasher):
    """Argon2id with one lane and 46 MiB, one of OWASP's recommended settings; passwords are normalised first.

    Django's default takes 100 MiB and eight threads for each sign-in, which a burst of sign-ins multiplies.
    Source: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
    """

    time_cost = 1
    memory_cost = 47_104
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        return super().encode(normalise(password), salt)

    def verify(self, password: str, encoded: str) -> bool:
        return super().verify(normalise(password), encoded)
