"""The cast of every test: made by the same functions that clients reach, so that no fixture breaks a rule."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from accounts import links, sessions, users
from accounts.api import tokens
from accounts.models import EmailVerification, Session, User

PASSWORD = "correct horse battery 9"
_numbers = itertools.count(1)


def make_user(email: str | None = None, *, verified: bool = True, password: str = PASSWORD, **names: str) -> User:
    """A registered person, with the sign-up grant once verified."""
    user = users.register(email=email or f"person{next(_numbers)}@example.com", password=password, **names)
    return verify(user) if verified else user


def verification_token(user: User) -> str:
    """The token in the newest verification mail of the person."""
    newest = EmailVerification.objects.filter(user=user).latest("created_at")
    return links.token_of(newest.pk)


def verify(user: User) -> User:
    """Prove the person's mailbox, as if they had clicked."""
    return users.verify_email(token=verification_token(user))


def make_staff(group: str) -> User:
    """A member of one staff group."""
    user = User.objects.create_user(f"{group}@example.test", PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


def open_session(user: User, *, remember: bool = False, has_mfa: bool | None = None) -> Session:
    """A session of the person, without the cost of a password; of staff, with the second factor unless told."""
    return sessions.open_for(user, remember=remember, has_mfa=user.is_staff if has_mfa is None else has_mfa)


def api(user: User | None = None, *, has_mfa: bool | None = None, **headers: Any) -> APIClient:
    """A client of the REST API, signed in as the person, or as nobody."""
    client = APIClient(headers={"user-agent": "tests", **headers})
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.pair(open_session(user, has_mfa=has_mfa))['access']}")
    return client


@pytest.fixture
def alice(db: None) -> User:
    """The owner."""
    return make_user("alice@example.com", first_name="Alice")


@pytest.fixture
def bob(db: None) -> User:
    """The stranger."""
    return make_user("bob@example.com", first_name="Bob")


@pytest.fixture
def unverified(db: None) -> User:
    """Somebody who has not proved the mailbox."""
    return make_user("unverified@example.com", verified=False)


@pytest.fixture
def anonymous() -> APIClient:
    return api()


@pytest.fixture
def support(db: None) -> User:
    return make_staff("support")


@pytest.fixture
def finance(db: None) -> User:
    return make_staff("finance")


@pytest.fixture
def ops(db: None) -> User:
    return make_staff("ops")
