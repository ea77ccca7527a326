"""Imports of the catalogue: planned, applied, rolled back. All of a file in one transaction, by COPY and set by set.

Items that a file does not name stay as they are. A field whose column a file lacks stays too, unless the item is called
otherwise now: then it is derived anew from the name.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

import audit
from core import public
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id_text
from wearables import sheets
from wearables.deriving import derive
from wearables.models import MAX_TAG, MAX_TAGS, Import, ImportState, Wearable

MAX_TOLD = 1000  # errors and duplicates that a report lists; it counts all
MAX_SHOWN = 100  # differences
PLAN_MAX_BYTES = 20_000_000
AT_ONCE = 500  # rows
_LOCK = 0x77656172  # one import at a time

DERIVED = ("subcategory", "tags", "style", "color", "material", "season", "occasion", "size", "fit")
COLUMNS = tuple(name for name in sheets.FIELDS if name != "code")
_UNMEASURED = ("tags", "is_active", "sort_order")
_LENGTHS = {
    column.name: column.max_length
    for column in Wearable._meta.concrete_fields
    if column.name in sheets.FIELDS and column.name not in _UNMEASURED
}
_TYPES = {"tags": "text[]", "is_active": "boolean", "sort_order": "integer"}
_YES, _NO = "('true', 'yes', 'y', '1', 't')", "('false', 'no', 'n', '0', 'f')"

Told = Callable[[int], None]
OnError = Callable[[int, str, str], None]


@dataclass(slots=True)
class Report:
    """What a file is and does. `errors`: line, code, reason; `duplicates`: line, code, and the line that won."""

    encoding: str
    delimiter: str
    ignored: list[str]
    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    bad: int = 0
    repeated: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("rows", "new", "changed", "same", "bad", "repeated")}


@dataclass(slots=True)
class Source:
    """A file to import, and who wants to hear of it."""

    path: Path
    filename: str
    encoding: str = ""
    delimiter: str = ""
    told: Told = lambda position: None
    on_error: OnError = lambda line, code, reason: None


# --- The acts -----------------------------------------------------------------------------------------------------


def check(source: Source) -> Report:
    """What importing the file would do. Nothing is changed. Raises: Invalid for a file that is no catalogue."""
    sheet = sheets.look(source.path, encoding=source.encoding, delimiter=source.delimiter)
    with transaction.atomic():
        report = _stage(sheet, source)
        transaction.set_rollback(True)
    return report


def too_large() -> Invalid:
    return Invalid(f"Files above {PLAN_MAX_BYTES // 1_000_000} MB are imported with manage.py import_wearables.")


@audit.writes("wearable")
def plan(*, content: bytes, filename: str, actor: Any) -> Import:
    """Keep a file with what it would do, to be applied later. Plans that were not applied are discarded.

    Raises: Invalid for a file that is no catalogue, or too large for the console.
    """
    if len(content) > PLAN_MAX_BYTES:
        raise too_large()
    with _on_disk(content) as path:
        report = check(Source(path, filename))
    with transaction.atomic():
        old = Import.objects.filter(state=ImportState.PLANNED)
        old.update(state=ImportState.DISCARDED, content=None)
        made = Import.objects.create(
            filename=filename[:200],
            sha256=hashlib.sha256(content).hexdigest(),
            state=ImportState.PLANNED,
            report=asdict(report),
            content=zlib.compress(content),
            actor=actor,
        )
        audit.record("wearable.import_planned", made, new=report.figures, actor_id=actor.pk)
    return made


@audit.writes("wearable")
def apply(*, import_id: UUID, actor: Any, reason: str = "") -> Import:
    """Do what was planned, if it still is what was shown.

    Locks: the import, then the catalogue. Raises: NotFound, Conflict when the catalogue has changed since.
    """
    with transaction.atomic():
        made = Import.objects.select_for_update(of=("self",), no_key=True).filter(pk=import_id).first()
        if made is None:
            raise NotFound
        if made.state == ImportState.APPLIED:
            return made
        if made.state != ImportState.PLANNED or made.content is None:
            raise Conflict("This plan is not current any more; plan anew.")
        with _on_disk(zlib.decompress(made.content)) as path:
            source = Source(path, made.filename)
            report = _stage(sheets.look(path), source)
        if report.figures != {name: made.report[name] for name in report.figures}:
            raise Conflict("The catalogue has changed since this was planned; plan anew.")
        _write(made, report, actor, reason)
    return made


@audit.writes("wearable")
def run(source: Source, *, actor: Any = None) -> Import:
    """Import a file at once. Raises: Invalid for a file that is no catalogue; Conflict while another import runs."""
    sheet = sheets.look(source.path, encoding=source.encoding, delimiter=source.delimiter)
    digest = hashlib.sha256()
    with source.path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    with transaction.atomic():
        report = _stage(sheet, source)
        made = Import(filename=source.filename[:200], sha256=digest.hexdigest(), state=ImportState.PLANNED)
        made.actor = actor
        made.save(force_insert=True)
        _write(made, report, actor, "")
    return made


@audit.writes("wearable")
def roll_back(*, import_id: UUID, actor: Any = None, reason: str = "") -> dict[str, int]:
    """Give changed items their former values and switch the new ones off. What staff edited since is left alone.

    Idempotent: by state. Locks: the import, then the catalogue.
    Raises: NotFound, Conflict for one that was not applied, or not the last that was.
    """
    with transaction.atomic():
        made = Import.objects.select_for_update(of=("self",), no_key=True).filter(pk=import_id).first()
        if made is None:
            raise NotFound
        if made.state == ImportState.ROLLED_BACK:
            return {"restored": 0, "edited_since": 0, "switched_off": 0}
        if made.state != ImportState.APPLIED:
            raise Conflict("This import was not applied.")
        _lock()
        applied = Import.objects.filter(state=ImportState.APPLIED)
        if applied.aggregate(last=Max("applied_at"))["last"] != made.applied_at:
            raise Conflict("A later import has been applied; roll that back first.")
        with connection.cursor() as cursor:
            cursor.execute(_RESTORE, [made.pk, made.applied_at])
            restored = cursor.rowcount
            cursor.execute("SELECT count(*) FROM wearables_former WHERE of_import_id = %s", [made.pk])
            known: int = cursor.fetchone()[0]
            cursor.execute(_SWITCH_OFF, [made.pk])
            done = {"restored": restored, "edited_since": known - restored, "switched_off": cursor.rowcount}
        Import.objects.filter(pk=made.pk).update(state=ImportState.ROLLED_BACK, rolled_back_at=Now())
        audit.record(
            "wearable.import_rolled_back",
            made,
            new=done,
            metadata={"reason": reason},
            actor_id=getattr(actor, "pk", None),
        )
        public.changed("wearables")
    return done


# --- Into the temporary table ---------------------------------------------------------------------------------------


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise Conflict("Another import is running; try again when it has ended.", retry_after=10)


def _stage(sheet: sheets.Sheet, source: Source) -> Report:
    """Read the file into `staged`, throw out what is bad or repeated, and say what the rest would change.

    What is left in `staged` are the new items; what is in the catalogue and becomes something else is in `changes`.
    """
    report = Report(sheet.encoding, sheet.delimiter, sheet.ignored)

    def bad(line: int, reason: str, code: str = "") -> None:
        report.bad += 1
        if len(report.errors) < MAX_TOLD:
            report.errors.append({"line": line, "code": code, "reason": reason})
        source.on_error(line, code, reason)

    _lock()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.staged, pg_temp.changes")
        cursor.execute(_STAGED)
        with cursor.copy(_COPY) as copy:
            read = sheets.rows(sheet, wrong=bad, told=source.told)
            staged = _staged(read)
            while lines := list(islice(staged, AT_ONCE)):
                copy.write("".join(lines))
                report.rows += len(lines)
        report.rows += report.bad
        cursor.execute("ANALYZE pg_temp.staged (line, code)")
        with cursor.copy(_refuse(sheet.columns)) as refused:
            for line, code, reason in refused.rows():
                bad(int(line), reason, code)
        with cursor.copy(_REPEATED) as repeated:
            for line, code, won in repeated.rows():
                report.repeated += 1
                if len(report.duplicates) < MAX_TOLD:
                    report.duplicates.append({"line": int(line), "code": code, "won": int(won)})
                source.on_error(int(line), code, f"The same ID stands again in line {won}, which counts.")
        cursor.execute(_changes(sheet.columns))
        report.changed = cursor.rowcount
        cursor.execute(_KNOWN)
        report.same = cursor.rowcount - report.changed
        report.new = report.rows - report.bad - report.repeated - cursor.rowcount
        cursor.execute(f"SELECT was, {', '.join(COLUMNS)}, code FROM changes ORDER BY line LIMIT {MAX_SHOWN}")
        report.differences = [_difference(row) for row in cursor.fetchall()]
    return report


def _staged(read: Iterable[sheets.Row]) -> Iterator[str]:
    """A line for `staged`: the cells, what the name says where they are empty, and an id in case it is new.

    Written here as COPY reads it: the driver's own way of a row with a list costs twice as much.
    """
    places = {name: sheets.FIELDS.index(name) for name in sheets.FIELDS}
    category, title, tags = places["category"], places["name"], places["tags"]
    derived = [(places[name], name) for name in DERIVED if name != "tags"]
    for line, cells in read:
        said = derive(cells[category], cells[title])
        for place, derivable in derived:
            if not cells[place]:
                cells[place] = said[derivable]  # type: ignore[assignment]
        cells[tags] = _array(_tags(cells[tags]) if cells[tags] else said["tags"])
        told = "\t".join(cells)
        if "\\" in told or "\n" in told or "\r" in told or told.count("\t") >= len(cells):
            told = "\t".join(map(_escaped, cells))
        yield f"{line}\t{new_id_text()}\t{told}\n"


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _array(tags: Iterable[str]) -> str:
    """As PostgreSQL writes an array, each of its elements in quotes."""
    return "{" + ",".join('"' + tag.replace("\\", "\\\\").replace('"', '\\"') + '"' for tag in tags) + "}"


def _tags(cell: str) -> list[str]:
    parts = cell.lower().replace(";", ",").replace("|", ",").split(",")
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


_STAGED = f"""
CREATE TEMP TABLE staged (
    line bigint, id uuid, {", ".join(f"{name} {'text[]' if name == 'tags' else 'text'}" for name in sheets.FIELDS)}
) ON COMMIT DROP
"""
_COPY = f"COPY staged (line, id, {', '.join(sheets.FIELDS)}) FROM STDIN"
# field, what is wrong with it, how that is told
_WRONG = [
    *((name, f"{name} = ''", f"The {name} is missing.") for name in sheets.REQUIRED),
    *(
        (name, f"length({name}) > {most}", f"The {name} is longer than {most} characters.")
        for name, most in _LENGTHS.items()
    ),
    ("tags", f"cardinality(tags) > {MAX_TAGS}", f"More than {MAX_TAGS} tags."),
    (
        "tags",
        f"length(array_to_string(tags, '')) > {MAX_TAG} AND EXISTS (SELECT FROM unnest(tags) tag "
        f"WHERE length(tag) > {MAX_TAG})",
        f"A tag is longer than {MAX_TAG} characters.",
    ),
    ("image_url", r"image_url <> '' AND image_url !~* '^https?://[^\s]+$'", "The image is no http address."),
    (
        "is_active",
        f"is_active <> '' AND lower(is_active) NOT IN {_YES} AND lower(is_active) NOT IN {_NO}",
        "Active is neither yes nor no.",
    ),
    ("sort_order", "sort_order !~ '^[0-9]{0,9}$'", "The order is not a whole number."),
]


def _refuse(given: Container[str]) -> str:
    """Throw bad rows out, each with the first thing that is wrong with it. What was derived here is right."""
    wrong = [(test, told) for name, test, told in _WRONG if name in given]
    reason = " ".join(f"WHEN {test} THEN '{told}'" for test, told in wrong)
    any_wrong = " OR ".join(f"({test})" for test, _ in wrong)
    return f"COPY (DELETE FROM staged WHERE {any_wrong} RETURNING line, code, CASE {reason} END) TO STDOUT"


_REPEATED = """
COPY (WITH won AS (SELECT code, max(line) AS line FROM staged GROUP BY code HAVING count(*) > 1)
DELETE FROM staged USING won WHERE staged.code = won.code AND staged.line < won.line
RETURNING staged.line, staged.code, won.line) TO STDOUT
"""
# Apart from the insert: asked for in the same statement, PostgreSQL may look for each row among those just inserted,
# hours of work where it believes the catalogue empty.
_KNOWN = "DELETE FROM staged USING wearables_wearable w WHERE w.code = staged.code"


# --- Out of it ------------------------------------------------------------------------------------------------------


def _value(name: str, given: Container[str]) -> str:
    """What an item that is there will have. `s` is the row, `w` the item, `o` the import that brought the item."""
    match name:
        case "is_active":
            kept = "w.is_active OR o.state IS NOT DISTINCT FROM 'rolled_back'"
            return f"CASE WHEN s.is_active = '' THEN {kept} ELSE lower(s.is_active) IN {_YES} END"
        case "sort_order":
            return "CASE WHEN s.sort_order = '' THEN w.sort_order ELSE s.sort_order::integer END"
        case _ if name in given:
            return f"s.{name}"
        case _ if name in DERIVED:
            renamed = "(s.name, s.category) IS DISTINCT FROM (w.name, w.category)"
            return f"CASE WHEN {renamed} THEN s.{name} ELSE {_old(name)} END"
    return _old(name)


def _old(name: str) -> str:
    return "w.tags::text[]" if name == "tags" else f"w.{name}"


def _changes(given: Container[str]) -> str:
    values = {name: _value(name, given) for name in COLUMNS}
    return f"""
