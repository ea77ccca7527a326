"""From pictures to cameras and points: features, pairs, matches, and where each picture was taken from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pycolmap

from generation.photogrammetry import pairs
from generation.photogrammetry.steps import MIN_PHOTOS, Failed, tell

SEED = 7
# A picture with fewer features shows nothing that could be found again in another.
_MIN_FEATURES = 64
# Fewer cameras or points than this make no surface.
_MIN_CAMERAS = 5
_MIN_POINTS = 200
_MOST = 0.8  # of the pictures: with so many linked no other try is made
_INLIERS = (30, 20, 12)  # points that a picture must share with the model to be linked, try by try
# The feature pyramid doubles each side: 2000 pixels take half a gigabyte in each thread.
_MAX_SIDE = 2000
_MANY = 60  # photos; from here on fewer features each, since every pair costs the product of two


def cameras(database: Path, images: Path, *, threads: int) -> list[str]:
    """Find the features of every picture; those of one folder share a camera. Returns the names of the usable ones.

    Raises: Failed.
    """
    tell("camera_init")
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sorted(images.rglob("*.jpg")):
        folders[path.parent.name].append(path.relative_to(images).as_posix())
    total = sum(map(len, folders.values()))
    options = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False, max_image_size=_MAX_SIDE)
    options.sift.peak_threshold = 0.002  # a third of the usual: fainter detail too; a fifth more points [measured]
    options.sift.max_num_features = 8192 if total <= _MANY else 4096
    done = 0
    for names in folders.values():
        reader = pycolmap.ImageReaderOptions()
        for some in _chunks(names, 4 * threads):
            tell("feature_extraction", done / total)
            pycolmap.extract_features(
                database,
                images,
                image_names=some,
                camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
            done += len(some)
            if reader.existing_camera_id < 0:
                reader.existing_camera_id = _camera_of(database, some)
    with pycolmap.Database.open(database) as opened:
        usable = [
            image.name
            for image in opened.read_all_images()
            if opened.num_keypoints_for_image(image.image_id) >= _MIN_FEATURES
        ]
    if len(usable) < MIN_PHOTOS:
        raise Failed("too_few_photos", f"{len(usable)} of {total} show enough detail")
    return usable


def _camera_of(database: Path, names: Sequence[str]) -> int:
    """The camera of the first of these pictures that could be read; -1 when none could."""
    with pycolmap.Database.open(database) as opened:
        known = {image.name: image.camera_id for image in opened.read_all_images()}
    return next((int(known[name]) for name in names if name in known), -1)


def matches(database: Path, usable: Sequence[str], *, threads: int) -> None:
    """Match the features of every pair that is worth it."""
    tell("image_matching")
    chosen = pairs.choose(database, usable)
    options = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False)
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = database.with_suffix(".pairs")
    done = 0
    for some in _chunks(chosen, max(50, len(chosen) // 40)):
        tell("feature_matching", done / len(chosen))
        pairing.match_list_path.write_text("".join(f"{one} {other}\n" for one, other in some))
        pycolmap.match_image_pairs(
            database, matching_options=options, pairing_options=pairing, device=pycolmap.Device.cpu
        )
        done += len(some)


def reconstruction(database: Path, images: Path, folder: Path, *, usable: int, threads: int) -> Any:
    """Where each picture was taken from, and the points they share: the largest model that holds together.

    It grows from one pair of pictures, and a bad pair grows to nothing: with few photos that is chance, so it is tried
    again, content with less, until most pictures are linked.
    Raises: Failed.
    """
    best = None
    for attempt, inliers in enumerate(_INLIERS):
        tell("structure_from_motion")
        place = folder / str(attempt)
        place.mkdir(parents=True)
        found = _grow(database, images, place, usable=usable, threads=threads, seed=SEED + attempt, inliers=inliers)
        best = max((best, *found), key=lambda model: model.num_reg_images() if model else 0)
        if best is not None and best.num_reg_images() >= _MOST * usable:
            break
    if best is None or best.num_reg_images() < _MIN_CAMERAS or best.num_points3D() < _MIN_POINTS:
        linked = best.num_reg_images() if best else 0
        raise Failed("no_reconstruction", f"{linked} of {usable} photos could be linked")
    return best


def _grow(
    database: Path, images: Path, folder: Path, *, usable: int, threads: int, seed: int, inliers: int
) -> list[Any]:
    options = pycolmap.IncrementalPipelineOptions(num_threads=threads, min_model_size=_MIN_CAMERAS, random_seed=seed)
    options.max_num_models = 5
    options.mapper.abs_pose_min_num_inliers = inliers
    registered = 0

    def count() -> None:
        nonlocal registered
        registered += 1
        tell("structure_from_motion", registered / usable)

    found = pycolmap.incremental_mapping(database, images, folder, options=options, next_image_callback=count)
    return list(found.values())


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
