"""Importing catalogues: what is read from them, what is left out and why, and taking it back."""

from __future__ import annotations

import resource
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from audit.models import AuditLog
from core.errors import Conflict, Invalid
from tests.wearables.given import HEADER, THREE, item, load, names, put
from wearables import imports
from wearables.models import Former, Import, Selection, Wearable

pytestmark = pytest.mark.django_db


def errors(made: Import) -> dict[int, str]:
    return {told["line"]: told["reason"] for told in made.report["errors"]}


def test_three_columns_are_enough(tmp_path: Path) -> None:
    made = load(tmp_path, THREE)

    assert imports.Report(**made.report).figures == {
        "rows": 3, "new": 3, "changed": 0, "same": 0, "bad": 0, "repeated": 0,
    }  # fmt: skip
    polo = item("W00001")
    assert (polo.category, polo.subcategory, polo.name, polo.style) == (
        "Tops",
        "Shirts",
        "Striped Polo Shirt",
        "Classic",
    )
    assert (polo.color, polo.material, polo.season, polo.occasion, polo.size, polo.fit) == (
        "Multi-Color", "Cotton", "All Season", "Everyday", "ONE_SIZE", "REGULAR",
    )  # fmt: skip
    assert (polo.tags, polo.has_image, polo.is_active, polo.sort_order) == (["tops", "classic"], False, True, 0)
    assert item("W00003").material == "Denim"
    assert AuditLog.objects.get(action="wearable.imported").new["new"] == 3


