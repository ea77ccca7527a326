"""The ops console's first people in development: one of each group, their passwords random and kept in var/."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction

import audit
from accounts import staff
from accounts.models import User
from config.embedded import addresses

DOMAIN = "example.test"
GROUPS = ("support", "finance", "ops")


def passwords_file() -> Path:
    path: Path = settings.VAR_DIR / "staff.env"
    return path


def ensure() -> dict[str, str]:
    """Make admin@, support@, finance@ and ops@ unless they are there; answers their passwords.

    Idempotent: yes. A password whose file was lost is replaced.
    """
    path = passwords_file()
    known = _read(path)
    admin = _ensure(f"admin@{DOMAIN}", known, is_superuser=True)
    for group in GROUPS:
        user = _ensure(f"{group}@{DOMAIN}", known, actor=admin)
        if not user.groups.filter(name=group).exists():
            with transaction.atomic():
                user.groups.add(Group.objects.get(name=group))
                staff.note_groups(user, before=set(), after={group}, actor=admin)
    lines = "".join(f"{email}={password}\n" for email, password in known.items())
    if not path.exists() or path.read_text() != lines:
        addresses.write_private(path, lines)
    return known


def _ensure(email: str, known: dict[str, str], *, actor: User | None = None, is_superuser: bool = False) -> User:
    user = User.objects.filter(email=email).first()
    if user is not None and email in known:
        return user
    known[email] = secrets.token_urlsafe(12)
    if user is None:
        user = User(email=email, is_superuser=is_superuser)
        user.set_password(known[email])
        return staff.create(user, actor=actor or user)
    user.set_password(known[email])
    with transaction.atomic():
        user.save(update_fields=["password", "updated_at"])
        audit.record("user.password_changed", user, user=user, metadata={"reason": "development password lost"})
    return user


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
