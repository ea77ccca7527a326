"""Operations: which can be ordered now, what their parameters may be, what an order of one costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

from django.db.models import Q

from core.errors import Detail, Invalid, detail
from generation import providers
from generation.errors import NotSold, OperationUnavailable
from generation.models import Kind, Operation

BESIDE = frozenset({"image_url", "wearables", "customization"})  # of a job's parameters, those that no operation lists
_MAX_NAMED = 20  # of a thousand unknown parameters nobody reads more
TERMS = (
    "code",
    "kind",
    "provider",
    "model",
    "limits",
    "photos_min",
    "photos_max",
    "needs_consent",
    "base_price",
    "multipliers",
)


def is_available(operation: Operation) -> bool:
    """Whether it can be ordered: switched on, and its provider has keys."""
    return operation.is_enabled and providers.is_configured(operation.provider)


def choose(kind: Kind, code: str | None = None) -> Operation:
    """The operation to order: the named one, or the kind's default.

    Raises: Invalid for one that does not exist, OperationUnavailable for one that is off or without keys.
    """
    found = Operation.objects.filter(kind=kind)
    operation = found.filter(code=code).first() if code else found.filter(is_default=True).first()
    if operation is None and code:
        message = f"There is no {kind} operation {code!r}."
        raise Invalid(details=[detail("unknown_operation", message, "operation")])
    if operation is None or not is_available(operation):
        raise OperationUnavailable(retry_after=60)
    return operation


def named(code: str) -> Operation:
    """The operation of that code, of whatever kind.

    Raises: Invalid for one that does not exist, OperationUnavailable for one that is off or without keys.
    """
    kind = Operation.objects.filter(code=code).values_list("kind", flat=True).first()
    if kind is None:
        raise Invalid(details=[detail("unknown_operation", f"There is no operation {code!r}.", "operation")])
    return choose(Kind(kind), code)


def queue(operation: Operation) -> str:
    """Which workers do its jobs."""
    return providers.get(operation.provider).queue(operation.kind)


def provider_of(kind: Kind, code: object = None) -> str | None:
    """Who would make it, whether it can be ordered or not."""
    named = Q(code=code) if isinstance(code, str) and code else Q(is_default=True)
    return Operation.objects.filter(named, kind=kind).values_list("provider", flat=True).first()


def snapshot(operation: Operation) -> dict[str, Any]:
    """The terms a job keeps."""
    return {name: getattr(operation, name) for name in TERMS}


def complete(operation: Operation, params: Mapping[str, Any], *, is_order: bool = True) -> dict[str, Any]:
    """The parameters held against the operation's limits, none unknown, missing or out of range, with its defaults.

    A question of the price need not say what has no bearing on it: there nothing is required.
    Raises: Invalid naming each.
    """
    if problems := _problems(operation, params, is_order=is_order):
        raise Invalid(details=problems)
    usual = {name: limit["default"] for name, limit in operation.limits.items() if "default" in limit}
    return usual | dict(params)


def takes(operation: Operation, params: Mapping[str, Any]) -> bool:
    """Whether these are parameters that the operation could be ordered with."""
    return not _problems(operation, params, is_order=True)


def _problems(operation: Operation, params: Mapping[str, Any], *, is_order: bool) -> list[Detail]:
    problems = [
        detail("unknown_parameter", f"{operation.code} has no parameter {name!r}.", name)
        for name in islice((name for name in params if name not in operation.limits), _MAX_NAMED)
    ]
    for name, limit in operation.limits.items():
        if name not in params:
            if is_order and limit.get("required") is True:
                problems.append(detail("required", f"{name} is required.", name))
        elif (problem := _problem(name, params[name], limit)) is not None:
            problems.append(problem)
    return problems


def _problem(name: str, value: Any, limit: Mapping[str, Any]) -> Detail | None:
    match limit["type"]:
        case "text":
            if not isinstance(value, str):
                return detail("invalid", f"{name} must be text.", name)
            if len(value.strip()) < limit.get("min_length", 0):
                return detail("min_length", f"{name} must have at least {limit['min_length']} characters.", name)
            if len(value) > limit["max_length"]:
                return detail("max_length", f"{name} may have at most {limit['max_length']} characters.", name)
        case "choice":
            if not _is_among(value, limit["choices"]):
                options = ", ".join(str(choice) for choice in limit["choices"])
                return detail("invalid_choice", f"{name} must be one of {options}.", name)
        case "choices":
            are_known = isinstance(value, list) and all(_is_among(item, limit["choices"]) for item in value)
            if not are_known or len(value) > limit["max"] or len(set(value)) != len(value):
                options = ", ".join(str(choice) for choice in limit["choices"])
                message = f"{name} must be a list of at most {limit['max']} different ones of {options}."
                return detail("invalid_choice", message, name)
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not limit["min"] <= value <= limit["max"]:
                message = f"{name} must be a whole number, {limit['min']} to {limit['max']}."
                return detail("out_of_range", message, name)
        case "boolean":
            if not isinstance(value, bool):
                return detail("invalid", f"{name} must be true or false.", name)
    return None


def _is_among(value: Any, choices: Sequence[Any]) -> bool:
    """Python takes 5.0 and true for numbers that they are not."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def texts(operation: Operation, params: Mapping[str, Any]) -> dict[str, str]:
    """The free texts among the parameters: what moderation reads."""
    return {
        name: params[name]
        for name, limit in operation.limits.items()
        if limit["type"] == "text" and isinstance(params.get(name), str)
    }


def priced_params(operation: Operation, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the price depends on."""
    beside = {rule["with"] for rule in operation.multipliers.values() if "with" in rule}
    return {name: params.get(name) for name in sorted(beside | set(operation.multipliers))}


def price(operation: Operation, params: Mapping[str, Any]) -> int:
    """What one order costs, in credits: the product of all multipliers, rounded up once, at the end.

    Units: credits.
    Raises: NotSold for a combination that the operation's table does not have.
    """
    total = Fraction(operation.base_price)
    for name, rule in operation.multipliers.items():
        value = params.get(name)
        if value is None:
            continue
        if "with" in rule:
            other = params.get(rule["with"])
            factor = rule["table"].get(str(value), {}).get(str(other))
            if factor is None:
                message = f"{operation.code} is not sold with {name} {value} and {rule['with']} {other}."
                raise NotSold(details=[detail("not_sold", message, rule["with"])])
            total *= Fraction(factor)
        elif "choices" in rule:
            total *= Fraction(str(rule["choices"].get(str(value), "1")))
        elif rule.get("each"):
            total *= value
        elif "per" in rule:
            total *= math.ceil(Fraction(value) / rule["per"])
    return math.ceil(total)
