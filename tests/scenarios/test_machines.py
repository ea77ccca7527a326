"""As a larger installation runs it: a role that owns nothing, through PgBouncer, with RabbitMQ for the messages.

One story for all three; what the machine lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
import requests
from django.conf import settings
from django.db import connections

from config import app_role
from tests import embedded
from tests.scenarios.client import Customer
from tests.scenarios.neighbours import PGBOUNCER, RABBITMQ, Broker, Pooler
from tests.scenarios.shop import Shop, key, order
from tests.scenarios.stack import until
from tests.skips import LACKS_PGBOUNCER, LACKS_RABBITMQ

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

pytestmark = pytest.mark.scenario

ROLE = "app_of_machines"


class Machines:
    """A shop, and who stands between it and its servers."""

    pooler: Pooler | None = None
    broker: Broker | None = None

    def __init__(self) -> None:
        self.shop = Shop(between=self.between)

    def between(self, shop: Shop) -> dict[str, str]:
        self.url = f"postgres://{ROLE}@{str(shop.postgres.sockets).replace('/', '%2F')}/{embedded.TEMPLATE}"
        entrust(shop, self.url)
        found = {"DATABASE_URL": self.url}
        if PGBOUNCER:
            self.pooler = Pooler(shop, embedded.TEMPLATE, ROLE)
            found = {"DATABASE_URL": self.pooler.url, "DATABASE_PREPARE": str(self.pooler.prepares)}
        if RABBITMQ:
            self.broker = Broker(shop.folder / "rabbitmq")
            found["BROKER_URL"] = self.broker.url
        return found

    def close(self) -> None:
        if self.broker:
            self.broker.close()
        if self.pooler:
            self.pooler.stop()
        self.shop.close()


def entrust(shop: Shop, url: str) -> None:
    """Let the role at the shop's tables, as `install` does."""
    ours = connections["default"]
    owner = ours.copy()
    owner.settings_dict |= {"HOST": str(shop.postgres.sockets), "USER": "postgres", "NAME": embedded.TEMPLATE}
    connections["default"], settings.APP_DATABASE_URL = owner, url
    try:
        app_role.entrust()
    finally:
        owner.close()
        connections["default"], settings.APP_DATABASE_URL = ours, ""


@pytest.fixture(scope="module")
def machines(django_db_blocker: DjangoDbBlocker) -> Iterator[Machines]:
    with django_db_blocker.unblock():
        made = Machines()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shop(machines: Machines) -> Shop:
    return machines.shop


def test_the_whole_story(shop: Shop, alice: Customer, photo: str, machines: Machines) -> None:
    before = alice.balance()["available"]
    job = alice.ended(alice.headshot(photo)["id"])
    assert (job["status"], job["charged"]) == ("succeeded", "settled")
    assert alice.picture(job).format in ("JPEG", "PNG")
    lost = alice.ended(alice.headshot(photo, style_prompt="sandbox:fail")["id"])
    assert (lost["status"], lost["charged"]) == ("failed", "none")
    assert alice.balance()["available"] == before - 50

    payment = order(alice, "credits:50")
    proof = alice.pay(payment)
    assert alice.ok("POST", f"payments/{payment['id']}/verify", json=proof)["status"] == "succeeded"
    ours = shop.stack.environment
    requests.post(
        f"{shop.stack.sandbox}/razorpay/v1/payments/{proof['razorpay_payment_id']}/refund",
        json={"amount": payment["amount"]},
        auth=(ours["RAZORPAY_KEY_ID"], ours["RAZORPAY_KEY_SECRET"]),
        timeout=60,
    ).raise_for_status()
    until(lambda: alice.ok("GET", f"payments/{payment['id']}")["status"] == "refunded", "the refund is seen")

    assert alice.balance()["available"] == before - 50
    catalogue = shop.folder / "catalogue.csv"
    catalogue.write_text("code,category,name\nNEW-1,Hats,Red felt hat\nNEW-2,Hats,Blue wool cap\n")
    assert "Imported" in shop.stack.run("django", "import_wearables", str(catalogue))  # COPY, a temporary table
    shop.stack.run("django", "verify_audit")
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    users = f"SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database() AND {others}"
    assert shop.rows(users) == [(ROLE,)]
    for guard in ("SET session_replication_role = replica", "SET SESSION AUTHORIZATION postgres"):
        with psycopg.connect(machines.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(guard)  # type: ignore[call-overload]
    shop.check_books()
    assert "unhandled" not in shop.stack.log("web")
    assert "task_failed" not in shop.stack.log("worker")


@pytest.mark.skipif(not PGBOUNCER, reason=LACKS_PGBOUNCER)
def test_a_few_connections_carry_everybody(machines: Machines) -> None:
    assert machines.pooler
    servers = [row for row in machines.pooler.show("SERVERS") if row["database"] == embedded.TEMPLATE]
    [stats] = [row for row in machines.pooler.show("STATS") if row["database"] == embedded.TEMPLATE]

    assert 1 <= len(servers) <= 3
    assert int(stats["total_xact_count"]) > 100
    [mode] = [row for row in machines.pooler.show("CONFIG") if row["key"] == "pool_mode"]
    assert mode["value"] == "transaction"


@pytest.mark.skipif(not RABBITMQ, reason=LACKS_RABBITMQ)
def test_a_broker_that_is_away_is_in_nobodys_way(shop: Shop, alice: Customer, photo: str, machines: Machines) -> None:
    def health() -> dict[str, str]:
        parts = requests.get(f"{shop.stack.url}/health", timeout=60).json()["parts"]
        return {name: part["status"] for name, part in parts.items()}

    assert machines.broker
    until(lambda: health()["broker"] == health()["queue providers"] == "ok", "health tells")
    machines.broker.stop()

    job = alice.send("POST", "headshots", key=key(), json={"photo": photo, "consent": True})
    assert job.status_code == 202, job.text
    until(lambda: health()["broker"] == "down", "health tells")

    machines.broker.start()
    done = alice.ended(job.json()["id"])
    assert (done["status"], done["charged"]) == ("succeeded", "settled")
    until(lambda: health()["broker"] == "ok", "health tells")
    shop.check_books()
