"""Bodies of calls."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from calls import calling, livekit, terms
from calls.api.filters import ROLES
from calls.models import Call, State, Type
from core import context
from core.api.serializers import Serializer, TextField


class CallingSerializer(Serializer):
    """Exactly one of `callee` and `recipient_phone`."""

    callee = serializers.UUIDField(required=False, help_text="Somebody with an account here.")
    recipient_phone = serializers.RegexField(
        r"^\+?[1-9][0-9]{1,14}\Z", required=False, max_length=16, help_text="Or a phone number, in international form."
    )
    recipient_name = TextField(
        required=False, allow_blank=True, max_length=120, help_text="Your own name for who is called."
    )
    type = serializers.ChoiceField(choices=Type.choices, required=False, default=Type.AUDIO.value)

    def validate(self, attrs: Any) -> Any:
        if ("callee" in attrs) == ("recipient_phone" in attrs):
            raise serializers.ValidationError("Send either callee or recipient_phone.", code="one_of")
        return attrs


class RoomSerializer(serializers.Serializer[Any]):
    url = serializers.CharField()
    room = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class CallSerializer(serializers.ModelSerializer[Call]):
    role = serializers.SerializerMethodField(help_text="Yours.")
    caller_name = serializers.SerializerMethodField()
    status = serializers.ChoiceField(source="state", choices=State.choices)
    reason = serializers.SerializerMethodField(
        help_text="Why it has ended: hung_up, left, no_heartbeat, out_of_funds, too_long, canceled, declined, "
        "unanswered, no_room, callee_gone or staff."
    )
    unit = serializers.SerializerMethodField(help_text="Of `rate`, `held` and `cost`, in minor units.")
    rate = serializers.IntegerField(help_text="For a minute.")
    held = serializers.SerializerMethodField(help_text="Of the caller's money, while it is open.")
    charged = serializers.SerializerMethodField()
    paid_until = serializers.DateTimeField(help_text="What is held lasts until then.")
    livekit = serializers.SerializerMethodField(
        help_text="How to join, while it is answered; every heartbeat brings a fresh token. Null where calls have no "
        "rooms here."
    )

    class Meta:
        model = Call
        fields = (
            "id",
            "role",
            "caller",
            "caller_name",
            "callee",
            "recipient_phone",
            "recipient_name",
            "type",
            "status",
            "reason",
            "rate",
            "strategy",
            "unit",
            "held",
            "cost",
            "charged",
            "billed_s",
            "ring_until",
            "answered_at",
            "paid_until",
            "ended_at",
            "created_at",
            "livekit",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=ROLES))
    def get_role(self, call: Call) -> str:
        return "caller" if self.context["user"].pk == call.caller_id else "callee"

    def get_caller_name(self, call: Call) -> str:
        return str(call.caller.get_full_name())

    def get_reason(self, call: Call) -> str | None:
        return call.reason or None

    def get_unit(self, call: Call) -> str:
        return terms.UNIT

    def get_held(self, call: Call) -> int:
        return call.held if call.is_open else 0

    def get_charged(self, call: Call) -> str:
        return str(calling.charged(call))

    @extend_schema_field(RoomSerializer(allow_null=True))
    def get_livekit(self, call: Call) -> dict[str, Any] | None:
        is_looked_at = context.current().on_behalf_of_id is not None  # whoever looks as a customer joins nothing
        if is_looked_at or not call.room or call.state != State.ANSWERED or not livekit.is_configured():
            return None
        token, ends_at = livekit.join_token(call.room, str(self.context["user"].pk))
        answer = {"url": livekit.client_url(), "room": call.room, "token": token, "expires_at": ends_at}
        return dict(RoomSerializer(answer).data)
