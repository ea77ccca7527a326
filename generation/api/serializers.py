"""Bodies of photos and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import storage
from core.api.serializers import IntegerField, Serializer, TextField
from generation import jobs, operations, reports, uploads
from generation.engine.finish import REASONS
from generation.models import Generation, Kind, Operation, Photo, Purpose, Report, ReportReason, ReportStatus, State
from wearables.wording import MAX_WORN

_STEPS = {
    State.QUEUED: "queued",
    State.SUBMITTING: "submitting",
    State.RUNNING: "rendering",
    State.STORING: "storing",
}


class YesNoField(serializers.BooleanField):
    """Exactly `true` or `false`: a string or a number is not a person's word."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


# --- in -----------------------------------------------------------------------------------------------------------


class PhotoUploadSerializer(Serializer):
    file = serializers.FileField(
        help_text="JPEG, PNG, GIF or WebP (and TIFF for a 3D model), at most 50 MB; of an animation the first frame."
    )
    purpose = serializers.ChoiceField(
        choices=Purpose.choices,
        required=False,
        default=Purpose.PHOTO.value,
        help_text="As a view for a 3D model up to 24 megapixels are kept.",
    )
    title = TextField(required=False, allow_blank=True, max_length=120)
    description = TextField(required=False, allow_blank=True, max_length=1000, has_lines=True)


class UploadUrlSerializer(Serializer):
    filename = TextField(max_length=255)
    content_type = serializers.ChoiceField(
        choices=sorted({kind for kinds in uploads.CONTENT_TYPES.values() for kind in kinds}),
        help_text="TIFF only for `purpose` model3d, a zip only for `purpose` archive.",
    )
    bytes = IntegerField(min_value=1, help_text="Exactly as many have to be put; at most 50 MB, of an archive 2 GB.")
    purpose = serializers.ChoiceField(choices=Purpose.choices, required=False, default=Purpose.PHOTO.value)
    title = TextField(required=False, allow_blank=True, max_length=120)
    description = TextField(required=False, allow_blank=True, max_length=1000, has_lines=True)


class OrderSerializer(Serializer):
    """An order of one kind. What its parameters may be, the operation's row says; here are their types."""

    kind: Kind

    name = TextField(required=False, allow_blank=True, help_text="Your own name for it.")
    operation = TextField(required=False, max_length=40, help_text="An operation's code; absent: the default.")
    quote = TextField(required=False, max_length=1000, help_text="From generations/quote: the price cannot rise.")

    def as_request(self) -> jobs.Request:
        """The validated body as the engine's request; empty texts are absent ones."""
        given = dict(self.validated_data)
        photo = given.pop("photo", None)
        photos = given.pop("photos", [photo] if photo else [])
        around = {name: given.pop(name, None) for name in ("operation", "image_url", "quote")}
        return jobs.Request(
            kind=self.kind,
            photo_ids=photos,
            archive_id=given.pop("archive", None),
            avatar_id=given.pop("avatar", None),
            wearable_ids=list(dict.fromkeys(given.pop("wearables", []))),
            customization_id=given.pop("customization", None),
            consent=given.pop("consent", False),
            params={name: value for name, value in given.items() if value != ""},
            **around,
        )


class DressedSerializer(OrderSerializer):
    """An order of somebody who can be dressed."""

    wearables = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=MAX_WORN, help_text="What is worn, from wearables."
    )
    customization = serializers.UUIDField(required=False, help_text="One of your own: how it is to look.")


class HeadshotSerializer(DressedSerializer):
    kind = Kind.HEADSHOT

    photo = serializers.UUIDField(required=False, help_text="An uploaded photo with one face.")
    image_url = TextField(required=False, max_length=2000, help_text="Instead of `photo`: a public https:// address.")
    consent = YesNoField(required=False, default=False, help_text="The person pictured agrees; must be true.")
    style_prompt = TextField(required=False, allow_blank=True, has_lines=True, help_text="Absent: a professional look.")


class ImageSerializer(DressedSerializer):
    kind = Kind.IMAGE

    prompt = TextField(required=False, allow_blank=True, has_lines=True, help_text="What it shows.")
    size = TextField(required=False, help_text="Width x height in pixels, such as 1024x1024.")
    quality = TextField(required=False, help_text="standard, hd or premium.")
    avatar = serializers.UUIDField(required=False, help_text="An avatar that is in it, as in all pictures of it.")
    count = IntegerField(required=False, help_text="How many: all of them are made, or none is charged.")
    optimize_prompt = YesNoField(required=False, help_text="Let a model word the prompt better; yours is kept.")


