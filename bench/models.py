"""3D models against a thing of known shape: error, time and memory: `python -m bench.models --photos 18 --width 640`.

The thing is drawn (tests/generation/statue.py), so its true surface is known. A model knows no scale: it is laid over
the truth by where its cameras stood, then every vertex is asked for its distance to the true surface, as a share of the
thing's size. Ideal light and texture: real photos come out worse. Needs `make photogrammetry`.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("ENVIRONMENT", "test")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

GOAL_MEDIAN = 0.005
GOAL_MB = 2000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, default=18)
    arguments.add_argument("--width", type=int, default=640)
    arguments.add_argument("--keep", type=Path, help="a folder for the results")
    chosen = arguments.parse_args()
    from generation.providers import photogrammetry

    if lacking := photogrammetry.missing():
        print(f"left out: {', '.join(lacking)} is not installed here (make photogrammetry)")
        return
    folder = Path(tempfile.mkdtemp(prefix="atelier-bench-models-"))
    try:
        passed = measure(folder, photos=chosen.photos, width=chosen.width)
        if chosen.keep:
            shutil.copytree(folder / "results", chosen.keep, dirs_exist_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if passed else 1)


def measure(folder: Path, *, photos: int, width: int) -> bool:
    """Draw, reconstruct, compare; whether it is as good as we say."""
    import numpy as np
    import trimesh

    from generation.photogrammetry import runs
    from generation.providers.watch import Watch
    from tests.generation import statue

    place = folder / "images" / "camera"
    place.mkdir(parents=True)
    for position, picture in enumerate(statue.photographs(photos, width=width)):
        (place / f"{position:04}.jpg").write_bytes(picture)
    began = time.monotonic()
    said = runs.run(folder, Watch(), cpu_s=3600)
    took_s = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    made: Any = trimesh.load_mesh(folder / "results" / "model.glb", process=False)
    places = {f"camera/{n:04}.jpg": eye for n, eye in enumerate(statue.eyes(photos))}
    errors = statue.deviation(made.vertices, folder / "results" / "cameras.json", places)
    covered = statue.coverage(made, folder / "results" / "cameras.json", places)
    median, worst = float(np.median(errors)), float(np.percentile(errors, 95))
    print(f"{photos} photos of {width} by {width * 3 // 4}: {said['linked']} linked, {said['points']} points, ", end="")
    print(f"{said['vertices']} vertices, {said['faces']} faces")
    print(f"error of the surface, of the size: median {median:.3%}, 95 % within {worst:.3%}; covered {covered:.0%}")
    print(f"{took_s:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU, {used.ru_maxrss >> 10} MB at most")
    is_good = median < GOAL_MEDIAN and used.ru_maxrss >> 10 < GOAL_MB
    print(f"goal: median below {GOAL_MEDIAN:.1%}, memory below {GOAL_MB} MB: {'met' if is_good else 'MISSED'}")
    return is_good


if __name__ == "__main__":
    main()
