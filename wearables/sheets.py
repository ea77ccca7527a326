"""Reading catalogues that nobody here has seen: which encoding, delimiter and columns, then row after row."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Invalid
from core.texts import clean_text

REQUIRED = ("code", "category", "name")
ALIASES = {
    "code": ("id", "code", "item id", "item code", "sku", "wearable id"),
    "category": ("category", "group", "type"),
    "name": ("wearable item", "name", "item", "item name", "title", "wearable"),
    "subcategory": ("subcategory", "sub category"),
    "description": ("description", "details"),
    "image_url": ("image url", "imageurl", "image", "picture"),
    "tags": ("tags", "keywords", "labels"),
    "style": ("style",),
    "color": ("color", "colour"),
    "material": ("material", "fabric"),
    "season": ("season",),
    "occasion": ("occasion",),
    "size": ("size",),
    "fit": ("fit",),
    "is_active": ("is active", "isactive", "active"),
    "sort_order": ("sort order", "sortorder", "position", "order"),
}
FIELDS = tuple(ALIASES)
DELIMITERS = (",", ";", "\t", "|")
EMPTY = frozenset({"na", "n/a", "null"})
MAX_CELL = 10_000  # also what a quote that never closes swallows before it is noticed
MAX_LINE = 200_000
MAX_COLUMNS = 200
_FIELD_OF = {alias: field for field, aliases in ALIASES.items() for alias in aliases}
_HEADER_WITHIN = 10  # lines
_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a picture or a film",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (save it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (save it as CSV)",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"{": "JSON",
    b"<": "XML or HTML",
}

Row = tuple[int, list[str]]
Wrong = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that can be read. `columns`: field → its place in a row; `header_at`: lines to skip, its own included."""

    path: Path
    encoding: str
    delimiter: str
    columns: dict[str, int]
    ignored: list[str]
    width: int
    header_at: int
    bytes: int


def look(path: Path, *, encoding: str = "", delimiter: str = "") -> Sheet:
    """Find out how the file is to be read. Reads it once, to know its encoding.

    Raises: Invalid for a file that is no such table, saying why.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise Invalid("The file is empty.")
    for magic, kind in _MAGIC.items():
        if head.removeprefix(codecs.BOM_UTF8).lstrip(b" \r\n\t").startswith(magic):
            raise Invalid(f"This is not CSV: it looks like {kind}.")
    encoding = _known(encoding) if encoding else _encoding(path, head)
    with _opened(path, encoding) as text:
        lines = [line for line, _ in zip(_lines(text, []), range(_HEADER_WITHIN), strict=False)]
    if any("\0" in line for line in lines[:1]):
        raise Invalid("This is not CSV: it is full of NUL characters.")
    skipped = 0
    if lines and (said := re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\r\n"))):  # Excel's own word on it
        delimiter, skipped = delimiter or said[1], 1
    while skipped < len(lines) and not lines[skipped].strip(" \t\r\n,;|"):
        skipped += 1
    found: tuple[int, str, int, list[str]] | None = None
    for candidate in [delimiter] if delimiter else DELIMITERS:
        header, used = _first_row(lines[skipped:], candidate)
        known = len({_FIELD_OF[name] for name in map(_plain, header) if name in _FIELD_OF})
        if found is None or (known, len(header)) > (found[0], len(found[3])):
            found = known, candidate, used, header
    assert found is not None
    _, delimiter, used, header = found
    columns, ignored = _columns(header)
    return Sheet(path, encoding, delimiter, columns, ignored, len(header), skipped + used, size)


def rows(sheet: Sheet, *, wrong: Wrong, told: Callable[[int], None] = lambda position: None) -> Iterator[Row]:
    """Each row that can be read: the number of its first line, and its cells in the order of FIELDS, cleaned.

    `wrong` is told of every other; `told` hears how many bytes are read, now and then.
    """
    too_long: list[int] = []
    given = [(FIELDS.index(field), place, field == "description") for field, place in sheet.columns.items()]
    with _opened(sheet.path, sheet.encoding) as text:
        source = _lines(text, too_long)
        for _ in range(sheet.header_at):
            next(source, None)
        reader = _reader(source, sheet.delimiter)
        number = 0
        while True:
            line = sheet.header_at + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                wrong(line, _unreadable(error, line, sheet.header_at + reader.line_num))
                too_long.clear()
                continue
            number += 1
            if number % 5000 == 0:
                told(text.buffer.tell())  # type: ignore[attr-defined]
            if too_long:
                too_long.clear()
                wrong(line, f"The line is longer than {MAX_LINE} characters.")
                continue
            if not cells or not any(map(str.strip, cells)):
                continue
            if len(cells) > sheet.width and any(map(str.strip, cells[sheet.width :])):
                wrong(line, f"It has {len(cells)} cells, the header {sheet.width}: is there a delimiter in a text?")
                continue
            found = [""] * len(FIELDS)
            try:
                for field, place, keeps_lines in given:
                    if place < len(cells):
                        found[field] = _clean(cells[place], keeps_lines=keeps_lines)
            except ValueError as error:
                wrong(line, str(error))
            else:
                yield line, found


# --- How it is written --------------------------------------------------------------------------------------------


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise Invalid(f"There is no encoding {encoding!r}.") from error


def _encoding(path: Path, head: bytes) -> str:
    """By the byte order mark; without one by where the NULs are, and by what the whole file is valid in."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.count(0) > len(head) // 4:
        return "utf-16-be" if head[::2].count(0) > head[1::2].count(0) else "utf-16-le"
    return "utf-8" if _is_utf8(path) else "cp1252"


