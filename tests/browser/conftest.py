"""One running product and one browser for all tests of pages: whoever a test needs, it makes, so nothing is cleaned up
between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

from accounts.console import PASSED
from accounts.models import User
from tests import books
from tests.people import make_user
from tests.scenarios.client import PASSWORD, Customer
from tests.scenarios.conftest import started
from tests.scenarios.stack import ROOT, Stack

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = ROOT / "var" / "screenshots"
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def stack(
    start_over: Callable[[], None],
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    redis_url: str,
) -> Iterator[Stack]:
    """Web, worker, beat and sandbox, each a process."""
    running = Stack(tmp_path_factory.mktemp("stack"), database_url=database_url, redis_url=redis_url)
    with started(running, start_over, django_db_blocker):
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One process. Its event loop runs in the tests' thread, and Django would keep its ORM out of it."""
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield chromium
        chromium.close()


Opens = Callable[[], Page]


@pytest.fixture
def window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Open windows that know nothing of each other. How each looks in the end is kept as a picture; an error of its
    scripts fails the test, and so does what its policy forbids.
    """
    opened: list[Page] = []
    errors: list[str] = []

    def open_one() -> Page:
        page = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if _is_forbidden(said.text) else None)
        opened.append(page)
        return page

    yield open_one
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(opened, 1):
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}-{number}.png")
        page.context.close()
    assert errors == []


@pytest.fixture
def page(window: Opens) -> Page:
    """One window."""
    return window()


@pytest.fixture
def balanced(stack: Stack) -> Iterator[None]:
    """After the test, the books balance."""
    yield
    books.check()


def _is_forbidden(said: str) -> bool:
    """Whether a page wanted what its policy forbids. ReDoc alone may: it asks its maker for a logo."""
    return "Content Security Policy" in said and "redoc" not in said


# --- People -----------------------------------------------------------------------------------------------------------

_numbers = itertools.count(1)
Desk = Callable[[str], Page]


@pytest.fixture
def desk(stack: Stack, window: Opens) -> Desk:
    """Sit a new member of a staff group down before a window of the console; the way in has a test of its own."""

    def sit_down(group: str) -> Page:
        person = User.objects.create_user(f"{group}{next(_numbers)}@example.test", PASSWORD, is_staff=True)
        person.groups.add(Group.objects.get(name=group))
        page = window()
        with override_settings(SECRET_KEY=stack.environment["SECRET_KEY"]):
            client = Client()
            client.force_login(person)
            session = client.session
            session[PASSED] = True
            session.save()
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session.session_key, "url": stack.url}
        page.context.add_cookies([cookie])
        page.goto(f"{stack.url}/admin/")
        return page

    return sit_down


@pytest.fixture
def customer(stack: Stack) -> Customer:
    """A person with a proved mailbox, signed in at their app."""
    person = Customer(stack, f"customer{next(_numbers)}@example.com")
    make_user(person.email, password=PASSWORD)
    person.token = person.ok("POST", "auth/login", json={"email": person.email, "password": PASSWORD})["access"]
    return person
