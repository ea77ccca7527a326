"""JSON bodies: strict, bounded in size and depth, no NaN, no field twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from core.errors import TooLarge

# Far beyond any body of ours, far below where walking or writing a value runs out of stack.
MAX_DEPTH = 32


class JSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        try:
            found = orjson.loads(body) if body.strip() else {}
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error
        if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_deeper(found, MAX_DEPTH):
            raise ParseError(f"The body is nested more than {MAX_DEPTH} levels deep.")
        if body.count(b'"') > 4:  # more than one field
            json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
        return found


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that names a field twice: readers disagree on which one counts, and it may be an amount."""
    names = set()
    for name, _ in pairs:
        if name in names:
            shown = f": {name}" if len(name) <= 40 and name.isprintable() else ""
            raise ParseError(f"The body names a field more than once{shown}.")
        names.add(name)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested more levels deep; level by level, without recursion."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return True
