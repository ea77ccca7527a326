"""The 3D model of a product: made by who puts it on the shelf, shown by our links, gone when it is taken down."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from core import files
from core.errors import Invalid
from generation import jobs, reports
from generation.models import Generation, Kind
from generation.providers import photogrammetry
from store import products
from tests import books
from tests.generation.material import fund, photo_of, run_until
from tests.generation.sculptor import Sculptor
from tests.people import api
from tests.store.material import product
from tests.stores import fetch


@pytest.fixture
def sculptor(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Sculptor:
    settings.PHOTOGRAMMETRY_ENABLED = True
    settings.PHOTOGRAMMETRY_FREE_BYTES = 0
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.RATELIMIT_ENABLE = False
    monkeypatch.setattr(photogrammetry, "missing", list)
    return Sculptor(tmp_path, monkeypatch)


def made(by: User) -> Generation:
    """A finished 3D job."""
    fund(by, 100)
    request = jobs.Request(kind=Kind.MODEL3D, photo_ids=[photo_of(by).pk for _ in range(8)])
    return run_until(jobs.create(user=by, request=request))


@pytest.mark.django_db
def test_a_product_shows_the_model_of_who_made_it_until_it_is_taken_down(
    alice: User, ops: User, support: User, sculptor: Sculptor
) -> None:
    tree = product()
    job = made(ops)

    def put(model: Any) -> Any:
        return api(ops).put(f"/api/v1/products/{tree.pk}", {"model": model}, format="json")

    def shown() -> Any:
        return api().get(f"/api/v1/products/{tree.pk}").json()["model_url"]

    assert shown() is None
    with pytest.raises(Invalid):
        products.model_file(alice, job.pk)  # hers it is not
    for refused in (str(tree.pk), "model.glb"):
        answer = put(refused)
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "model")
    tree.refresh_from_db()
    assert (tree.model, tree.model_file) == (None, None)

    link = put(str(job.pk)).json()["model_url"]
    assert fetch(link)[:2] == (200, b"make model.glb of 8")
    assert api(ops).put(f"/api/v1/products/{tree.pk}", {"name": "Elm"}, format="json").json()["model_url"]
    assert put(None).json()["model_url"] is None
    assert put(str(job.pk)).json()["model_url"]

    reports.take_down(job, actor=support, reason="It is somebody's.")
    tree.refresh_from_db()
    assert tree.model_key is None
    assert put(None).json()["model_url"] is None
    assert put(str(job.pk)).status_code == 400
    files.remove_expired()
    books.check()
