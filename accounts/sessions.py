"""Sign-ins: opening one, spending its refresh token, ending it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, F, GenericIPAddressField, Q, QuerySet
from django.db.models.functions import Now
from django.db.utils import DatabaseError

import audit
from accounts import mfa, users
from accounts.emails import fold
from accounts.errors import (
    AccountSuspended,
    InvalidCredentials,
    OtpInvalid,
    OtpRequired,
    ReauthenticationRequired,
    RefreshReused,
    SessionEnded,
    TokenExpired,
)
from accounts.models import EndReason, Session, User, UserStatus
from core import clock, context
from core.ids import new_id
from core.sql import fetch

security = structlog.get_logger("security")

# A client whose answer was lost, or whose two tabs refresh at once, presents the spent token again within moments.
GRACE = timedelta(seconds=10)
SEEN_EVERY = timedelta(minutes=1)
FRESH = timedelta(minutes=10)
KEEP = timedelta(days=90)
PURGE_BATCH = 5000


def lifetime(*, remember: bool) -> timedelta:
    """How long a refresh token may lie unused."""
    return timedelta(minutes=settings.REMEMBER_ME_MINUTES if remember else settings.REFRESH_TOKEN_MINUTES)


def sign_up(*, email: str, password: str, first_name: str = "", last_name: str = "") -> Session:
    """Register and sign in.

    Raises: EmailTaken, Invalid.
    Enqueues: notifications.deliver
    """
    user = users.register(email=email, password=password, first_name=first_name, last_name=last_name)
    return open_for(user, remember=False)


@audit.writes("session")
def sign_in(*, email: str, password: str, remember: bool = False, otp: str = "") -> Session:
    """Open a session for whoever knows the password and, of staff, holds the second factor.

    An unknown address costs as much time as a wrong password: both hash once and write the same. Only who knows the
    password learns that a second factor is asked.
    Raises: InvalidCredentials, AccountSuspended, OtpRequired, OtpInvalid, SessionEnded; RateLimited after wrong codes.
    """
    user = _by_email(email)
    if user is None:
        make_password(password)
        matches = False
    else:
        matches = user.check_password(password)
    if user is None or not matches or user.status in (UserStatus.DELETING, UserStatus.DELETED):
        _refused(user, "invalid_credentials")
        raise InvalidCredentials
    if user.status != UserStatus.ACTIVE:
        _refused(user, "account_suspended")
        raise AccountSuspended
    if mfa.is_asked_of(user):
        if not otp:
            raise OtpRequired
        try:
            mfa.prove(user, otp)
        except OtpInvalid:
            _refused(user, "otp_invalid")
            raise
    return open_for(user, remember=remember, has_mfa=mfa.is_asked_of(user))


def _by_email(email: str) -> User | None:
    try:
        return User.objects.filter(email=fold(email)).first()
    except ValueError:
        return None


@audit.writes("session")
def note_console_login(email: str, user: User | None, *, reason: str = "invalid_credentials") -> None:
    """Put a sign-in to the ops console on record: `user` is who entered, or None for one refused for `reason`."""
    if user is None:
        _refused(_by_email(email), reason)
        return
    security.info("login", outcome="ok", user=str(user.pk), console=True)
    how = {"console": True, "mfa": mfa.is_asked_of(user)}
    audit.record("user.logged_in", user, metadata=how, user=user, actor_id=user.pk)


def _refused(user: User | None, reason: str) -> None:
    security.warning("login", outcome=reason, user=str(user.pk) if user else None)
    audit.record("user.login_failed", user or ("user", "unknown"), metadata={"reason": reason}, user=user)


@audit.writes("session")
def open_for(user: User, *, remember: bool, has_mfa: bool = False) -> Session:
    """Open a session for somebody who has just proved who they are.

    One statement, in which the person must still be as they were when that was proved: a password changed or an
    account suspended meanwhile opens nothing.
    Raises: SessionEnded.
    """
    now = context.current()
    names = [field.attname for field in Session._meta.concrete_fields]
    values = {
        "session": new_id(),
        "user": user.pk,
        "epoch": user.epoch,
        "session_ip": now.ip,
        "agent": now.user_agent[:400],
        "remember": remember,
        "has_mfa": has_mfa,
        "lives": lifetime(remember=remember),
    }
    row = audit.change(
        _OPEN.format(columns=", ".join(names)),
        values,
        action="user.logged_in",
        subject=user,
        metadata={"session": str(values["session"]), "remember": remember, "mfa": has_mfa},
        user=user,
        actor_id=user.pk,
    )
    if row is None:
        security.warning("login", outcome="changed_meanwhile", user=str(user.pk))
        raise SessionEnded
    session = Session.from_db("default", names, row)
    session.user = user
    user.last_login = session.created_at
    clock.note(session.created_at)
    security.info("login", outcome="ok", user=str(user.pk), session=str(session.pk))
    return session


_OPEN = """
still AS (
    UPDATE accounts_user SET last_login = statement_timestamp()
    WHERE id = %(user)s AND epoch = %(epoch)s AND status = 'active' RETURNING id
),
change AS (
    INSERT INTO accounts_session
        (id, user_id, ip, user_agent, remember, has_mfa, rotation, expires_at, end_reason)
    SELECT
        %(session)s, id, %(session_ip)s, %(agent)s, %(remember)s, %(has_mfa)s, 0, statement_timestamp() + %(lives)s, ''
    FROM still
    RETURNING {columns}
)"""


def authenticate(*, session_id: uuid.UUID, user_id: uuid.UUID, epoch: int, expires_at: datetime) -> Session:
    """The live session that an access token good until `expires_at` names, with its user, in one query.

    Raises: TokenExpired, SessionEnded, AccountSuspended.
    """
    sql, session_names, user_names = _live_query()
    found = fetch(sql, [session_id, user_id])
    if found is None:
        raise SessionEnded
    now, is_stale, *values = found
    clock.note(now)
    session = Session.from_db("default", session_names, values[: len(session_names)])
    session.user = User.from_db("default", user_names, values[len(session_names) :])
    _check_live(session, epoch)
    if expires_at <= now:
        raise TokenExpired
    if is_stale:
        _mark_seen(session)
    return session


@lru_cache(maxsize=1)
def _live_query() -> tuple[str, list[str], list[str]]:
    """The query that every authenticated request pays for, and the names of its columns.

    By hand, because the ORM takes about 0.7 ms of Python to compose the same join and to walk its result
    [measured on a warm connection: 1.0 ms against 0.3]. The password is left out.
    """
    session_fields = Session._meta.concrete_fields
    user_fields = [field for field in User._meta.concrete_fields if field.name != "password"]
    columns = [
        f'host({table}."{field.column}")' if isinstance(field, GenericIPAddressField) else f'{table}."{field.column}"'
        for table, fields in (("s", session_fields), ("u", user_fields))
        for field in fields
    ]
    sql = (
        "SELECT statement_timestamp(), "
        f"s.last_seen_at < statement_timestamp() - interval '{SEEN_EVERY.total_seconds():.0f} s', "
        f"{', '.join(columns)} FROM {Session._meta.db_table} s JOIN {User._meta.db_table} u ON u.id = s.user_id "
        "WHERE s.id = %s AND u.id = %s"
    )
    return sql, [field.attname for field in session_fields], [field.attname for field in user_fields]


def _check_live(session: Session, epoch: int) -> None:
    if session.user.status == UserStatus.SUSPENDED:
        raise AccountSuspended
    if session.ended_at is not None or session.user.epoch != epoch or session.user.status != UserStatus.ACTIVE:
        raise SessionEnded


def require_fresh(session: Session) -> None:
    """Let through only whoever signed in within FRESH; refreshing tokens since then does not count.

    Raises: ReauthenticationRequired.
    """
    if not Session.objects.filter(pk=session.pk, created_at__gt=Now() - FRESH).exists():
        security.warning("reauthentication", outcome="required", user=str(session.user_id), session=str(session.pk))
        raise ReauthenticationRequired


def _mark_seen(session: Session) -> None:
    """Note that the session is in use; at most once a minute, and never waiting for another request's lock."""
    try:
        # One statement of its own: the ORM locks rows only inside a transaction, which would be two round trips more.
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE accounts_session SET last_seen_at = statement_timestamp(), ip = %s
                WHERE id IN (
                    SELECT id FROM accounts_session
                    WHERE id = %s AND last_seen_at < statement_timestamp() - make_interval(secs => %s)
                    FOR NO KEY UPDATE SKIP LOCKED
                )
                """,
                [context.current().ip, session.pk, SEEN_EVERY.total_seconds()],
            )
    except DatabaseError:
        security.warning("last_seen_not_noted", session=str(session.pk), exc_info=True)


@audit.writes("session")
def rotate(*, session_id: uuid.UUID, user_id: uuid.UUID, epoch: int, rotation: int, expires_at: datetime) -> Session:
    """Spend the refresh token number `rotation`, good until `expires_at`; the answer's `rotation` numbers the next one.

    The token just before the current one is answered with a sibling of the current one within GRACE and from the
    same user agent. Any older one was stolen or leaked: the session ends for everybody who holds a token of it.

    Locks: the session.
    Raises: TokenExpired, SessionEnded, AccountSuspended, RefreshReused.
    """
    if expires_at <= clock.now():
        raise TokenExpired
    now = context.current()
    agent = now.user_agent[:400]
    with transaction.atomic():
        session = (
            Session.objects.select_for_update(of=("self",), no_key=True)
            .select_related("user")
            .annotate(
                is_expired=ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField()),
                in_grace=ExpressionWrapper(Q(rotated_at__gt=Now() - GRACE), output_field=BooleanField()),
            )
            .filter(pk=session_id, user_id=user_id)
            .first()
        )
        if session is None or session.is_expired:
            raise SessionEnded
        _check_live(session, epoch)
        spent = rotation != session.rotation
        sibling = spent and rotation == session.rotation - 1 and session.in_grace and agent == session.user_agent
        if spent and not sibling:
            _end(Session.objects.filter(pk=session.pk), EndReason.REUSED)
        elif not spent:
            Session.objects.filter(pk=session.pk).update(
                rotation=F("rotation") + 1,
                rotated_at=Now(),
                last_seen_at=Now(),
                expires_at=Now() + lifetime(remember=session.remember),
                ip=now.ip,
                user_agent=agent,
            )
            session.rotation += 1
        if not spent or sibling:
            audit.record(
                "session.refreshed",
                session,
                metadata={"rotation": session.rotation},
                user=session.user,
                actor_id=session.user_id,
            )
    if spent and not sibling:
        security.warning("refresh", outcome="reused", user=str(user_id), session=str(session_id))
        raise RefreshReused
    return session


@audit.writes("session")
def end(session: Session, *, reason: EndReason = EndReason.LOGOUT) -> None:
    """End one session: every token of it is refused from the next request on.

    Idempotent: an ended session stays as it ended.
    Locks: the session.
    """
    with transaction.atomic():
        _end(Session.objects.filter(pk=session.pk), reason)


@audit.writes("session")
def end_all(user: User, *, reason: EndReason = EndReason.REVOKED, but: Session | None = None) -> int:
    """End every live session of a person, but for the one named; answers how many.

    Locks: the sessions, by id.
    """
    with transaction.atomic():
        mine = Session.objects.filter(user=user)
        return _end(mine.exclude(pk=but.pk) if but else mine, reason)


def _end(sessions: QuerySet[Session], reason: EndReason) -> int:
    live = list(
        sessions.filter(ended_at__isnull=True)
        .select_related("user")
        .select_for_update(of=("self",), no_key=True)
        .order_by("pk")
    )
    Session.objects.filter(pk__in=[session.pk for session in live]).update(ended_at=Now(), end_reason=reason)
    for session in live:
        audit.record(
            "user.logged_out",
            session.user,
            metadata={"session": str(session.pk), "reason": str(reason)},
            user=session.user,
        )
        security.info("logout", outcome=str(reason), user=str(session.user_id), session=str(session.pk))
    return len(live)


@audit.writes("session")
def purge() -> int:
    """Forget sessions, with their addresses and user agents, KEEP after they ended or ran out.

    Idempotent: what is forgotten is not found again.
    """
    over = Session.objects.filter(Q(ended_at__lt=Now() - KEEP) | Q(expires_at__lt=Now() - KEEP))
    with transaction.atomic():
        ids = list(over.order_by("pk").values_list("pk", flat=True)[:PURGE_BATCH])
        if ids:
            Session.objects.filter(pk__in=ids).delete()
            audit.record("session.purged", ("session", "purged"), metadata={"count": len(ids)})
    return len(ids)
