"""The short way to the database, and connections that are kept."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from django.db import OperationalError, connection

from config.embedded import processes
from core.sql import fetch


@pytest.mark.django_db
def test_a_row_comes_in_the_types_of_python() -> None:
    key = uuid.uuid4()

    assert fetch("SELECT %s::uuid, 7::bigint, NULL::text, now() = now()", [key]) == (key, 7, None, True)
    assert fetch("SELECT 1 WHERE %s::text = ''", ["x"]) is None


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_costs_no_round_trip_while_it_stands() -> None:
    connection.ensure_connection()
    kept = connection.connection
    with psycopg.Connection.connect(_conninfo(), autocommit=True) as other:  # else its first look would last
        state = "SELECT state_change FROM pg_stat_activity WHERE pid = %s"
        before = other.execute(state, [kept.info.backend_pid]).fetchone()

        connection.health_check_enabled = True
        connection.health_check_done = False
        connection.close_if_health_check_failed()

        assert other.execute(state, [kept.info.backend_pid]).fetchone() == before
    assert connection.connection is kept


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used() -> None:
    connection.ensure_connection()
    kept = connection.connection
    with psycopg.Connection.connect(_conninfo(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [kept.info.backend_pid])
    assert processes.wait_until(lambda: not connection.is_usable(), 60)

    connection.health_check_enabled = True
    connection.health_check_done = False

    assert fetch("SELECT 1", []) == (1,)
    assert connection.connection is not kept


@pytest.mark.django_db(transaction=True)
def test_after_an_error_the_server_is_asked() -> None:
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    connection.close_if_unusable_or_obsolete()

    assert connection.connection is None
    assert fetch("SELECT 1", []) == (1,)


def _conninfo() -> str:
    return psycopg.conninfo.make_conninfo(
        **{
            key: value
            for key, value in connection.get_connection_params().items()
            if key in ("host", "port", "user", "dbname", "password")
        }
    )
