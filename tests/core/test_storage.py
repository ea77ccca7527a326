"""The storage does the same in a folder and in a bucket, and says what is wrong with it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from botocore.exceptions import ConnectionClosedError
from django.core.checks import run_checks
from django.core.files.storage import storages
from django.test import Client
from storages.backends.s3 import S3File

from core import clock, health, storage
from core.storage import StorageUnusable
from tests.stores import KEYS, client, fetch, go_away, put, use_bucket

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


def test_what_is_stored_is_read_and_deleted(store: str) -> None:
    assert not storage.exists("a/b.jpg")
    with pytest.raises(FileNotFoundError):
        storage.open("a/b.jpg")

    given = io.BytesIO(b"0123456789")
    storage.save("a/b.jpg", given, "image/jpeg")

    assert not given.closed
    assert storage.exists("a/b.jpg")
    with storage.open("a/b.jpg") as file:
        assert (file.seek(0, 2), file.seek(3), file.read(4)) == (10, 3, b"3456")
    storage.delete("a/b.jpg")
    storage.delete("a/b.jpg")
    assert not storage.exists("a/b.jpg")
    storage.check()


def test_a_storage_that_is_away_is_one_error_whichever_it_is(store: str, settings: Any) -> None:
    go_away(store, settings)

    for act in (lambda: storage.save("a", io.BytesIO(b"a"), "text/plain"), lambda: storage.open("a")):
        with pytest.raises(storage.StorageAway) as caught:
            act()
        assert (caught.value.status, caught.value.code, caught.value.charged) == (503, "unavailable", "none")


def test_a_bucket_that_goes_away_while_it_is_read_leaves_no_empty_file(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save("a", io.BytesIO(b"a"), "text/plain")

    def broken(file: S3File) -> IO[bytes]:
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(S3File, "file", property(broken))

    with pytest.raises(storage.StorageAway):
        storage.open("a")


def test_nothing_is_overwritten(store: str) -> None:
    storage.save("a", io.BytesIO(b"first"), "text/plain")

    with pytest.raises(ValueError, match="taken"):
        storage.save("a", io.BytesIO(b"second"), "text/plain")

    with storage.open("a") as file:
        assert file.read() == b"first"


def test_a_link_opens_without_more_and_runs_out(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save("a/b.png", io.BytesIO(b"picture"), "image/png")

    shown = fetch(storage.signed_url("a/b.png"))
    saved = fetch(storage.signed_url("a/b.png", filename='mé "1".png'))

    assert (shown[0], shown[1], shown[2]["content-type"]) == (200, b"picture", "image/png")
    assert not shown[2].get("content-disposition", "").startswith("attachment")
    assert saved[2]["content-disposition"].startswith("attachment; filename")
    assert "m%C3%A9%20%221%22.png" in saved[2]["content-disposition"]
    links = {storage.signed_url("a/b.png", expires_s=s) for s in (900, 3600)}
    assert len(links) == 2
    if store == "folder":
        link = storage.signed_url("a/b.png", expires_s=900)
        later = clock.now() + timedelta(seconds=901)
        monkeypatch.setattr(clock, "now", lambda: later)
        assert fetch(link)[0] == 404
    else:
        assert "X-Amz-Expires=900&" in storage.signed_url("a/b.png", expires_s=900)


def test_a_link_says_nothing_of_another_file(store: str) -> None:
    storage.save("a", io.BytesIO(b"a"), "text/plain")
    storage.save("b", io.BytesIO(b"b"), "text/plain")
    link = storage.signed_url("a")

    if store == "folder":
        assert fetch(link[:-2] + ("aa" if link[-2:] != "aa" else "bb"))[0] == 404
        assert fetch(link.replace("/files/", "/files/incoming/"))[0] == 405
        door = storage.door("b", content_type="text/plain", bytes=1, expires_s=60)
        assert fetch(door.url.replace("/incoming/", "/"))[0] == 404
    else:
        assert "Signature=" in link
        assert KEYS[1] not in link


def test_a_door_takes_the_bytes_once_or_again(store: str) -> None:
    door = storage.door("in/x", content_type="image/png", bytes=5, expires_s=60)
    assert door.method == "PUT"

    assert put(door.url, b"first", dict(door.headers)) == 200
    assert put(door.url, b"again", dict(door.headers)) == 200

    with storage.open("in/x") as file:
        assert file.read() == b"again"


def test_a_door_of_the_folder_is_for_one_type_and_length(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    door = storage.door("in/x", content_type="image/png", bytes=5, expires_s=60)

    found = {
        "type": put(door.url, b"12345", {"Content-Type": "text/html"}),
        "long": put(door.url, b"123456", dict(door.headers)),
        "short": put(door.url, b"1234", dict(door.headers)),
        "forged": put(door.url[:-3] + "abc", b"12345", dict(door.headers)),
    }

    assert found == {"type": 403, "long": 413, "short": 400, "forged": 404}
    assert Client().post(door.url.removeprefix(settings.PUBLIC_URL)).status_code == 405
    assert not storage.exists("in/x")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_door_of_a_bucket_signs_type_and_length(bucket: str) -> None:
    door = storage.door("in/x", content_type="image/png", bytes=5, expires_s=60)

    assert "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost" in door.url
    assert door.headers == {"Content-Type": "image/png"}


def test_what_a_killed_receiver_left_goes_with_its_key(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".x-half").write_bytes(b"half")

    storage.delete("in/x")

    assert list((tmp_path / "in").iterdir()) == []


# --- What is wrong with it --------------------------------------------------------------------------------------------


def complaint() -> str:
    with pytest.raises(StorageUnusable) as found:
        storage.check()
    return str(found.value)


def test_a_missing_bucket_is_named(s3_url: str, settings: Any) -> None:
    use_bucket(settings, s3_url, "no-such-bucket")

    assert complaint() == "There is no bucket 'no-such-bucket'; make it, or correct S3_BUCKET."
    assert run_checks(tags=["files"], include_deployment_checks=True)[0].id == "core.E104"
    health._seen.clear()
    part = Client().get("/health").json()["parts"]["storage"]
    health._seen.clear()
    assert (part["status"], part["error"]) == ("down", complaint())


def test_a_store_that_does_not_answer_is_named(settings: Any) -> None:
    use_bucket(settings, "http://127.0.0.1:1", "files")

    assert complaint().startswith("No store answers at http://127.0.0.1:1 (EndpointConnectionError);")


def test_wrong_keys_are_told_apart(s3_url: str, settings: Any, bucket: str) -> None:
    iam = client(s3_url, "iam")
    iam.create_user(UserName=bucket)
    made = iam.create_access_key(UserName=bucket)["AccessKey"]
    right, secret = made["AccessKeyId"], made["SecretAccessKey"]
    requests.post(f"{s3_url}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        found = []
        for keys in (("AKIAUNKNOWN", secret), (right, "x" * 40), (right, secret)):
            use_bucket(settings, s3_url, bucket, keys)
            found.append(complaint())
    finally:
        requests.post(f"{s3_url}/moto-api/reset-auth", data=b"inf", timeout=10)

    assert found == [
        "The store does not know this key; correct S3_ACCESS_KEY_ID.",
        "The store refuses our signature; correct S3_SECRET_ACCESS_KEY.",
        f"The keys may not use bucket '{bucket}'; let them list it, and get, put and delete objects.",
    ]


def test_a_folder_that_cannot_be_made_is_named(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.MEDIA_ROOT = tmp_path / "file" / "media"

    assert "(MEDIA_ROOT) cannot be made" in complaint()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"S3_ENDPOINT_URL": "https://s3.example.test"}, "S3_BUCKET"),
        ({"S3_ACCESS_KEY_ID": "k"}, "S3_BUCKET"),
        ({"S3_BUCKET": "b"}, "S3_REGION"),
        ({"S3_BUCKET": "b", "S3_REGION": "r", "S3_ACCESS_KEY_ID": "k"}, "belong together"),
        ({"S3_BUCKET": "b", "S3_REGION": "r", "S3_SECRET_ACCESS_KEY": "k"}, "belong together"),
        ({"S3_BUCKET": "b", "S3_ENDPOINT_URL": "https://s3.example.test"}, "has no keys"),
        ({"S3_BUCKET": "b", "S3_ENDPOINT_URL": "s3:9000", "S3_ACCESS_KEY_ID": "k", "S3_SECRET_ACCESS_KEY": "s"},
         "no http(s) address"),
    ],
)  # fmt: skip
def test_a_half_set_bucket_is_refused(settings: Any, given: dict[str, str], says: str) -> None:
    from core import boot

    for name in ("S3_BUCKET", "S3_ENDPOINT_URL", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        setattr(settings, name, given.get(name, ""))

    with pytest.raises(SystemExit, match="Atelier does not start") as refused:
        boot.refuse()

    assert says in str(refused.value)
    assert {found.id for found in run_checks(tags=["files"])} == {rule.id for rule in boot.broken()}


def test_a_bucket_with_a_role_boots(settings: Any) -> None:
    from core import boot

    settings.S3_BUCKET, settings.S3_REGION = "b", "eu-central-1"

    boot.refuse()


# --- Memory -----------------------------------------------------------------------------------------------------------

_MEASURE = """
import django, os, sys, tempfile
django.setup()
import psutil
from core import storage
me = psutil.Process()
with tempfile.TemporaryFile() as file:
    for _ in range(100):
        file.write(os.urandom(1 << 20))
    file.seek(0)
    storage.save("warm", __import__("io").BytesIO(b"x"), "text/plain")
    storage.open("warm").read()
    before, most = me.memory_info().rss, 0
    storage.save("large", file, "application/zip")
    most = max(most, me.memory_info().rss)
    with storage.open("large") as found:
        size = 0
        while chunk := found.read(1 << 20):
            size += len(chunk)
            most = max(most, me.memory_info().rss)
assert size == 100 << 20
print((most - before) >> 20)
"""


def test_memory_stays_flat_with_100_mb(store: str, settings: Any) -> None:
    place = {
        "S3_BUCKET": settings.S3_BUCKET,
        "S3_ENDPOINT_URL": settings.S3_ENDPOINT_URL,
        "S3_REGION": settings.S3_REGION,
        "S3_ACCESS_KEY_ID": settings.S3_ACCESS_KEY_ID,
        "S3_SECRET_ACCESS_KEY": settings.S3_SECRET_ACCESS_KEY,
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }

    done = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        cwd=ROOT,
        env=os.environ | {name: value for name, value in place.items() if value},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24
    storages["default"].delete("large")
