"""The picture that comes out is a headshot of the photo that went in, whatever its shape, format and size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox import portraits
from tests.scenarios.shop import Shop

pytestmark = pytest.mark.scenario


def test_each_of_ten_headshots_is_nearest_to_the_photo_that_was_uploaded(shop: Shop, tmp_path: Path) -> None:
    alice = shop.customer()
    alice.buy("package:PREMIUM")
    photos = portraits.ten(tmp_path)

    uploaded = [alice.upload(path.read_bytes()) for path in photos]
    jobs = [alice.headshot(photo) for photo in uploaded]
    ended = [alice.ended(job["id"]) for job in jobs]

    assert [(job["status"], job["charged"]) for job in ended] == [("succeeded", "settled")] * 10
    headshots = [alice.picture(job) for job in ended]
    assert all(picture.height > picture.width >= 800 for picture in headshots)
    portraits.assert_each_is_nearest_to_its_own(headshots, photos)
    assert alice.balance() == {"balance": 5, "held": 0, "frozen": 0, "available": 5, "debt": 0}
    shop.check_books()
