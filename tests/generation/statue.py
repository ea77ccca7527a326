"""A thing of known shape, photographed from all round: what a reconstruction is measured against.

A ball, a box and a ring on a round table, in a solid pattern; drawn by walking each pixel's ray to the surface.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

SIZE = 2.5  # across the table
_MIDDLE = np.array([0, 0, 0.45])


def distance(points: Any) -> Any:
    """How far each point is from the surface; negative inside."""
    ball = np.linalg.norm(points - [0, 0, 0.55], axis=-1) - 0.55
    beyond = np.abs(points - [0.55, 0.15, 0.3]) - [0.22, 0.3, 0.3]
    box = np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(-1), 0)
    across = np.hypot(points[..., 0], points[..., 1])
    ring = np.hypot(across - 0.62, points[..., 2] - 0.95) - 0.13
    table = np.maximum(np.abs(points[..., 2] + 0.05) - 0.05, across - SIZE / 2)
    return np.minimum(np.minimum(ball, box), np.minimum(ring, table))


def _pattern(points: Any, lattices: Any) -> Any:
    """Three octaves of noise in each channel: something to recognise at every distance."""
    channels = []
    for lattice in lattices:
        value = sum(
            share * map_coordinates(lattice, ((points + shift) * pitch).T % 63, order=1, mode="grid-wrap")
            for share, pitch, shift in ((0.45, 9, 0), (0.33, 23, 3.7), (0.22, 57, 9.1))
        )
        channels.append(np.clip((value - 0.5) * 2.6 + 0.5, 0, 1))
    return np.stack(channels, -1)


def eyes(views: int) -> Any:
    """Where the camera stands: two thirds of the way around at the height of the thing, a third looking down on it."""
    low = views * 2 // 3
    high = views - low
    turns = 2 * np.pi * np.concatenate([np.arange(low) / low, (np.arange(high) + 0.25) / high])
    is_high = np.arange(views) >= low
    across, height = np.where(is_high, 1.7, 2.2), np.where(is_high, 1.9, 1.1)
    return np.stack([across * np.cos(turns), across * np.sin(turns), height], -1)


def photograph(eye: Any, *, width: int, seed: int = 7, target: Any = _MIDDLE) -> bytes:
    """A JPEG of the thing from there, three high to four wide. Another seed is another pattern."""
    rng = np.random.default_rng(seed)
    lattices = rng.random((3, 64, 64, 64), dtype=np.float32)
    height, focal = width * 3 // 4, 1.1 * width
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    u, v = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([u / focal, v / focal, np.ones_like(u)], -1).reshape(-1, 3)
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True) @ turn
    walked = np.full(len(rays), 0.5)
    walking, arrived = np.arange(len(rays)), np.zeros(len(rays), bool)
    for _ in range(80):
        step = distance(eye + rays[walking] * walked[walking, None])
        walked[walking] += step
        arrived[walking[step < 5e-4]] = True
        walking = walking[(step >= 5e-4) & (walked[walking] < 6)]
    points = eye + rays[arrived] * walked[arrived, None]
    light = 0.55 + 0.45 * np.clip(_normals(points) @ [0.4, 0.3, 0.86], 0, 1)
    picture = np.full((len(rays), 3), 0.5)
    picture[arrived] = _pattern(points, lattices) * light[:, None]
    picture += rng.normal(0, 0.008, picture.shape)
    pixels = (np.clip(picture, 0, 1) * 255).astype(np.uint8).reshape(height, width, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


def photographs(views: int, *, width: int) -> list[bytes]:
    """The thing from all round."""
    return [photograph(eye, width=width) for eye in eyes(views)]


def strangers(views: int, *, width: int) -> list[bytes]:
    """Pictures that have nothing in common, each full of detail: another pattern, seen close, in each."""
    return [photograph(np.array([0.9, -0.9, 1.3]), width=width, seed=100 + view) for view in range(views)]


def laid_over(vertices: Any, cameras: Path, places: dict[str, Any]) -> Any:
    """A model's vertices in the true thing's coordinates.

    A model knows no scale: it is laid over the truth by where its cameras stood (`places`: photo → true place).
    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991.
    """
    shots = json.loads(cameras.read_text())["photos"]
    found = np.array([shot["position"] for shot in shots])
    true = np.array([places[shot["photo"]] for shot in shots])
    a, b = found - found.mean(0), true - true.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    scale = (s * np.diag(sign)).sum() / (a**2).sum()
    return scale * (np.asarray(vertices) - found.mean(0)) @ (u @ sign @ v).T + true.mean(0)


def deviation(vertices: Any, cameras: Path, places: dict[str, Any]) -> Any:
    """How far each vertex of a model is from the true surface, as a share of its size."""
    return np.abs(distance(laid_over(vertices, cameras, places))) / SIZE


def coverage(made: Any, cameras: Path, places: dict[str, Any]) -> float:
    """The share of the true surface, as far as a camera looks at it, that the model has something within 2 % of."""
    rng = np.random.default_rng(1)
    points = rng.uniform([-1.3, -1.3, -0.1], [1.3, 1.3, 1.3], (60_000, 3))
    for _ in range(12):
        points -= distance(points)[:, None] * _normals(points)
    points = points[(np.abs(distance(points)) < 1e-3) & (points[:, 2] > -0.005)]
    seen = np.zeros(len(points), bool)
    for eye in places.values():
        seen[~seen] = _is_open(points[~seen], eye)
    sampled = laid_over(made.sample(60_000, seed=1), cameras, places)
    near, _ = cKDTree(sampled).query(points[seen])
    return float((near < 0.02 * SIZE).mean())


def _normals(points: Any) -> Any:
    nudges = np.eye(3) * 1e-3
    slopes = np.stack([distance(points + nudge) - distance(points - nudge) for nudge in nudges], -1)
    return slopes / (np.linalg.norm(slopes, axis=-1, keepdims=True) + 1e-9)


def _is_open(points: Any, eye: Any) -> Any:
    """Whether the way from each point to the eye is free."""
    ways = eye - points
    is_free = (ways * _normals(points)).sum(-1) > 0
    for share in np.linspace(0.02, 0.9, 45):
        is_free &= distance(points + share * ways) > 0
    return is_free
