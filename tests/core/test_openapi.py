"""The schema: every operation says what it is, what it takes, answers and refuses, with examples that hold."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from drf_spectacular.generators import SchemaGenerator

from core import errors
from tests.core.test_errors import registered

METHODS = ("get", "post", "put", "patch", "delete")
# Headers and statuses that a client must be ready for wherever it asks.
EVERYWHERE = {"429", "500", "503"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made = SchemaGenerator(api_version="v1").get_schema(request=None, public=True)
    plain: dict[str, Any] = yaml.safe_load(yaml.safe_dump(_plain(made)))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def test_every_operation_has_a_name_a_summary_and_its_refusals(schema: dict[str, Any]) -> None:
    wrong = []
    for name, operation in operations(schema):
        refusals = {status for status in operation["responses"] if status >= "400"}
        if not operation.get("summary") or len(operation["summary"]) > 80:
            wrong.append((name, "summary"))
        if "_" not in operation["operationId"]:
            wrong.append((name, "operationId"))
        if name != "POST /api/v1/webhooks/{provider}" and not refusals >= EVERYWHERE:
            wrong.append((name, "refusals"))
        if operation.get("security") == [{"bearer": []}] and "401" not in refusals:
            wrong.append((name, "401"))
        if not any(status < "400" for status in operation["responses"]):
            wrong.append((name, "no answer"))
    names = [operation["operationId"] for _, operation in operations(schema)]

    assert wrong == []
    assert len(names) == len(set(names))


def test_no_operation_tells_what_our_classes_say_to_ourselves(schema: dict[str, Any]) -> None:
    told = [where for where, operation in operations(schema) if "throttle_scopes" in operation.get("description", "")]

    assert told == []


def test_every_body_that_is_required_has_an_example(schema: dict[str, Any]) -> None:
    without = [
        name
        for name, operation in operations(schema)
        if operation.get("requestBody", {}).get("required")
        and "application/json" in operation["requestBody"]["content"]
        and not operation["requestBody"]["content"]["application/json"].get("examples")
        and "webhooks" not in name
    ]

    assert without == []


def test_every_answer_with_a_body_has_an_example(schema: dict[str, Any]) -> None:
    without = [
        name
        for name, operation in operations(schema)
        for status, answer in operation["responses"].items()
        if status < "300"
        and not answer.get("content", {"application/json": {"examples": 1}}).get("application/json", {}).get("examples")
    ]

    assert without == []


def test_every_example_is_what_the_schema_says(schema: dict[str, Any]) -> None:
    wrong = []
    for name, operation in operations(schema):
        bodies = [("request", operation.get("requestBody", {})), *operation["responses"].items()]
        for where, body in bodies:
            for media in body.get("content", {}).values():
                for label, example in media.get("examples", {}).items():
                    described = media["schema"] | {"components": schema["components"]}
                    found = list(jsonschema.Draft202012Validator(described).iter_errors(example["value"]))
                    wrong += [(name, where, label, error.message) for error in found]

    assert wrong == []


def test_every_refusal_names_codes_that_exist(schema: dict[str, Any]) -> None:
    known = registered()
    for name, operation in operations(schema):
        for status, answer in operation["responses"].items():
            if status < "400":
                continue
            examples = answer["content"]["application/json"]["examples"]
            for example in examples.values():
                code = example["value"]["error"]
                assert str(known[code].status) == status, (name, code)


def test_money_asks_for_a_key(schema: dict[str, Any]) -> None:
    required = {
        name
        for name, operation in operations(schema)
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "Idempotency-Key" and parameter.get("required")
    }

    may = {
        f"POST /api/v1/{path}"
        for path in (
            *("payments", "credits/purchase", "subscriptions", "orders", "calls", "headshots", "images", "videos"),
            *("models", "avatars", "avatars/{id}/regenerate-thumbnail", "generations/{id}/retry"),
        )
    } | {"PUT /api/v1/subscriptions/{id}"}
    there = {name for name, _ in operations(schema)}
    assert required == may & there
    assert errors.IdempotencyKeyRequired.code in registered()
