"""From points to a coloured surface that stands upright, is one long, and has its middle at the origin."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from generation.photogrammetry.steps import Failed, tell

_MAX_ERROR_PX = 1.5
_MIN_TRACK = 3
_NEIGHBOURS = 14
_MIN_POINTS = 100
_MIN_FACES = 100
# Surface further than this from any point is the mesher's fancy: so many spacings, or so much of the size.
_REACH, _REACH_OF_SIZE = 6, 0.08
_VIEWS = 3  # pictures that a vertex takes its colour from
_ROW = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
_ROW += [(name, "u1") for name in ("red", "green", "blue")]


class Cloud:
    """The well-proved points of a reconstruction, with normals and the pictures that each is seen in."""

    def __init__(self, model: Any) -> None:
        """Take them from the model, without stragglers.

        Raises: Failed.
        """
        eyes = {image_id: image.projection_center() for image_id, image in model.images.items() if image.has_pose}
        proved = [p for p in model.points3D.values() if p.error <= _MAX_ERROR_PX and p.track.length() >= _MIN_TRACK]
        if len(proved) < _MIN_POINTS:
            raise Failed("no_reconstruction", f"only {len(proved)} points are seen well")
        points = np.array([p.xyz for p in proved])
        seen_in = [[element.image_id for element in p.track.elements] for p in proved]
        towards = np.array([np.mean([eyes[i] for i in seen], axis=0) for seen in seen_in]) - points
        distances, nearest = cKDTree(points).query(points, k=_NEIGHBOURS)
        spread = distances[:, 1:8].mean(axis=1)
        near = spread <= np.percentile(spread, 97)
        around = points[nearest] - points[nearest].mean(axis=1, keepdims=True)
        normals = np.linalg.svd(around, full_matrices=False)[2][:, 2]
        normals[(normals * towards).sum(axis=1) < 0] *= -1
        self.points, self.normals = points[near], normals[near]
        self.colours = np.array([p.color for p in proved], np.uint8)[near]
        self.seen_in = [seen for seen, kept in zip(seen_in, near, strict=True) if kept]
        self.spacing = float(np.median(spread))
        low, high = np.percentile(self.points, [2, 98], axis=0)
        self.size = float(np.linalg.norm(high - low))

    def write(self, path: Path) -> None:
        """As a binary PLY, the way the mesher reads it."""
        rows: Any = np.empty(len(self.points), _ROW)
        columns = [*self.points.T, *self.normals.T, *self.colours.T]
        for (name, _), column in zip(_ROW, columns, strict=True):
            rows[name] = column
        kinds = [f"property {'uchar' if kind == 'u1' else 'float'} {name}" for name, kind in _ROW]
        head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *kinds, "end_header", ""]
        path.write_bytes("\n".join(head).encode() + rows.tobytes())


def mesh(cloud: Cloud, folder: Path, *, threads: int) -> Any:
    """The surface through the points, without what the mesher made up where there are none.

    Raises: Failed.
    """
    tell("meshing")
    oriented, meshed = folder / "oriented.ply", folder / "poisson.ply"
    cloud.write(oriented)
    options = pycolmap.PoissonMeshingOptions(depth=8 if len(cloud.points) < 60_000 else 9, num_threads=threads, trim=4)
    pycolmap.poisson_meshing(oriented, meshed, options)
    made = trimesh.load_mesh(meshed, process=False)
    far, _ = cKDTree(cloud.points).query(made.vertices)
    made.update_faces((far < max(_REACH * cloud.spacing, _REACH_OF_SIZE * cloud.size))[made.faces].all(axis=1))
    made.remove_unreferenced_vertices()
    if len(made.faces) < _MIN_FACES:
        raise Failed("no_reconstruction", f"the surface has only {len(made.faces)} faces")
    return made


def colour(made: Any, cloud: Cloud, model: Any, images: Path) -> None:
    """Give each vertex the colour it has in the pictures that see the point next to it: those surely see it too."""
    tell("texturing")
    far, nearest = cKDTree(cloud.points).query(made.vertices, k=4)
    weights = 1 / (far + 1e-9)
    plain = (cloud.colours[nearest] * weights[..., None]).sum(axis=1) / weights.sum(axis=1)[:, None]
    wanted: dict[int, list[int]] = defaultdict(list)
    for vertex, point in enumerate(nearest[:, 0]):
        for image_id in cloud.seen_in[point][:_VIEWS]:
            wanted[image_id].append(vertex)
    total, count = np.zeros((len(made.vertices), 3)), np.zeros(len(made.vertices))
    for done, (image_id, vertices) in enumerate(wanted.items()):
        tell("texturing", done / len(wanted))
        image = model.images[image_id]
        seen = np.asarray(made.vertices)[vertices]
        pixels = image.camera.img_from_cam(image.cam_from_world() * seen)
        with Image.open(images / image.name) as opened:
            picture = np.asarray(opened.convert("RGB"))
        column, row = np.floor(np.nan_to_num(pixels, nan=-1)).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
        kept = np.asarray(vertices)[inside]
        total[kept] += picture[row[inside], column[inside]]
        count[kept] += 1
    found = count > 0
    plain[found] = total[found] / count[found, None]
    made.visual = trimesh.visual.ColorVisuals(made, vertex_colors=np.clip(plain, 0, 255).astype(np.uint8))


def upright(made: Any, model: Any) -> Any:
    """The matrix that turns the model's up to +Y, as glTF wants it, its middle to the origin and its length to one.

    Nobody knows the true size or where is up: people hold cameras level on the whole, so up is the cameras' mean up.
    """
    ups = [-image.cam_from_world().rotation.matrix()[1] for image in model.images.values() if image.has_pose]
    turn = trimesh.geometry.align_vectors(np.mean(ups, axis=0), [0, 1, 0])
    corners = trimesh.transform_points(made.vertices, turn)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = 1 / float((high - low).max())
    move = np.eye(4)
    move[:3, :3] *= scale
    move[:3, 3] = -(low + high) / 2 * scale
    return move @ turn
