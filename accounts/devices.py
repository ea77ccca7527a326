"""A readable name for what sends a user agent: enough to recognise one's own devices in a list."""

from __future__ import annotations

import re

# The first that matches: nearly every browser claims to be several others as well.
_BROWSERS = (
    (r"Edg(e|A|iOS)?/", "Edge"),
    (r"OPR/|OPiOS/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"YaBrowser/", "Yandex Browser"),
    (r"Vivaldi/", "Vivaldi"),
    (r"DuckDuckGo/|Ddg/", "DuckDuckGo"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"CriOS/|Chrome/|Chromium/", "Chrome"),
    (r"Version/\S+ (Mobile/\S+ )?Safari/", "Safari"),
)
_SYSTEMS = (
    (r"iPhone|iPod", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"CrOS", "ChromeOS"),
    (r"Windows", "Windows"),
    (r"Mac OS X|Macintosh|Darwin", "macOS"),
    (r"Linux|X11", "Linux"),
)
_PROGRAM = re.compile(r"[A-Za-z][\w.+ -]{0,39}?(?=/|$)")


def name(user_agent: str) -> str:
    """For instance `Firefox on Windows`, or `curl`; a program that names no browser is called as it calls itself."""
    browser = _first(_BROWSERS, user_agent)
    system = _first(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    program = _PROGRAM.match(user_agent)
    if not browser and program and program[0] != "Mozilla":
        return f"{program[0]} on {system}" if system else program[0]
    return browser or system or "Unknown device"


def _first(known: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((label for pattern, label in known if re.search(pattern, user_agent)), "")
