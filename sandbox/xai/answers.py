"""Values for a JSON schema, made from a prompt: the same prompt gets the same answer, and every answer fits."""

from __future__ import annotations

import math
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

# What cannot be made to fit with certainty is refused, as xAI refuses what it does not support.
REFUSED = ("allOf", "not", "if", "pattern", "patternProperties", "prefixItems", "contains", "dependentSchemas")
SYLLABLES = (
    "al",
    "bri",
    "cor",
    "den",
    "el",
    "fay",
    "hal",
    "jun",
    "kel",
    "lor",
    "mar",
    "nel",
    "pen",
    "ros",
    "tor",
    "wil",
)
TONES = ("warm", "quiet", "bold", "gentle", "vivid", "calm", "bright", "earthy", "airy", "crisp", "soft", "deep")
DEEPEST = 24
TEXT_KEPT = 600


class Unanswerable(Exception):
    """Why no answer can be made for this schema."""


def answer(schema: Schema, prompt: str) -> Any:
    """A value that the schema accepts.

    Raises: Unanswerable.
    """
    return _value(schema, schema, prompt, ("answer",))


def sentence(prompt: str) -> str:
    """A plain answer, with everything that was said in it."""
    return _text(prompt, ("answer",))


def _value(root: Schema, schema: Any, prompt: str, path: tuple[str, ...]) -> Any:
    if len(path) > DEEPEST:
        raise Unanswerable("the schema has no end")
    if schema is True:
        schema = {}
    if not isinstance(schema, Mapping):
        raise Unanswerable(f"{'.'.join(path)} is not a schema")
    if refused := [word for word in REFUSED if word in schema]:
        raise Unanswerable(f"{refused[0]} is not supported")
    if "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return _value(root, {**_resolve(root, schema["$ref"]), **rest}, prompt, (*path, "$ref"))
    dice = random.Random("/".join((*path, prompt)))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return dice.choice(_filled(schema["enum"], "enum"))
    for word in ("anyOf", "oneOf"):
        if word in schema:
            options = _filled(schema[word], word)
            chosen = next((option for option in options if option != {"type": "null"}), options[0])
            rest = {name: value for name, value in schema.items() if name != word}
            return _value(root, {**rest, **chosen}, prompt, (*path, word))
    match _type(schema):
        case "object":
            return _object(root, schema, prompt, path)
        case "array":
            return _array(root, schema, prompt, path, dice)
        case "string":
            return _string(schema, prompt, path, dice)
        case "integer" | "number" as kind:
            return _number(schema, dice, whole=kind == "integer")
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
        case other:
            raise Unanswerable(f"type {other!r} is not supported")


def _filled(values: Any, word: str) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise Unanswerable(f"{word} must be a list of at least one")
    return values


def _type(schema: Schema) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return kind


def _resolve(root: Schema, ref: Any) -> Schema:
    found: Any = root
    for part in str(ref).removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not str(ref).startswith("#"):
        raise Unanswerable(f"{ref} leads nowhere")
    return found


def _object(root: Schema, schema: Schema, prompt: str, path: tuple[str, ...]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    made = {}
    for name, inner in properties.items():
        try:
            made[name] = _value(root, inner, prompt, (*path, name))
        except Unanswerable:
            # What may be left out ends a schema that holds itself.
            if name in required:
                raise
    extra = schema.get("additionalProperties", True)
    for name in required:
        if name not in made:
            if extra is False:
                raise Unanswerable(f"{name} is required and not allowed")
            made[name] = _value(root, extra, prompt, (*path, name))
    return made


def _array(root: Schema, schema: Schema, prompt: str, path: tuple[str, ...], dice: random.Random) -> list[Any]:
    low = int(schema.get("minItems", 0))
    high = int(schema.get("maxItems", max(low, 3)))
    if low > high:
        raise Unanswerable("minItems is above maxItems")
    inner = schema.get("items", {})
    wanted = dice.randint(max(low, min(1, high)), high)
    made: list[Any] = []
    for at in range(wanted * 8):
        try:
            one = _value(root, inner, prompt, (*path, str(at)))
        except Unanswerable:
            if low:
                raise
            break
        if not (schema.get("uniqueItems") and one in made):
            made.append(one)
        if len(made) == wanted:
            break
    if len(made) < low:
        raise Unanswerable("there are not so many different items")
    return made


def _number(schema: Schema, dice: random.Random, *, whole: bool) -> float:
    """A multiple of the step between the bounds, which may themselves be shut out."""
    step = schema.get("multipleOf", 1 if whole else 0.25)
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low == -math.inf:
        low = min(0, high - 100)
    high = min(high, low + 100)
    first, last = math.ceil(low / step), math.floor(high / step)
    first += first * step == schema.get("exclusiveMinimum")
    last -= last * step == schema.get("exclusiveMaximum")
    if first <= last:
        found = dice.randint(first, last) * step
    elif not whole and low < high and "multipleOf" not in schema:
        found = (low + high) / 2
    else:
        raise Unanswerable("no number fits")
    return int(found) if whole else float(found)


FORMATS = {
    "date": "2026-01-{0:02d}",
    "time": "12:{0:02d}:00Z",
    "date-time": "2026-01-{0:02d}T12:00:00Z",
    "email": "someone{0}@example.test",
    "uri": "https://example.test/{0}",
    "hostname": "host{0}.example.test",
    "ipv4": "192.0.2.{0}",
}


def _string(schema: Schema, prompt: str, path: tuple[str, ...], dice: random.Random) -> str:
    if schema.get("format") == "uuid":
        return str(uuid.UUID(int=dice.getrandbits(128), version=4))
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]].format(dice.randint(1, 28))
    text = _name(dice) if path[-1] in ("name", "first_name", "last_name") else _text(prompt, path)
    low, high = int(schema.get("minLength", 0)), int(schema.get("maxLength", TEXT_KEPT + 200))
    if low > high:
        raise Unanswerable("minLength is above maxLength")
    return text.ljust(low, ".")[:high]


def _name(dice: random.Random) -> str:
    return "".join(dice.sample(SYLLABLES, 2)).capitalize()


def _text(prompt: str, path: Sequence[str]) -> str:
    """The prompt again in other clothes. Magic words stay in it: a picture of this text is to meet them too."""
    dice = random.Random("/".join((*path, prompt)))
    plain = re.sub(r"\s+", " ", prompt).strip()
    kept = plain[:TEXT_KEPT]
    lost = [word for word in re.findall(r"sandbox:[a-z0-9]+", plain, re.I) if word not in kept]
    label = next((part for part in reversed(path) if not part.isdecimal() and part not in ("$ref", "anyOf")), "answer")
    tones = " and ".join(dice.sample(TONES, 2))
    return " ".join([f"{label.replace('_', ' ').capitalize()}, {tones}: {kept}", *lost])
