"""Web and workers own nothing: whoever runs SQL as they do changes no history and switches no guard off."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.db import DatabaseError, connection, transaction

from audit import sealing
from audit.models import AuditLog
from config import app_role
from core.ids import new_id
from tests import books
from tests.people import make_user

GUARDED = ("billing_ledgertransaction", "billing_ledgerentry", "audit_auditlog", "audit_seal", "billing_wallet")
ON_A_TABLE = (
    "TRUNCATE {} CASCADE",
    "DELETE FROM {}",
    "DROP TABLE {} CASCADE",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "ALTER TABLE {} DISABLE TRIGGER USER",
    "ALTER TABLE {} OWNER TO CURRENT_USER",
    "ALTER TABLE {} ADD COLUMN mine int",
    "CREATE TRIGGER mine BEFORE INSERT ON {} EXECUTE FUNCTION ledger_refuse_change()",
    "CREATE RULE mine AS ON INSERT TO {} DO INSTEAD NOTHING",
)
ANYWHERE = (
    "UPDATE billing_ledgertransaction SET key = 'mine'",
    "UPDATE billing_ledgerentry SET amount = 0",
    "UPDATE audit_auditlog SET action = 'mine'",
    "UPDATE audit_auditdetail SET ip = NULL",
    "UPDATE audit_seal SET rows = 0",
    "SET session_replication_role = replica",
    "DROP FUNCTION ledger_refuse_change() CASCADE",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE mine (id int)",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "DELETE FROM django_migrations",
    "COPY (SELECT 1) TO PROGRAM 'true'",
)


def run(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def role(db: None, settings: Any) -> str:
    """Made in a transaction that is taken back."""
    name = f"app_{new_id().hex}"
    settings.APP_DATABASE_URL = f"postgres://{name}:secret%2Fword@/x"
    assert app_role.entrust() == name
    return name


@pytest.fixture
def as_role(role: str) -> Iterator[str]:
    run(f"SET LOCAL ROLE {role}")
    yield role
    run("RESET ROLE")
    books.check()


def refused(sql: str) -> None:
    with pytest.raises(DatabaseError, match=r"permission denied|must be owner|must be superuser"), transaction.atomic():
        run(sql)


def test_nobody_rewrites_history_or_goes_around_its_guards(as_role: str) -> None:
    for table, statement in itertools.product(GUARDED, ON_A_TABLE):
        refused(statement.format(table))
    for statement in ANYWHERE:
        refused(statement)


def test_what_a_guard_refuses_is_granted_to_nobody_else(role: str) -> None:
    """For the tables that later migrations guard, too."""
    found = run(
        """
        SELECT c.relname, p.name FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
            JOIN pg_class c ON c.oid = g.tgrelid,
            (VALUES ('DELETE', 8), ('UPDATE', 16), ('TRUNCATE', 32)) AS p (name, bit)
        WHERE f.proname IN ('ledger_refuse_change', 'audit_refuse') AND g.tgtype & p.bit <> 0
            AND has_table_privilege(%s, c.oid, p.name)
        """,
        role,
    )

    assert found == []
    assert run("SELECT has_table_privilege(%s, 'audit_auditdetail', 'DELETE')", role) == [
        (True,)
    ]  # people are forgotten


def test_installing_again_changes_nothing_and_keeps_the_password(role: str) -> None:
    [(before,)] = run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)

    app_role.entrust()

    assert run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role) == [(before,)]
    assert before.startswith("SCRAM-SHA-256$")


@pytest.mark.django_db
def test_an_app_role_that_is_mighty_is_refused(settings: Any) -> None:
    settings.APP_DATABASE_URL = f"postgres://{connection.settings_dict['USER']}@/x"
    with pytest.raises(app_role.RoleError, match="another user than DATABASE_URL"):
        app_role.entrust()

    run("CREATE ROLE almost_owner LOGIN")
    run(f'GRANT "{connection.settings_dict["USER"]}" TO almost_owner')
    settings.APP_DATABASE_URL = "postgres://almost_owner@/x"
    with pytest.raises(app_role.RoleError, match="member of the tables' owner"):
        app_role.entrust()

    assert run("SELECT has_table_privilege('almost_owner', 'billing_wallet', 'SELECT')") == [(True,)]  # by membership
    run("CREATE ROLE no_maker")
    run("SET LOCAL ROLE no_maker")
    settings.APP_DATABASE_URL = "postgres://nobody_yet@/x"
    with pytest.raises(app_role.RoleError, match="CREATE ROLE nobody_yet LOGIN"):
        app_role.entrust()


def test_production_is_warned_of_a_role_that_owns_the_ledger(role: str, settings: Any) -> None:
    settings.PRODUCTION, settings.APP_DATABASE_URL = True, ""

    def warned() -> bool:
        found = checks.run_checks(tags=["security"], include_deployment_checks=True)
        return "config.W001" in {message.id for message in found}

    assert warned()
    run(f"SET LOCAL ROLE {role}")
    assert not warned()
    run("RESET ROLE")
    settings.PRODUCTION = False
    assert not warned()


@pytest.mark.django_db(transaction=True)
def test_rows_of_a_writer_who_is_not_seen_are_not_sealed_past(settings: Any) -> None:
    """The owner writes while web's role seals: of others PostgreSQL shows that role nothing but their locks."""
    settings.AUDIT_SEAL_LAG_S = 0
    make_user("alice@example.com")
    settings.APP_DATABASE_URL = "postgres://seals_only@/x"
    app_role.entrust()
    owner = connection.copy()
    try:
        owner.set_autocommit(False)
        with owner.cursor() as cursor:
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('x', 'x', now())")
        run("SET ROLE seals_only")

        assert sealing.seal_due() == 0

        owner.rollback()
        assert sealing.seal_due() == AuditLog.objects.count() > 0
    finally:
        owner.close()
        run("RESET ROLE")
        run("DROP OWNED BY seals_only")
        run("DROP ROLE seals_only")
