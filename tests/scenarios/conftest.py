"""The product running on the test's own database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.client import Customer, portrait
from tests.scenarios.shop import QUICK, Shop
from tests.scenarios.stack import Stack, until

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker


@pytest.fixture(scope="module")
def stack(
    start_over: Callable[[], None],
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    redis_url: str,
    request: Any,
) -> Iterator[Stack]:
    """Web, worker, beat and sandbox, each a process, shared by the tests of one file that want the same settings,
    which they may add by indirect parameters."""
    running = Stack(
        tmp_path_factory.mktemp("stack"),
        database_url=database_url,
        redis_url=redis_url,
        **getattr(request, "param", {}),
    )
    with started(running, start_over, django_db_blocker):
        yield running


@contextmanager
def started(running: Stack, start_over: Callable[[], None], blocker: DjangoDbBlocker) -> Iterator[None]:
    """The stack is up, with the test's own look into its database, which is made anew in the end."""
    with blocker.unblock():
        try:
            running.start()
            yield
        finally:
            running.stop()
            start_over()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """The product on servers of its own, shared by the tests of one file."""
    running = Shop()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def alice(shop: Shop) -> Customer:
    """A customer with credits to spare."""
    person = shop.customer("alice@example.com")
    person.buy("package:ENTERPRISE")
    return person


@pytest.fixture(scope="module")
def photo(alice: Customer) -> str:
    return alice.upload(portrait())


@pytest.fixture
def ends_well(shop: Shop, alice: Customer) -> Iterator[None]:
    """After every test: the world is sound again, all that was begun has ended, no answer was a 500."""
    yield
    shop.control("DELETE", "faults")
    shop.control("POST", "webhooks", deliver=True)
    shop.control("POST", "settings", slow_s=float(QUICK["SANDBOX_SLOW_S"]))
    open_holds = "SELECT count(*) FROM billing_hold WHERE state = 'open'"
    until(lambda: shop.rows(open_holds) == [(0,)], "nothing is held")
    assert "unhandled" not in shop.stack.log("web"), shop.stack.log("web")[-3000:]


@pytest.fixture(scope="module")
def balanced(shop: Shop) -> Iterator[None]:
    """After all of it, the books balance."""
    yield
    shop.check_books()
