"""The reasons for which tests may be skipped."""

from __future__ import annotations

LACKS_PHOTOGRAMMETRY = "3D models are not installed here: make photogrammetry"
AGREED = (LACKS_PHOTOGRAMMETRY,)
