"""What leaves the log proves itself elsewhere, and what is purged leaves the chain whole."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

import audit
from audit import retention, sealing, verification
from audit.models import AuditDetail, AuditLog, Seal
from core import clock, context
from core.ids import new_id
from tests import books
from tests.audit.test_seals import _soon, tamper, write  # noqa: F401  a fixture

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "verify_audit_export.py"


def exported(tmp_path: Path, *more: str) -> Path:
    file = tmp_path / f"{new_id()}.jsonl"
    call_command("export_audit", str(file), *more)
    return file


def run(file: Path, *more: str) -> tuple[int, str]:
    """The script by itself: no site packages, no environment, no project."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(file), *more],
        capture_output=True,
        text=True,
        env={},
        cwd="/",
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_an_export_verifies_by_itself(tmp_path: Path) -> None:
    forgotten = new_id()
    write(5, user=forgotten)
    with context.use(request_id="r", ip="::ffff:192.0.2.1", user_agent='"\\ \x7f\u2028', source="API"):
        audit.record("probe.written", ("probe", "Zoë\t😀"), old={"a": None}, personal={"name": "Zoë 😀\x01", "n": 1.0})
    write(20)
    sealing.seal_due()
    write(2)
    with transaction.atomic():
        audit.forget(forgotten)

    code, told = run(exported(tmp_path, "--details"))

    assert told.splitlines()[0] == "The file is as it was sealed: 3 seals, 26 rows, 2 unsealed, 23 details, 0 purged."
    assert code == 0
    head = bytes(Seal.objects.get(number=3).hash).hex()
    assert told.splitlines()[1] == f"Last seal: 000000000003-{head}"
    plain = exported(tmp_path)
    assert b"192.0.2" not in plain.read_bytes()
    assert run(plain, "--head", head)[0] == 0


def test_a_tampered_file_is_refused(tmp_path: Path) -> None:
    ids = write(25)
    sealing.seal_due()
    file = exported(tmp_path, "--details")
    head = bytes(Seal.objects.get(number=3).hash).hex()
    lines = file.read_bytes().splitlines(keepends=True)
    of = {ids[12]: next(n for n, line in enumerate(lines) if b'"id": %d,' % ids[12] in line)}
    row = of[ids[12]]
    seal_3 = next(n for n, line in enumerate(lines) if b'"seal": 3' in line)

    def after(*changed: bytes, head: str = "") -> tuple[int, str]:
        other = tmp_path / f"{new_id()}.jsonl"
        other.write_bytes(b"".join(changed))
        return run(other, *(["--head", head] if head else []))

    flipped = lines[row].replace(b"probe.written", b"probe.writteN")
    assert flipped != lines[row]
    assert after(*lines[:row], flipped, *lines[row + 1 :]) == (1, _Saying(f"row {ids[12]}: was changed"))
    rehashed = b'{"hash": "' + sealing_hash(flipped) + flipped[74:]
    assert after(*lines[:row], rehashed, *lines[row + 1 :]) == (1, _Saying("seal 2: its rows are not the ones"))
    assert after(*lines[:row], *lines[row + 2 :]) == (1, _Saying("seal 2: 1 of its 10 rows were removed"))
    assert after(*lines[:row], lines[row], *lines[row:]) == (1, _Saying("seal 2: "))
    address = lines[row + 1].replace(b"192.0.2.7", b"192.0.2.8")
    assert after(*lines[: row + 1], address, *lines[row + 2 :]) == (1, _Saying("its personal part was changed"))
    assert after(*lines[1:]) == (1, _Saying("stand before the first seal"))
    assert after(*lines[:seal_3], head=head) == (1, _Saying("the tail was cut off"))
    assert after(*lines[:seal_3])[0] == 0, "without a head a shorter file is a true one"
    assert after(b"nonsense\n", *lines) == (1, _Saying("line 1: is not a line of an export"))


def sealing_hash(line: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(line[len('{"hash": "", "row": ') + 64 : -2]).hexdigest().encode()


class _Saying(str):
    """Equal to whatever contains it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other

    __hash__ = str.__hash__


def test_what_was_done_to_the_database_shows_in_its_export(tmp_path: Path) -> None:
    ids = write(25)
    sealing.seal_due()
    tamper("UPDATE audit_auditlog SET action = 'x' WHERE id = %s", [ids[2]])
    tamper("DELETE FROM audit_auditdetail WHERE log_id = %s", [ids[4]])
    tamper("DELETE FROM audit_auditlog WHERE id = %s", [ids[4]])

    code, told = run(exported(tmp_path))

    assert code == 1
    assert told.splitlines()[:2] == [f"row {ids[2]}: was changed", f"row {ids[4]}: was removed"]


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    file = exported(tmp_path)

    with pytest.raises(CommandError, match="exists"):
        call_command("export_audit", str(file))


def test_a_purge_takes_whole_seals_and_leaves_the_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(20)
    sealing.seal_due()
    before = clock.now()
    rest = write(15)[20:]
    sealing.seal_due()

    assert [(done.first, done.last) for done in retention.purge(before)] == [(1, 3)]  # the third is empty

    assert list(AuditLog.objects.order_by("id").values_list("id", flat=True))[:15] == rest
    assert AuditLog.objects.filter(action="seal.purged", entity_id="3").count() == 1
    assert AuditDetail.objects.count() == 15
    report = verification.verify()
    assert (report.findings, report.purged) == ([], 20)
    books.check()
    assert run(exported(tmp_path))[0] == 0
    sealing.seal_due()
    assert verification.verify().is_clean
    assert list(retention.purge(before)) == []
    call_command("purge_audit", "--days", "1")
    assert "Would delete 0 rows" in capsys.readouterr().out


def test_what_is_not_as_it_was_sealed_is_not_purged() -> None:
    ids = write(20)
    sealing.seal_due()
    tamper("UPDATE audit_auditlog SET action = 'x' WHERE id = %s", [ids[12]])

    with pytest.raises(retention.PurgeRefused, match=f"row {ids[12]} was changed"):
        list(retention.purge(clock.now() + timedelta(days=1)))

    assert AuditLog.objects.filter(id=ids[12]).exists()


def test_only_the_owner_may_purge() -> None:
    write(3)
    sealing.seal_due()

    with transaction.atomic(), connection.cursor() as cursor:
        role: Any = f"app_{new_id().hex}"
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"SET LOCAL ROLE {role}")
        cursor.execute("SELECT set_config('audit.purge', 'on', true)")
        for sql in ("DELETE FROM audit_auditlog", "UPDATE audit_seal SET members = NULL, leaves = NULL"):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                cursor.execute(sql)
        transaction.set_rollback(True)

    assert AuditLog.objects.count() == 3


def test_the_owner_purges_nothing_but_rows_and_lists() -> None:
    write(3)
    sealing.seal_due()

    for sql in ("UPDATE audit_seal SET rows = 1", "DELETE FROM audit_seal", "UPDATE audit_auditlog SET action = 'x'"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('audit.purge', 'on', true)")
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                cursor.execute(sql)
