"""A program of its own: open a model or an archive of ours to its last triangle, and draw it.

Run by meshes.py as `python -I inspector.py '{"memory_bytes": …, "cpu_s": …}'`, the file being standard input. One line
of JSON goes to standard error, a JPEG of what the model looks like to standard output.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import zipfile
from typing import Any

_SIDE = 512
_SAMPLES = 400_000
_BACKGROUND = 242


class Refused(Exception):
    """It is not what we make."""


def sniff(head: bytes) -> tuple[str, str]:
    """Content type, and trimesh's name of the format.

    Source: glTF 2.0 § 4.4.2 (binary header); PLY and ZIP by their magic words; an OBJ has none.
    """
    if head[:4] == b"glTF":
        return "model/gltf-binary", "glb"
    if head[:4] == b"ply\n":
        return "model/ply", "ply"
    if head[:4] == b"PK\x03\x04":
        return "application/zip", "zip"
    with contextlib.suppress(UnicodeDecodeError):
        if any(line.startswith("v ") for line in head.decode("ascii").splitlines()):
            return "model/obj", "obj"
    raise Refused("it is none of our formats")


def open_model(file: Any, form: str) -> Any:
    """The one mesh in it."""
    import numpy as np
    import trimesh

    made = trimesh.load_mesh(file, file_type=form, process=False)
    if not isinstance(made, trimesh.Trimesh) or not len(made.faces):
        raise Refused("there is no surface in it")
    if not np.isfinite(made.vertices).all() or made.faces.max() >= len(made.vertices):
        raise Refused("its surface is broken")
    return made


def draw(made: Any) -> bytes:
    """The model from the front and a little above: many points of its surface, the nearest on top."""
    import numpy as np
    import trimesh
    from PIL import Image

    points, faces = trimesh.sample.sample_surface(made, _SAMPLES, seed=7)
    colours = made.visual.face_colors[faces][:, :3].astype(float)
    facing = np.abs(made.face_normals[faces] @ [0.3, 0.85, 0.42])
    middle, size = made.bounds.mean(axis=0), float(np.linalg.norm(made.extents)) or 1.0
    view = trimesh.transformations.euler_matrix(np.radians(35), np.radians(-30), 0)[:3, :3]
    seen = (points - middle) @ view.T / size
    column = ((seen[:, 0] * 0.95 + 0.5) * (_SIDE - 1)).astype(int)
    row = ((0.5 - seen[:, 1] * 0.95) * (_SIDE - 1)).astype(int)
    order = np.argsort(seen[:, 2])
    picture: Any = np.full((_SIDE, _SIDE, 3), _BACKGROUND, np.uint8)
    picture[row[order], column[order]] = (colours * (0.7 + 0.3 * facing[:, None]))[order].astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return file.getvalue()


def main(options: dict[str, Any]) -> dict[str, Any]:
    for what, value in ((resource.RLIMIT_AS, options["memory_bytes"]), (resource.RLIMIT_CPU, options["cpu_s"])):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))
    with os.fdopen(0, "rb") as source:
        content_type, form = sniff(source.read(65_536))
        source.seek(0)
        if form == "zip":
            with zipfile.ZipFile(source) as packed:
                if (broken := packed.testzip()) is not None:
                    raise Refused(f"{broken} is broken")
                return {"content_type": content_type, "files": packed.namelist()}
        made = open_model(io.BytesIO(source.read()), form)  # trimesh stumbles over a file whose name is a number
    with os.fdopen(1, "wb") as target:
        target.write(draw(made))
    return {"content_type": content_type, "vertices": len(made.vertices), "faces": len(made.faces)}


if __name__ == "__main__":
    try:
        report = main(json.loads(sys.argv[1]))
    except Refused as refusal:
        report = {"error": str(refusal)}
    except Exception as error:  # trimesh raises whatever a broken file makes it raise
        report = {"error": f"{type(error).__name__}: {error}"[:200]}
    sys.stderr.write("\n" + json.dumps(report) + "\n")
