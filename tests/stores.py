"""Both kinds of storage: a folder of the test's own, and a bucket of a real server (moto's) on a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests
from django.conf import settings as django_settings
from django.test import Client

KEYS = ("key-of-the-tests", "secret-of-the-tests")


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 server, for this worker alone."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client(url: str, service: str = "s3") -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
    )


def use_bucket(settings: Any, url: str, name: str, keys: tuple[str, str] = KEYS) -> None:
    """Let the code under test store in this bucket."""
    settings.S3_BUCKET, settings.S3_ENDPOINT_URL, settings.S3_REGION = name, url, "us-east-1"
    settings.S3_ACCESS_KEY_ID, settings.S3_SECRET_ACCESS_KEY = keys
    options = {
        "bucket_name": name,
        "endpoint_url": url,
        "region_name": "us-east-1",
        "access_key": keys[0],
        "secret_key": keys[1],
    }
    default = {"BACKEND": "core.storage.bucket.Bucket", "OPTIONS": options}
    settings.STORAGES = {**django_settings.STORAGES, "default": default}


@pytest.fixture
def bucket(s3_url: str, settings: Any) -> str:
    """A new bucket, in use."""
    name = f"files-{uuid4().hex[:12]}"
    client(s3_url).create_bucket(Bucket=name)
    use_bucket(settings, s3_url, name)
    return name


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    """The test runs on each kind of storage."""
    if request.param == "bucket":
        request.getfixturevalue("bucket")
    else:
        settings.MEDIA_ROOT = tmp_path / "media"
    return str(request.param)


def fetch(url: str) -> tuple[int, bytes, dict[str, str]]:
    """Follow a link as a client does: over the socket to a store, or to our own view."""
    if not url.startswith(django_settings.PUBLIC_URL):
        answer = requests.get(url, timeout=60)
        return answer.status_code, answer.content, {name.lower(): text for name, text in answer.headers.items()}
    shown: Any = Client().get(url.removeprefix(django_settings.PUBLIC_URL))
    content = b"".join(shown) if shown.streaming else shown.content
    return shown.status_code, content, {name.lower(): text for name, text in shown.headers.items()}


def put(url: str, content: bytes, headers: dict[str, str]) -> int:
    """PUT bytes as a client does."""
    if not url.startswith(django_settings.PUBLIC_URL):
        return requests.put(url, data=content, headers=headers, timeout=60).status_code
    path = url.removeprefix(django_settings.PUBLIC_URL)
    sent: dict[str, Any] = dict(headers)
    kind = sent.pop("Content-Type", "application/octet-stream")
    return int(Client().put(path, content, content_type=kind, headers=sent).status_code)


def go_away(store: str, settings: Any) -> None:
    """From now on the storage in use fails: nobody listens there, or the folder is no folder."""
    if store == "bucket":
        use_bucket(settings, "http://127.0.0.1:1", settings.S3_BUCKET)
    else:
        settings.MEDIA_ROOT = Path(__file__)
