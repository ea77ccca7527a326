"""The error codes in the code, in docs/errors.md and in the OpenAPI file are the same set."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from django.apps import apps

from core import errors

ROOT = Path(__file__).resolve().parents[2]


def registered() -> dict[str, type[errors.Error]]:
    for app in apps.get_app_configs():
        if (Path(app.path) / "errors.py").exists() and Path(app.path).parent == ROOT:
            importlib.import_module(f"{app.name}.errors")
    return errors.registered()


def test_docs_name_every_code_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", (ROOT / "docs" / "errors.md").read_text(), re.M)

    assert {(code, int(status)) for code, status in rows} == {
        (code, kind.status) for code, kind in registered().items()
    }
    assert len(rows) == len({code for code, _ in rows})


def test_the_openapi_enum_names_every_code() -> None:
    schema = (ROOT / "docs" / "openapi.yaml").read_text()

    enum = re.search(r"^    ErrorCode:\n      enum:\n((?:      - \w+\n)+)", schema, re.M)

    assert enum
    assert set(re.findall(r"- (\w+)", enum[1])) == set(registered())


def test_every_message_is_one_clear_sentence() -> None:
    for kind in registered().values():
        message = kind.message
        assert message[0].isupper(), message
        assert message.endswith("."), message
        assert 400 <= kind.status < 600