class VideoSerializer(OrderSerializer):
    kind = Kind.VIDEO

    prompt = TextField(required=False, allow_blank=True, has_lines=True, help_text="What happens in it.")
    photo = serializers.UUIDField(required=False, help_text="An uploaded photo that it begins with.")
    image_url = TextField(required=False, max_length=2000, help_text="Instead of `photo`: a public https:// address.")
    consent = YesNoField(required=False, default=False, help_text="With a picture: the person pictured agrees.")
    duration = IntegerField(required=False, help_text="Seconds.")
    quality = TextField(required=False, help_text="720p or 1080p, where it is sold.")
    aspect_ratio = TextField(required=False, help_text="Such as 16:9; a picture decides for itself.")
    style = TextField(  # type: ignore[assignment]  # a field's own attribute, which DRF gives back to its instances
        required=False, help_text="natural, cinematic or artistic, where it is sold."
    )
    with_audio = YesNoField(required=False, help_text="False takes the sound away, where it is sold.")
    triggers = serializers.ListField(
        child=TextField(), required=False, max_length=20, help_text="Sounds to listen to, at most three, where sold."
    )
    water_mark = TextField(required=False, allow_blank=True, help_text="A text in the corner, where it is sold.")
    optimize_prompt = YesNoField(required=False, help_text="Let a model word the prompt better; yours is kept.")


class ReportedSerializer(Serializer):
    reason = serializers.ChoiceField(choices=ReportReason.choices)
    comment = TextField(required=False, allow_blank=True, max_length=1000, has_lines=True)


class Model3dSerializer(OrderSerializer):
    kind = Kind.MODEL3D

    photos = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        max_length=200,
        help_text="8 to 200 uploaded photos of one thing, taken all around it; best with `purpose` model3d.",
    )
    archive = serializers.UUIDField(
        required=False,
        help_text="Instead of `photos`: a zip put to an address of photos/upload-url, `purpose` archive.",
    )


class QuoteSerializer(Serializer):
    operation = TextField(max_length=40)
    params = serializers.DictField(required=False, default=dict, help_text="As the order will have them.")


# --- out ----------------------------------------------------------------------------------------------------------


class PhotoSerializer(serializers.ModelSerializer[Photo]):
    class Meta:
        model = Photo
        fields = (
            "id",
            "purpose",
            "filename",
            "title",
            "description",
            "content_type",
            "bytes",
            "width",
            "height",
            "sha256",
            "original_format",
            "original_bytes",
            "original_width",
            "original_height",
            "focal_length_mm",
            "camera_make",
            "camera_model",
            "created_at",
        )
        read_only_fields = fields


class UploadSerializer(serializers.Serializer[Any]):
    photo = serializers.UUIDField(allow_null=True, help_text="The photo's id, once the upload is completed.")
    archive = serializers.UUIDField(allow_null=True, help_text="The archive's, to order a model with when it is put.")
    url = serializers.URLField(help_text="Put the bytes here, without our token.")
    method = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField(), help_text="To be sent along, exactly so.")
    expires_at = serializers.DateTimeField()


class LinkSerializer(serializers.Serializer[Any]):
    url = serializers.URLField(help_text="Absolute, for anybody who has it, good for an hour.")
    expires_in = serializers.IntegerField(help_text="Seconds.")


class OutputSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    url = serializers.URLField(help_text="Absolute, for anybody who has it, good for an hour.")
    thumbnail_url = serializers.URLField(allow_null=True)
    content_type = serializers.CharField()
    bytes = serializers.IntegerField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    duration_s = serializers.FloatField(allow_null=True)


class JobErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text=f"Today one of {', '.join(sorted(REASONS))}; more may come.")
    message = serializers.CharField(help_text="One sentence for the customer.")


