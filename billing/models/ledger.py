"""Wallets and the double-entry ledger behind them. Every write is in billing/ledger/, most of it in plpgsql."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from core.models import UUIDModel


class UserWalletKind(models.TextChoices):
    CREDITS = "credits"
    PRIMARY = "primary"
    CALLS = "calls"


class HouseKind(models.TextChoices):
    """Our own side of every posting; `gateway_<name>` beside these."""

    SALES = "sales"
    ISSUED = "issued"
    PROMO = "promo"
    SPENT = "spent"
    EXPIRED = "expired"
    ADJUSTMENT = "adjustment"
    WRITEOFF = "writeoff"


class WalletQuerySet(models.QuerySet["Wallet"]):
    def visible_to(self, user: models.Model) -> WalletQuerySet:
        return self.filter(user_id=user.pk)

    def house(self) -> WalletQuerySet:
        return self.filter(user__isnull=True)


class Wallet(UUIDModel):
    """One person's money or credits of one kind and unit; without a person, one of our own accounts.

    A person's row is the lock under which its entries, holds and lots change. House rows store no balance: it would be
    the one row that every posting waits for.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="wallets", db_index=False
    )
    kind = models.CharField(max_length=40)
    unit = models.CharField(max_length=6)
    balance = models.BigIntegerField(null=True, help_text="Null for house wallets.")
    held = models.BigIntegerField(default=0, help_text="Promised to open holds.")
    frozen = models.BigIntegerField(default=0, help_text="Out of reach while a refund or dispute is open.")
    next_expiry_at = models.DateTimeField(null=True, help_text="Not later than the first lot that ends.")
    updated_at = models.DateTimeField(db_default=Now(), help_text="When an operation last changed it.")

    objects: ClassVar[models.Manager[Wallet]] = WalletQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "unit"], name="wallet_once_per_user"),
            models.UniqueConstraint(
                fields=["kind", "unit"], condition=Q(user__isnull=True), name="wallet_once_for_house"
            ),
            models.CheckConstraint(
                condition=(
                    Q(user__isnull=False, balance__isnull=False, held__gte=0, frozen__gte=0)
                    & Q(balance__gte=F("held") + F("frozen"))
                )
                | Q(user__isnull=True, balance__isnull=True, held=0, frozen=0, next_expiry_at__isnull=True),
                name="wallet_covers_held_and_frozen",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, kind__in=UserWalletKind.values)
                | Q(user__isnull=True, kind__in=HouseKind.values)
                | Q(user__isnull=True, kind__regex=r"^gateway_[a-z0-9_]+$"),
                name="wallet_kind_fits_owner",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=True)
                | Q(kind="credits", unit="CREDIT")
                | (~Q(kind="credits") & ~Q(unit="CREDIT")),
                name="wallet_credits_hold_credits",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_expiry_at"], condition=Q(next_expiry_at__isnull=False), name="wallet_next_expiry"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.unit}"

    @property
    def available(self) -> int:
        """What could be spent now. Reading it authorises nothing."""
        return (self.balance or 0) - self.held - self.frozen


class LedgerTransaction(UUIDModel):
    """One cause and its postings, which sum to zero. `key` names the cause, so it happens once. Append-only."""

    class Kind(models.TextChoices):
        PURCHASE = "purchase"
        GRANT = "grant"
        SPEND = "spend"
        REFUND = "refund"
        CLAWBACK = "clawback"
        DEBT_REPAYMENT = "debt_repayment"
        TRANSFER = "transfer"
        EXPIRY = "expiry"
        ADJUSTMENT = "adjustment"

    kind = models.CharField(max_length=14, choices=Kind.choices)
    key = models.CharField(max_length=200, unique=True)
    unit = models.CharField(max_length=6)
    subject_type = models.CharField(max_length=40)
    subject_id = models.UUIDField()
    # No database foreign key: every spend would touch the person's row, and users are never deleted.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
        help_text="The person who caused it; null for the system.",
    )
    memo = models.CharField(max_length=500, default="", blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "purchase", "grant", "spend", "refund", "clawback",
                        "debt_repayment", "transfer", "expiry", "adjustment",
                    ]
                ),
                name="ledger_transaction_kind",
            ),
        ]  # fmt: skip
        indexes = [models.Index(fields=["subject_id"], name="ledger_transaction_subject")]

    def __str__(self) -> str:
        return self.key


class LedgerEntry(models.Model):
    """One side of a transaction. Numbered under the wallet's lock: a wallet's entries are in order of id. Append-only.

    No database foreign key to Wallet: on the few house rows it costs a third of the throughput. Wallets cannot be
    deleted, and check_books looks for orphans.
    """

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    wallet = models.ForeignKey(
        Wallet, on_delete=models.DO_NOTHING, related_name="entries", db_constraint=False, db_index=False
    )
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField(null=True, help_text="Null for house wallets.")

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_moves_something")]
        indexes = [models.Index(fields=["wallet", "-id"], name="ledger_entry_of_wallet")]

    def __str__(self) -> str:
        return f"{self.amount:+d}"


