"""What dashboard/* answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.models import Interval, Subscription, SubscriptionState
from dashboard.activity import TYPES
from dashboard.overview import TIMEFRAMES

# --- pieces -------------------------------------------------------------------------------------------------------


class TallySerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()


class ContentSerializer(serializers.Serializer[Any]):
    headshots = TallySerializer()
    images = TallySerializer()
    videos = TallySerializer()
    avatars = TallySerializer()
    models = TallySerializer()
    total = serializers.IntegerField()


class CreditFlowSerializer(serializers.Serializer[Any]):
    earned = serializers.IntegerField(help_text="All that came: bought, given, returned.")
    used = serializers.IntegerField(help_text="Spent on what was made. What failed was never spent.")
    refunded = serializers.IntegerField(help_text="Taken back with the money paid for them.")
    lost = serializers.IntegerField(help_text="Expired, corrected, or gone to repay a debt.")
    net = serializers.IntegerField(help_text="earned less used, refunded and lost: the change of the balance.")


class ContentDaySerializer(ContentSerializer):
    date = serializers.DateField()


class CreditDaySerializer(CreditFlowSerializer):
    date = serializers.DateField()


class ActivitySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(
        help_text="Of the job, avatar, payment, subscription, order, call, ledger transaction or look."
    )
    type = serializers.ChoiceField(choices=TYPES)
    title = serializers.CharField()
    description = serializers.CharField(
        help_text="The beginning of its prompt or description, what was ordered, who called; may be empty."
    )
    status = serializers.CharField(
        help_text="As the thing itself shows it; of credits always `posted`, of looks `read_only`."
    )
    created_at = serializers.DateTimeField()
    metadata = serializers.DictField(help_text="A few facts, by type: prices in credits, money in minor units.")


# --- answers ------------------------------------------------------------------------------------------------------


class PersonSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    first_name = serializers.CharField()
    last_name = serializers.CharField()
    avatar_url = serializers.URLField(allow_null=True)
    is_verified = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class CreditsSerializer(serializers.Serializer[Any]):
    balance = serializers.IntegerField()
    held = serializers.IntegerField()
    frozen = serializers.IntegerField()
    available = serializers.IntegerField()
    debt = serializers.IntegerField()
    total_earned = serializers.IntegerField()
    total_used = serializers.IntegerField()


class CurrentPlanSerializer(serializers.ModelSerializer[Subscription]):
    plan = serializers.CharField(source="plan.code")
    name = serializers.CharField(source="plan.name")
    interval = serializers.ChoiceField(choices=Interval.choices, source="plan.interval")
    status = serializers.ChoiceField(choices=SubscriptionState.choices, source="state")

    class Meta:
        model = Subscription
        fields = ["id", "plan", "name", "interval", "status", "period_start", "period_end", "cancel_at_period_end"]
        read_only_fields = fields


class MostUsedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    generation_count = serializers.IntegerField()


class AvatarsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    ready = serializers.IntegerField()
    creating = serializers.IntegerField()
    failed = serializers.IntegerField()
    most_used_avatar = MostUsedSerializer(allow_null=True)
    limit = serializers.IntegerField(help_text="By the plan; one without a plan.")
    remaining = serializers.IntegerField()


class DashboardSerializer(serializers.Serializer[Any]):
    user = PersonSerializer()
    credits = CreditsSerializer()
    subscription = CurrentPlanSerializer(allow_null=True)
    avatars = AvatarsSerializer()
    content = ContentSerializer(help_text="Everything ordered, deleted jobs included.")
    recent_activity = ActivitySerializer(many=True, help_text="The ten newest.")


class QuickCreditsSerializer(serializers.Serializer[Any]):
    current = serializers.IntegerField(help_text="The balance, held credits included.")
    total_earned = serializers.IntegerField()
    total_used = serializers.IntegerField()


class QuickAvatarsSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="Failed ones are not counted.")
    limit = serializers.IntegerField()


class QuickContentSerializer(serializers.Serializer[Any]):
    generated = serializers.IntegerField(help_text="Jobs that were completed.")


class QuickSubscriptionSerializer(serializers.Serializer[Any]):
    is_active = serializers.BooleanField()
    plan = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="The end of the period that is paid for.")


class QuickStatsSerializer(serializers.Serializer[Any]):
    credits = QuickCreditsSerializer()
    avatars = QuickAvatarsSerializer()
    content = QuickContentSerializer()
    subscription = QuickSubscriptionSerializer()


class PeriodSerializer(serializers.Serializer[Any]):
    start = serializers.DateField(help_text="The first day.")
    end = serializers.DateField(help_text="The last day: today.")


class ContentByDaySerializer(serializers.Serializer[Any]):
    daily = ContentDaySerializer(many=True)
    totals = ContentSerializer()


class CreditsByDaySerializer(serializers.Serializer[Any]):
    daily = CreditDaySerializer(many=True)
    totals = CreditFlowSerializer()


class AnalyticsSerializer(serializers.Serializer[Any]):
    timeframe = serializers.ChoiceField(choices=list(TIMEFRAMES))
    period = PeriodSerializer()
    content = ContentByDaySerializer()
    credits = CreditsByDaySerializer()


class AvatarRoomSerializer(serializers.Serializer[Any]):
    current = serializers.IntegerField()
    max = serializers.IntegerField()
    remaining = serializers.IntegerField()
    warning = serializers.BooleanField(help_text="One or none is left.")


class CreditRoomSerializer(serializers.Serializer[Any]):
    available = serializers.IntegerField()
    held = serializers.IntegerField()
    debt = serializers.IntegerField()
    warning = serializers.BooleanField(help_text="So few are left that the mail on low credits has been due.")


class EndingSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=SubscriptionState.choices)
    expires_in_days = serializers.IntegerField(allow_null=True, help_text="Days begun until the paid period ends.")
    warning = serializers.BooleanField(help_text="It ends within seven days and will not renew by itself.")
    cancel_at_period_end = serializers.BooleanField()


class RateLimitSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="As in the RateLimit header.")
    limit = serializers.IntegerField(help_text="Requests in each period.")
    period_s = serializers.IntegerField()
    remaining = serializers.IntegerField(allow_null=True, help_text="Null while they cannot be counted.")


class LimitsSerializer(serializers.Serializer[Any]):
    plan = serializers.CharField(allow_null=True)
    avatars = AvatarRoomSerializer()
    credits = CreditRoomSerializer()
    subscription = EndingSerializer(allow_null=True)
    rate_limits = RateLimitSerializer(many=True)
