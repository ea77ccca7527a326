"""docs/seeds.md: every thing that the five products ask for is there once, and is where it says."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parents[1]
COUNTS = {"S1.": 153, "S2.": 133, "S3.": 90, "S4.": 57, "S5.": 89, "X": 20}
ROW = re.compile(r"^\| (S[1-5]\.\d+|X\d+) \| ([^|]+) \| ([^|]+) \|$", re.M)
ROWS = ROW.findall((ROOT / "docs" / "seeds.md").read_text())
EXAMPLE = set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M))
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))


def problem(named: str) -> str | None:
    """What is wrong with one thing that a row names, or None."""
    if route := re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)", named):
        return _unanswered(route[1], route[2])
    if re.fullmatch(r"[A-Z][A-Z0-9_]+", named):
        return None if named in EXAMPLE else "no setting of .env.example"
    if command := re.fullmatch(r"make ([a-z0-9-]+)", named):
        return None if command[1] in TARGETS else "no target of the Makefile"
    if command := re.fullmatch(r"manage\.py (\w+)", named):
        return None if command[1] in get_commands() else "no command"
    if model := re.fullmatch(r"([a-z]+)\.([A-Z]\w+)", named):
        return None if model[2].lower() in apps.all_models[model[1]] else "no model"
    path, _, text = named.partition("::")
    if not (ROOT / path).exists():
        return "no file, and nothing else that a row may name"
    return None if text in ((ROOT / path).read_text() if text else "") else "not said in that file"


def _unanswered(method: str, path: str) -> str | None:
    try:
        view = resolve(re.sub(r"{\w+}", str(UUID(int=0)), path)).func
    except Resolver404:
        return "no such address"
    answered = getattr(view, "actions", None)
    if answered is not None and method.lower() not in answered:
        return f"does not answer {method}"
    hook = path.removeprefix("/api/v1/webhooks/")
    return "no such provider" if hook != path and hook not in settings.INBOX_HANDLERS else None


def test_every_thing_is_there_once() -> None:
    numbered = [f"{prefix}{n}" for prefix, count in COUNTS.items() for n in range(1, count + 1)]

    assert [number for number, _, _ in ROWS] == numbered
    assert len(numbered) == 542


def test_every_thing_is_where_the_table_says() -> None:
    wrong = [
        f"{number}: {named}: {why}"
        for number, _, where in ROWS
        for named in re.findall(r"`([^`]+)`", where)
        if (why := problem(named))
    ]

    assert not wrong, "\n".join(wrong)


def test_a_row_that_names_nothing_says_that_it_is_not_there_yet() -> None:
    assert not [number for number, _, where in ROWS if "`" not in where and "**not yet**" not in where]


@pytest.mark.parametrize(
    "named",
    [
        "GET /api/v1/auth/login",
        "POST /api/v1/nothing",
        "POST /api/v1/webhooks/nobody",
        "NO_SETTING",
        "make nothing",
        "manage.py nothing",
        "billing.Nothing",
        "docs/nothing.md",
        "README.md::nothing of the kind",
        "some words",
    ],
)
def test_what_does_not_exist_is_found_out(named: str) -> None:
    assert problem(named)
