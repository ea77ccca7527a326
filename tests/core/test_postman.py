"""The Postman collection: current, and each of its requests is one of the API's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import resolve

from config.management.commands import postman
from core.ids import new_id

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def kept() -> str:
    return (ROOT / postman.PAGE).read_text()


def requests(kept: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in json.loads(kept)["item"]:
        for item in folder["item"]:
            yield item["name"], item["request"]


def test_it_is_what_the_schema_says(kept: str) -> None:
    assert kept == postman.collection(ROOT / "docs" / "openapi.yaml"), "make openapi"


def test_each_operation_is_there_once_and_leads_somewhere(kept: str) -> None:
    paths = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())["paths"]
    wanted = {(m.upper(), path) for path, methods in paths.items() for m in methods if m in postman.METHODS}
    told = [(one["method"], "/" + "/".join(one["url"]["path"])) for _, one in requests(kept)]

    assert len(told) == len(wanted)
    assert {(method, re.sub(r":(\w+)", r"{\1}", path)) for method, path in told} == wanted
    for _, path in told:
        resolve(re.sub(r":\w+", str(new_id()), path) if ":id" in path else re.sub(r":\w+", "email", path))


def test_bodies_are_json_and_keys_are_fresh(kept: str) -> None:
    bodies = [one["body"] for _, one in requests(kept) if "body" in one]
    assert all(json.loads(body["raw"]) is not None for body in bodies if body["mode"] == "raw")
    headers = [header for _, one in requests(kept) for header in one["header"]]
    keys = [header for header in headers if header["key"] == "Idempotency-Key"]
    assert keys
    assert all(header["value"] == "{{$guid}}" for header in keys)
    assert {one.get("auth", {}).get("type") for _, one in requests(kept)} == {None, "noauth"}
