"""A backup comes back whole, and nothing is lost on the way there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import User
from audit import sealing
from audit.models import AuditLog
from config import backups
from core import storage
from tests import books
from tests.people import make_user
from tests.run.test_commands import said

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _folder(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    settings.AUDIT_SEAL_LAG_S = 0


def databases() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{backups._name()}%"])
        return {name for (name,) in cursor}


def test_a_backup_takes_the_place_of_what_came_after_it() -> None:
    make_user("alice@example.com")
    sealing.seal_due()
    name = backups.take().name
    make_user("bob@example.com")
    sealing.seal_due()
    heads = storage.names(sealing.HEADS)
    assert len(heads) == 2

    told = said("restore", "--yes")

    assert "The books balance" in told
    assert "The log is as it was sealed: 1 seals" in told
    assert set(User.objects.values_list("email", flat=True)) == {"alice@example.com"}
    record = AuditLog.objects.get(action="installation.restored")
    assert record.metadata["backup"] == name
    assert record.metadata["heads_set_aside"] == 1
    assert set(storage.names(sealing.HEADS)) | set(storage.names(sealing.LOST_HEADS)) == set(heads)
    assert record.metadata["former"] in databases()  # until somebody drops it
    assert sealing.seal_due() > 0  # the chain goes on under the number that was lost
    call_command("verify_audit")
    backups.drop(record.metadata["former"])
    assert databases() == {backups._name()}
    books.check()


def test_a_dump_that_was_cut_off_changes_nothing(tmp_path: Path) -> None:
    make_user("alice@example.com")
    dump = tmp_path / backups.FOLDER / backups.take().name
    dump.write_bytes(dump.read_bytes()[:50_000])

    for command in (["restore", "--drill"], ["restore", "--yes"]):
        with pytest.raises(CommandError, match="pg_restore failed"):
            call_command(*command)

    assert databases() == {backups._name()}
    assert User.objects.count() == 1


def test_a_copy_that_does_not_hold_is_left_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("alice@example.com")
    backups.take()
    monkeypatch.setattr(backups, "prove", lambda copy: iter([("check_books", False, "2 rows break the books")]))

    with pytest.raises(CommandError, match="is left to look at"):
        call_command("restore", "--yes")

    [copy] = databases() - {backups._name()}
    backups.drop(copy)
    assert User.objects.count() == 1


def test_it_is_not_put_in_place_under_somebody_who_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "GONE_WITHIN_S", 0.5)
    make_user("alice@example.com")
    backups.take()

    with psycopg.connect(**backups._parameters(connection.settings_dict, backups._name())):
        with pytest.raises(CommandError, match="connections use the database"):
            call_command("restore", "--yes")
        monkeypatch.setattr(backups, "prove", lambda copy: iter(()))
        looks = iter([lambda: None, backups.refuse_while_in_use])  # they connect while the copy is made
        monkeypatch.setattr(backups, "refuse_while_in_use", lambda: next(looks)())
        with pytest.raises(CommandError, match="connections use the database"):
            call_command("restore", "--yes")

    assert databases() == {backups._name()}
    assert User.objects.count() == 1


def test_old_ones_go_and_the_newest_stay() -> None:
    for day in range(1, 5):
        storage.save(f"{backups.FOLDER}/2026010{day}T000000Z.dump", io.BytesIO(b"dump"), "")

    assert [backup.name[:8] for backup in backups.prune(keep=2)] == ["20260101", "20260102"]
    assert [backup.name[:8] for backup in backups.all_of_them()] == ["20260103", "20260104"]
    with pytest.raises(CommandError, match="at least one"):
        call_command("backup", "--keep", "0")


def test_restoring_asks_first_and_names_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=r"There is no backup\."):
        call_command("restore")
    with pytest.raises(CommandError, match=r"There is no backup nothing\.dump"):
        call_command("restore", "nothing.dump", "--yes")
    monkeypatch.setattr("builtins.input", lambda asked: "no")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("restore", "nothing.dump")
    assert databases() == {backups._name()}
