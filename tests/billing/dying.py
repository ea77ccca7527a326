"""Dying by SIGKILL at a named point, in a child of this process: it begins at once and has all that is loaded here."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connections


def die_at(point: str, act: Callable[[], Any]) -> None:
    """Run the act in a child with the point armed.

    Raises: AssertionError when it does not die there. Needs a test whose rows are committed.
    """
    connections.close_all()  # a child that dies must not share them
    child = os.fork()
    if child == 0:
        try:
            settings.KILL_POINT = point
            act()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    assert os.WIFSIGNALED(status), f"nobody died at {point}"
    assert os.WTERMSIG(status) == signal.SIGKILL
