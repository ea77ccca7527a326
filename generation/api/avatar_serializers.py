"""Bodies of avatars."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import storage
from core.api.serializers import Serializer, TextField
from generation.api.serializers import JobSerializer
from generation.models import Avatar, AvatarStatus
from generation.profiles import AGE_RANGES

CATEGORIES = ("sfw",)  # adult content is off

# --- in -----------------------------------------------------------------------------------------------------------


class AvatarEditSerializer(Serializer):
    name = TextField(min_length=1, max_length=100)
    description = TextField(min_length=10, max_length=1000, has_lines=True, help_text="Who it is. Adults only.")
    content_category = serializers.ChoiceField(choices=CATEGORIES, required=False)


class AvatarOrderSerializer(AvatarEditSerializer):
    style = TextField(required=False, allow_blank=True, max_length=200, has_lines=True)  # type: ignore[assignment]
    quote = TextField(required=False, max_length=1000, help_text="From generations/quote: the price cannot rise.")

    def params(self) -> dict[str, Any]:
        """What the job gets; empty texts are absent ones."""
        names = ("name", "description", "style", "content_category")
        return {name: self.validated_data[name] for name in names if self.validated_data.get(name)}


class ThumbnailOrderSerializer(Serializer):
    quote = TextField(required=False, max_length=1000, help_text="From generations/quote: the price cannot rise.")


# --- out ----------------------------------------------------------------------------------------------------------


class ProfileSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    age_range = serializers.ChoiceField(choices=AGE_RANGES)
    physical_description = serializers.CharField()
    hair = serializers.CharField()
    eyes = serializers.CharField()
    clothing = serializers.CharField()
    setting = serializers.CharField()
    personality = serializers.CharField()
    style = serializers.CharField()  # type: ignore[assignment]
    content_themes = serializers.ListField(child=serializers.CharField())
    base_prompt = serializers.CharField(help_text="Put before the prompt of every picture of the avatar.")


class AvatarSerializer(serializers.ModelSerializer[Avatar]):
    status = serializers.ChoiceField(choices=AvatarStatus.choices)
    profile = serializers.SerializerMethodField(help_text="Null until it is ready.")
    thumbnail_url = serializers.SerializerMethodField(help_text="512 by 512; for anybody who has it, good for an hour.")
    generation = serializers.SerializerMethodField(help_text="The job that makes it; null once you have deleted that.")

    class Meta:
        model = Avatar
        fields = (
            "id",
            "name",
            "description",
            "style",
            "content_category",
            "status",
            "profile",
            "thumbnail_url",
            "generation",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    @extend_schema_field(ProfileSerializer(allow_null=True))
    def get_profile(self, avatar: Avatar) -> dict[str, Any] | None:
        return ProfileSerializer(avatar.profile).data if avatar.profile else None

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_thumbnail_url(self, avatar: Avatar) -> str | None:
        face = avatar.thumbnail
        return storage.signed_url(face.file.key) if face and face.file else None

    @extend_schema_field(JobSerializer(allow_null=True))
    def get_generation(self, avatar: Avatar) -> dict[str, Any] | None:
        return JobSerializer(avatar.generation).data if avatar.generation.deleted_at is None else None


class AvatarLimitSerializer(serializers.Serializer[Any]):
    allowed = serializers.BooleanField(help_text="Whether one more may be made.")
    current_count = serializers.IntegerField(help_text="Failed ones are not counted.")
    max_avatars = serializers.IntegerField(help_text="By the plan; one without a plan.")
    remaining = serializers.IntegerField()


class MostUsedAvatarSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    generation_count = serializers.IntegerField(help_text="Finished jobs made with it.")


class AvatarStatsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    ready = serializers.IntegerField()
    creating = serializers.IntegerField()
    failed = serializers.IntegerField()
    most_used_avatar = MostUsedAvatarSerializer(allow_null=True)
