"""What operators and developers type besides `up` and `demo`."""

from __future__ import annotations

import json
import socket
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from audit.models import AuditLog
from billing.models import Package
from generation.models import BlockedTerm, Operation
from tests.run.checkout import Checkout, until


def said(*command: str) -> str:
    to = StringIO()
    call_command(*command, stdout=to)
    return to.getvalue()


@pytest.mark.django_db
def test_seed_adds_what_is_missing_and_changes_nothing_that_is_there() -> None:
    assert said("seed").splitlines() == ["wearables_wearable: 7200 added", "Now all of it is there."]
    assert said("seed") == "All of it was there.\n"
    Package.objects.filter(currency="INR", code="BASIC").delete()
    Package.objects.filter(currency="INR", code="PREMIUM").update(amount=1)
    Operation.objects.filter(code="headshot").delete()
    Operation.objects.create(code="mine", kind="image", title="Mine", provider="x", model="y", base_price=1, limits={})
    BlockedTerm.objects.filter(term="nude").delete()

    assert said("seed").splitlines() == [
        "billing_package: 1 added",
        "generation_blockedterm: 1 added",
        "generation_operation: 1 added",
        "Now all of it is there.",
    ]

    amounts = dict(Package.objects.filter(currency="INR").values_list("code", "amount"))
    assert (amounts["BASIC"], amounts["PREMIUM"]) == (49_900, 1)
    assert set(Operation.objects.values_list("code", flat=True)) >= {"headshot", "mine"}
    assert AuditLog.objects.filter(action="installation.seeded").latest("id").new["billing_package"] == 1
    assert said("seed") == "All of it was there.\n"
    assert AuditLog.objects.filter(action="installation.seeded").count() == 2


def applied() -> list[tuple[str, str]]:
    return list(MigrationRecorder(connection).migration_qs.order_by("pk").values_list("app", "name"))


@pytest.mark.django_db(transaction=True)
def test_rollback_takes_the_last_migration_back_after_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    before = applied()
    monkeypatch.setattr("builtins.input", lambda asked: "no")
    with pytest.raises(CommandError, match="Nothing was changed"):
        said("rollback")
    assert applied() == before

    monkeypatch.setattr("builtins.input", lambda asked: "yes")
    told = said("rollback")

    assert ".".join(before[-1]) in told
    assert applied() == before[:-1]
    call_command("migrate", verbosity=0)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    assert set(applied()) == set(before)


def test_the_web_runs_under_a_debugger_that_an_editor_can_attach_to(checkout: Checkout) -> None:
    port = checkout.smtp_port  # free, as this starts no sandbox
    address = f"127.0.0.1:{port}"
    process = checkout.begin(
        "with_servers", "--debugger", address, "runserver", "--noreload", f"127.0.0.1:{checkout.port}"
    )
    until(checkout.answers, "the web answers")

    with socket.create_connection(("127.0.0.1", port), timeout=10) as editor:
        asked = json.dumps({"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "tests"}})
        editor.sendall(f"Content-Length: {len(asked)}\r\n\r\n{asked}".encode())
        heard = b""
        while b'"command": "initialize"' not in heard and b'"command":"initialize"' not in heard:
            piece = editor.recv(65536)
            assert piece, heard
            heard += piece
    assert b"supportsConditionalBreakpoints" in heard

    process.terminate()
    assert process.wait(60) == 130
    until(lambda: checkout.running() == [], "nothing outlives it")
