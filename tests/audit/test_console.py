"""The log in the console: searched by what indexes know, taken away as a file, proved on request."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from accounts.models import User
from audit import admin, extracts, sealing, verification
from audit.models import AuditLog, Extract, ExtractState, Verification
from core import context, metrics, storage
from core.ids import new_id
from tests.people import make_staff

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditlog/"


@pytest.fixture
def finance() -> Client:
    client = Client()
    client.force_login(make_staff("finance"))
    return client


def shown(client: Client, **sought: Any) -> list[int]:
    """The rows of a page, which counted nothing."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = client.get(LIST, sought)
    assert response.status_code == 200
    assert not [
        query for query in queries.captured_queries if "COUNT(" in query["sql"] and "audit_auditlog" in query["sql"]
    ]
    return [row.pk for row in response.context["cl"].result_list]


def row(**changes: Any) -> int:
    with context.use(**{"request_id": "req-other", "ip": "192.0.2.1", "source": "API"} | changes.pop("context", {})):
        audit.record(changes.pop("action", "probe.written"), changes.pop("subject", ("probe", "1")), **changes)
    return int(AuditLog.objects.latest("id").pk)


def test_each_search_finds_its_rows(finance: Client, alice: User, bob: User) -> None:
    row()
    pk = new_id()
    mine = row(
        action="probe.found",
        subject=("thing", pk),
        user=alice,
        context={"actor_id": bob.pk, "request_id": "req-mine", "ip": "2001:db8::7"},
    )
    at = AuditLog.objects.get(pk=mine).at.isoformat()

    for sought in (
        {"user": alice.email.upper(), "action": "probe.found"},
        {"user": alice.pk, "entity": pk},
        {"actor": bob.email, "action": "probe.found"},
        {"action": "probe.found"},
        {"entity": pk},
        {"entity": f"thing:{pk}"},
        {"ip": "2001:DB8::7"},
        {"ip": "2001:db8::7", "since": at},
        {"request": "req-mine"},
        {"action": "probe.found", "since": at},
        {"since": at, "action": "probe.found", "actor": bob.pk, "user": alice.pk},
    ):
        assert shown(finance, **sought) == [mine], sought
    for nothing in ({"entity": f"probe:{pk}"}, {"action": "probe"}, {"action": "probe.found", "until": at}):
        assert shown(finance, **nothing) == [], nothing


