"""The second factor of staff: the codes of an authenticator app (TOTP), and recovery codes for when it is lost.

Devices are django-otp's rows. The looking at codes is ours, by the database's clock, so that all machines agree which
code is shown now, which is spent, and when the next is looked at: 1, 2, 4, 8 … seconds after a wrong one.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import secrets
import uuid
from binascii import unhexlify
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.util import random_hex

import audit
from accounts.errors import OtpInvalid
from accounts.models import User
from core import clock
from core.errors import Conflict, RateLimited
from core.ids import new_id
from notifications import outbox

RECOVERY_CODES = 10
TOLERANCE = 1  # steps of 30 seconds to either side, for clocks that differ
MOST_DOUBLINGS = 16  # of the wait after a wrong code, which is 18 hours then

_TOTP_CODE = re.compile(r"[0-9]{6}")


def is_asked_of(user: User) -> bool:
    """Whether this person enters only with a second factor."""
    return settings.MFA_REQUIRED and user.is_staff


def is_enrolled(user: User) -> bool:
    """Whether the person has set up a second factor."""
    return bool(TOTPDevice.objects.filter(user=user).exists())


def recovery_codes_left(user: User) -> int:
    return int(StaticToken.objects.filter(device__user=user).count())


def prove(user: User, code: str) -> None:
    """Accept a code of the person's app, or use up a recovery code; either is accepted once.

    The caller puts the outcome on record, and is in no transaction: a wrong code is counted though it is refused.
    Locks: the device.
    Raises: OtpInvalid, RateLimited while wrong codes before make this one wait.
    """
    if not _accepts(user, code):
        raise OtpInvalid


def _accepts(user: User, code: str) -> bool:
    given = re.sub(r"[\s-]", "", code)
    is_of_app = bool(_TOTP_CODE.fullmatch(given))
    with transaction.atomic():
        devices = (TOTPDevice if is_of_app else StaticDevice).objects.filter(user=user)
        device = devices.select_for_update(of=("self",), no_key=True).first()
        if device is None:
            return False
        now = clock.now()
        _make_wait(device, now)
        is_right = _is_shown(device, given, now) if is_of_app else _use_up(device, given)
        device.throttling_failure_count = 0 if is_right else device.throttling_failure_count + 1
        device.throttling_failure_timestamp = None if is_right else now
        if is_right:
            device.last_used_at = now
        device.save()
    return is_right


def _make_wait(device: TOTPDevice | StaticDevice, now: datetime) -> None:
    """Refuse to look at a code that comes too soon after wrong ones."""
    failures, failed_at = device.throttling_failure_count, device.throttling_failure_timestamp
    if not failures or failed_at is None:
        return
    wait = failed_at + timedelta(seconds=2 ** min(failures - 1, MOST_DOUBLINGS)) - now
    if wait > timedelta():
        raise RateLimited("Too many wrong codes; wait and try again.", retry_after=math.ceil(wait.total_seconds()))


def _is_shown(device: TOTPDevice, given: str, now: datetime) -> bool:
    """Whether the app shows this code now, give or take, and none so late was accepted; then it is spent.

    An app whose clock is off is followed, a step at a time.
    """
    totp = TOTP(device.bin_key, drift=device.drift)
    totp.time = now.timestamp()
    if not totp.verify(int(given), TOLERANCE, device.last_t + 1):
        return False
    device.last_t, device.drift = totp.t(), totp.drift
    return True


def _use_up(device: StaticDevice, given: str) -> bool:
    """Whether this is a recovery code; it is none any more."""
    user = device.user
    if not StaticToken.objects.filter(device=device, token=_hash(user.pk, given)).delete()[0]:
        return False
    left = {"left": recovery_codes_left(user)}
    audit.record("user.recovery_code_used", user, new=left, user=user, actor_id=user.pk)
    return True


def new_secret() -> str:
    """A secret for an app to make codes of; in hexadecimal."""
    return str(random_hex(20))


def readable(secret: str) -> str:
    """The secret as apps take it when it is typed."""
    text = base64.b32encode(unhexlify(secret)).decode()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def uri(user: User, secret: str) -> str:
    """What the QR code says."""
    return str(TOTPDevice(user=user, key=secret).config_url)


@audit.writes("mfa")
def enrol(user: User, *, secret: str, code: str, current: str = "") -> list[str]:
    """Tie the person's second factor to the app that made `code` of `secret`; answers fresh recovery codes.

    Whoever has a second factor proves it with `current`; it is replaced.
    Locks: the user.
    Raises: OtpInvalid, RateLimited; Conflict when one was set up meanwhile.
    """
    totp = TOTP(unhexlify(secret))
    totp.time = clock.now().timestamp()
    if not _TOTP_CODE.fullmatch(code.strip()) or not totp.verify(int(code), TOLERANCE):
        raise OtpInvalid
    if current:
        prove(user, current)
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if is_enrolled(user) and not current:
            raise Conflict("Your second factor was set up already.")
        TOTPDevice.objects.filter(user=user).delete()
        # The code that proved the app is spent with that.
        TOTPDevice.objects.create(user=user, name="app", key=secret, tolerance=TOLERANCE, last_t=totp.t())
        codes = _fresh_codes(user)
        audit.record("user.mfa_enrolled", user, metadata={"replaced": bool(current)}, user=user, actor_id=user.pk)
        _tell(user, "enrolled")
    return codes


@audit.writes("mfa")
def renew_recovery_codes(user: User, *, code: str) -> list[str]:
    """Replace the recovery codes, the used ones and the others, for whoever proves the second factor.

    Locks: the user.
    Raises: OtpInvalid, RateLimited.
    """
    prove(user, code)
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        codes = _fresh_codes(user)
        audit.record("user.recovery_codes_renewed", user, user=user, actor_id=user.pk)
        _tell(user, "codes_renewed")
    return codes


@audit.writes("mfa")
def forget(user: User, *, actor: User | None, reason: str) -> None:
    """Remove the second factor, in the caller's transaction, which holds the user's row and ends their sessions."""
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    audit.record("user.mfa_reset", user, metadata={"reason": reason}, user=user, actor_id=actor.pk if actor else None)
    _tell(user, "reset", reason=reason)


def _tell(user: User, change: str, **more: str) -> None:
    outbox.enqueue("mfa-changed", user=user, cause=f"mfa:{new_id()}", context={"change": change, **more})


def _fresh_codes(user: User) -> list[str]:
    """Store ten new codes in the place of all others; only their hashes are kept."""
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery")
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create([StaticToken(device=device, token=_hash(user.pk, code)) for code in codes])
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes]


def _hash(user_id: uuid.UUID, code: str) -> str:
    """What is stored of a recovery code: 96 bits, which is what django-otp's column holds.

    A code has 80 random bits, so a plain hash cannot be reversed by trying, and a change of SECRET_KEY spoils none.
    """
    digest = hashlib.sha256(f"{user_id}:{code.lower()}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()
