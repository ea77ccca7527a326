"""The log is sealed, and whatever was done to it afterwards is found and named."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

import audit
from audit import sealing, verification
from audit.models import AuditDetail, AuditLog, Seal
from billing import books as billing_books
from core import context, storage
from core.ids import new_id
from tests import books

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _soon(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are sealed as soon as their writers have ended, ten at a time, and heads lie in a folder of the test's."""
    settings.AUDIT_SEAL_LAG_S = 0
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(sealing, "BATCH", 10)


def write(count: int, *, user: Any = None) -> list[int]:
    with context.use(request_id="r-1", ip="192.0.2.7", user_agent="curl", source="API"):
        for number in range(count):
            audit.record("probe.written", ("probe", number), new={"number": number, "rate": 1.50}, user=user)
    return list(AuditLog.objects.order_by("id").values_list("id", flat=True))


def tamper(sql: str, parameters: list[Any] | None = None) -> None:
    """As somebody who owns the database and puts its guards aside."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, parameters or [])
        assert cursor.rowcount, "nothing was tampered with"


def found() -> list[tuple[str, str]]:
    return [(finding.what, finding.problem) for finding in verification.verify().findings]


def test_seals_cover_every_row_in_order_and_hold_the_one_before() -> None:
    ids = write(25)

    assert sealing.seal_due() == 25

    seals = list(Seal.objects.order_by("number"))
    assert [(seal.number, seal.rows) for seal in seals] == [(1, 10), (2, 10), (3, 5)]
    assert [member for seal in seals for member in seal.members] == ids
    assert bytes(seals[0].previous) == bytes(32)
    assert [bytes(seal.previous) for seal in seals[1:]] == [bytes(seal.hash) for seal in seals[:2]]
    assert sorted(storage.names(sealing.HEADS)) == [f"{seal.number:012d}-{bytes(seal.hash).hex()}" for seal in seals]
    report = verification.verify()
    assert (report.is_clean, report.seals, report.rows, report.unsealed, report.erased) == (True, 3, 25, 0, 0)
    assert report.head == bytes(seals[-1].hash).hex()
    books.check()


def test_young_rows_wait(settings: Any) -> None:
    settings.AUDIT_SEAL_LAG_S = 3600
    write(3)

    assert sealing.seal_due() == 0

    report = verification.verify()
    assert (report.is_clean, report.rows, report.unsealed) == (True, 0, 3)


@pytest.mark.parametrize(
    ("check", "sql"),
    [
        ("audit_chain", "UPDATE audit_seal SET previous = set_byte(previous, 3, 255) WHERE number = 2"),
        ("audit_rows", "DELETE FROM audit_auditlog WHERE id = (SELECT min(id) FROM audit_auditlog)"),
        ("audit_guards", "ALTER TABLE audit_auditlog DISABLE TRIGGER USER"),
    ],
)
def test_the_books_name_the_check_that_fails(check: str, sql: str) -> None:
    write(25)
    sealing.seal_due()

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)

    assert {finding.check for finding in billing_books.run().findings} == {check}


def test_an_empty_hour_moves_the_mark() -> None:
    write(1)
    sealing.seal_due()

    assert sealing.seal_due() == 0

    assert [seal.rows for seal in Seal.objects.order_by("number")] == [1, 0]
    assert found() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("action", "'probe.writteN'"),
        ("at", "at + interval '1 microsecond'"),
        ("new", """'{"number": 4, "rate": 1.51}'"""),
        ("actor_id", "gen_random_uuid()"),
        ("old", "'null'"),
        ("request_id", "'r-2'"),
        ("detail_hash", "set_byte(detail_hash, 5, get_byte(detail_hash, 5) # 1)"),
    ],
)
def test_one_changed_byte_is_named(column: str, value: str) -> None:
    ids = write(25)
    sealing.seal_due()

    tamper(f"UPDATE audit_auditlog SET {column} = {value} WHERE id = %s", [ids[14]])

    assert (f"row {ids[14]}", "was changed since seal 2") in found()
    assert {what for what, _ in found()} == {f"row {ids[14]}"}
    with pytest.raises(AssertionError, match=f"audit_rows: row {ids[14]}: was changed"):
        books.check()


def test_a_removed_row_is_named() -> None:
    ids = write(25)
    sealing.seal_due()

    tamper("DELETE FROM audit_auditdetail WHERE log_id = %s", [ids[3]])
    tamper("DELETE FROM audit_auditlog WHERE id = %s", [ids[3]])

    assert found() == [(f"row {ids[3]}", "was removed since seal 1")]


def test_an_inserted_row_is_named_and_never_sealed() -> None:
    ids = write(25)
    sealing.seal_due()
    with connection.cursor() as cursor:  # needs no tampering: anybody who may write may also say another time
        cursor.execute(
            "INSERT INTO audit_auditlog (at, action, entity_type, entity_id, source, request_id, metadata)"
            " SELECT at, 'probe.invented', 'probe', '1', 'API', '', '{}' FROM audit_auditlog"
            " WHERE id = %s RETURNING id",
            [ids[12]],
        )
        [invented] = cursor.fetchone()

    sealing.seal_due()

    assert found() == [(f"row {invented}", "was inserted into what seal 2 covers")]
    with pytest.raises(AssertionError, match=f"audit_rows: row {invented}: was inserted"):
        books.check()


def test_what_copy_brings_into_the_sealed_past_is_named_and_a_rows_place_is_taken() -> None:
    ids = write(25)
    sealing.seal_due()
    at = AuditLog.objects.get(pk=ids[12]).at
    columns = "id, at, action, entity_type, entity_id, source, request_id, metadata"

    def copied(row_id: int) -> None:
        with connection.cursor() as cursor, cursor.copy(f"COPY audit_auditlog ({columns}) FROM STDIN") as copy:
            copy.write_row((row_id, at, "probe.invented", "probe", "1", "API", "", "{}"))

    with pytest.raises(psycopg.IntegrityError, match="duplicate key"), transaction.atomic():
        copied(ids[12])
    copied(ids[-1] + 1)

    assert found() == [(f"row {ids[-1] + 1}", "was inserted into what seal 2 covers")]


def test_a_row_put_before_all_others_is_named() -> None:
    write(5)
    sealing.seal_due()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_auditlog (at, action, entity_type, entity_id, source, request_id, metadata)"
            " VALUES ('2001-01-01Z', 'probe.invented', 'probe', '1', 'API', '', '{}') RETURNING id"
        )
        [invented] = cursor.fetchone()

    assert found() == [(f"row {invented}", "was inserted into what seal 1 covers")]


def test_a_cut_tail_is_named_even_after_sealing_has_gone_on() -> None:
    ids = write(25)
    sealing.seal_due()
    tamper("DELETE FROM audit_seal WHERE number > 1")
    tamper("DELETE FROM audit_auditdetail WHERE log_id > %s", [ids[9]])
    tamper("DELETE FROM audit_auditlog WHERE id > %s", [ids[9]])

    assert found() == [
        ("seal 2", "was cut off: its head is in the storage"),
        ("seal 3", "was cut off: its head is in the storage"),
    ]

    write(15)
    sealing.seal_due()
    assert set(found()) == {
        ("seal 2", "is not the one whose head is in the storage"),
        ("seal 3", "is not the one whose head is in the storage"),
    }


def test_a_seal_that_was_removed_or_changed_is_named() -> None:
    write(35)
    sealing.seal_due()

    tamper("DELETE FROM audit_seal WHERE number = 2")
    assert ("seal 3", "the seals before it, from 2 on, were removed") in found()

    tamper("UPDATE audit_seal SET rows = 9 WHERE number = 4")
    assert ("seal 4", "was changed") in found()
    tamper("UPDATE audit_seal SET leaves[1] = leaves[2] WHERE number = 3")
    assert ("seal 3", "its list of rows was changed") in found()
    tamper("UPDATE audit_seal SET members = NULL, leaves = NULL WHERE number = 1")
    assert ("seal 1", "its rows are gone, and no purge is on record") in found()


def test_a_rewritten_seal_is_found_by_the_one_after_it() -> None:
    ids = write(25)
    sealing.seal_due()
    tamper("UPDATE audit_auditlog SET action = 'probe.forged' WHERE id = %s", [ids[0]])
    tamper(
        f"UPDATE audit_seal SET leaves[1] = (SELECT {sealing.LEAF} FROM audit_auditlog a WHERE id = %s)"
        " WHERE number = 1",
        [ids[0]],
    )
    tamper(
        "UPDATE audit_seal SET content = (SELECT sha256(string_agg(leaf, ''::bytea ORDER BY place))"
        " FROM unnest(leaves) WITH ORDINALITY l (leaf, place)) WHERE number = 1"
    )
    tamper(f"UPDATE audit_seal s SET hash = sha256(convert_to({sealing.SEAL_TEXT}, 'UTF8')) WHERE number = 1")

    assert set(found()) == {
        ("seal 2", "does not follow the seal before it"),
        ("seal 1", "is not the one whose head is in the storage"),
    }


def test_erased_is_told_from_changed() -> None:
    forgotten = new_id()
    write(5, user=forgotten)
    ids = write(5)
    sealing.seal_due()

    with transaction.atomic():
        assert audit.forget(forgotten) == 5
    report = verification.verify()
    assert (report.is_clean, report.erased) == (True, 5)

    tamper("UPDATE audit_auditdetail SET ip = '192.0.2.8' WHERE log_id = %s", [ids[7]])
    assert found() == [(f"row {ids[7]}", "its personal part was changed")]


@pytest.mark.parametrize("ip", ["2001:DB8::1", "::ffff:192.0.2.1", "2001:db8:0:0::1"])
def test_addresses_that_databases_write_otherwise_are_no_alarm(ip: str) -> None:
    with context.use(request_id="r", ip=ip, user_agent="Ünïcode \x7f", source="API"):
        audit.record(
            "probe.written", ("probe", 1), personal={"name": "Zoë 😀", "at": 1.0, "nested": {"b": [1], "a": None}}
        )
    sealing.seal_due()

    assert found() == []


def test_rows_that_commit_out_of_order_are_no_alarm() -> None:
    """The first to take an id is the last to commit; the sealer runs between, and does not pass it."""
    wrote, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                audit.record("probe.slow", ("probe", 1))
                wrote.set()
                assert may_commit.wait(100)
        finally:
            connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert wrote.wait(60)
    write(12)
    sealing.seal_due()
    slow_row = {"action": "probe.slow"}
    assert not AuditLog.objects.filter(**slow_row).exists()
    assert found() == []
    may_commit.set()
    thread.join()

    sealing.seal_due()

    report = verification.verify()
    assert (report.findings, report.rows, report.unsealed) == ([], 13, 0)
    first = Seal.objects.order_by("number").exclude(rows=0)[0]
    assert AuditLog.objects.get(**slow_row).pk in first.members


def test_writers_and_sealers_at_once_leave_every_row_in_one_seal() -> None:
    failures: list[BaseException] = []
    ended = threading.Event()

    def guarded(function: Any) -> threading.Thread:
        def run() -> None:
            try:
                function()
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def writer() -> None:
        for number in range(40):
            with transaction.atomic():
                audit.record("probe.first", ("probe", number))
                audit.record("probe.second", ("probe", number))

    def sealer() -> None:
        while not ended.is_set():
            sealing.seal_due()

    writers = [guarded(writer) for _ in range(4)]
    sealers = [guarded(sealer) for _ in range(2)]
    for thread in writers:
        thread.join()
    ended.set()
    for thread in sealers:
        thread.join()
    sealing.seal_due()

    assert failures == []
    members = [member for seal in Seal.objects.all() for member in seal.members]
    assert len(members) == len(set(members)) == 320
    assert found() == []


def test_a_head_that_could_not_be_stored_is_stored_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    write(15)
    with monkeypatch.context() as away:
        away.setattr(storage, "exists", lambda key: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sealing.seal_due()
    assert storage.names(sealing.HEADS) == []

    sealing.seal_due()

    assert len(storage.names(sealing.HEADS)) == Seal.objects.count() == 3


def test_heads_are_listed_in_a_bucket(bucket: None) -> None:
    write(15)
    sealing.seal_due()
    assert len(storage.names(sealing.HEADS)) == 2

    tamper("DELETE FROM audit_seal WHERE number = 2")

    assert found() == [("seal 2", "was cut off: its head is in the storage")]


@pytest.mark.parametrize(
    "sql",
    [
        f"{verb} {table}{end}"
        for table in ("audit_auditlog", "audit_seal", "audit_auditdetail")
        for verb, end in (("DELETE FROM", ""), ("UPDATE", " SET {0} = {0}"), ("TRUNCATE", " CASCADE"))
        if (verb, table) != ("DELETE FROM", "audit_auditdetail")
    ],
)
def test_the_database_refuses_whatever_a_session_says(sql: str) -> None:
    write(3)
    sealing.seal_due()
    column = {"audit_auditlog": "action", "audit_seal": "rows", "audit_auditdetail": "ip"}
    table = next(name for name in column if name in sql)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('pgtrigger.ignore', array_agg(tgname)::text, true)"
            " FROM pg_trigger WHERE NOT tgisinternal"
        )
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(sql.format(column[table]))

    assert (AuditLog.objects.count(), AuditDetail.objects.count(), Seal.objects.count()) == (3, 3, 1)


def test_the_command_tells_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    ids = write(5)
    sealing.seal_due()

    call_command("verify_audit")
    assert "The log is as it was sealed: 1 seals over 5 rows" in capsys.readouterr().out

    tamper("UPDATE audit_auditlog SET action = 'x' WHERE id = %s", [ids[2]])
    with pytest.raises(SystemExit) as exited:
        call_command("verify_audit")
    assert exited.value.code == 1
    assert f"row {ids[2]}: was changed since seal 1" in capsys.readouterr().out


def test_a_guard_that_was_switched_off_is_told() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_seal DISABLE TRIGGER audit_stays_whole")

    with pytest.raises(AssertionError, match="audit_guards: table audit_seal"):
        books.check()
