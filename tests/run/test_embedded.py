"""Addresses, secrets, private folders and running as another user: what `up` stands on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psycopg
import pytest

from config.embedded import addresses, postgres, processes
from tests.embedded import PLACE, PREFIX

LONG = "a folder whose name is long/and another one in it whose name is as long/and a third one as well/checkout"


def test_sockets_lie_in_var_where_the_path_is_short_and_plain(tmp_path: Path) -> None:
    assert addresses.sockets_dir(Path("/srv/atelier")) == Path("/srv/atelier/var/run")


@pytest.mark.parametrize("name", [LONG, "with,comma", "with space", "über"])
def test_sockets_lie_in_tmp_where_it_is_not(tmp_path: Path, name: str) -> None:
    base = tmp_path / name
    base.mkdir(parents=True)

    found = addresses.sockets_dir(base)

    assert found.parent == PLACE
    assert len(os.fsencode(found / addresses.PG_SOCKET)) < 100
    assert found == addresses.sockets_dir(base), "every process derives the same"
    other = tmp_path / "other" / name
    other.mkdir(parents=True)
    assert found != addresses.sockets_dir(other), "two checkouts never collide"


def test_a_folder_that_somebody_else_could_have_laid_out_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "with space"
    base.mkdir()
    folder = addresses.sockets_dir(base)
    try:
        folder.mkdir(mode=0o755)
        with pytest.raises(addresses.AddressError, match="remove it"):
            addresses.sockets_dir(base)
        folder.chmod(0o700)
        assert addresses.sockets_dir(base) == folder
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(addresses.AddressError):
            addresses.database_url(base)
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def test_redis_addresses_as_celery_spells_them() -> None:
    assert addresses.broker_url("unix:///a/b.sock?db=3") == "redis+socket:///a/b.sock?virtual_host=3"
    assert addresses.broker_url("redis://:pw@host:6379/2") == "redis://:pw@host:6379/2"


def test_secrets_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    found: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: found.append(addresses.development_secrets(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(one == found[0] for one in found)
    assert found[0].keys() == addresses.SECRETS.keys()
    assert len(set(found[0].values())) == len(found[0])
    path = tmp_path / "var" / "secrets.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert addresses.development_secrets(tmp_path / "elsewhere") != found[0]


def test_a_secret_that_a_later_release_wants_is_added(tmp_path: Path) -> None:
    made = addresses.development_secrets(tmp_path)
    path = tmp_path / "var" / "secrets.env"
    path.write_text("".join(f"{k}={v}\n" for k, v in made.items() if k != "JWT_SECRET") + "MINE=kept\n")

    again = addresses.development_secrets(tmp_path)

    assert again["JWT_SECRET"] != made["JWT_SECRET"]
    assert again | {"JWT_SECRET": ""} == made | {"JWT_SECRET": "", "MINE": "kept"}


@pytest.mark.parametrize("sockets_inside", [True, False])
def test_postgres_runs_from_a_folder_that_is_closed_to_others(sockets_inside: bool) -> None:
    """For root the server is another user, who may not enter; no permission changes on the way."""
    closed = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE))
    sockets = closed / "var" / "run" if sockets_inside else closed.with_name(f"{closed.name}-run")
    cluster = postgres.Postgres(
        data=closed / "var" / "postgres",
        sockets=sockets,
        log=closed / "log",
        uid=addresses.server_uid(closed),
        settings=postgres.THROW_AWAY,
    )
    cluster.initialise()
    server = cluster.start()
    try:
        assert processes.wait_until(cluster.answers, 60), cluster.log.read_text()
        with psycopg.connect(host=str(sockets), user="postgres", dbname="postgres") as connection:
            found = connection.execute("SELECT current_setting('server_encoding'), inet_server_addr()").fetchone()
        assert found == ("UTF8", None)
        owner = cluster.data.stat().st_uid
        assert owner == (cluster.uid if os.geteuid() == 0 else os.geteuid())
        assert owner != 0
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        processes.stop(server, postgres.STOP, 20)
    assert list(sockets.iterdir()) == []
    sockets.rmdir()
    shutil.rmtree(closed)


def test_a_cluster_that_was_cut_off_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    sockets = PLACE / f"{PREFIX}{os.getpid()}-part"
    tmp_path.chmod(0o711)
    data = tmp_path / "var" / "postgres"
    part = data.with_name("postgres.part")
    part.mkdir(parents=True)
    (part / "PG_VERSION").write_text("18")
    uid = addresses.server_uid(tmp_path)
    cluster = postgres.Postgres(data, sockets, tmp_path / "log", uid, postgres.THROW_AWAY)

    cluster.initialise()

    assert (data / "global" / "pg_control").exists()
    assert not part.exists()
    sockets.rmdir()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from config.embedded import processes;"
        f"child = processes.spawn(['sleep', '600'], cwd=Path('/'), log=Path({str(tmp_path / 'log')!r}));"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert processes.seen(pid)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    if processes.LINUX:
        assert processes.wait_until(lambda: processes.seen(pid) is None, 60)
    else:
        left = processes.seen(pid)
        assert left
        assert processes.end_leftover(left, signal.SIGTERM)


def test_a_leftover_is_ended_by_its_record_and_a_stranger_is_not(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    there = processes.seen(stranger.pid)
    assert there
    somebody_else = processes.Seen(stranger.pid, there.started + "0")

    assert not processes.end_leftover(somebody_else, signal.SIGTERM)
    assert stranger.poll() is None

    threading.Thread(target=stranger.wait, daemon=True).start()  # as its own parent would
    assert processes.end_leftover(there, signal.SIGTERM)
    assert processes.seen(stranger.pid) is None
    assert not processes.end_leftover(there, signal.SIGTERM)


def test_the_rest_of_a_group_whose_leader_died_is_ended(tmp_path: Path) -> None:
    leader = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout
    member = int(leader.stdout.readline())
    record = processes.seen(leader.pid)
    assert record
    leader.kill()
    leader.wait()
    leader.stdout.close()
    assert processes.seen(member)

    assert processes.end_leftover(record, signal.SIGTERM)
    assert processes.wait_until(lambda: processes.seen(member) is None, 60)
