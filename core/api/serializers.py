"""Bodies: strict in (unknown fields are refused, text is stored as typed), explicit out."""

from __future__ import annotations

from itertools import islice
from typing import Any

from rest_framework import serializers

from core.errors import codes
from core.texts import clean_text

# Naming fifty thousand unknown fields took four seconds and told nobody more than the first few.
MAX_NAMED = 20


class TextField(serializers.CharField):
    """Text as people type it: NFC, no control characters; escaped where it is rendered, not here.

    One line, unless `has_lines`: names and titles go into subjects, headers and tables.
    """

    def __init__(self, *, has_lines: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.has_lines = has_lines

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return clean_text(super().to_internal_value(data), has_lines=self.has_lines)
        except ValueError as error:
            raise serializers.ValidationError(str(error), code="control_characters") from error


class IntegerField(serializers.IntegerField):
    """A JSON whole number: no strings, no floats, no booleans."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Serializer(serializers.Serializer[Any]):
    """An input body. Fields that it does not know are refused by name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            unknown = {
                str(name): [serializers.ErrorDetail("This field is not known or not writable.", code="unknown_field")]
                for name in islice((name for name in data if name not in writable), MAX_NAMED)
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


def refuse_fields(data: Any) -> None:
    """For an address that takes no body: whoever sends fields expects them to do something.

    Raises: rest_framework.exceptions.ValidationError, naming them.
    """
    Serializer(data=data).is_valid(raise_exception=True)


class ErrorDetailSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(required=False)
    code = serializers.CharField()
    message = serializers.CharField()


class ErrorSerializer(serializers.Serializer[Any]):
    """The envelope of every 4xx and 5xx."""

    error = serializers.CharField()
    message = serializers.CharField()
    details = ErrorDetailSerializer(many=True)
    charged = serializers.ChoiceField(choices=["none", "held", "settled", "unknown"])
    request_id = serializers.CharField()

    def get_fields(self) -> Any:
        # Asked for when the schema is made: by then every app has registered its codes.
        return super().get_fields() | {"error": serializers.ChoiceField(choices=codes())}
