"""On the PYTHONPATH of a process whose clock shall be wrong: Python's wall clock is CLOCK_SKEW_S ahead there.

Python reads this before anything else, so every module that asks for the time asks the wrong clock. Time that only
measures how long something takes (`time.monotonic`) stays right, as on a machine whose clock was set badly.
"""

from __future__ import annotations

import copyreg
import datetime
import os
import time
from typing import Any

SKEW_S = float(os.environ.get("CLOCK_SKEW_S", "0"))
SKEW = datetime.timedelta(seconds=SKEW_S)

_right = datetime.datetime
_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime


class _Instances(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _right)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _right)


class _Wrong(_right, metaclass=_Instances):
    """What it makes are ordinary datetimes; only its idea of now is wrong."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _right(*args, **kwargs)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _right.now(tz) + SKEW

    @classmethod
    def utcnow(cls) -> Any:
        return _right.now(datetime.UTC).replace(tzinfo=None) + SKEW

    @classmethod
    def today(cls) -> Any:
        return _right.now() + SKEW


if SKEW_S:
    _Wrong.__name__ = _Wrong.__qualname__ = "datetime"
    _Wrong.__module__ = "datetime"
    datetime.datetime = _Wrong  # type: ignore[misc]
    copyreg.pickle(_right, lambda moment: (_Wrong, moment.__reduce_ex__(2)[1]))  # by the name that now leads here
    time.time = lambda: _time() + SKEW_S
    time.time_ns = lambda: _time_ns() + int(SKEW_S * 10**9)
    time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
    time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
