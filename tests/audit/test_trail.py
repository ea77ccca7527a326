"""The audit log tells who did what, travels with its transaction, and cannot be changed."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

import audit
from audit.models import AuditDetail, AuditLog
from audit.trail import AuditMissing, detail_hash
from core import context
from core.ids import new_id
from inbox.models import Delivery


@pytest.mark.django_db
def test_a_row_tells_who_what_where_and_keeps_persons_apart() -> None:
    actor, owner = new_id(), new_id()

    with context.use(request_id="r-1", ip="192.0.2.7", user_agent="curl", source="API", actor_id=actor):
        audit.record(
            "user.updated",
            ("user", owner),
            old={"bio": "a"},
            new={"bio": "b"},
            metadata={"via": "form"},
            user=owner,
            personal={"email": "alice@example.test"},
        )

    row = AuditLog.objects.select_related("detail").get()
    assert (row.action, row.entity_type, row.entity_id) == ("user.updated", "user", str(owner))
    assert (row.user_id, row.actor_id, row.source, row.request_id) == (owner, actor, "API", "r-1")
    assert (row.old, row.new, row.metadata) == ({"bio": "a"}, {"bio": "b"}, {"via": "form"})
    assert (row.detail.ip, row.detail.user_agent) == ("192.0.2.7", "curl")
    assert row.detail.personal == {"email": "alice@example.test"}
    assert "alice" not in str([row.old, row.new, row.metadata])
    assert bytes(row.detail_hash) == detail_hash(
        bytes(row.detail.salt), "192.0.2.7", "curl", {"email": "alice@example.test"}
    )


@pytest.mark.django_db
def test_what_continues_is_told_as_it_was_asked_for_last() -> None:
    staff, owner = new_id(), new_id()
    audit.record("job.swept", ("job", "1"))
    with context.use(request_id="r-1", source="ADMIN", actor_id=staff, on_behalf_of_id=owner):
        audit.record("job.retried", ("job", "1"))
        audit.record("job.retried", ("job", "2"))
    audit.record("job.swept", ("job", "1"))

    with context.use(request_id="task", source="SYSTEM"):
        with audit.continuing(("job", "1")):
            audit.record("job.ended", ("job", "1"))
        with audit.continuing(("job", "3")):
            audit.record("job.ended", ("job", "3"))
        with audit.continuing(("job", "2"), when=False):
            audit.record("job.ended", ("job", "2"))
        with context.use(actor_id=owner), audit.continuing(("job", "2")):
            audit.record("job.canceled", ("job", "2"))

    names = ("actor_id", "on_behalf_of_id", "request_id", "source")
    assert list(AuditLog.objects.order_by("id").values_list(*names))[-4:] == [
        (staff, owner, "r-1", "SYSTEM"),
        (None, None, "task", "SYSTEM"),
        (None, None, "task", "SYSTEM"),
        (owner, None, "task", "SYSTEM"),
    ]


@pytest.mark.django_db
def test_a_row_of_the_system_has_no_detail_and_costs_one_round_trip(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    with django_assert_num_queries(1):
        audit.record("payment.expired", ("payment", "1"))

    assert AuditLog.objects.get().detail_hash is None
    assert not AuditDetail.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [{"source": "API", "ip": "192.0.2.7", "user_agent": "curl"}, {}])
def test_rows_of_a_set_are_as_rows_one_by_one(asked: dict[str, str]) -> None:
    owner = new_id()
    told = [
        audit.Fact(("job", "1"), user=owner, old={"state": "running"}, new={"state": "failed"}, metadata={"round": 1}),
        audit.Fact(("job", "2")),
        audit.Fact(("job", "2")),
    ]

    def rows() -> list[tuple[object, ...]]:
        kept = ("action", "entity_type", "entity_id", "user_id", "actor_id", "source", "request_id", "old", "new")
        found = list(AuditLog.objects.order_by("id").values_list(*kept, "metadata", "detail__ip", "detail__user_agent"))
        for row in AuditLog.objects.filter(detail__isnull=False).select_related("detail"):
            detail = row.detail
            assert bytes(row.detail_hash) == detail_hash(
                bytes(detail.salt), detail.ip, detail.user_agent, detail.personal
            )
        return sorted(found, key=str)

    with context.use(request_id="r-1", actor_id=owner, **asked):
        for fact in told:
            audit.record("job.failed", fact.subject, user=fact.user, old=fact.old, new=fact.new, metadata=fact.metadata)
        one_by_one = rows()
        audit.record_all("job.failed", told)
        audit.record_all("job.failed", [])

    assert len(one_by_one) == 3
    assert rows() == sorted(one_by_one * 2, key=str)
    assert AuditDetail.objects.count() == (6 if asked else 0)


@pytest.mark.django_db(transaction=True)
def test_a_row_goes_with_its_transaction() -> None:
    with transaction.atomic():
        audit.record("payment.created", ("payment", "1"))
        transaction.set_rollback(True)

    assert not AuditLog.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sql",
    ["UPDATE audit_auditlog SET action = 'x'", "DELETE FROM audit_auditlog", "TRUNCATE audit_auditlog CASCADE"],
)
def test_the_database_refuses_to_change_the_log(sql: str) -> None:
    audit.record("payment.created", ("payment", "1"))

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)

    assert AuditLog.objects.get().action == "payment.created"


@pytest.mark.django_db
def test_a_writer_that_leaves_no_row_is_caught() -> None:
    @audit.writes("delivery")
    def silent() -> None:
        Delivery.objects.create(provider="probe", sha256=b"1", body=b"{}")

    @audit.writes("delivery")
    def telling() -> None:
        Delivery.objects.create(provider="probe", sha256=b"2", body=b"{}")
        audit.record("delivery.created", ("delivery", "1"))

    @audit.writes("delivery")
    def outer() -> None:
        telling()

    telling()
    Delivery.objects.all().delete()
    outer()
    with pytest.raises(AuditMissing, match="silent"):
        silent()
