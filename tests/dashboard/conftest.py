from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def configured(settings: Any, tmp_path: Path) -> Any:
    """Providers with keys that nobody will call; files go to the test's own folder."""
    settings.XAI_API_KEY = "xai-test"
    settings.MEDIA_ROOT = tmp_path
    return settings
