from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api.payments.serializers import MoneySerializer, StripeClientSerializer
from billing.models import Interval, Plan, Subscription, SubscriptionState
from core.api.serializers import Serializer


class PlanSerializer(serializers.ModelSerializer[Plan]):
    """Units: `credits` a month, whatever the interval."""

    price = serializers.SerializerMethodField()

    class Meta:
        model = Plan
        fields = ["code", "name", "interval", "price", "credits", "max_avatars"]
        read_only_fields = fields

    @extend_schema_field(MoneySerializer)
    def get_price(self, row: Plan) -> dict[str, Any]:
        return {"amount": row.amount, "currency": row.currency}


class PlansSerializer(serializers.Serializer[Any]):
    plans = PlanSerializer(many=True)


class SubscriptionSerializer(serializers.ModelSerializer[Subscription]):
    """`next_plan` is what the next period brings, if another; `client` is there until the first invoice is paid."""

    plan = PlanSerializer()
    next_plan = PlanSerializer(allow_null=True)
    status = serializers.ChoiceField(choices=SubscriptionState.choices, source="state")
    client = serializers.SerializerMethodField()

    class Meta:
        model = Subscription
        fields = [
            "id",
            "plan",
            "next_plan",
            "status",
            "period_start",
            "period_end",
            "cancel_at_period_end",
            "credits_lost",
            "client",
            "ended_at",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(StripeClientSerializer(allow_null=True))
    def get_client(self, row: Subscription) -> dict[str, str] | None:
        if row.state != SubscriptionState.INCOMPLETE or not row.secret:
            return None
        return {
            "payment_intent": row.secret.partition("_secret_")[0],
            "client_secret": row.secret,
            "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        }


class CurrentSerializer(serializers.Serializer[Any]):
    subscription = SubscriptionSerializer(allow_null=True)


class SubscribeSerializer(Serializer):
    plan = serializers.RegexField(r"^[A-Za-z0-9_-]{1,32}$", error_messages={"invalid": "That is not a plan's code."})
    interval = serializers.ChoiceField(choices=Interval.choices, default=Interval.MONTH)


class PlanChangeSerializer(Serializer):
    plan = serializers.RegexField(r"^[A-Za-z0-9_-]{1,32}$", error_messages={"invalid": "That is not a plan's code."})


class SubscriptionCancelSerializer(Serializer):
    at_once = serializers.BooleanField(default=False, help_text="End it now; the rest of its credits goes.")


class PortalSerializer(Serializer):
    return_url = serializers.URLField(required=False, max_length=2000, default="")


class PortalLinkSerializer(serializers.Serializer[Any]):
    url = serializers.URLField()