class JobSerializer(serializers.ModelSerializer[Generation]):
    status = serializers.ChoiceField(choices=State.choices, source="state")
    kind = serializers.ChoiceField(choices=Kind.choices)
    step = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField(help_text="Credits really spent.")
    charged = serializers.SerializerMethodField()
    photos = serializers.SerializerMethodField()
    outputs = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    price = serializers.IntegerField(help_text="Credits held while it is open.")
    avatar = serializers.UUIDField(
        source="avatar_id", allow_null=True, help_text="The one that it makes, or that is in what it makes."
    )
    params = serializers.DictField(help_text="As they were ordered, the operation's defaults among them.")

    class Meta:
        model = Generation
        fields = (
            "id",
            "kind",
            "operation",
            "provider",
            "status",
            "step",
            "progress",
            "price",
            "cost",
            "charged",
            "round",
            "params",
            "data",
            "photos",
            "avatar",
            "outputs",
            "error",
            "deadline_at",
            "created_at",
            "finished_at",
            "taken_down_at",
        )
        read_only_fields = fields
        extra_kwargs = {
            "data": {"help_text": "What was made besides files; `optimized_prompt`, where the prompt was worded anew."}
        }

    @extend_schema_field({"type": ["string", "null"], "description": "What is being done, in one word."})
    def get_step(self, job: Generation) -> str | None:
        if job.unknown:
            return "resolving"
        shown = job.step.partition(" ")[0] or _STEPS.get(State(job.state), "")
        return shown or None

    def get_cost(self, job: Generation) -> int:
        return job.price if job.state == State.SUCCEEDED else 0

    @extend_schema_field(serializers.ChoiceField(choices=["none", "held", "settled", "unknown"]))
    def get_charged(self, job: Generation) -> str:
        charged: str = jobs.charged(job)
        return charged

    @extend_schema_field({"type": "array", "items": {"type": "string", "format": "uuid"}})
    def get_photos(self, job: Generation) -> list[Any]:
        return [use.photo_id for use in job.inputs.all()]

    @extend_schema_field(OutputSerializer(many=True))
    def get_outputs(self, job: Generation) -> list[dict[str, Any]]:
        return [
            {
                "id": asset.pk,
                "url": storage.signed_url(asset.file.key),
                "thumbnail_url": storage.signed_url(asset.thumbnail.key) if asset.thumbnail else None,
                "content_type": asset.content_type,
                "bytes": asset.bytes,
                "width": asset.width,
                "height": asset.height,
                "duration_s": asset.duration_s,
            }
            for asset in job.assets.all()
            if asset.file
        ]

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: Generation) -> dict[str, str] | None:
        return {"code": job.error_code, "message": job.error_message} if job.error_code else None


class OperationSerializer(serializers.ModelSerializer[Operation]):
    is_available = serializers.SerializerMethodField(help_text="Switched on, and its provider has keys.")
    limits = serializers.DictField(help_text="What each parameter may be.")
    multipliers = serializers.DictField(help_text="What each parameter does to the price.")
    kind = serializers.ChoiceField(choices=Kind.choices)
    unit = serializers.SerializerMethodField()

    class Meta:
        model = Operation
        fields = (
            "code",
            "kind",
            "title",
            "provider",
            "model",
            "base_price",
            "unit",
            "limits",
            "multipliers",
            "photos_min",
            "photos_max",
            "needs_consent",
            "is_default",
            "is_available",
        )
        read_only_fields = fields

    def get_is_available(self, operation: Operation) -> bool:
        return operations.is_available(operation)

    def get_unit(self, operation: Operation) -> str:
        return "CREDIT"


class QuotedSerializer(serializers.Serializer[Any]):
    operation = serializers.CharField()
    price = serializers.IntegerField()
    unit = serializers.CharField()
    params = serializers.DictField()
    quote = serializers.CharField(help_text="Send it with the order: that is the price, or less if it has fallen.")
    expires_at = serializers.DateTimeField()


class CountsSerializer(serializers.Serializer[Any]):
    queued = serializers.IntegerField()
    submitting = serializers.IntegerField()
    running = serializers.IntegerField()
    storing = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    canceled = serializers.IntegerField()


class StatsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    by_status = CountsSerializer()
    success_rate = serializers.FloatField(allow_null=True, help_text="succeeded / (succeeded + failed), 0 to 1.")
    credits_used = serializers.IntegerField()
    credits_held = serializers.IntegerField()


class ReportSerializer(serializers.ModelSerializer[Report]):
    reason = serializers.ChoiceField(choices=ReportReason.choices)
    status = serializers.ChoiceField(choices=ReportStatus.choices)
    decide_by = serializers.SerializerMethodField(help_text="Until then staff have decided.")

    class Meta:
        model = Report
        fields = ("id", "generation", "reason", "comment", "status", "created_at", "decide_by", "decided_at")
        read_only_fields = fields

    def get_decide_by(self, report: Report) -> datetime:
        return report.created_at + reports.time_limit()