def test_pages_follow_each_other_without_a_gap(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PAGE", 3)
    made = [row(action="probe.paged") for _ in range(7)]  # in one transaction: some have the same time

    for sought in ({"action": "probe.paged"}, {"ip": "192.0.2.1", "action": "probe.paged"}):
        found: list[int] = []
        address = f"{LIST}?" + "&".join(f"{name}={value}" for name, value in sought.items())
        while address:
            page = finance.get(address).context["cl"]
            assert len(page.result_list) <= 3
            found += [one.pk for one in page.result_list]
            address = LIST + page.older if page.older else ""
        assert found == sorted(made, reverse=True)


@pytest.mark.parametrize(
    "sought",
    [
        {"user": "nobody@example.test"},
        {"actor": "not an id"},
        {"ip": "999.1.1.1"},
        {"since": "yesterday"},
        {"action": "a\0b"},
    ],
)
def test_what_cannot_be_sought_finds_nothing(finance: Client, sought: dict[str, str]) -> None:
    row()

    assert shown(finance, **sought) == []


def test_odd_addresses_show_a_page_all_the_same(finance: Client) -> None:
    row()

    for odd in ({"before": "9" * 40}, {"before": "x"}, {"o": "1.2"}, {"p": "7"}, {"metadata__x": "1"}, {"q": "=1"}):
        assert finance.get(LIST, odd).status_code == 200, odd


def taken(client: Client, **sought: Any) -> Extract:
    response = client.post(reverse("admin:audit_auditlog_take"), {"format": "csv"} | sought)
    assert response.status_code == 302
    return Extract.objects.latest("created_at")


def bytes_of(client: Client, extract: Extract) -> bytes:
    assert client.get(reverse("admin:audit_extract_fetch", args=[extract.pk])).status_code == 302
    file = Extract.objects.select_related("file").get(pk=extract.pk).file
    assert file is not None
    with storage.open(file.key) as stored:
        return stored.read()


def test_rows_are_taken_away_as_a_file(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracts, "PAGE", 2)
    wanted = [row(action="probe.taken", subject=("=cmd|' /C calc'!A0", n), new={"n": n}) for n in range(5)]
    row()
    page = reverse("admin:audit_auditlog_changelist") + "?action=probe.taken"
    assert "Take all of these rows" in finance.get(page).content.decode()

    extract = taken(finance, action="probe.taken")
    detail = reverse("admin:audit_extract_change", args=[extract.pk])
    assert "waiting" in finance.get(detail).content.decode()
    assert finance.get(reverse("admin:audit_extract_fetch", args=[extract.pk])).status_code == 404
    late = row(action="probe.taken")
    assert extracts.make_due() == 1

    extract.refresh_from_db()
    assert (extract.state, extract.done, extract.total) == (ExtractState.READY, 5, 5)
    assert "5 of 5 rows, 100 %" in finance.get(detail).content.decode()
    lines = list(csv.DictReader(io.StringIO(bytes_of(finance, extract).decode("utf-8-sig"))))
    assert [int(line["id"]) for line in lines] == sorted(wanted, reverse=True)
    assert late not in [int(line["id"]) for line in lines]
    assert {line["entity_type"] for line in lines} == {"'=cmd|' /C calc'!A0"}
    assert "ip" not in lines[0], "finance does not see details, and takes none away"
    told = AuditLog.objects.filter(entity_id=str(extract.pk)).order_by("id").values_list("action", flat=True)
    assert list(told) == ["extract.requested", "extract.ready", "extract.downloaded"]
    Extract.objects.update(expires_at="2020-01-01T00:00Z")
    assert extracts.purge() == 1
    assert finance.get(reverse("admin:audit_extract_fetch", args=[extract.pk])).status_code == 404


def test_lines_of_json_have_the_details_for_who_may_see_them(boss: Client) -> None:
    one = row(action="probe.taken", new={"n": 1}, personal={"name": "Zoë"})

    extract = taken(boss, action="probe.taken", format="jsonl")
    extracts.make_due()

    [line] = map(orjson.loads, bytes_of(boss, extract).splitlines())
    assert (line["id"], line["new"], line["ip"], line["personal"]) == (one, {"n": 1}, "192.0.2.1", {"name": "Zoë"})


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.test", "correct horse battery"))
    return client


def test_files_are_for_who_asked_and_may(finance: Client) -> None:
    support, colleague = Client(), Client()
    support.force_login(make_staff("support"))
    colleague.force_login(make_staff("ops"))

    assert support.post(reverse("admin:audit_auditlog_take"), {"format": "csv"}).status_code == 403
    assert finance.post(reverse("admin:audit_auditlog_take"), {"format": "exe"}).status_code == 302
    assert finance.get(reverse("admin:audit_auditlog_take")).status_code == 405
    assert not Extract.objects.exists()
    extract = taken(finance)
    extracts.make_due()
    assert colleague.get(reverse("admin:audit_extract_fetch", args=[extract.pk])).status_code == 404
    assert support.get(reverse("admin:audit_extract_fetch", args=[extract.pk])).status_code == 403


def test_a_file_that_a_dead_worker_left_is_written_anew(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    row(action="probe.taken")
    extract = taken(finance, action="probe.taken")
    dead = extracts._claim()
    assert dead is not None
    assert extracts.make_due() == 0, "it is leased"
    Extract.objects.update(next_at="2020-01-01T00:00Z")

    assert extracts.make_due() == 1

    with pytest.raises(extracts._Overtaken):
        extracts.make(dead)
    extract.refresh_from_db()
    assert (extract.state, extract.tries, extract.done) == (ExtractState.READY, 2, 1)
    monkeypatch.setattr(storage, "save", None)
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)  # the test's transaction goes on
    extract = taken(finance, action="probe.taken")
    for _ in range(extracts.MAX_TRIES):
        Extract.objects.update(next_at="2020-01-01T00:00Z")
        extracts.make_due()
    extract.refresh_from_db()
    assert extract.state == ExtractState.FAILED


def test_the_log_is_proved_on_request(finance: Client, settings: Any, tmp_path: Any) -> None:
    settings.AUDIT_SEAL_LAG_S, settings.MEDIA_ROOT = 0, tmp_path
    page = reverse("admin:audit_verification_changelist")
    assert "Nothing is sealed yet" in finance.get(page).content.decode()

    assert finance.post(reverse("admin:audit_verification_verify")).status_code == 302
    finance.post(reverse("admin:audit_verification_verify"))
    [asked] = Verification.objects.all()
    detail = reverse("admin:audit_verification_change", args=[asked.pk])
    assert "being looked at" in finance.get(detail).content.decode()
    storage.save(f"{sealing.HEADS}/{9:012d}-{'a' * 64}", io.BytesIO(b"{}"), "application/json")
    assert verification.verify_due() == 1
    assert verification.verify_due() == 0, "once a day by itself"

    asked.refresh_from_db()
    assert asked.is_clean is False
    assert "seal 9: was cut off: its head is in the storage" in finance.get(detail).content.decode()
    assert b"audit_problems 1.0" in metrics.scrape()
    told = AuditLog.objects.filter(entity_id=str(asked.pk)).order_by("id").values_list("action", flat=True)
    assert list(told) == ["verification.requested", "verification.done"]
