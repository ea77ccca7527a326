"""Bodies of the catalogue, selections and customisations."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import Serializer, TextField
from wearables.models import Customization, Fit, Selection, Size, Wearable
from wearables.queries import FACETS
from wearables.selections import MAX_SELECTED

MAX_ATTRIBUTES = 20

# --- in -----------------------------------------------------------------------------------------------------------


class SelectSerializer(Serializer):
    wearables = serializers.ListField(
        child=serializers.UUIDField(),
        max_length=MAX_SELECTED,
        help_text="Their ids; one that stands twice counts once.",
    )


class _AttributesField(serializers.DictField):
    child = TextField(max_length=200)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_ATTRIBUTES:
            raise serializers.ValidationError(f"At most {MAX_ATTRIBUTES}.", code="too_many")
        found = super().to_internal_value(data)
        name = TextField(max_length=40)
        return {name.run_validation(key): value for key, value in found.items()}


def _color() -> serializers.RegexField:
    return serializers.RegexField(r"^(#[0-9a-fA-F]{6})?\Z", required=False, allow_blank=True, help_text="#rrggbb")


class CustomizationInSerializer(Serializer):
    name = TextField(min_length=1, max_length=100)
    wearable = serializers.UUIDField(
        required=False, allow_null=True, source="wearable_id", help_text="The item it is about; null: all of the look."
    )
    primary_color = _color()
    secondary_color = _color()
    color_name = TextField(required=False, allow_blank=True, max_length=60)
    size = serializers.ChoiceField(choices=Size.choices, required=False, allow_blank=True)
    fit = serializers.ChoiceField(choices=Fit.choices, required=False, allow_blank=True)
    attributes = _AttributesField(required=False, help_text="Your own words, name and text.")


# --- out ----------------------------------------------------------------------------------------------------------


class WearableSerializer(serializers.ModelSerializer[Wearable]):
    has_image = serializers.BooleanField()

    class Meta:
        model = Wearable
        fields = (
            "id",
            "code",
            "category",
            "subcategory",
            "name",
            "description",
            "image_url",
            "has_image",
            "tags",
            "style",
            "color",
            "material",
            "season",
            "occasion",
            "size",
            "fit",
            "is_active",
            "sort_order",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class ValueSerializer(serializers.Serializer[Any]):
    value = serializers.CharField()
    count = serializers.IntegerField()


class YesNoValueSerializer(serializers.Serializer[Any]):
    value = serializers.BooleanField()
    count = serializers.IntegerField()


class FacetsSerializer(serializers.Serializer[Any]):
    """What matches, counted by value, the most frequent first."""

    def get_fields(self) -> Any:
        return {name: YesNoValueSerializer(many=True) if name == "has_image" else ValueSerializer(many=True)
                for name in FACETS}  # fmt: skip


class CatalogueSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    facets = FacetsSerializer()
    results = WearableSerializer(many=True)


class CategorySerializer(serializers.Serializer[Any]):
    category = serializers.CharField()
    count = serializers.IntegerField()


class SelectionSerializer(serializers.ModelSerializer[Selection]):
    selected_at = serializers.DateTimeField(source="created_at")
    wearable = WearableSerializer()

    class Meta:
        model = Selection
        fields = ("id", "selected_at", "wearable")
        read_only_fields = fields


class SelectedSerializer(serializers.Serializer[Any]):
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    selections = SelectionSerializer(many=True, help_text="All of them, the newest first.")


class CustomizationSerializer(serializers.ModelSerializer[Customization]):
    wearable = serializers.UUIDField(source="wearable_id", allow_null=True)
    size = serializers.ChoiceField(choices=Size.choices, allow_blank=True)
    fit = serializers.ChoiceField(choices=Fit.choices, allow_blank=True)

    class Meta:
        model = Customization
        fields = (
            "id",
            "name",
            "wearable",
            "primary_color",
            "secondary_color",
            "color_name",
            "size",
            "fit",
            "attributes",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields
