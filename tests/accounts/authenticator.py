"""An authenticator app."""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import Any

from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import User
from tests.people import PASSWORD


def code_of(secret: str, *, ahead: int = 0) -> str:
    """What the app shows now, or so many steps later."""
    totp = TOTP(unhexlify(secret))
    totp.time = timezone.now().timestamp() + 30 * ahead
    return f"{totp.token():06d}"


def set_up(user: User) -> str:
    """An app that the person has set up long ago; its secret is answered."""
    return str(TOTPDevice.objects.create(user=user, name="app").key)


def wrong(secret: str) -> str:
    """Six digits that the app shows neither now nor soon."""
    near = {code_of(secret, ahead=ahead) for ahead in range(-3, 4)}
    return next(f"{guess:06d}" for guess in range(10) if f"{guess:06d}" not in near)


def first_step(user: User, *, then: str = "/admin/", **extra: Any) -> Client:
    """A browser in which the person has given their password at the console's door."""
    client = Client(**extra)
    answer = client.post("/admin/login/", {"username": user.email, "password": PASSWORD, "next": then})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    return client


def second_step(client: Client, code: str, **extra: Any) -> Any:
    return client.post("/admin/second-step/", {"code": code, **extra})


def recovery_codes(page: Any) -> list[str]:
    """The codes that a page shows."""
    return re.findall(r"<li>((?:[a-z2-7]{4}-){3}[a-z2-7]{4})</li>", page.content.decode())
