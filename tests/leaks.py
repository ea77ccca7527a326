"""Keys that somebody committed: the forms that detect-secrets knows, and those of our gateways and providers.

Its patterns go over whole files here: its own scan, line by line, takes ten times as long. Passwords in addresses and
tokens are left out: the tests are full of made-up ones.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {
    "Basic Auth Credentials",
    "JSON Web Token",
    "Public IP (ipv4)",
    "Cloudant Credentials",
    "IBM COS HMAC Credentials",
}
OURS = {
    "Razorpay's live key": r"rzp_live_[A-Za-z0-9]{10,}",
    "Stripe's webhook secret": r"whsec_[A-Za-z0-9+/]{24,}",
    "Monnify's live key": r"MK_PROD_[A-Z0-9]{8,}",
    "Magic Hour's live key": r"mhk_live_[A-Za-z0-9]{10,}",
    "xAI's key": r"xai-[A-Za-z0-9]{40,}",
}


def patterns() -> dict[str, list[re.Pattern[str]]]:
    """What a key looks like, by whose it is."""
    known = {
        kind: list(detector().denylist)
        for kind, detector in get_mapping_from_secret_type_to_class().items()
        if issubclass(detector, RegexBasedDetector) and kind not in LEFT_OUT and detector.__name__ != "KeywordDetector"
    }
    return known | {kind: [re.compile(form)] for kind, form in OURS.items()}


def found(name: str, text: str) -> Iterator[str]:
    """Each line of the text with something like a key."""
    for kind, forms in patterns().items():
        for form in forms:
            for match in form.finditer(text):
                yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {kind}"


def committed() -> Iterator[tuple[str, str]]:
    """Every text that git knows, with its name."""
    named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(None, named.stdout.split("\0")):
        try:
            yield name, (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue


if __name__ == "__main__":
    leaks = [line for name, text in committed() for line in found(name, text)]
    sys.stdout.write("".join(f"{line}\n" for line in leaks))
    sys.exit(1 if leaks else 0)
