"""GET /credits/balance on FastAPI, SQLAlchemy 2 (async) and asyncpg, as their documentation has one write it.

It does what Atelier's endpoint does: checks the token, that its session is live and its person active, counts the
person's rate limit in Redis, reads the wallet and the debt, answers through a response model, with a request id, one
JSON log line and one latency metric. For those it uses limits, asgi-correlation-id, structlog and
prometheus-fastapi-instrumentator, each in its leanest documented setup. It is spared one duty: limits would ask Redis
twice more for what remains, so no RateLimit headers are told.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from time import perf_counter
from typing import Annotated, Any

import jwt
import orjson
import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

SECRET = os.environ["JWT_SECRET"]
engine = create_async_engine(os.environ["SQLALCHEMY_URL"], pool_size=10, max_overflow=10)
database = async_sessionmaker(engine, expire_on_commit=False)
limiter = FixedWindowRateLimiter(RedisStorage(os.environ["LIMITS_URL"], implementation="redispy"))
GENERAL = RateLimitItemPerMinute(int(os.environ["PER_MINUTE"]))
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(20),
    logger_factory=structlog.BytesLoggerFactory(),
    cache_logger_on_first_use=True,
)
log = structlog.get_logger()


class AccessLog:
    """One line for each request."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = perf_counter(), 500

        async def tell(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, tell)
        finally:
            log.info(
                "request",
                request_id=correlation_id.get(),
                actor=scope.get("state", {}).get("actor"),
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((perf_counter() - started) * 1000, 1),
            )


app = FastAPI()
app.add_middleware(AccessLog)
app.add_middleware(CorrelationIdMiddleware)
Instrumentator().add(metrics.latency(buckets=BUCKETS)).instrument(app).expose(app)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "accounts_user"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    status: Mapped[str]
    epoch: Mapped[int]
    verified_at: Mapped[datetime | None]
    is_staff: Mapped[bool]


class Session(Base):
    __tablename__ = "accounts_session"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts_user.id"))
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class Wallet(Base):
    __tablename__ = "billing_wallet"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID | None]
    kind: Mapped[str]
    unit: Mapped[str]
    balance: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    frozen: Mapped[int] = mapped_column(BigInteger)


class Debt(Base):
    __tablename__ = "billing_debt"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    unit: Mapped[str]
    remaining: Mapped[int] = mapped_column(BigInteger)


class Balance(BaseModel):
    balance: int
    held: int
    frozen: int
    available: int
    debt: int


async def get_database() -> AsyncIterator[AsyncSession]:
    async with database() as session:
        yield session


Database = Annotated[AsyncSession, Depends(get_database)]


async def get_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())], database: Database
) -> User:
    try:
        claims = jwt.decode(
            credentials.credentials,
            SECRET,
            algorithms=["HS256"],
            audience=os.environ["JWT_AUDIENCE"],
            options={"require": ["exp"]},
        )
        session_id, user_id = uuid.UUID(claims["sid"]), uuid.UUID(claims["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError) as error:
        raise HTTPException(401, "invalid token") from error
    if claims.get("typ") != "access":
        raise HTTPException(401, "invalid token")
    session = await database.scalar(
        select(Session)
        .options(joinedload(Session.user, innerjoin=True))
        .where(Session.id == session_id, Session.user_id == user_id)
    )
    if session is None or session.ended_at is not None:
        raise HTTPException(401, "session ended")
    if session.user.status != "active" or session.user.epoch != claims["epo"]:
        raise HTTPException(401, "session ended")
    request.state.actor = str(session.user.id)
    if not await limiter.hit(GENERAL, "general", request.state.actor):
        raise HTTPException(429, "too many requests")
    return session.user


@app.get("/api/v1/credits/balance", response_model=Balance)
async def balance(user: Annotated[User, Depends(get_user)], database: Database) -> Balance:
    debt = (
        select(func.coalesce(func.sum(Debt.remaining), 0))
        .where(Debt.user_id == user.id, Debt.unit == "CREDIT", Debt.remaining > 0)
        .scalar_subquery()
    )
    wallet, owed = (
        await database.execute(
            select(Wallet, debt).where(Wallet.user_id == user.id, Wallet.kind == "credits", Wallet.unit == "CREDIT")
        )
    ).one()
    return Balance(
        balance=wallet.balance,
        held=wallet.held,
        frozen=wallet.frozen,
        available=wallet.balance - wallet.held - wallet.frozen,
        debt=owed,
    )
