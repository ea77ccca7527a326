"""The real program on pictures of a thing of known shape, and on pictures of nothing in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from billing import ledger
from config.embedded import commands
from core import storage
from generation import jobs
from generation.models import Asset, Generation, Kind, State
from generation.photogrammetry import meshes, runs
from generation.providers import photogrammetry
from generation.providers.watch import Watch
from tests import books
from tests.generation.material import fund, photo_of, until
from tests.people import make_user
from tests.skips import LACKS_PHOTOGRAMMETRY

pytestmark = [
    pytest.mark.skipif(bool(photogrammetry.missing()), reason=LACKS_PHOTOGRAMMETRY),
    pytest.mark.timeout(900),  # a quarter of a minute of arithmetic, on a machine that may do much else
]

ROOT = Path(__file__).resolve().parents[2]
VIEWS, WIDTH = 16, 480


@pytest.mark.django_db(transaction=True)
def test_a_worker_makes_the_model_of_a_known_thing(
    settings: Any, tmp_path: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    import trimesh

    from tests.generation import statue

    settings.PHOTOGRAMMETRY_ENABLED = True
    alice = make_user()
    fund(alice, 100)
    photos = [photo_of(alice, picture) for picture in statue.photographs(VIEWS, width=WIDTH)]
    job = jobs.create(user=alice, request=jobs.Request(kind=Kind.MODEL3D, photo_ids=[photo.pk for photo in photos]))
    own = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "ENVIRONMENT": "test",
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "PHOTOGRAMMETRY_DIR": str(tmp_path / "workshop"),
        "PHOTOGRAMMETRY_FREE_BYTES": "0",
    }
    worker = subprocess.Popen(commands.worker(["bulk"], concurrency=2), cwd=ROOT, env=os.environ | own)
    try:
        steps = _follow(job)
    finally:
        worker.terminate()
        worker.wait(60)

    assert job.state == State.SUCCEEDED, (job.error_code, job.attempts.values())
    assert {"feature_matching", "structure_from_motion"} & steps
    outputs = list(Asset.objects.filter(generation=job).select_related("file", "thumbnail").order_by("position"))
    types = ["application/zip", "model/gltf-binary", "model/obj", "model/ply"]
    assert [output.content_type for output in outputs] == types
    with zipfile.ZipFile(storage.open(outputs[0].file.key)) as packed:  # type: ignore[union-attr]
        assert packed.testzip() is None
        assert packed.namelist() == ["model.glb", "model.obj", "model.ply", "cameras.json"]
        packed.extractall(tmp_path / "results")
    made = {
        form: trimesh.load_mesh(tmp_path / "results" / f"model.{form}", process=False) for form in ("glb", "obj", "ply")
    }
    for form, output in zip(("glb", "obj", "ply"), outputs[1:], strict=True):
        assert storage.open(output.file.key).read() == (tmp_path / "results" / f"model.{form}").read_bytes()  # type: ignore[union-attr]
        assert len(made[form].faces) == len(made["glb"].faces) > 1000
        assert np.allclose(made[form].bounds, made["glb"].bounds, atol=1e-4)
        colours = made[form].visual.vertex_colors[:, :3]
        assert colours.std() > 20  # it is not grey
    assert np.isclose(max(made["glb"].extents), 1)
    answer = Generation.objects.get(pk=job.pk).attempts.get().answer
    assert answer["photos"] == VIEWS
    assert answer["linked"] >= VIEWS * 3 // 4
    names = sorted(shot["photo"] for shot in _cameras(tmp_path))
    places = {f"{names[0].split('/')[0]}/{n:04}.jpg": eye for n, eye in enumerate(statue.eyes(VIEWS))}
    errors = statue.deviation(made["glb"].vertices, tmp_path / "results" / "cameras.json", places)
    assert np.median(errors) < 0.005
    assert statue.coverage(made["glb"], tmp_path / "results" / "cameras.json", places) > 0.3
    assert ledger.balance(alice.pk).balance == 65
    assert list((tmp_path / "workshop").iterdir()) == [tmp_path / "workshop" / "turn"]
    books.check()


def _cameras(tmp_path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((tmp_path / "results" / "cameras.json").read_text())["photos"]
    return found


def _follow(job: Generation) -> set[str]:
    steps: set[str] = set()

    def has_ended() -> bool:
        job.refresh_from_db()
        steps.add(job.step)
        return not job.is_open

    until(has_ended, "the model is made", within_s=800)
    return steps


def lay_out(folder: Path, pictures: list[bytes]) -> Path:
    place = folder / "images" / "camera"
    place.mkdir(parents=True)
    for position, picture in enumerate(pictures):
        (place / f"{position:04}.jpg").write_bytes(picture)
    return folder


def test_pictures_of_nothing_in_common_make_none(tmp_path: Path, settings: Any) -> None:
    from tests.generation import statue

    with pytest.raises(runs.Refused) as refusal:
        runs.run(lay_out(tmp_path, statue.strangers(16, width=240)), Watch(), cpu_s=300)

    assert refusal.value.code == "no_reconstruction"
    assert not (tmp_path / "results").exists()


def test_blank_pictures_are_not_counted(tmp_path: Path, settings: Any) -> None:
    from PIL import Image

    from tests.generation import statue
    from tests.generation.material import encoded

    blank = encoded(Image.new("RGB", (240, 180), "grey"), "JPEG")
    with pytest.raises(runs.Refused) as refusal:
        runs.run(lay_out(tmp_path, [*statue.photographs(7, width=240), *[blank] * 5]), Watch(), cpu_s=300)

    assert refusal.value.code == "too_few_photos"
    assert "7 of 12" in str(refusal.value)


def test_bounded_memory_is_a_death(tmp_path: Path, settings: Any) -> None:
    from tests.generation import statue

    settings.PHOTOGRAMMETRY_MEMORY_BYTES = 300 << 20

    with pytest.raises(runs.Died):
        runs.run(lay_out(tmp_path, [statue.photograph(eye, width=240) for eye in statue.eyes(8)]), Watch(), cpu_s=300)


def test_a_stop_before_and_while_it_runs(tmp_path: Path, settings: Any) -> None:
    watch = Watch()
    watch.stop()

    with pytest.raises(runs.Stopped):
        runs.run(lay_out(tmp_path, []), watch, cpu_s=300)


@pytest.mark.parametrize(
    "content", [b"", b"glTF\2\0\0\0", b"ply\nformat ascii 1.0\n", b"PK\3\4", b"v 0 0 0\n", b"<html>"]
)
def test_what_is_no_model_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)

    with (tmp_path / "file").open("rb") as file, pytest.raises(meshes.Broken):
        meshes.inspect(file)


def test_many_photos_are_compared_with_those_that_look_alike(tmp_path: Path) -> None:
    """Pictures of two things: few pairs lead from one to the other, although both are of the same kind of pattern."""
    program = """
import json, pathlib, sys
from generation.photogrammetry import pairs, sparse, steps
steps.say = lambda **words: None
folder = pathlib.Path(sys.argv[1])
usable = sparse.cameras(folder / "features.db", folder / "images", threads=2)
pairs._ALL_UP_TO, pairs._NEIGHBOURS = 4, 3
print(json.dumps(pairs.choose(folder / "features.db", sorted(usable))))
"""
    from tests.generation import statue

    one = [statue.photograph(eye, width=240) for eye in statue.eyes(24)[:6]]
    other = [statue.photograph(eye, width=240, seed=99) for eye in statue.eyes(24)[:6]]
    lay_out(tmp_path, one + other)

    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    pairs = [(int(a[-8:-4]), int(b[-8:-4])) for a, b in json.loads(ran.stdout)]
    across = [(a, b) for a, b in pairs if (a < 6) != (b < 6)]
    assert len(across) < len(pairs) / 4  # six in eleven by chance
    assert {(a, a + 1) for a in range(11)} <= set(pairs)
    assert len(pairs) < 12 * 11 // 2
