"""A public topic function that writes says so with @writes, and leaves an audit row."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("inbox", "notifications", "accounts", "billing", "generation", "store")
NOT_TOPICS = {"models", "api", "admin", "migrations", "management", "tasks.py", "checks.py", "apps.py", "books"}
WRITES = {"save", "create", "bulk_create", "update", "bulk_update", "delete", "get_or_create", "update_or_create"}

# Public functions that change only bookkeeping of the machinery itself: leases, due times, counters, purges.
BOOKKEEPING: dict[str, str] = {
    "generation/engine/answers.py:unknown": "a doubt; how it ends is audited",
    "generation/engine/discard.py:script": "cost and deletion at the provider of what an audited end left behind",
    "generation/engine/inputs.py:script": "ties a job to the photo that photos.keep has just audited",
    "generation/engine/moves.py:move": "the conditional update beneath every audited transition",
    "generation/engine/moves.py:move_all": "as move",
    "generation/engine/moves.py:renew": "a lease",
    "generation/outputs.py:purge": "the files of outputs whose deletion is audited",
    "generation/photos.py:purge_deleted": "the bytes of photos whose deletion is audited",
    "generation/uploads.py:let_archives_go": "the archive of jobs whose end or deletion is audited",
    "inbox/deliveries.py:purge": "drops bodies past their time",
}


def topics() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            parts = set(path.relative_to(ROOT / app).parts)
            if not parts & NOT_TOPICS and path.name != "__init__.py":
                yield path


def writes(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WRITES
        and isinstance(node.func.value, ast.Call | ast.Attribute | ast.Name)
        and "objects" in ast.unparse(node.func.value) + ast.unparse(node.func)
        for node in ast.walk(function)
    )


def is_marked(function: ast.FunctionDef) -> bool:
    return any("writes(" in ast.unparse(decorator) for decorator in function.decorator_list)


def undecorated() -> Iterator[str]:
    for path in topics():
        for node in ast.parse(path.read_text()).body:
            public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if public and writes(node) and not is_marked(node):
                yield f"{path.relative_to(ROOT)}:{node.name}"


def test_every_public_function_that_writes_is_marked() -> None:
    assert sorted(set(undecorated()) - set(BOOKKEEPING)) == []


def test_the_exceptions_still_exist() -> None:
    assert sorted(set(BOOKKEEPING) - set(undecorated())) == []


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in topics()))
def test_topic_modules_are_small(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= 500, f"{path} says more than one thing"