def test_again_changes_nothing(tmp_path: Path) -> None:
    load(tmp_path, THREE)
    before = list(Wearable.objects.order_by("code").values())

    made = load(tmp_path, THREE)

    assert (made.report["new"], made.report["changed"], made.report["same"]) == (0, 0, 3)
    assert list(Wearable.objects.order_by("code").values()) == before


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = [HEADER.split(","), ["W1", "Kleidung", "Grüne Schürze — groß"], ["W2", "衣装", "赤いドレス 👗"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)

    made = load(tmp_path, text, encoding)

    assert names() == {"W1": "Grüne Schürze — groß", "W2": "赤いドレス 👗"}
    assert made.report["delimiter"] == delimiter


def test_cp1252_and_a_named_encoding(tmp_path: Path) -> None:
    load(tmp_path, f"{HEADER}\nW1,Tops,Crème café “soft” €\n", "cp1252")
    load(tmp_path, f"{HEADER}\nW2,Tops,赤いドレス\n", written="shift_jis", encoding="shift_jis")

    assert names() == {"W1": "Crème café “soft” €", "W2": "赤いドレス"}
    with pytest.raises(Invalid, match="no encoding"):
        load(tmp_path, THREE, written="utf-8", encoding="nonsense")


def test_one_broken_row_does_not_change_the_encoding_of_the_others(tmp_path: Path) -> None:
    content = f"{HEADER}\nW1,Tops,Grüne Schürze\nW2,Tops,caf".encode() + b"\xe9\nW3,Tops,Tee\n"

    made = load(tmp_path, content)

    assert names() == {"W1": "Grüne Schürze", "W3": "Tee"}
    assert errors(made) == {3: "Some of it cannot be read in this encoding."}


def test_quotes_lines_and_blanks(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        'sep=;\n\n  item ID ; CATEGORY;"Wearable\nItem";Description;Colour\n'
        '"W1";" Tops ";"The ""Best""\nTee; really";"One\r\nTwo";NA\n\n;;;;\nW2;Tops;5" heels;;null\nW3;Tops;Tee\n',
    )

    assert names() == {"W1": 'The "Best" Tee; really', "W2": '5" heels', "W3": "Tee"}
    assert (item("W1").description, item("W1").category, item("W2").color) == ("One\nTwo", "Tops", "Multi-Color")
    assert errors(made) == {}


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    made = load(
        tmp_path, f'{HEADER}\nW1,Tops,"two\nlines"\n,Tops,Nameless\n\nW3,,No category\nW4,Tops,\nW5,To"ps,a,b\n'
    )

    assert errors(made) == {
        4: "The code is missing.",
        6: "The category is missing.",
        7: "The name is missing.",
        8: "It has 4 cells, the header 3: is there a delimiter in a text?",
    }
    assert names() == {"W1": "two lines"}
    assert (made.report["rows"], made.report["bad"]) == (5, 4)


def test_the_last_of_two_wins_and_is_told(tmp_path: Path) -> None:
    made = load(tmp_path, f"{HEADER}\nW1,Tops,First\nW2,Tops,Other\nW1,Tops,Second\nW1,Tops,Third\n")

    assert names() == {"W1": "Third", "W2": "Other"}
    assert sorted((told["line"], told["won"]) for told in made.report["duplicates"]) == [(2, 5), (4, 5)]
    assert made.report["repeated"] == 2


def test_columns_missing_twice_and_beyond(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"missing: name \(wearable item or name\)"):
        load(tmp_path, "ID,Category,Price\nW1,Tops,3\n")
    with pytest.raises(Invalid, match="Two columns are the name: Name and Title"):
        load(tmp_path, "ID,Category,Name,Title\n")
    made = load(tmp_path, "Price,sub_category,ID,Category,Name,Vendor\n3,Polos,W1,Tops,Tee,Acme\n")
    assert made.report["ignored"] == ["Price", "Vendor"]
    assert item("W1").subcategory == "Polos"
    assert Import.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\r\n \n", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), "JPEG"),
        (b"PK\x03\x04" + bytes(range(256)), "ZIP archive or an Excel"),
        (b'[{"id": 1}]', "required column"),
        (b"<html>", "HTML"),
        (b"\x7fELF" + bytes(4000), "."),
        (b"\0" * 5000, "empty"),
        (b"just words\nand more of them\n", "required column"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        load(tmp_path, content)
    assert not Wearable.objects.exists()


def test_a_header_alone_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert load(tmp_path, HEADER).report["rows"] == 0


def test_hostile_cells(tmp_path: Path) -> None:
    long = "x" * 9000
    made = load(
        tmp_path,
        f"{HEADER},Image,Tags,Active,Order\n"
        "W1,Tops,=cmd|'/c calc'!A1\n"
        "W2,Tops,nul\0nul\n"
        "W3,Tops,turned\u202eround\n"
        f"W4,Tops,{long}\n"
        f"W5,Tops,Tee,javascript:alert(1)\n"
        f"W6,Tops,Tee,,{'t' * 41}\n"
        "W7,Tops,Tee,,,perhaps\n"
        "W8,Tops,Tee,,,,-1\n"
        "W9,Tops,Tee,https://example.com/a.png,Blue; blue | RED,no,7\n"
        f"{'W' * 41},Tops,Tee\n",
    )

    assert errors(made) == {
        3: "Control characters are not allowed.",
        4: "Characters that reorder the text around them are not allowed.",
        5: "The name is longer than 200 characters.",
        6: "The image is no http address.",
        7: "A tag is longer than 40 characters.",
        8: "Active is neither yes nor no.",
        9: "The order is not a whole number.",
        11: "The code is longer than 40 characters.",
    }
    assert item("W1").name == "=cmd|'/c calc'!A1"
    nine = item("W9")
    assert (nine.tags, nine.is_active, nine.sort_order, nine.has_image) == (["blue", "red"], False, 7, True)


def test_a_quote_that_does_not_close_takes_few_lines_with_it(tmp_path: Path) -> None:
    rows = "".join(f"W{n},Tops,Tee {n}\n" for n in range(2000))
    made = load(tmp_path, f'{HEADER}\nA1,Tops,"open\n{rows}')

    assert len(made.report["errors"]) == 1
    (told,) = made.report["errors"]
    assert told["line"] == 2
    assert "a quote does not close" in told["reason"]
    last = int(told["reason"].split(" to ")[1].split()[0])
    assert Wearable.objects.count() == 2002 - last
    assert last < 800


def test_a_line_of_ten_megabytes_is_passed_over(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = load(tmp_path, f"{HEADER}\nW1,Tops,Tee\nW2,Tops,{'x' * 10_000_000}\nW3,Tops,Tee\n")

    assert names() == {"W1": "Tee", "W3": "Tee"}
    assert errors(made) == {3: "The line is longer than 200000 characters."}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_what_a_file_leaves_out_stays(tmp_path: Path) -> None:
    load(tmp_path, THREE)
    Wearable.objects.filter(code="W00001").update(style="House", image_url="https://example.com/a.png", is_active=False)

    made = load(tmp_path, f"{HEADER},Color\nW00001,Tops,Striped Polo Shirt,Red\n")

    assert (made.report["new"], made.report["changed"], made.report["same"]) == (0, 1, 0)
    assert made.report["differences"] == [
        {"code": "W00001", "name": "Striped Polo Shirt", "changed": {"color": ["Multi-Color", "Red"]}}
    ]
    polo = item("W00001")
    assert (polo.style, polo.color, polo.is_active, polo.has_image) == ("House", "Red", False, True)
    assert len(names()) == 3
    load(tmp_path, f"{HEADER}\nW00001,Tops,Silk Blouse\n")
    assert (item("W00001").style, item("W00001").material) == ("Modern", "Silk")


def test_rolling_back_restores_and_switches_off(tmp_path: Path, alice: Any) -> None:
    load(tmp_path, THREE)
    before = list(Wearable.objects.order_by("code").values("code", "name", "tags", "is_active", "sort_order", "style"))
    Selection.objects.create(user=alice, wearable=item("W00001"))
    made = load(tmp_path, f"{HEADER},Order\nW00001,Tops,Green Hoodie,3\nW00002,Tops,Anime Logo Tee,9\nW9,Tops,Tee,1\n")
    Wearable.objects.filter(code="W00002").update(name="Edited since", updated_at="2030-01-01T00:00:00Z")
    assert Former.objects.count() == 2

    done = imports.roll_back(import_id=made.pk)

    assert done == {"restored": 1, "edited_since": 1, "switched_off": 1}
    now = list(Wearable.objects.order_by("code").values("code", "name", "tags", "is_active", "sort_order", "style"))
    assert [now[0], now[2]] == [before[0], before[2]]
    assert (now[1]["name"], item("W9").is_active) == ("Edited since", False)
    assert Selection.objects.filter(user=alice).count() == 1
    assert imports.roll_back(import_id=made.pk) == {"restored": 0, "edited_since": 0, "switched_off": 0}

    again = load(tmp_path, f"{HEADER}\nW9,Tops,Tee\n")
    assert (again.report["changed"], item("W9").is_active) == (1, True)


def test_only_the_last_import_is_rolled_back(tmp_path: Path) -> None:
    first = load(tmp_path, THREE)
    second = load(tmp_path, f"{HEADER}\nW00001,Tops,Other\n")

    with pytest.raises(Conflict, match="roll that back first"):
        imports.roll_back(import_id=first.pk)
    imports.roll_back(import_id=second.pk)
    imports.roll_back(import_id=first.pk)

    assert set(Wearable.objects.values_list("is_active", "name")) == {
        (False, "Striped Polo Shirt"), (False, "Anime Logo Tee"), (False, "Distressed Jeans"),
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_refused_and_a_broken_one_leaves_nothing(tmp_path: Path) -> None:
    import threading

    said: list[str] = []

    def other() -> None:
        try:
            load(tmp_path, THREE)
        except Conflict as error:
            said.append(error.message)
        finally:
            connection.close()

    with transaction.atomic():
        imports._lock()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert said == ["Another import is running; try again when it has ended."]

    def die(position: int) -> None:
        raise KeyboardInterrupt

    many = "".join(f"W{n},Tops,Tee {n}\n" for n in range(6000))
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, f"{HEADER}\n{many}", told=die)
    assert (Wearable.objects.count(), Import.objects.count()) == (0, 0)


# --- The command ----------------------------------------------------------------------------------------------------


def said(*arguments: str) -> str:
    to = StringIO()
    call_command("import_wearables", *arguments, stdout=to)
    return to.getvalue()


def test_the_command(tmp_path: Path) -> None:
    path = put(tmp_path, f"{THREE},Tops,Nameless\nW00003,Bottoms,Slim Jeans\n")
    left_out = tmp_path / "errors.csv"

    told = said(str(path), "--dry-run")
    assert "5 rows, 3 new, 0 changed, 0 same, 1 bad, 1 repeated" in told
    assert "line 5: The code is missing." in told
    assert "Nothing was changed" in told
    assert not Wearable.objects.exists()
    told = said(str(path), "--errors", str(left_out))
    assert item("W00003").name == "Slim Jeans"
    assert left_out.read_text().splitlines() == [
        "line,id,reason", "5,,The code is missing.",
        "4,W00003,\"The same ID stands again in line 6, which counts.\"",
    ]  # fmt: skip
    made = told.strip().rpartition(" ")[2]
    assert said("--rollback", made).strip() == "0 restored, 0 edited since, 3 switched off"
    for wrong in (
        [],
        [str(path), "--rollback", made],
        ["--rollback", "x"],
        [str(tmp_path / "none.csv")],
        [str(tmp_path)],
    ):
        with pytest.raises(CommandError):
            said(*wrong)


def test_backslashes_tabs_and_quotes_arrive_as_they_were(tmp_path: Path) -> None:
    load(
        tmp_path,
        'ID,Category,Name,Description,Tags\nW1,Tops,C:\\new\\N,"a\tb\\\nc\\.","x""y,back\\slash"\nW2,Tops,\\N,\\.,{}\n',
    )

    first, second = item("W1"), item("W2")
    assert (first.name, first.description, first.tags) == ("C:\\new\\N", "a\tb\\\nc\\.", ['x"y', "back\\slash"])
    assert (second.name, second.description, second.tags) == ("\\N", "\\.", ["{}"])
