"""Where this checkout's own servers listen, and the secrets it makes for itself. Standard library alone.

Nothing here starts anything: settings read these addresses, `manage.py up` makes them answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import string
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PG_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"
DATABASE = "atelier"
# sun_path holds 107 bytes on Linux and 103 on macOS. A comma would be two hosts to libpq, and URL parsers differ
# over everything else that is not plain.
MAX_SOCKET_PATH = 100
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class AddressError(RuntimeError):
    """The sockets' folder or the secrets' file cannot be used; the message says what to do."""


def sockets_dir(base_dir: Path) -> Path:
    """The private folder of the unix sockets: var/run, or a short one in /tmp that only this checkout derives.

    Raises: AddressError when another user has taken the name in /tmp.
    """
    base_dir = Path(base_dir).resolve()
    run = base_dir / "var" / "run"
    if len(os.fsencode(run / PG_SOCKET)) <= MAX_SOCKET_PATH and PLAIN_PATH.fullmatch(str(run)):
        return run
    # not tempfile's choice: a second shell with another TMPDIR must find the same place
    short = Path("/tmp") / f"atelier-{hashlib.sha256(os.fsencode(base_dir)).hexdigest()[:20]}"  # noqa: S108
    check_private(short, base_dir)
    return short


def remove_sockets_dir(base_dir: Path) -> None:
    """Leave nothing in /tmp, if the sockets had to be there; a folder in use stays."""
    folder = sockets_dir(base_dir)
    if Path(base_dir).resolve() not in folder.parents:
        with suppress(OSError):
            folder.rmdir()


def check_private(folder: Path, base_dir: Path) -> None:
    """Refuse a folder that someone else could have laid out for us, or could look into.

    Raises: AddressError.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    trusted = {0, os.geteuid(), base_dir.stat().st_uid}
    if os.geteuid() == 0:
        trusted.add(server_uid(base_dir) or 0)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in trusted or found.st_mode & 0o077:
        raise AddressError(f"{folder} is not a private folder of ours: remove it, or set DATABASE_URL and REDIS_URL.")


def server_uid(base_dir: Path) -> int | None:
    """Whom PostgreSQL runs as when we are root (it refuses root): the checkout's owner, else `nobody`."""
    if os.geteuid() != 0:
        return None
    import pwd

    owner = base_dir.stat().st_uid
    names = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
    if owner != 0 and owner in names:
        return owner
    for name in ("nobody", "daemon"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return next((uid for uid in sorted(names, reverse=True) if uid != 0), None)


def database_url(base_dir: Path) -> str:
    """The embedded PostgreSQL's address."""
    return database_url_at(sockets_dir(base_dir), DATABASE)


def database_url_at(sockets: Path, name: str) -> str:
    """A database on the PostgreSQL whose socket lies in this folder."""
    return f"postgres://postgres@{quote(str(sockets), safe='')}/{name}"


def redis_url(base_dir: Path) -> str:
    """The embedded Valkey's address."""
    return redis_url_at(sockets_dir(base_dir), 0)


def redis_url_at(sockets: Path, db: int) -> str:
    """A numbered database on the Valkey whose socket lies in this folder."""
    return f"unix://{quote(str(sockets / VALKEY_SOCKET))}?db={db}"


def broker_url(redis: str) -> str:
    """The same Redis as Celery spells it: unix:///path?db=3 becomes redis+socket:///path?virtual_host=3."""
    parts = urlsplit(redis)
    if parts.scheme != "unix":
        return redis
    db = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={db}"


# --- The checkout's own secrets ---------------------------------------------------------------------------------------


def _text(length: int, prefix: str = "") -> Callable[[], str]:
    alphabet = string.ascii_letters + string.digits
    return lambda: prefix + "".join(secrets.choice(alphabet) for _ in range(length))


SECRETS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": _text(64),
    "JWT_SECRET": _text(64),
    "JWT_REFRESH_SECRET": _text(64),
    "MAILBOX_HASH_KEY": _text(64),
    "RAZORPAY_KEY_ID": _text(14, "rzp_test_"),
    "RAZORPAY_KEY_SECRET": _text(24),
    "RAZORPAY_WEBHOOK_SECRET": _text(32),
    "STRIPE_SECRET_KEY": _text(24, "sk_test_"),
    "STRIPE_PUBLISHABLE_KEY": _text(24, "pk_test_"),
    "STRIPE_WEBHOOK_SECRET": _text(32, "whsec_"),
    "MONNIFY_API_KEY": _text(10, "MK_TEST_"),
    "MONNIFY_SECRET_KEY": _text(32),
    "MONNIFY_CONTRACT_CODE": lambda: "1000000001",
    "MAGIC_HOUR_API_KEY": _text(40, "mhk_sandbox_"),
    "MAGIC_HOUR_WEBHOOK_SECRET": _text(40),
    "LIVEKIT_API_KEY": _text(12, "API"),
    "LIVEKIT_API_SECRET": _text(44),
    "XAI_API_KEY": _text(40, "xai_sandbox_"),
    "KIE_API_KEY": _text(32, "kie_sandbox_"),
    "KIE_WEBHOOK_SECRET": _text(40),
}


def development_secrets(base_dir: Path) -> dict[str, str]:
    """What development and tests sign with: random per checkout, made once, kept in var/secrets.env (0600).

    Idempotent: yes; a name that a later release adds is added to the file.
    Raises: AddressError when the file belongs to somebody else.
    """
    path = Path(base_dir) / "var" / "secrets.env"
    known = _read(path)
    if SECRETS.keys() <= known.keys():
        return known
    make_folder(path.parent)
    with _lock(path.with_suffix(".lock")):
        known = _read(path)
        for name, make in SECRETS.items():
            known.setdefault(name, make())
        write_private(path, "".join(f"{name}={value}\n" for name, value in known.items()))
    return known


def make_folder(path: Path, mode: int = 0o711) -> None:
    """Make a folder of var/; others may pass through (PostgreSQL may run as another user), not look inside."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)  # whatever the umask is


def write_private(path: Path, text: str) -> None:
    """Write a file for its owner alone; a reader sees the former text or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise AddressError(
            f"{path} belongs to another user: run as that user, or take the folder over with "
            f"`sudo chown -R {os.geteuid()} {path.parent}`."
        ) from None
    return dict(line.split("=", 1) for line in lines if "=" in line)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
