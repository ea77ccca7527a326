"""docs/settings.md, from the settings file and its example: `make settings` writes it, a test compares."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from core import boot

_TYPES = {"str": "text", "bool": "true or false", "int": "whole number", "float": "number", "list": "list, by commas"}
_HEAD = """# Settings

Written by `make settings` from config/settings.py and .env.example; do not edit. Settings come from the environment, or
from `.env` in the checkout (not in tests). Whatever is not set has the default shown. A secret `NAME` may also come
from the file that `NAME_FILE` names; outside production missing secrets are made once per checkout.
"""
_REFUSALS = """
## What does not start

Web, workers and beat end at once with one line for each of these; `manage.py check` tells them too.

| id | refused when | mend |
|---|---|---|
"""
_WARNINGS = """
## Names that mean something elsewhere

`manage.py check` warns (core.W001) of one that is set where ours is not, and (core.W002) of a real provider that cannot
call back because `PUBLIC_URL` leads to this machine.

| elsewhere | here |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Described:
    section: str
    name: str
    default: str
    meaning: str


class Command(BaseCommand):
    help = "Print docs/settings.md."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(page(), ending="")


def page() -> str:
    """The whole page."""
    kinds = _kinds((settings.BASE_DIR / "config" / "settings.py").read_text())
    lines, section = [_HEAD], ""
    for found in described(settings.BASE_DIR / ".env.example"):
        if found.section != section:
            section = found.section
            lines.append(f"\n## {section}\n\n| setting | kind | default | |\n|---|---|---|---|\n")
        default = f"`{found.default}`" if found.default else ""
        lines.append(f"| `{found.name}` | {kinds[found.name]} | {default} | {found.meaning} |\n")
    lines.append(_REFUSALS)
    for rules, where in ((boot.ALWAYS, ""), (boot.IN_PRODUCTION, "in production, ")):
        lines += [f"| {rule.id} | {where}{rule.what} | {rule.fix.replace('|', '/')} |\n" for rule in rules]
    lines.append(_WARNINGS)
    lines += [f"| `{old}` | `{ours}` |\n" for old, ours in boot.OLD_NAMES.items()]
    return "".join(lines)


def described(example: Path) -> Iterator[Described]:
    """Each setting of the example, with the comment that leads to it."""
    section, said = "", list[str]()
    for line in example.read_text().splitlines():
        if heading := re.match(r"# --- (.+)", line):
            section, said = heading[1], []
        elif given := re.match(r"#([A-Z][A-Z0-9_]+)=(.*)", line):
            meaning = " ".join(said).removesuffix(":").replace("|", "or")
            yield Described(section, given[1], given[2].replace("|", "\\|"), meaning)
            said = []
        elif line.startswith("# "):
            said.append(line[2:])
        else:
            said = []


def _kinds(source: str) -> dict[str, str]:
    """What each setting is read as, by the call that reads it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            continue
        name, call = str(node.args[0].value), node.func
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "env":
            found[name] = _TYPES.get(call.attr, call.attr)
        elif isinstance(call, ast.Name) and call.id in ("secret", "provider_url"):
            found[name] = "secret" if call.id == "secret" else "address"
    return {"DATABASE_URL": "address", "REDIS_URL": "address"} | found
