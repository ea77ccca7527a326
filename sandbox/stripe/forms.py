"""Form-encoded bodies and queries: `items[0][price]=x` becomes nested objects and lists, every leaf a text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.errors import StripeError, missing

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
# What moved out of the API with the version that the sandbox speaks.
REMOVED = {"payment_method_types": "payment_method_types_no_longer_supported"}


def decode(text: str) -> dict[str, Any]:
    """Raises: StripeError for a name that is no path."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        matched = _NAME.fullmatch(name)
        if matched is None:
            raise StripeError(f"Invalid parameter name: {name}", name, "parameter_unknown")
        path = [matched[1], *re.findall(r"\[([^\[\]]*)\]", matched[2])]
        here = root
        for part, following in itertools.pairwise(path):
            here = here.setdefault(part or str(len(here)), {})
            if not isinstance(here, dict):
                raise StripeError(f"Invalid object: {following}", name)
        here[path[-1] or str(len(here))] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(item) for name, item in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def refuse_unknown(params: dict[str, Any], known: Iterable[str], inside: str = "") -> None:
    """Raises: StripeError, also for what this version no longer takes."""
    for name in params:
        shown = f"{inside}[{name}]" if inside else name
        if name in REMOVED and not inside:
            raise StripeError(f"The `{name}` parameter is no longer supported.", name, REMOVED[name])
        if name not in {*known, "expand"}:
            raise StripeError(f"Received unknown parameter: {shown}", shown, "parameter_unknown")


def text(params: dict[str, Any], name: str, *, longest: int = 5000, default: str | None = None) -> str | None:
    value = params.get(name)
    if value in (None, ""):
        return default
    if not isinstance(value, str):
        raise StripeError(f"Invalid string: {name}", name)
    if len(value) > longest:
        raise StripeError(f"Invalid string: {name} must be at most {longest} characters", name, "string_too_long")
    return value


def required(params: dict[str, Any], name: str) -> str:
    value = text(params, name)
    if value is None:
        raise missing(name)
    return value


def whole(params: dict[str, Any], name: str, default: int | None = None) -> int:
    value = params.get(name)
    if value is None:
        if default is None:
            raise missing(name)
        return default
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,15}", value):
        raise StripeError(f"Invalid integer: {value}", name, "parameter_invalid_integer")
    return int(value)


def flag(params: dict[str, Any], name: str, default: bool = False) -> bool:
    value = params.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise StripeError(f"Invalid boolean: {value}", name)
    return bool(value == "true")


def amount(params: dict[str, Any], name: str = "amount") -> int:
    value = whole(params, name)
    if value < 1:
        raise StripeError("This value must be greater than or equal to 1.", name, "parameter_invalid_integer")
    return value


def currency(params: dict[str, Any], name: str = "currency") -> str:
    value = required(params, name)
    if not re.fullmatch(r"[A-Za-z]{3}", value):
        raise StripeError(f"Invalid currency: {value}.", name)
    return value.lower()


def metadata(params: dict[str, Any], name: str = "metadata") -> dict[str, str]:
    given = params.get(name, {})
    if given == "":
        return {}
    if not isinstance(given, dict):
        raise StripeError("Invalid hash", name)
    if len(given) > 50:
        raise StripeError("Metadata may hold 50 keys at most.", name)
    for key, value in given.items():
        if len(key) > 40 or not isinstance(value, str) or len(value) > 500:
            raise StripeError(f"Metadata values can have up to 500 characters, keys 40: {key[:40]}", f"{name}[{key}]")
    return dict(given)


def among(params: dict[str, Any], name: str, choices: Iterable[str], default: str | None = None) -> str | None:
    value = text(params, name, default=default)
    choices = tuple(choices)
    if value is not None and value not in choices:
        raise StripeError(f"Invalid {name}: must be one of {', '.join(choices)}", name)
    return value
