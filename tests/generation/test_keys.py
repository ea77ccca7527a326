"""Where files lie: the layout, one key for each try and each output."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from core.ids import new_id
from generation import keys
from generation.models import Generation, Kind

AT = datetime(2026, 11, 26, 2, 50, 21, tzinfo=UTC)
TOKEN = UUID(int=7)


def job(kind: Kind) -> Generation:
    return Generation(id=new_id(), user_id=new_id(), kind=kind)


def test_one_output_has_no_number_and_several_count_from_one() -> None:
    made = job(Kind.HEADSHOT)
    stem = f"content/{made.user_id}/image_{made.pk}_20261126T025021Z_{TOKEN}"

    assert keys.output(made, token=TOKEN, at=AT, ending="jpg") == f"{stem}.jpg"
    assert keys.output(made, token=TOKEN, at=AT, ending="jpg", n=2) == f"{stem}_2.jpg"
    assert keys.thumbnail(f"{stem}_2.jpg") == f"{stem}_2_thumbnail.jpg"


def test_the_face_of_an_avatar_is_named_by_the_avatar() -> None:
    made = job(Kind.AVATAR)
    made.avatar_id = new_id()

    key = keys.output(made, token=TOKEN, at=AT, ending="jpg")

    assert key == f"avatars/{made.user_id}/thumbnail_{made.avatar_id}_{TOKEN}.jpg"


def test_each_store_of_the_same_output_has_its_own_key() -> None:
    made = job(Kind.HEADSHOT)

    assert keys.output(made, token=TOKEN, at=AT, ending="jpg") != keys.output(
        made, token=UUID(int=8), at=AT, ending="jpg"
    )
