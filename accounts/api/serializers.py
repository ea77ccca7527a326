"""Bodies of auth and users."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts import avatars, devices, locales
from accounts.models import Export, ExportState, Session, User, UserStatus
from accounts.passwords import MAX_LENGTH, MIN_LENGTH
from core import storage
from core.api.serializers import Serializer, TextField
from core.money import CURRENCIES

NAME_LENGTH = User._meta.get_field("first_name").max_length


class PasswordField(serializers.CharField):
    """Taken as typed: nothing is trimmed, and no character is refused but NUL."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, max_length=MAX_LENGTH, write_only=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class RegisterSerializer(Serializer):
    email = serializers.EmailField(max_length=254)
    password = PasswordField(min_length=MIN_LENGTH)
    first_name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    last_name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)


class LoginSerializer(Serializer):
    email = serializers.EmailField(max_length=254)
    password = PasswordField()
    otp = serializers.CharField(
        max_length=40,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="Of staff alone: the code of their authenticator app, or a recovery code.",
    )
    remember_me = serializers.BooleanField(default=False)


class RefreshSerializer(Serializer):
    refresh = serializers.CharField(max_length=2048)


class VerifyEmailSerializer(Serializer):
    token = serializers.CharField(max_length=200)


class ForgotPasswordSerializer(Serializer):
    email = serializers.EmailField(max_length=254)


class ResetPasswordSerializer(Serializer):
    token = serializers.CharField(max_length=200)
    new_password = PasswordField(min_length=MIN_LENGTH)


class ChangePasswordSerializer(Serializer):
    current_password = PasswordField()
    new_password = PasswordField(min_length=MIN_LENGTH)


class ChangeEmailSerializer(Serializer):
    password = PasswordField()
    email = serializers.EmailField(max_length=254)


class PasswordSerializer(Serializer):
    password = PasswordField()


class EmptySerializer(Serializer):
    """No fields."""


class LocaleField(serializers.CharField):
    """A language tag, kept in its usual case."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=locales.MAX_LENGTH, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        tag = super().to_internal_value(data)
        try:
            return locales.canonical(tag) if tag else tag
        except ValueError as error:
            message = "This is not a BCP 47 language tag, such as en, en-IN or zh-Hant-TW."
            raise serializers.ValidationError(message, code="invalid") from error


@extend_schema_field({"type": "string", "maxLength": 0, "description": "Only null: it takes the picture away."})
class NoAvatarField(serializers.Field[None, Any, Any, Any]):
    """In JSON a picture can only be taken away."""

    def to_internal_value(self, data: Any) -> None:
        message = "Send a picture as multipart/form-data, or null to remove it."
        raise serializers.ValidationError(message, code="invalid")


class ProfileSerializer(Serializer):
    username = serializers.RegexField(
        r"\A[A-Za-z0-9][A-Za-z0-9_.-]{2,29}\Z",
        required=False,
        allow_null=True,
        help_text="3 to 30 letters, digits, dots, dashes and underscores; null takes it away.",
        error_messages={
            "invalid": "Use 3 to 30 letters (a to z), digits, dots, dashes and underscores, a letter or digit first.",
            "blank": "Send null to go without a username.",
        },
    )
    first_name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    last_name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    bio = TextField(max_length=1000, required=False, allow_blank=True, has_lines=True)
    locale = LocaleField(required=False, allow_blank=True, help_text="A BCP 47 language tag such as en-IN.")
    currency = serializers.ChoiceField(
        choices=CURRENCIES,
        required=False,
        allow_null=True,
        help_text="What prices are asked in; null leaves it to the gateway.",
    )


class JSONProfileSerializer(ProfileSerializer):
    avatar = NoAvatarField(required=False, allow_null=True, help_text="null removes the picture.")


class FormProfileSerializer(ProfileSerializer):
    avatar = serializers.FileField(required=False, help_text="JPEG, PNG, GIF or WebP, at most 10 MB; cut square.")


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = [
            "id",
            "email",
            "username",
            "first_name",
            "last_name",
            "bio",
            "avatar_url",
            "locale",
            "currency",
            "status",
            "is_verified",
            "verified_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    is_verified = serializers.BooleanField(read_only=True)
    avatar_url = serializers.SerializerMethodField(help_text="A square JPEG; the link works for an hour.")

    def get_avatar_url(self, user: User) -> str | None:
        return avatars.link(user)


class SwitchField(serializers.BooleanField):
    """Exactly true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class NotificationsSerializer(Serializer):
    credit_low_warning = SwitchField(help_text="Your credits are running low.")
    subscription_expiring = SwitchField(help_text="Your subscription is about to end.")
    call_summary = SwitchField(help_text="What a call cost.")
    generation_completed = SwitchField(help_text="Something you ordered is ready.")


class JobFiguresSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    processing = serializers.IntegerField()
    failed = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True, help_text="0 to 1; null before anything ended.")


class CreditFiguresSerializer(serializers.Serializer[Any]):
    total_spent = serializers.IntegerField()
    total_purchased = serializers.IntegerField()
    total_refunded = serializers.IntegerField(help_text="Credits that went back with the money paid for them.")
    current_balance = serializers.IntegerField()


class UsageSerializer(serializers.Serializer[Any]):
    generations_last_30_days = serializers.IntegerField()
    videos_last_30_days = serializers.IntegerField()
    credits_spent_last_30_days = serializers.IntegerField()
    average_credits_per_generation = serializers.FloatField(allow_null=True)
    member_since = serializers.DateTimeField()


class StandingSerializer(serializers.Serializer[Any]):
    plan = serializers.CharField(allow_null=True, help_text="The subscription's plan; null without one.")
    member_since = serializers.DateTimeField()


class StatisticsSerializer(serializers.Serializer[Any]):
    generations = JobFiguresSerializer()
    videos = JobFiguresSerializer()
    credits = CreditFiguresSerializer()
    usage = UsageSerializer()
    account = StandingSerializer()


class ExportSerializer(serializers.ModelSerializer[Export]):
    class Meta:
        model = Export
        fields = ["id", "status", "bytes", "url", "created_at", "ready_at", "expires_at"]
        read_only_fields = fields

    status = serializers.ChoiceField(source="state", choices=ExportState.choices)
    url = serializers.SerializerMethodField(help_text="Works for an hour; read this again for a fresh one.")

    def get_url(self, export: Export) -> str | None:
        return storage.signed_url(export.file.key, filename="my-data.zip") if export.file else None


class LeavingSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=[UserStatus.DELETING.value])


class SignedInSerializer(serializers.Serializer[Any]):
    user = UserSerializer()
    access = serializers.CharField(help_text="Send it as `Authorization: Bearer …`.")
    refresh = serializers.CharField(help_text="Good for one refresh.")
    expires_in = serializers.IntegerField(help_text="Seconds until the access token runs out.")


class VerifiedSerializer(serializers.Serializer[Any]):
    user = UserSerializer()


class SessionSerializer(serializers.ModelSerializer[Session]):
    device = serializers.SerializerMethodField(help_text="For instance `Firefox on Windows`.")
    current = serializers.SerializerMethodField(help_text="Whether this is the session that asks.")

    class Meta:
        model = Session
        fields = [
            "id",
            "device",
            "current",
            "ip",
            "user_agent",
            "remember",
            "created_at",
            "last_seen_at",
            "expires_at",
        ]
        read_only_fields = fields

    def get_device(self, session: Session) -> str:
        return devices.name(session.user_agent)

    def get_current(self, session: Session) -> bool:
        return bool(session.pk == self.context["request"].auth.pk)