class Hold(UUIDModel):
    """An amount promised to one subject. It never ends by a clock: only its subject's end captures or releases it."""

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        RELEASED = "released"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="holds", db_index=False)
    key = models.CharField(max_length=200, unique=True)
    opening_amount = models.BigIntegerField(help_text="What was asked first; `amount` grows by extension.")
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    subject_type = models.CharField(max_length=40)
    subject_id = models.UUIDField()
    alarm_at = models.DateTimeField(help_text="Open after this is an alarm for staff; nothing ends by itself.")
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(opening_amount__gt=0, amount__gte=F("opening_amount")), name="hold_amount_positive"
            ),
            models.CheckConstraint(
                condition=Q(state="open", captured=0, closed_at__isnull=True)
                | Q(state="captured", captured__gt=0, captured__lte=F("amount"), closed_at__isnull=False)
                | Q(state="released", captured=0, closed_at__isnull=False),
                name="hold_state_fits_captured",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet"], condition=Q(state="open"), name="hold_open_of_wallet"),
            models.Index(fields=["alarm_at"], condition=Q(state="open"), name="hold_open_alarm"),
            models.Index(fields=["subject_id"], name="hold_subject"),
        ]

    def __str__(self) -> str:
        return self.key


class CreditLot(UUIDModel):
    """Credits that came together: of one category and source, ending together. Σ remaining = the wallet's balance."""

    class Category(models.TextChoices):
        PAID = "paid"
        SUBSCRIPTION = "subscription"
        PROMO = "promo"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="lots", db_index=False)
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, related_name="lot")
    category = models.CharField(max_length=12, choices=Category.choices)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    frozen = models.BigIntegerField(default=0)
    frozen_at = models.DateTimeField(
        null=True, help_text="Since when some of it is frozen; thawing gives the time back."
    )
    expires_at = models.DateTimeField(null=True)
    exhausted_at = models.DateTimeField(null=True)
    source_type = models.CharField(
        max_length=40, help_text="The payment or invoice that it came from, or another cause."
    )
    source_id = models.UUIDField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, remaining__gte=0, frozen__gte=0)
                & Q(remaining__lte=F("amount"), frozen__lte=F("remaining")),
                name="lot_amounts",
            ),
            models.CheckConstraint(condition=Q(category__in=["paid", "subscription", "promo"]), name="lot_category"),
            models.CheckConstraint(
                condition=Q(frozen=0, frozen_at__isnull=True) | Q(frozen__gt=0, frozen_at__isnull=False),
                name="lot_frozen_since",
            ),
            # Live lots are found by exhausted_at and not by remaining: an index over `remaining` would make every spend
            # rewrite all index entries of the row (no HOT update).
            models.CheckConstraint(
                condition=Q(remaining=0, exhausted_at__isnull=False) | Q(remaining__gt=0, exhausted_at__isnull=True),
                name="lot_exhausted",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet"], condition=Q(exhausted_at__isnull=True), name="lot_live_of_wallet"),
            models.Index(fields=["wallet", "-id"], name="lot_of_wallet"),
            models.Index(fields=["source_id"], name="lot_source"),
        ]

    def __str__(self) -> str:
        return f"{self.remaining}/{self.amount} {self.category}"


class Freeze(UUIDModel):
    """What an open refund or dispute keeps out of reach, towards what it wants. Its key makes freezing happen once."""

    class State(models.TextChoices):
        OPEN = "open"
        THAWED = "thawed"
        TAKEN = "taken"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="freezes", db_index=False)
    key = models.CharField(max_length=200, unique=True)
    wanted = models.BigIntegerField()
    amount = models.BigIntegerField(help_text="Frozen so far; freezing again under the key takes what has come free.")
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    subject_type = models.CharField(max_length=40)
    subject_id = models.UUIDField()
    source_type = models.CharField(max_length=40, default="", help_text="Whose lots; empty on wallets without lots.")
    source_id = models.UUIDField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(wanted__gt=0, amount__gte=0, amount__lte=F("wanted")), name="freeze_amounts"
            ),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state__in=["thawed", "taken"], closed_at__isnull=False),
                name="freeze_state",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet"], condition=Q(state="open"), name="freeze_open_of_wallet"),
            models.Index(fields=["subject_id"], name="freeze_subject"),
        ]

    def __str__(self) -> str:
        return self.key


class Debt(UUIDModel):
    """What a refund or lost dispute should have taken back and could not. Later purchases repay it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="debts", db_index=False)
    unit = models.CharField(max_length=6)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    waived = models.BigIntegerField(default=0)
    cause = models.CharField(max_length=200, unique=True)
    is_blocking = models.BooleanField(default=False, help_text="From a lost dispute: blocks spending and transfers.")
    subject_type = models.CharField(max_length=40)
    subject_id = models.UUIDField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, remaining__gte=0, waived__gte=0)
                & Q(amount__gte=F("remaining") + F("waived")),
                name="debt_amounts",
            ),
        ]
        indexes = [
            models.Index(fields=["user"], condition=Q(remaining__gt=0), name="debt_open_of_user"),
            models.Index(fields=["user", "-id"], name="debt_of_user"),
        ]
        permissions = [("waive_debt", "Can waive debts, within APPROVAL_LIMITS a day alone")]

    def __str__(self) -> str:
        return self.cause
