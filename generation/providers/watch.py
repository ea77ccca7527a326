"""A wire to a call that lasts: it says where it is, and can be told to stop, from another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Watch:
    """Where a long call is. Whoever waits for it reads `step` and `progress`, and may `stop` it."""

    def __init__(self) -> None:
        self.step = ""
        self.progress = 0
        self._lock = threading.Lock()
        self._is_stopped = False
        self._end: Callable[[], None] | None = None

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped

    def stop(self) -> None:
        """The call is not wanted any more. Idempotent."""
        with self._lock:
            self._is_stopped = True
            if self._end is not None:
                self._end()

    def on_stop(self, end: Callable[[], None] | None) -> None:
        """From now on `stop` calls `end`; at once, if it has been called already. None takes it back."""
        with self._lock:
            self._end = end
            if end is not None and self._is_stopped:
                end()
