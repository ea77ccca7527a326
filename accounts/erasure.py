"""Forgetting a person. Their row stays for the books, without anything that says who it was.

`request` ends every token at once. From then on a task asks the apps of settings.ACCOUNT_ERASED to close and delete
what they hold of the person, again and again until none has anything open; then the row is anonymised, one last mail
is sent, and its address is forgotten as well.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django_otp import devices_for_user

import audit
from accounts import exports, sessions
from accounts.errors import StaffAccount
from accounts.models import (
    EmailChange,
    EmailVerification,
    EndReason,
    Erasure,
    Look,
    PasswordReset,
    Session,
    User,
    UserStatus,
)
from core import files, jobs
from core.killpoints import reach
from core.models import IdempotencyKey
from notifications import outbox
from notifications.models import Refusal

log = structlog.get_logger("erasure")

BATCH = 50
LEASE = timedelta(minutes=5)  # for one try, gateways asked included
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)

# Rows that say something of the person and nothing of money.
PERSONAL = (Session, EmailVerification, EmailChange, PasswordReset, Look, IdempotencyKey, Refusal)


@audit.writes("user")
def request(user: User) -> Erasure:
    """Begin to forget a person: from the next request on none of their tokens works, and they cannot sign in.

    Idempotent: one erasure per person.
    Locks: the user, then their sessions.
    Raises: StaffAccount.
    Enqueues: accounts.erase
    """
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if user.is_staff:
            raise StaffAccount
        if user.status in (UserStatus.DELETING, UserStatus.DELETED):
            return Erasure.objects.get(user=user)
        old = user.status
        User.objects.filter(pk=user.pk).update(
            status=UserStatus.DELETING, epoch=F("epoch") + 1, password=make_password(None), updated_at=Now()
        )
        sessions.end_all(user, reason=EndReason.DELETED)
        erasure = Erasure.objects.create(user=user)
        audit.record(
            "user.erasure_requested", user, old={"status": old}, new={"status": UserStatus.DELETING}, user=user
        )
        jobs.wake("accounts.erase")
    log.info("erasure_requested", user=str(user.pk))
    reach("accounts.erasure.requested")
    return erasure


def advance_due() -> int:
    """Take each due erasure one step further. Answers how many were looked at.

    Idempotent: by state; a worker that dies leaves its erasure due again after LEASE.
    """
    looked_at = 0
    while looked_at < BATCH and (erasure := _claim()) is not None:
        looked_at += 1
        try:
            advance(erasure)
        except Exception:
            # One that cannot go on must not keep the others; it is tried again by its own clock.
            log.exception("erasure_failed", user=str(erasure.user_id))
            connection.close_if_unusable_or_obsolete()
    return looked_at


def _claim() -> Erasure | None:
    # next_at is the lease: nobody else looks at it before then.
    found = Erasure.objects.raw(
        """
        UPDATE accounts_erasure SET next_at = statement_timestamp() + %s, tries = tries + 1
        WHERE id = (
            SELECT id FROM accounts_erasure WHERE finished_at IS NULL AND next_at <= statement_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING *
        """,
        [LEASE],
    )
    return next(iter(found), None)


def advance(erasure: Erasure) -> None:
    """One step: close and delete, then anonymise, then forget the address.

    Idempotent: by state.
    """
    if erasure.anonymised_at is None:
        waits_for = _let_go(erasure.user)
        reach("accounts.erasure.cleared")
        if waits_for:
            _wait(erasure, waits_for)
            return
        anonymise(erasure)
    if not outbox.forget(erasure.user_id):
        _wait(erasure, ["mail"])
        return
    reach("accounts.erasure.forgotten")
    _finish(erasure)


def _let_go(user: User) -> list[str]:
    """Ask every app to close and delete what it can. What is still open is returned, in words."""
    waits_for: list[str] = []
    for path in settings.ACCOUNT_ERASED:
        waits_for += import_string(path)(user=user)
    return waits_for


def _wait(erasure: Erasure, waits_for: list[str]) -> None:
    wait = min(FIRST_RETRY * 2 ** min(erasure.tries - 1, 10), LONGEST_RETRY)
    Erasure.objects.filter(pk=erasure.pk).update(next_at=Now() + wait, waits_for=waits_for)
    log.info("erasure_waits", user=str(erasure.user_id), waits_for=waits_for)


def _finish(erasure: Erasure) -> None:
    with transaction.atomic():
        open_ones = Erasure.objects.filter(pk=erasure.pk, finished_at__isnull=True)
        if open_ones.update(finished_at=Now(), waits_for=[]):
            audit.record("user.forgotten", ("user", erasure.user_id), user=erasure.user_id)


@audit.writes("user")
def anonymise(erasure: Erasure) -> None:
    """Take from the row all that says who it was, and queue the last mail to where they were.

    Idempotent: by the person's status.
    Locks: the user.
    Enqueues: account-deleted; core.remove_files
    """
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=erasure.user_id)
        if user.status == UserStatus.DELETED:
            return
        outbox.withdraw(user.pk)
        outbox.enqueue(
            "account-deleted",
            user=user,
            cause=f"account-deleted:{user.pk}",
            context={"first_name": user.first_name},
        )
        if user.avatar is not None:
            files.let_go([user.avatar.pk])
        exports.forget(user)
        for personal in PERSONAL:
            personal._default_manager.filter(user=user).delete()
        for device in devices_for_user(user, confirmed=None):
            device.delete()
        user.groups.clear()
        User.objects.filter(pk=user.pk).update(
            status=UserStatus.DELETED,
            email=f"{user.pk}@{outbox.NOBODY}",
            username=None,
            first_name="",
            last_name="",
            bio="",
            avatar=None,
            locale="",
            currency=None,
            last_login=None,
            updated_at=Now(),
        )
        Erasure.objects.filter(pk=erasure.pk).update(anonymised_at=Now(), waits_for=[])
        audit.forget(user.pk)
        audit.record("user.erased", user, old={"status": user.status}, new={"status": UserStatus.DELETED}, user=user.pk)
        reach("accounts.erasure.anonymising")
    log.info("erasure_done", user=str(user.pk))
    reach("accounts.erasure.anonymised")
