"""Which pictures are compared with which: all with all while they are few, then each with those that look alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from scipy.cluster.vq import kmeans2, vq

_ALL_UP_TO = 60  # photos
_NEIGHBOURS = 24
_WORDS = 64
_SAMPLE = 400  # features of each picture that the vocabulary is learnt from


def choose(database: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs to match. Photos in a row are always compared: people walk around things."""
    if len(names) <= _ALL_UP_TO:
        return list(combinations(names, 2))
    alike = signatures(database, names)
    likeness = alike @ alike.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = np.argsort(-likeness, axis=1)[:, :_NEIGHBOURS]
    chosen = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row}
    chosen |= set(pairwise(range(len(names)))) | set(zip(range(len(names)), range(2, len(names)), strict=False))
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def signatures(database: Path, names: Sequence[str]) -> Any:
    """A unit vector for each picture, near to those of pictures of the same things.

    Source: Jégou et al., Aggregating local descriptors into a compact image representation (VLAD), CVPR 2010.
    """
    rng = np.random.default_rng(7)
    with pycolmap.Database.open(database) as opened:
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        features = [np.asarray(opened.read_descriptors(ids[name]).data, np.float32) for name in names]
    sample = np.concatenate([rows[rng.permutation(len(rows))[:_SAMPLE]] for rows in features])
    words, _ = kmeans2(sample, _WORDS, iter=10, minit="++", seed=7)
    return np.stack([_signature(rows, words) for rows in features])


def _signature(rows: Any, words: Any) -> Any:
    nearest, _ = vq(rows, words)
    sums = np.zeros_like(words)
    np.add.at(sums, nearest, rows - words[nearest])
    sums /= np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9
    flat = sums.ravel()
    return flat / (np.linalg.norm(flat) + 1e-9)
