"""GET /credits/balance on FastAPI, SQLAlchemy 2 (async) and asyncpg, as their documentation has one write it.

It does what Atelier's endpoint does for its caller: checks the token, that its session is live and its person active,
reads the wallet and the debt, answers through a response model. It has no rate limit, log line, metric or request id.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

SECRET = os.environ["JWT_SECRET"]
engine = create_async_engine(os.environ["SQLALCHEMY_URL"], pool_size=10, max_overflow=10)
database = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


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
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())], database: Database
) -> User:
    try:
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
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
