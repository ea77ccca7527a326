"""docs/postman.json, a Postman collection, from docs/openapi.yaml: `make openapi` writes both, a test compares.

Source: the collection format 2.1.0 (schema.getpostman.com/json/collection/v2.1.0/docs/index.html).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.core.management.base import BaseCommand

PAGE = Path("docs/postman.json")
METHODS = ("get", "post", "put", "patch", "delete")
FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
# Whoever signs in with the collection need not copy tokens about.
KEEP_TOKENS = [
    "const told = pm.response.json();",
    "if (told.access) pm.collectionVariables.set('access', told.access);",
    "if (told.refresh) pm.collectionVariables.set('refresh', told.refresh);",
]
SIGN_IN = ("auth_login", "auth_refresh")

Schema = dict[str, Any]


class Command(BaseCommand):
    help = "Write docs/postman.json from docs/openapi.yaml."

    def handle(self, *args: Any, **options: Any) -> None:
        (settings.BASE_DIR / PAGE).write_text(collection(settings.BASE_DIR / "docs" / "openapi.yaml"))


def collection(openapi: Path) -> str:
    """The collection's text: a folder for each tag, a request for each operation, with its first example."""
    schema: Schema = yaml.safe_load(openapi.read_text())
    folders: dict[str, list[Any]] = {}
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                folders.setdefault(operation["tags"][0], []).append(_item(schema, path, method, operation))
    made = {
        "info": {
            "name": schema["info"]["title"],
            "description": f"{schema['info']['description']} Set `origin`; signing in keeps the tokens.",
            "schema": FORMAT,
        },
        "auth": _bearer("{{access}}"),
        "variable": [
            {"key": "origin", "value": "http://127.0.0.1:8000"},
            {"key": "access", "value": ""},
            {"key": "refresh", "value": ""},
        ],
        "item": [{"name": tag, "item": items} for tag, items in sorted(folders.items())],
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _bearer(token: str) -> Schema:
    return {"type": "bearer", "bearer": [{"key": "token", "value": token, "type": "string"}]}


def _item(schema: Schema, path: str, method: str, operation: Schema) -> Schema:
    parameters = operation.get("parameters", [])
    request: Schema = {
        "method": method.upper(),
        "header": [_header(one) for one in parameters if one["in"] == "header"],
        "url": _url(path, parameters),
        "description": operation.get("description", ""),
    }
    if not operation.get("security"):
        request["auth"] = {"type": "noauth"}
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        body = _example(content["application/json"])
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {"mode": "raw", "raw": json.dumps(body, indent=2, ensure_ascii=False)}
    elif "multipart/form-data" in content:
        request["body"] = {"mode": "formdata", "formdata": _form(schema, content["multipart/form-data"])}
    item: Schema = {"name": operation["summary"], "request": request, "response": []}
    if operation["operationId"] in SIGN_IN:
        item["event"] = [{"listen": "test", "script": {"type": "text/javascript", "exec": KEEP_TOKENS}}]
    return item


def _url(path: str, parameters: list[Schema]) -> Schema:
    """Its raw form and its parts; what a query may hold is there to be switched on."""
    parts = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.strip("/").split("/")]
    told: Schema = {"raw": f"{{{{origin}}}}/{'/'.join(parts)}", "host": ["{{origin}}"], "path": parts}
    if named := [one["name"] for one in parameters if one["in"] == "path"]:
        told["variable"] = [{"key": name, "value": ""} for name in named]
    if asked := [one for one in parameters if one["in"] == "query"]:
        told["query"] = [
            {"key": one["name"], "value": "", "description": one.get("description", ""), "disabled": True}
            for one in asked
        ]
    return told


def _header(parameter: Schema) -> Schema:
    is_key = parameter["name"] == "Idempotency-Key"
    return {
        "key": parameter["name"],
        "value": "{{$guid}}" if is_key else "",
        "description": parameter.get("description", ""),
        "disabled": not parameter.get("required", False),
    }


def _example(content: Schema) -> Any:
    examples = content.get("examples", {})
    value = next(iter(examples.values()))["value"] if examples else {}
    return value | {"refresh": "{{refresh}}"} if isinstance(value, dict) and "refresh" in value else value


def _form(schema: Schema, content: Schema) -> list[Schema]:
    named = schema["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    needed = named.get("required", [])
    return [
        {"key": name, "type": "file", "src": []}
        if field.get("format") == "binary"
        else {"key": name, "type": "text", "value": "", "disabled": name not in needed}
        for name, field in named["properties"].items()
    ]
