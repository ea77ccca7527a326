"""The person: credentials, profile, standing. Never deleted, only anonymised."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.indexes import OpClass
from django.db import models, transaction
from django.db.models.functions import Lower, Now

import audit
from accounts.emails import fold
from core.models import UUIDModel


class UserStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


class UserManager(BaseUserManager["User"]):
    """Finds people by folded e-mail and makes staff for `createsuperuser`; clients come by `users.register`."""

    def get_by_natural_key(self, username: str | None) -> User:
        try:
            return self.get(email=fold(username or ""))
        except ValueError as error:
            raise self.model.DoesNotExist("not an e-mail address") from error

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Make a person whose mailbox the operator vouches for."""
        user = self.model(email=fold(email), verified_at=Now(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        user.refresh_from_db()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """What Django's `createsuperuser` calls: on record, as everybody is who is made staff in the console."""
        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, **{**fields, "is_staff": True, "is_superuser": True})
            audit.record(
                "user.staff_created", user, new={"is_superuser": True}, user=user, personal={"email": user.email}
            )
        return user


class User(UUIDModel, AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)  # as accounts.emails.fold spells it
    username = models.CharField(max_length=30, null=True, blank=True)
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    bio = models.TextField(max_length=1000, blank=True)
    avatar = models.OneToOneField(
        "core.StoredObject",
        to_field="key",  # so that showing the person needs no second query
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="avatar_of",
    )
    locale = models.CharField(max_length=35, blank=True)
    currency = models.CharField(max_length=3, null=True, blank=True)
    status = models.CharField(max_length=9, choices=UserStatus, default=UserStatus.ACTIVE)
    verified_at = models.DateTimeField(null=True, blank=True)
    epoch = models.PositiveIntegerField(
        default=0, help_text="Every token carries it; raising it ends all of the person's tokens at once."
    )
    is_staff = models.BooleanField(default=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = (
            models.UniqueConstraint(Lower("username"), name="accounts_user_username_unique"),
            models.CheckConstraint(
                condition=models.Q(status__in=[status.value for status in UserStatus]),
                name="accounts_user_status",
            ),
        )
        indexes = (
            models.Index(fields=["-created_at"], name="accounts_user_newest"),
            models.Index(OpClass(Lower("first_name"), name="text_pattern_ops"), name="accounts_user_first_name"),
            models.Index(OpClass(Lower("last_name"), name="text_pattern_ops"), name="accounts_user_last_name"),
        )
        permissions = (
            ("suspend_user", "Can suspend and reinstate people"),
            ("verify_user", "Can take a mailbox for proved"),
            ("remind_user", "Can send the verification mail again"),
            ("sign_out_user", "Can end a person's sessions"),
            ("look_as_user", "Can look at the product as a customer sees it"),
            ("reset_mfa_user", "Can reset a colleague's second factor"),
        )

    def __str__(self) -> str:
        return self.email

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        """Django's own name, which the admin's sign-in asks."""
        return self.status == UserStatus.ACTIVE

    @property
    def is_verified(self) -> bool:
        return self.verified_at is not None

    def get_session_auth_hash(self) -> str:
        """What the console's sessions are tied to: besides the password the epoch, as tokens are."""
        return f"{super().get_session_auth_hash()}:{self.epoch}"

    def get_session_auth_fallback_hash(self) -> Any:
        return (f"{known}:{self.epoch}" for known in super().get_session_auth_fallback_hash())

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name
