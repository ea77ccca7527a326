"""`manage.py up`: one command runs everything, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import socket

import psycopg
import pytest
import requests

from config.embedded import addresses
from config.embedded.commands import WORKERS
from tests.run.checkout import Checkout, until

SERVERS = "postgres,valkey"


def test_runs_everything_replaces_what_is_killed_and_stops_in_good_order(checkout: Checkout) -> None:
    process = checkout.up()

    assert checkout.answers()
    assert requests.get(f"http://127.0.0.1:{checkout.sandbox_port}/health", timeout=60).ok
    said = checkout.output()
    for part in (
        f"http://127.0.0.1:{checkout.port}/api/docs",
        f"http://127.0.0.1:{checkout.port}/api/v1/webhooks/razorpay",
        f"http://127.0.0.1:{checkout.port}/api/v1/webhooks/magic-hour",
        f"http://127.0.0.1:{checkout.sandbox_port}/mail",
        *(f"{name}@example.test" for name in ("admin", "support", "finance", "ops")),
    ):
        assert part in said

    before = {child["name"]: child["pid"] for child in checkout.state()["children"]}
    assert sorted(before) == ["beat", "postgres", "sandbox", "valkey", "web", *sorted(WORKERS)]
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in before.items():
        until(lambda name=name, pid=pid: checkout.pid_of(name) not in (None, pid), f"{name} is started again")
        assert f"The {name} ended (killed by SIGKILL); restarting it" in checkout.output()
    until(checkout.answers, "all of it answers again")

    process.send_signal(signal.SIGTERM)
    assert process.wait(150) == 0
    assert checkout.output().endswith("Stopped.\n")
    assert checkout.running() == []
    assert checkout.state() == {}
    assert not addresses.sockets_dir(checkout.folder).exists()


def test_while_one_runs_others_say_so_or_use_it_and_it_can_be_stopped(checkout: Checkout) -> None:
    process = checkout.up(SERVERS)
    assert [child["name"] for child in checkout.state()["children"]] == ["postgres", "valkey"]

    second = checkout.run("up")
    assert second.returncode == 1
    assert f"runs already from this checkout (process {process.pid}): http://127.0.0.1:{checkout.port}" in second.stdout
    assert "runs already" in checkout.run("reset_db", "--yes").stdout
    assert checkout.run("with_servers", "check", "--database", "default").returncode == 0
    assert process.poll() is None, "what ran before goes on"

    assert checkout.run("up", "--stop").stdout == "Stopped.\n"
    assert process.wait(60) == 0
    assert checkout.run("up", "--stop").stdout == "Nothing runs from this checkout.\n"

    assert "Nothing was changed" in checkout.run("reset_db").stdout
    assert (checkout.var / "postgres").exists()
    assert checkout.run("reset_db", "--yes").returncode == 0
    assert not (checkout.var / "postgres").exists()


def test_a_busy_port_is_named_with_its_setting(fresh: Checkout) -> None:
    with socket.create_server(("127.0.0.1", fresh.smtp_port)):
        refused = fresh.run("up")

    assert refused.returncode == 1
    assert f"Port {fresh.smtp_port} is taken" in refused.stdout
    assert f"SANDBOX_SMTP_PORT={fresh.smtp_port + 100} make run" in refused.stdout
    assert fresh.running() == []


def test_after_kill_9_the_next_one_just_works_and_nothing_is_lost(checkout: Checkout) -> None:
    process = checkout.up(SERVERS)
    with _database(checkout) as database:
        database.execute("CREATE TABLE kept AS SELECT 7 AS number")

    process.kill()
    process.wait()
    until(lambda: checkout.running() == [], "the children die with their parent")

    process = checkout.up(SERVERS)
    with _database(checkout) as database:
        assert database.execute("SELECT number FROM kept").fetchone() == (7,)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_after_a_power_cut_a_process_number_that_is_somebody_elses_does_not_stop_it(checkout: Checkout) -> None:
    process = checkout.up(SERVERS)
    postmaster = checkout.pid_of("postgres")
    assert postmaster
    lock = checkout.var / "postgres" / "postmaster.pid"
    written = lock.read_text()
    process.send_signal(signal.SIGSTOP)  # else it would see the death and tidy up
    os.kill(postmaster, signal.SIGKILL)
    process.kill()
    process.wait()
    until(lambda: checkout.running() == [], "all are dead")

    lock.write_text(written.replace(str(postmaster), str(os.getpid()), 1))
    (checkout.var / "up.json").write_text("{")  # cut off while it was written

    assert checkout.up(SERVERS).poll() is None


def test_what_it_cannot_do_it_says(fresh: Checkout) -> None:
    assert "no service queue; there are postgres, valkey" in fresh.run("up", "--services", "queue").stdout
    refused = fresh.run("up", ENVIRONMENT="production")
    assert refused.returncode == 1
    assert "is for development" in refused.stdout


def test_a_service_that_does_not_come_up_is_named_with_the_end_of_its_log(fresh: Checkout) -> None:
    (fresh.folder / "sandbox" / "__main__.py").write_text("raise SystemExit('out of order')")

    refused = fresh.run("up", "--services", "postgres,valkey,sandbox")

    assert refused.returncode == 1
    assert "The sandbox ended (exit status 1)" in refused.stdout
    assert "out of order" in refused.stdout
    assert fresh.running() == []


def test_a_command_gets_the_servers_for_its_length(fresh: Checkout) -> None:
    done = fresh.run(
        "with_servers", "shell", "-v", "0", "-c", "from django.db import connection as c; c.connect(); print('up')"
    )

    assert done.returncode == 0
    assert done.stdout.endswith("up\n")
    assert fresh.running() == []


@pytest.mark.scenario
def test_the_demo_holds_and_stops_what_it_started(fresh: Checkout) -> None:
    done = fresh.run("demo", within_s=500)

    assert done.returncode == 0, done.stdout
    pictures = list((fresh.var / "demo").glob("*-headshot.png"))
    assert len(pictures) == 1
    assert str(pictures[0]) in done.stdout
    assert "the books balance" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("make run")
    assert fresh.running() == []

    refused = fresh.run("demo", "--photo", "nowhere.jpg")
    assert refused.returncode == 1
    assert "There is no file nowhere.jpg." in refused.stdout
    assert fresh.running() == []


def _database(checkout: Checkout) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(addresses.sockets_dir(checkout.folder)), user="postgres", dbname="atelier", autocommit=True
    )
