"""Entry point of `python -m sandbox`."""

from __future__ import annotations

import asyncio
import sys

from sandbox import server
from sandbox.settings import Settings, SettingsError


def main() -> int:
    try:
        settings = Settings.from_environment()
        asyncio.run(server.run(settings))
    except (SettingsError, server.StartError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
