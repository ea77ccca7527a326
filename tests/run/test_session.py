"""The test session itself: workers do not meet, and nothing outside this machine is reached."""

from __future__ import annotations

import os
import socket

import pytest
import pytest_socket
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from config.embedded import addresses
from core import redis

WORKER = os.environ.get("PYTEST_XDIST_WORKER") or "main"


def test_each_worker_has_its_own_redis() -> None:
    assert os.environ["REDIS_URL"] == settings.REDIS_URL
    assert current_app.conf.broker_url == addresses.broker_url(os.environ["REDIS_URL"])
    cache.set("mine", WORKER)
    assert cache.get("mine") == WORKER


def test_redis_is_empty_before_each_test() -> None:
    assert redis.client().dbsize() == 0


@pytest.mark.django_db
def test_each_worker_has_its_own_migrated_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), to_regclass('billing_ledgerentry') IS NOT NULL")
        name, is_migrated = cursor.fetchone()

    assert name.endswith(f"_{WORKER}")
    assert is_migrated


def test_the_outside_is_out_of_reach() -> None:
    with pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
