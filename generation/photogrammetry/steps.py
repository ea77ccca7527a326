"""The seven steps of a reconstruction, what each is of the whole, and how the program says where it is."""

from __future__ import annotations

import json
import sys
from typing import Any

# step: the percentage at which it begins. Shares as measured with 20 photos; matching grows with their square.
STEPS: dict[str, int] = {
    "camera_init": 0,
    "feature_extraction": 2,
    "image_matching": 30,
    "feature_matching": 32,
    "structure_from_motion": 60,
    "meshing": 90,
    "texturing": 95,
}
MIN_PHOTOS = 8
MODELS = ("model.glb", "model.obj", "model.ply")
CAMERAS = "cameras.json"


class Failed(Exception):
    """Nothing can come of these photos. `code` is a failure code of ours, `detail` says more to staff."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def tell(step: str, done: float = 0.0) -> None:
    """Say on standard output how far it is: `done` is the share of this step, 0 to 1."""
    begins = STEPS[step]
    ends = min((start for start in STEPS.values() if start > begins), default=100)
    say(step=step, progress=int(begins + (ends - begins) * min(max(done, 0.0), 1.0)))


def say(**words: Any) -> None:
    """One line of JSON for the process that started this one."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()