def _is_utf8(path: Path) -> bool:
    """Whether more of its characters beyond ASCII are good UTF-8 than not: one broken row does not decide."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 18):
            text = decoder.decode(chunk)
            if not text.isascii():
                broken = text.count("\ufffd")
                bad += broken
                good += len(text) - len(text.encode("ascii", "ignore")) - broken
    bad += len(decoder.decode(b"", final=True))
    return bad == 0 or good > bad


def _opened(path: Path, encoding: str) -> io.TextIOWrapper:
    # What cannot be decoded becomes U+FFFD, and its row is refused.
    return path.open(encoding=encoding, errors="replace", newline="")


def _lines(text: io.TextIOWrapper, too_long: list[int]) -> Iterator[str]:
    """Lines, none longer than MAX_LINE in memory: the rest of a longer one is passed over, and noted."""
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            too_long.append(number)
            while (rest := text.readline(MAX_LINE)) and rest[-1] not in "\r\n":
                pass
            line = "\n"
        yield line


def _reader(lines: Iterator[str], delimiter: str) -> csv.Reader:  # type: ignore[name-defined]
    csv.field_size_limit(MAX_CELL)
    try:
        return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")
    except TypeError as error:
        raise Invalid("A delimiter is one character.") from error


def _first_row(lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    reader = _reader(iter(lines), delimiter)
    try:
        return next(reader, []), reader.line_num
    except csv.Error:
        return [], reader.line_num


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\W_]+", name.casefold())).strip()


def _columns(header: list[str]) -> tuple[dict[str, int], list[str]]:
    """Which column holds what. The first line is believed to be the header, whatever is in it."""
    columns: dict[str, int] = {}
    ignored: list[str] = []
    if len(header) > MAX_COLUMNS:
        raise Invalid(f"The header has {len(header)} columns, more than {MAX_COLUMNS}.")
    for place, name in enumerate(header):
        field = _FIELD_OF.get(_plain(name))
        if field is None:
            if name.strip():
                ignored.append(name.strip()[:60])
        elif field in columns:
            raise Invalid(f"Two columns are the {field}: {header[columns[field]].strip()} and {name.strip()}.")
        else:
            columns[field] = place
    if missing := [field for field in REQUIRED if field not in columns]:
        seen = ", ".join(repr(name.strip()[:40]) for name in header[:8])
        wanted = ", ".join(f"{field} ({' or '.join(ALIASES[field][:2])})" for field in missing)
        raise Invalid(f"A required column is missing: {wanted}. The first line has {seen}.")
    return columns, ignored


def _unreadable(error: csv.Error, first: int, last: int) -> str:
    told = str(error)
    if "field larger" in told:
        why = f"A cell is longer than {MAX_CELL} characters, or a quote does not close."
    elif "unexpected end" in told:
        why = "A quote does not close."
    else:
        why = "The quotes are not right: a quote inside quotes is written twice."
    return f"{why} Lines {first} to {last} are left out." if last > first else why


def _clean(cell: str, *, keeps_lines: bool) -> str:
    """Raises: ValueError for what no text may hold."""
    if not (cell.isascii() and cell.isprintable()):
        if "\ufffd" in cell:
            raise ValueError("Some of it cannot be read in this encoding.")
        # Cells of several lines are one line everywhere but in descriptions.
        cell = "\n".join(cell.splitlines()) if keeps_lines else " ".join(cell.split())
        cell = clean_text(cell, has_lines=keeps_lines)
    cell = cell.strip()
    return "" if len(cell) < 5 and cell.lower() in EMPTY else cell
