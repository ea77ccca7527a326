"""What the customer gets: the model in three formats, and where the pictures were taken from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from generation.photogrammetry.steps import CAMERAS, MODELS


def write(made: Any, model: Any, placed: Any, folder: Path) -> None:
    """Export with the colours of the vertices, which all three formats hold.

    Nothing is packed here: with pycolmap loaded, Python's zlib meets another zlib's symbols and dies [measured, 4.2.1].
    """
    folder.mkdir()
    for name in MODELS:
        made.export(folder / name)
    (folder / CAMERAS).write_text(json.dumps(_cameras(model, placed), indent=1))


def _cameras(model: Any, placed: Any) -> dict[str, Any]:
    """In the model's own coordinates: centre and viewing direction of each picture that could be linked."""
    turn = placed[:3, :3] / np.linalg.norm(placed[0, :3])
    shots = [
        {
            "photo": image.name,
            "position": trimesh.transform_points([image.projection_center()], placed)[0].round(6).tolist(),
            "direction": (turn @ image.viewing_direction()).round(6).tolist(),
            "focal_length_px": round(float(image.camera.mean_focal_length()), 2),
        }
        for image in sorted(model.images.values(), key=lambda image: image.name)
        if image.has_pose
    ]
    return {
        "photos": shots,
        "points": model.num_points3D(),
        "reprojection_error_px": round(float(model.compute_mean_reprojection_error()), 3),
    }
