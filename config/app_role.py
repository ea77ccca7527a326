"""The database role of web and workers: it reads and writes rows and owns nothing, so no guard is its to switch off."""

from __future__ import annotations

from typing import Any, LiteralString
from urllib.parse import unquote, urlsplit

import psycopg
from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

# What a trigger of the ledger or of the audit log refuses is not granted either. Bits of tgtype: 8 delete, 16 update.
_GUARDED = """
SELECT c.relname, bit_or(g.tgtype::int) & 8 <> 0, bit_or(g.tgtype::int) & 16 <> 0
FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid JOIN pg_class c ON c.oid = g.tgrelid
WHERE f.proname IN ('ledger_refuse_change', 'audit_refuse')
GROUP BY c.relname ORDER BY c.relname
"""
# Who may do as the owner of a guarded table does, or needs not ask.
_MIGHTY = """
SELECT r.rolsuper OR EXISTS (
    SELECT FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid JOIN pg_class c ON c.oid = g.tgrelid
    WHERE f.proname IN ('ledger_refuse_change', 'audit_refuse') AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
FROM pg_roles r WHERE r.rolname = {}
"""


class RoleError(Exception):
    """What is in the way, in one sentence for the operator."""


def entrust() -> str:
    """Let the user of APP_DATABASE_URL do what web and workers do, and no more; make it if it is not there.

    Run as the tables' owner, after every migration. Answers its name.

    Idempotent: yes. A password that is there already stays.
    Raises: RoleError; then nothing has changed.
    """
    address = urlsplit(settings.APP_DATABASE_URL)
    name = unquote(address.username or "")
    if not name or name == connection.settings_dict["USER"]:
        raise RoleError("APP_DATABASE_URL has to name another user than DATABASE_URL, which here is the owner's.")
    role = sql.Identifier(name)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
        if not cursor.fetchone():
            _make(name, unquote(address.password or ""))
        _do("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", sql.Identifier(connection.settings_dict["NAME"]), role)
        _do("REVOKE CREATE ON SCHEMA public FROM PUBLIC, {}", role)
        _do("GRANT USAGE ON SCHEMA public TO {}", role)
        _do("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}", role)
        _do("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}", role)
        _do("REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {}", role)
        cursor.execute(_GUARDED)
        for table, keeps_rows, keeps_values in cursor.fetchall():
            if keeps_rows:
                _do("REVOKE DELETE ON {} FROM {}", sql.Identifier(table), role)
            if keeps_values:
                _do("REVOKE UPDATE ON {} FROM {}", sql.Identifier(table), role)
        if is_mighty(name):
            raise RoleError(f"{name} is a superuser, or a member of the tables' owner: web and workers want less.")
    return name


def is_mighty(name: str | None = None) -> bool:
    """Whether this role, or who is connected, could switch the guards of the ledger and of the audit log off."""
    with connection.cursor() as cursor:
        cursor.execute(_MIGHTY.format("current_user" if name is None else "%s"), None if name is None else [name])
        return bool(cursor.fetchone()[0])


def _make(name: str, password: str) -> None:
    connection.ensure_connection()
    driver: psycopg.Connection[Any] = connection.connection
    secret = driver.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    ).decode()  # no log gets to see it
    try:
        _do("CREATE ROLE {} LOGIN PASSWORD {}", sql.Identifier(name), sql.Literal(secret))
    except Exception as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise RoleError(
                f"There is no role {name}, and {connection.settings_dict['USER']} may make none: "
                f"CREATE ROLE {name} LOGIN PASSWORD '…', as who may."
            ) from error
        raise


def _do(statement: LiteralString, *names: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*names))
