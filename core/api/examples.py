"""An example for every body of the schema that has none by hand: made of the schema itself, so it cannot be wrong."""

from __future__ import annotations

from typing import Any

_BY_FORMAT = {
    "uuid": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4",
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "email": "alice@example.com",
    "uri": "https://app.example.com/here",
}
_BY_NAME: dict[str, Any] = {
    "first_name": "Alice",
    "last_name": "Ames",
    "username": "alice",
    "bio": "Portraits and landscapes.",
    "locale": "en-IN",
    "currency": "INR",
    "content_type": "image/jpeg",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "ip": "192.0.2.9",
    "url": "https://api.example.com/files/signed",
    "thumbnail_url": "https://api.example.com/files/signed-thumbnail",
    "avatar_url": "https://api.example.com/files/signed-avatar",
    "checkout_url": None,
    "next": None,
    "previous": None,
    "count": 1,
    "progress": 100,
    "token": "from-the-mailed-link",
    "access": "header.claims.signature",
    "refresh": "header.claims.signature",
    "expires_in": 900,
    "status": "ok",
}


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's last hook: give each body without an example one."""
    components = result.get("components", {}).get("schemas", {})
    for methods in result["paths"].values():
        for operation in methods.values():
            answers = [body for status, body in operation["responses"].items() if str(status) < "300"]
            for body in (operation.get("requestBody", {}), *answers):
                media = body.get("content", {}).get("application/json")
                if media and not media.get("examples"):
                    media["examples"] = {"example": {"value": example(media["schema"], components)}}
    return result


def example(schema: dict[str, Any], components: dict[str, Any], name: str = "") -> Any:
    """A value that the schema describes."""
    if "$ref" in schema:
        return example(components[schema["$ref"].rpartition("/")[2]], components, name)
    for among in ("allOf", "oneOf", "anyOf"):
        if among in schema:
            return example(schema[among][0], components, name)
    if "enum" in schema:
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    kinds = schema.get("type", "object")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    known = _BY_NAME.get(name, ...)
    if known is not ... and _kind(known) in kinds and "pattern" not in schema:
        return known
    match kinds[0]:
        case "object":
            properties: dict[str, Any] = schema.get("properties", {})
            return {inner: example(one, components, inner) for inner, one in properties.items()}
        case "array":
            return [example(schema["items"], components, name)]
        case "integer" | "number":
            return max(schema.get("minimum", 0), min(schema.get("maximum", 50), 50))
        case "boolean":
            return True
    return _BY_FORMAT.get(schema.get("format", ""), name.replace("_", " ") or "text")


def _kind(value: Any) -> str:
    return {str: "string", int: "integer", type(None): "null"}[type(value)]