CREATE TEMP TABLE changes ON COMMIT DROP AS
SELECT s.line, w.id, s.code, {", ".join(f"{value} AS {name}" for name, value in values.items())},
       jsonb_build_object({", ".join(f"'{name}', w.{name}" for name in COLUMNS)}) AS was
FROM staged s JOIN wearables_wearable w ON w.code = s.code LEFT JOIN wearables_import o ON o.id = w.origin_id
WHERE ({", ".join(values.values())})
      IS DISTINCT FROM ({", ".join(map(_old, COLUMNS))})
"""


_INSERT = f"""
INSERT INTO wearables_wearable (id, code, {", ".join(COLUMNS)}, origin_id, updated_at)
SELECT id, code, {", ".join(name for name in COLUMNS if name not in ("is_active", "sort_order"))},
       is_active = '' OR lower(is_active) IN {_YES}, coalesce(nullif(sort_order, '')::integer, 0), %s, %s
FROM staged
"""
_UPDATE = f"""
UPDATE wearables_wearable w SET ({", ".join(COLUMNS)}, updated_at) = ({", ".join(f"c.{name}" for name in COLUMNS)}, %s)
FROM changes c WHERE c.id = w.id
"""
_KEEP = "INSERT INTO wearables_former (of_import_id, wearable_id, was) SELECT %s, id, was FROM changes"
_RESTORE = f"""
UPDATE wearables_wearable w
SET {", ".join(f"{name} = was.{name}" for name in COLUMNS)}, updated_at = statement_timestamp()
FROM wearables_former f
CROSS JOIN LATERAL jsonb_to_record(f.was) AS was({", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS)})
WHERE f.of_import_id = %s AND f.wearable_id = w.id AND w.updated_at = %s
"""
_SWITCH_OFF = """
UPDATE wearables_wearable SET is_active = false, updated_at = statement_timestamp() WHERE origin_id = %s AND is_active
"""


def _write(made: Import, report: Report, actor: Any, reason: str) -> None:
    """Carry `staged` and `changes` into the catalogue, and say so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        made.applied_at = cursor.fetchone()[0]
        cursor.execute(_KEEP, [made.pk])
        cursor.execute(_UPDATE, [made.applied_at])
        cursor.execute(_INSERT, [made.pk, made.applied_at])
    made.state, made.report, made.content = ImportState.APPLIED, asdict(report), None
    made.save(update_fields=["state", "report", "content", "applied_at"])
    audit.record(
        "wearable.imported",
        made,
        new=report.figures,
        metadata={"filename": made.filename, "sha256": made.sha256, "reason": reason},
        actor_id=getattr(actor, "pk", None),
    )
    public.changed("wearables")


def _difference(row: tuple[Any, ...]) -> dict[str, Any]:
    was, *now, code = row
    told = orjson.loads(was)
    changed = {name: [told[name], value] for name, value in zip(COLUMNS, now, strict=True) if told[name] != value}
    return {"code": code, "name": told["name"], "changed": changed}


@contextmanager
def _on_disk(content: bytes) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="wearables-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)
