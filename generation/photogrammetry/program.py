"""A program of its own: a folder of pictures to a model, with bounded memory and time.

Run by runs.py as `python -m generation.photogrammetry.program '{"folder": …, "threads": …}'`: the photos under
`images/<camera>/` in the folder become `results/`. Standard output says in lines of JSON where it is and how it ended.
It imports nothing of ours but this package, sees no settings and no secret, and ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from generation.photogrammetry.steps import Failed, say

_PR_SET_PDEATHSIG = 1


def bind(*, parent: int, memory_bytes: int, cpu_s: int) -> None:
    """Bound this process, and let it die with its parent."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere it ends when its next line is not read
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.nice(10)
    for what, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))


def reconstruct(folder: Path, *, threads: int) -> None:
    """All seven steps.

    Raises: Failed.
    """
    import pycolmap

    from generation.photogrammetry import results, sparse, surface

    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL.value)
    pycolmap.set_random_seed(sparse.SEED)
    database, images = folder / "features.db", folder / "images"
    usable = sparse.cameras(database, images, threads=threads)
    sparse.matches(database, usable, threads=threads)
    model = sparse.reconstruction(database, images, folder / "sparse", usable=len(usable), threads=threads)
    cloud = surface.Cloud(model)
    made = surface.mesh(cloud, folder, threads=threads)
    surface.colour(made, cloud, model, images)
    placed = surface.upright(made, model)
    made.apply_transform(placed)
    results.write(made, model, placed, folder / "results")
    say(
        photos=len(usable),
        linked=model.num_reg_images(),
        points=len(cloud.points),
        vertices=len(made.vertices),
        faces=len(made.faces),
    )


def main(options: dict[str, Any]) -> None:
    bind(parent=options["parent"], memory_bytes=options["memory_bytes"], cpu_s=options["cpu_s"])
    try:
        reconstruct(Path(options["folder"]), threads=options["threads"])
    except Failed as failure:
        say(error=failure.code, detail=failure.detail)
    except MemoryError:
        say(error="out_of_memory")
    except OSError as error:
        say(error="os_error", detail=f"{type(error).__name__}: {error.strerror or error}"[:200])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # a native library's threads must not hold up the end
